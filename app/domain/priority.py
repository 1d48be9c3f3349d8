"""Priorities, and the queue that each waits in.

A task's queue starts as its priority's and may be raised later, so that nothing starves
(`app.services.lifecycle.maintenance`); its priority is only ever what the user said.
"""

from enum import StrEnum


class Priority(StrEnum):
    """How urgent the user says a task is."""

    LOW = "LOW"
    MEDIUM = "MEDIUM"
    HIGH = "HIGH"


class QueueName(StrEnum):
    """A Celery queue. A worker takes from a queue only while every earlier one is empty."""

    # For what has waited so long that nothing is more urgent; no task starts here.
    OVERDUE = "overdue"
    HIGH = "high"
    MEDIUM = "medium"
    LOW = "low"


# The order in which workers ask the queues; strict priority rests on it.
QUEUES_BY_URGENCY = (QueueName.OVERDUE, QueueName.HIGH, QueueName.MEDIUM, QueueName.LOW)


def queue_for(priority: Priority) -> QueueName:
    """Return the queue in which a task of this priority starts to wait."""
    return QueueName(priority.lower())
