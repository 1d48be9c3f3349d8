"""Which of the waiting tasks a worker runs first."""

from app.domain.priority import Priority
from tests.lab import Lab


def test_strict_priority_between_waiting_tasks(own_lab: Lab) -> None:
    own_lab.service.settings["WORKER_CONCURRENCY"] = "1"
    tasks = [
        own_lab.add("sleep", priority=priority, seconds=0.05)
        for priority in (Priority.LOW, Priority.MEDIUM, Priority.HIGH) * 3
    ]
    for task_id in tasks:
        own_lab.publish(task_id)

    own_lab.service.start_worker()
    for task_id in tasks:
        own_lab.service.wait_until(task_id, "COMPLETED")

    by_urgency = [tasks[i] for first in (2, 1, 0) for i in range(first, len(tasks), 3)]
    assert own_lab.ledger.started() == by_urgency
