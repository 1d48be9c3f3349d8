"""The statuses a task goes through, and what moves it out of each.

Owns the words only: which transition leads where stands in `app.domain.transitions`.
"""

from enum import StrEnum


class Status(StrEnum):
    """Where a task is in its life."""

    # Stored, in no queue yet. Left by `dispatched` when its message was published, by `claimed`
    # when a worker was faster than that record, by `cancelled_waiting`, or by `set_aside` or
    # `type_unknown` when the worker knows no such task type.
    NEW = "NEW"
    # Waits, in a queue or for the time of its next attempt. Left by `claimed`,
    # `cancelled_waiting`, or `type_unknown` when no worker knows its type.
    PENDING = "PENDING"
    # An attempt runs under a lease. Left by the attempt itself (`completed`, `failed`,
    # `retry_scheduled`, `released`, `cancelled_running`) or, once the lease has lapsed, by a
    # rescue (`rescued`, `crash_limit_reached`, `rescue_cancelled`).
    IN_PROGRESS = "IN_PROGRESS"
    # Final: the handler returned and its result is stored.
    COMPLETED = "COMPLETED"
    # Final: the last attempt failed, the task's worker crashed too often, or no worker knew its
    # type. Left only by `retried`, which a person asks for.
    FAILED = "FAILED"
    # Final: somebody cancelled the task before it had ended. Left only by `retried`.
    CANCELLED = "CANCELLED"


WAITING = frozenset({Status.NEW, Status.PENDING})
UNFINISHED = WAITING | {Status.IN_PROGRESS}
FINAL = frozenset({Status.COMPLETED, Status.FAILED, Status.CANCELLED})
