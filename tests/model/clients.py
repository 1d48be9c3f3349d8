"""The API's operations, as clients ask for them: create, update, cancel, run again, delete."""

from app.db.engine import Database
from app.domain.priority import Priority
from app.domain.status import Status
from app.domain.task import Task, TaskMessage
from app.errors import TaskAlreadyFinal, TaskNotEndedBadly, TaskNotFound
from app.services import tasks
from app.services.drafts import Draft, new_task
from app.services.lifecycle.cancel import cancel_task
from app.services.lifecycle.dispatch import Dispatcher
from tests.model.broker import Broker
from tests.model.operations import Ended, Operation, Raised, Returned
from tests.model.violation import require
from tests.model.world import World

# From where a person may run a task again.
BAD_ENDS = frozenset({Status.FAILED, Status.CANCELLED})


def _offered(dispatcher: Dispatcher) -> tuple[TaskMessage, ...]:
    """Return what was offered to a dispatcher that was never started."""
    return tuple(dispatcher._offers)


def create(world: World, priority: Priority, max_attempts: int) -> Operation:
    """Create a task, and leave its message to the dispatcher."""

    def call(database: Database, broker: Broker) -> tuple[Task, tuple[TaskMessage, ...]]:
        dispatcher = Dispatcher(database, broker)
        draft = Draft("a task", None, priority, max_attempts=max_attempts)
        (task,) = tasks.create_tasks(database, dispatcher, [new_task(draft, world.settings)])
        if isinstance(task, Exception):
            raise task
        return task, _offered(dispatcher)

    def finish(ended: Ended) -> None:
        assert isinstance(ended, Returned)
        task, offers = ended.value
        require(
            task.id in world.seen and task.status is Status.NEW, "what was created is stored", task
        )
        require(offers, "a new task is offered to the dispatcher")
        world.offers += offers

    return Operation(f"create {priority}, {max_attempts} attempts", call, finish, creates=True)


def update(world: World, task_id: int, priority: Priority) -> Operation:
    """Give a task another priority."""

    def call(database: Database, broker: Broker) -> tuple[Task, tuple[TaskMessage, ...]]:
        dispatcher = Dispatcher(database, broker)
        changes = tasks.Changes({}, priority)
        return tasks.update_task(database, dispatcher, task_id, changes), _offered(dispatcher)

    def finish(ended: Ended) -> None:
        if isinstance(ended, Raised):
            _not_found(world, task_id, ended)
            return
        task, offers = ended.value
        row = world.seen[task_id]
        require(
            task.priority is priority and row.priority == priority, "an update is written down", row
        )
        require(task.status == row.status, "an update's answer is true", task, row)
        world.offers += offers

    writes = frozenset({"reprioritised"})
    return Operation(f"make task {task_id} {priority}", call, finish, writes=writes)


def cancel(world: World, task_id: int) -> Operation:
    """Cancel a task."""

    def call(database: Database, broker: Broker) -> Task:
        return cancel_task(database, task_id)

    def finish(ended: Ended) -> None:
        match ended:
            case Raised(TaskAlreadyFinal()):
                row = world.seen[task_id]
                require(
                    row.status in {Status.COMPLETED, Status.FAILED},
                    "only what has COMPLETED or FAILED refuses a cancel",
                    row,
                )
            case Raised():
                _not_found(world, task_id, ended)
            case Returned(task):
                # That nothing but CANCELLED follows is for the timeline to say.
                row = world.seen[task_id]
                require(row.cancel_requested, "an accepted cancel is written down", row)
                require(
                    task.status in {Status.CANCELLED, Status.IN_PROGRESS}
                    and task.status == row.status,
                    "a cancel's answer is true",
                    task,
                    row,
                )

    writes = frozenset({"cancelled", "cancel_requested"})
    return Operation(f"cancel task {task_id}", call, finish, writes=writes)


def run_again(world: World, task_id: int) -> Operation:
    """Run a task again that has ended otherwise than well."""

    def call(database: Database, broker: Broker) -> tuple[Task, tuple[TaskMessage, ...]]:
        dispatcher = Dispatcher(database, broker)
        return tasks.run_again(database, dispatcher, task_id), _offered(dispatcher)

    def finish(ended: Ended) -> None:
        match ended:
            case Raised(TaskNotEndedBadly()):
                row = world.seen[task_id]
                require(row.status not in BAD_ENDS, "what ended badly can run again", row)
            case Raised():
                _not_found(world, task_id, ended)
            case Returned((task, offers)):
                row = world.seen[task_id]
                require(
                    row.status == task.status == Status.PENDING and row.attempt == task.attempt,
                    "a retry's answer is true",
                    task,
                    row,
                )
                require(offers, "what runs again is offered to the dispatcher")
                world.offers += offers

    writes = frozenset({"retried"})
    return Operation(f"run task {task_id} again", call, finish, writes=writes)


def delete(world: World, task_id: int) -> Operation:
    """Delete a task."""

    def call(database: Database, broker: Broker) -> None:
        tasks.delete_task(database, task_id)

    def finish(ended: Ended) -> None:
        require(task_id not in world.seen, "what was deleted is gone", task_id)
        if isinstance(ended, Raised):
            _not_found(world, task_id, ended)
        else:
            require(task_id in world.before, "a deletion succeeds once", task_id)

    return Operation(f"delete task {task_id}", call, finish, deletes=task_id)


def _not_found(world: World, task_id: int, ended: Raised) -> None:
    require(isinstance(ended.error, TaskNotFound), "a client meets no other error", ended.error)
    require(task_id not in world.seen, "what is there is found", task_id)
