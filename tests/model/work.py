"""A worker's operations, as its executor and its lease's thread make them: claim, renew, settle."""

from dataclasses import replace
from types import SimpleNamespace
from typing import Any

from app.db.engine import Database
from app.domain.retry import Backoff
from app.domain.status import Status
from app.domain.task import Task, TaskMessage
from app.handlers.lines import LogLines
from app.services.lifecycle.attempts import (
    Completed,
    Failed,
    Interrupted,
    Outcome,
    Settled,
    Stopped,
)
from app.worker.executor import Executor
from app.worker.lease import LeaseKeeper
from tests.model import known
from tests.model.broker import Broker
from tests.model.invariants import result_of
from tests.model.operations import Ended, Operation, Returned
from tests.model.violation import require
from tests.model.workers import Belief, is_of
from tests.model.world import RETRY_PAUSE, World

_SETTLES = frozenset({"completed", "failed", "retry_scheduled", "released", "cancelled"})


def _executor(world: World, database: Database) -> Any:
    """Return what of an executor and a lease's keeper their steps use, without their threads."""
    return SimpleNamespace(_database=database, _settings=world.settings, _lines=None)


def _lines(task: Task, identity: str, count: int) -> LogLines:
    """Return the first lines that an attempt logs, none of them known to be stored."""
    lines = LogLines(task.attempt, 10, 100)
    for _ in range(count):
        lines.add("INFO", identity)
    return lines


def claim(world: World, name: str, message: TaskMessage) -> Operation:
    """Follow a message."""
    worker = world.crew[name]

    def call(database: Database, broker: Broker) -> Task | None:
        executor = _executor(world, database)
        claimed = Executor._claim(executor, message.task_id, message.queue, worker.identity)
        if claimed is None:
            Executor._leave_to_others(executor, message.task_id, message.queue)
        return claimed[0] if claimed else None

    def finish(ended: Ended) -> None:
        task = _value(ended)
        if task is None:
            world.crew.believe(name, None)
            return
        row = world.seen[task.id]
        require(
            (row.status, row.attempt, row.worker)
            == (Status.IN_PROGRESS, task.attempt, worker.identity),
            "what was claimed is the worker's own",
            task,
            row,
        )
        world.crew.believe(name, Belief(task))

    return Operation(
        f"{worker.identity} claims task {message.task_id} from {message.queue}",
        call,
        finish,
        writes=frozenset({"claimed"}),
        worker=name,
        message=message,
    )


def leave_to_others(world: World, name: str, message: TaskMessage) -> Operation:
    """Follow a message as a worker of an older version, which does not know the task's type."""
    worker = world.crew[name]

    def call(database: Database, broker: Broker) -> object:
        executor = _executor(world, database)
        with known.by_an_older_worker():
            claimed = Executor._claim(executor, message.task_id, message.queue, worker.identity)
            return claimed or Executor._leave_to_others(executor, message.task_id, message.queue)

    return Operation(
        f"{worker.identity}, an older one, meets task {message.task_id} in {message.queue}",
        call,
        _value,
        writes=frozenset({"set_aside", "type_unknown"}),
        worker=name,
        message=message,
    )


def renew(world: World, name: str) -> Operation:
    """Send a heartbeat."""
    worker = world.crew[name]
    assert worker.belief is not None
    task = worker.belief.task

    def call(database: Database, broker: Broker) -> bool | None:
        context = SimpleNamespace(lines=_lines(task, worker.identity, 1))
        run = SimpleNamespace(task=task, context=context)
        return LeaseKeeper._renew_in_database(_executor(world, database), run, 0.5, "half")

    def finish(ended: Ended) -> None:
        heard = _value(ended)
        row = world.seen.get(task.id)
        runs = row is not None and (row.status, row.attempt) == (Status.IN_PROGRESS, task.attempt)
        require(
            (heard is not None) == runs, "a heartbeat hears whether its attempt runs", heard, row
        )
        if row is not None and runs:
            require(heard == row.cancel_requested, "a heartbeat hears of a cancel", heard, row)
        # The attempt may have been settled meanwhile, and another one begun.
        belief = world.crew[name].belief
        if belief is not None and is_of(belief, task.id, task.attempt):
            world.crew.believe(
                name,
                replace(
                    belief,
                    safe=runs,
                    knows_cancel=belief.knows_cancel or bool(heard),
                    knows_lost=not runs,
                ),
            )

    what = f"{worker.identity} renews task {task.id}, attempt {task.attempt}"
    return Operation(what, call, finish, worker=name)


def outcomes(world: World, belief: Belief) -> list[Outcome]:
    """Return how this attempt may end; it stops only for a reason that it has heard."""
    task = belief.task
    ends: list[Outcome] = [
        Completed(result_of(task.id, task.attempt), "done"),
        Failed("broken", permanent=False),
        Failed("broken for good", permanent=True),
        Interrupted(),
    ]
    return [*ends, Stopped()] if belief.knows_cancel else ends


# The line that says so, and the outcomes that may become this; a cancel or a loss any may become.
_MEANS = {
    Settled.COMPLETED: ("completed", Completed),
    Settled.FAILED: ("failed", Failed),
    Settled.RETRY_SCHEDULED: ("retry_scheduled", Failed),
    Settled.RELEASED: ("released", Interrupted),
    Settled.CANCELLED: ("cancelled", object),
}


def settle(world: World, name: str, outcome: Outcome) -> Operation:
    """Write down how an attempt ended."""
    worker = world.crew[name]
    assert worker.belief is not None
    task = worker.belief.task
    world.crew.believe(name, replace(worker.belief, outcome=outcome))

    def call(database: Database, broker: Broker) -> Settled:
        backoff = Backoff(initial_seconds=RETRY_PAUSE, jitter=False)
        lines = _lines(task, worker.identity, 2).waiting()
        return Executor._settle(_executor(world, database), task, outcome, backoff, lines)

    def finish(ended: Ended) -> None:
        settled = _value(ended)
        assert isinstance(ended, Returned)
        before, now = world.before.get(task.id), world.seen.get(task.id)
        news = now.timeline[len(before.timeline) :] if before and now else ()
        if settled is Settled.LOST:
            require(not news, "an attempt that is lost writes nothing", news)
            require(
                before is None
                or (before.status, before.attempt) != (Status.IN_PROGRESS, task.attempt),
                "an attempt that runs is not lost",
                task,
                before,
            )
        else:
            line, kind = _MEANS[settled]
            require(isinstance(outcome, kind), "an outcome becomes what it means", outcome, settled)
            # One that asked twice may hear what it wrote at first.
            lines = now.timeline if ended.disturbed and now else news
            said = [event.name for event in lines if event.attempt == task.attempt]
            require(
                line in said or (ended.disturbed and now is None),
                "what was settled is written down",
                settled,
                said,
            )
        world.crew.believe(name, None)

    return Operation(
        f"{worker.identity} settles task {task.id}, attempt {task.attempt}: {outcome}",
        call,
        finish,
        writes=_SETTLES,
        worker=name,
    )


def hand_back(world: World, name: str, task_id: int) -> Operation:
    """Give a task back at the last moment of a process that is told to end."""
    worker = world.crew[name]

    def call(database: Database, broker: Broker) -> None:
        executor = _executor(world, database)
        if worker.belief is not None:
            executor._lines = _lines(worker.belief.task, worker.identity, 2)
        Executor._hand_back(executor, task_id, worker.identity)

    return Operation(
        f"{worker.identity} ends and hands task {task_id} back",
        call,
        lambda ended: world.crew.bury(name),
        writes=frozenset({"released", "cancelled"}),
        worker=name,
    )


def _value(ended: Ended) -> Any:
    require(isinstance(ended, Returned), "a worker meets no error", ended)
    assert isinstance(ended, Returned)
    return ended.value
