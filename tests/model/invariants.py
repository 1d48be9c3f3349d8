"""What must hold after every transaction, between what was committed before it and after it."""

from app.domain.status import FINAL, Status
from tests.model.operations import Operation
from tests.model.snapshot import Row, Snapshot
from tests.model.timeline import RESCUES, Event, replay
from tests.model.violation import require
from tests.model.workers import Crew, is_of

# Seconds for which a task waits at least for a worker that knows its type.
UNKNOWN_TYPE = 800.0


def check(
    before: Snapshot,
    after: Snapshot,
    operation: Operation,
    crew: Crew,
    given: dict[int, int],
) -> None:
    """Raise a Violation if this operation's transaction may not have led from before to after.

    `given` learns how many attempts each task was created with.
    """
    for task_id in before.keys() - after.keys():
        require(operation.deletes == task_id, "only its deletion removes a task", task_id)
    for task_id, row in after.items():
        if task_id in before:
            _check_change(before[task_id], row, operation, crew)
        else:
            # An id is never used again, so that this also catches a deleted task that returns.
            newest = max(before, default=0)
            require(operation.creates and task_id > newest, "what is deleted never returns", row)
            given[task_id] = row.max_attempts
        _check_row(row, given[task_id])
    _check_beliefs(before, after, operation, crew)


def _check_row(row: Row, max_attempts: int) -> None:
    """Compare a row, and what is on record of its attempts, with its own timeline."""
    said = replay(row.timeline, max_attempts)
    for name in ("status", "attempt", "max_attempts", "failures", "crashes", "cancel_requested"):
        require(
            getattr(row, name) == getattr(said, name), "a row is what its timeline says", said, row
        )
    require(
        row.status != Status.COMPLETED or row.result == result_of(row.id, row.attempt),
        "the attempt that the row names stored its result",
        row,
    )
    require(
        row.set_aside_for is None or row.status not in {Status.IN_PROGRESS, Status.COMPLETED},
        "what runs has found a worker that knows its type",
        row,
    )
    _check_attempts(row, said.ended)


def _check_attempts(row: Row, ended: tuple[tuple[int, str], ...]) -> None:
    """Compare what is on record of a task's attempts with what its timeline says of them."""
    recorded = tuple((attempt.number, attempt.outcome) for attempt in row.attempts)
    require(recorded == ended, "each attempt that ended is on record, once", ended, row.attempts)
    workers = [event.detail for event in row.timeline if event.name == "claimed"]
    for attempt in row.attempts:
        require(
            attempt.worker == workers[attempt.number - 1],
            "an attempt is on record as its own worker's",
            attempt,
            workers,
        )
        require(
            attempt.outcome == "CANCELLED" or (attempt.error is None) == _is_well(attempt.outcome),
            "an attempt is on record with its error",
            attempt,
        )
    for line in row.logged:
        require(
            line.message == workers[line.attempt - 1],
            "a line is kept with the attempt that logged it",
            line,
            workers,
        )


def _is_well(outcome: str) -> bool:
    return outcome == "COMPLETED"


def result_of(task_id: int, attempt: int) -> dict[str, int]:
    """Return what the model's handler returns, different for every attempt."""
    return {"task": task_id, "attempt": attempt}


def _check_change(before: Row, after: Row, operation: Operation, crew: Crew) -> None:
    known = len(before.timeline)
    require(after.timeline[:known] == before.timeline, "a timeline only grows", before, after)
    news = after.timeline[known:]
    most = before.max_attempts
    for event in news:
        if event.name in {"released", "rescued"}:
            most += 1
        elif event.name == "retried":
            most = max(most, event.attempt + 1)
    require(
        after.max_attempts == most,
        "what is no fault of the task costs no attempt",
        before,
        after,
    )
    for event in news:
        require(
            event.name in operation.writes,
            "only its own writer writes a line",
            event,
            operation.name,
        )
    if before.status in FINAL and not (news and news[0].name == "retried"):
        require(not news and after.ending == before.ending, "final is final", before, after)
    if not news:
        require(after.status == before.status, "a status changes with a line", before, after)
        require(after.ending == before.ending, "nothing changes silently", before, after)
    else:
        _check_first(news[0], before, after, operation, crew)
    known = len(before.attempts)
    require(after.attempts[:known] == before.attempts, "what is on record stays", before, after)
    # That they are its worker's own is for the row to say.
    lines = set(after.logged) ^ set(before.logged)
    runs = operation.worker is not None and before.status == Status.IN_PROGRESS
    require(
        not lines or (runs and {line.attempt for line in lines} == {before.attempt}),
        "only the attempt that runs logs lines",
        before,
        lines,
    )


def _check_first(event: Event, before: Row, after: Row, operation: Operation, crew: Crew) -> None:
    """Check the circumstances of a line; those of the first one of a transaction are known."""
    if event.name == "claimed":
        require(after.began_in_time, "a task is claimed when it is due, not before", before, after)
    if event.name == "type_unknown":
        require(
            (before.set_aside_for or 0) > UNKNOWN_TYPE,
            "a task of an unknown type is given time",
            before,
        )
    if event.name in {"claimed", "set_aside"}:
        message = operation.message
        require(
            message is None or message.queue == before.queue,
            "a message starts nothing in another queue",
            message,
            before,
        )
    if event.name in {"completed", "failed", "retry_scheduled", "released"}:
        identity = operation.worker and crew[operation.worker].identity
        require(
            before.worker == identity,
            "a worker ends no attempt but its own",
            identity,
            before,
        )
    by_upkeep = operation.worker is None and event.name == "cancelled"
    if event.name in RESCUES or (by_upkeep and before.status == Status.IN_PROGRESS):
        require(
            before.lapsed or before.worker in crew.gone,
            "only an attempt whose worker is gone is rescued",
            before,
        )


def _check_beliefs(before: Snapshot, after: Snapshot, operation: Operation, crew: Crew) -> None:
    held: set[int] = set()
    for worker in crew.workers.values():
        belief = worker.belief
        if belief is None or not belief.safe:
            continue
        task = belief.task
        was, now = before.get(task.id), after.get(task.id)
        if was is None or not _runs(was, task.attempt):
            # Deleted, or settled with an answer that was lost.
            continue
        require(task.id not in held, "one worker holds the lease", task)
        held.add(task.id)
        if now is not None and not _runs(now, task.attempt):
            require(
                operation.worker == worker.name and is_of(belief, task.id, was.attempt),
                "nobody else ends an attempt while its lease lasts",
                was,
                now,
            )


def _runs(row: Row, attempt: int) -> bool:
    return row.status == Status.IN_PROGRESS and row.attempt == attempt
