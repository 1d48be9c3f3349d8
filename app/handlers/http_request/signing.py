"""The headers that every request gets from us, and the signature over it."""

import base64
import hashlib
import hmac
import time
from collections.abc import Callable

from app import __version__
from app.handlers.context import TaskContext

USER_AGENT = f"task-manager/{__version__}"


def task_headers(context: TaskContext) -> dict[str, str]:
    """Return the headers that tell a target which task and attempt asks."""
    return {
        "Task-Id": str(context.task_id),
        "Task-Attempt": str(context.attempt),
        "Idempotency-Key": context.idempotency_token,
    }


def signature_headers(
    key: bytes, message_id: str, body: bytes, clock: Callable[[], float] = time.time
) -> dict[str, str]:
    """Return the headers of Standard Webhooks (https://www.standardwebhooks.com); none without key.

    `message_id` must be the same for each attempt; `clock` returns seconds since 1970.
    """
    if not key:
        return {}
    timestamp = str(int(clock()))
    signed = f"{message_id}.{timestamp}.".encode() + body
    digest = hmac.new(key, signed, hashlib.sha256).digest()
    return {
        "webhook-id": message_id,
        "webhook-timestamp": timestamp,
        "webhook-signature": f"v1,{base64.b64encode(digest).decode()}",
    }
