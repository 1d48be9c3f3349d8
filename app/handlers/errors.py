"""Errors that a handler may raise on purpose. Any other one is a failure that may be retried."""


class PermanentError(Exception):
    """Trying again would not help: the task ends FAILED, whatever attempts are left."""
