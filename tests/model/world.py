"""The world of one example: the committed state, the broker's bag, and what the workers believe."""

from collections.abc import Iterable
from dataclasses import replace

from app.db.engine import Database
from app.domain.status import FINAL, Status
from app.domain.task import TaskMessage
from app.errors import DatabaseUnavailable, ServiceError
from app.settings import Settings
from tests.model import invariants
from tests.model.broker import Broker, older
from tests.model.operations import Ended, Operation, Raised, Returned
from tests.model.snapshot import Observer, Snapshot
from tests.model.timeline import CRASH_LIMIT
from tests.model.violation import Violation
from tests.model.workers import Crew, Worker

# The clocks of the model, in seconds: real time is too short to matter against any of them.
LEASE = 3600.0
PATIENCE = 200.0
RETRY_PAUSE = 300.0
A_WHILE, A_LONG_WHILE = 500.0, 1000.0
# A while raises a task by one queue, a long while to the top.
MAX_WAIT = 1200.0


def model_settings(database_url: str) -> Settings:
    """Return settings under which time passes only when the model says so."""
    return Settings(
        # The model stops before each statement, where SQLAlchemy says that there is one.
        database_prepared_statements=False,
        database_url=database_url,
        database_timeout_seconds=60,
        lease_seconds=LEASE,
        crash_limit=CRASH_LIMIT,
        max_wait_seconds=MAX_WAIT,
        unknown_type_seconds=invariants.UNKNOWN_TYPE,
        _env_file=None,
    )


class World:
    """Knows what the model knows, and checks every change of it."""

    def __init__(self, settings: Settings, observer: Observer, direct: Database) -> None:
        self.settings = settings
        self.observer = observer
        self._direct = direct
        # How many attempts each task was created with. No id comes twice, in no example.
        self._given: dict[int, int] = {}
        self.reset()

    def reset(self) -> None:
        """Begin a new example, without tasks."""
        self.broker = Broker()
        self.offers: tuple[TaskMessage, ...] = ()
        self.crew = Crew({name: Worker(name) for name in ("worker1", "worker2")})
        self.before: Snapshot = {}
        self.seen: Snapshot = {}
        # Every task there ever was, the deleted ones too.
        self.ids: list[int] = []
        self.history: list[str] = []

    def say(self, line: str) -> None:
        """Note what happened, for whoever reads a failure."""
        self.history.append(line)

    # --- operations

    def run(self, operation: Operation, *, disturbed: bool = False) -> None:
        """Do a whole operation at once. `disturbed` says that its database was told to fail."""
        ended: Ended
        try:
            ended = Returned(operation.call(self._direct, self.broker))
        except ServiceError as error:
            ended = Raised(error)
        except Exception as error:
            raise Violation(f"broken promise: no error of its own; {operation.name}") from error
        self.observe(operation)
        self.end(operation, ended, disturbed=disturbed)

    def observe(self, operation: Operation) -> None:
        """Look at what is committed now, after a transaction of this operation ended."""
        self.before, self.seen = self.seen, self.observer.read()
        self.ids += [task_id for task_id in self.seen if task_id not in self.ids]
        invariants.check(self.before, self.seen, operation, self.crew, self._given)

    def end(self, operation: Operation, ended: Ended, *, disturbed: bool = False) -> None:
        """Take an operation's answer. `disturbed` says that its connection was harmed."""
        match ended:
            case Raised(DatabaseUnavailable() as error) if disturbed:
                self.say(f"{operation.name}: no answer ({error})")
            case Raised(DatabaseUnavailable() as error):
                raise Violation(
                    f"broken promise: nothing is in its own way; {operation.name}"
                ) from error
            case Raised(error):
                self.say(f"{operation.name}: {type(error).__name__}")
                operation.finish(ended)
            case Returned(value):
                self.say(f"{operation.name}: {_brief(value)}")
                operation.finish(Returned(value, disturbed))

    # --- what happens to the world

    def lapse(self, task_id: int) -> bool:
        """Let the lease of an attempt run out, if nobody is there to renew it."""
        row = self.seen.get(task_id)
        if row is None or row.status != Status.IN_PROGRESS or row.lapsed:
            return False
        if self.crew.is_watched(row.worker, task_id, row.attempt):
            return False
        if not self.observer.lapse(task_id):
            return False
        self.say(f"the lease of task {task_id}, attempt {row.attempt} lapses")
        self.crew.doubt(task_id, row.attempt)
        self.seen = self.observer.read()
        return True

    def pass_time(self, seconds: float) -> bool:
        """Let time pass for everything that waits; leases are renewed meanwhile."""
        if not self.observer.pass_time(seconds):
            return False
        self.say(f"{seconds:g} s pass")
        self.broker.messages = older(self.broker.messages, seconds)
        self.offers = older(self.offers, seconds)
        self.seen = self.observer.read()
        return True

    def freeze(self, name: str, *, frozen: bool) -> None:
        """Stop a worker's process, or let it go on."""
        self.say(f"{name} {'freezes' if frozen else 'goes on'}")
        self.crew.set(replace(self.crew[name], frozen=frozen))

    def unfinished(self) -> Iterable[int]:
        """Return the tasks that are not final."""
        return [row.id for row in self.seen.values() if row.status not in FINAL]


def _brief(value: object) -> str:
    status = getattr(value, "status", None)
    if status is not None:
        return f"{status}, attempt {getattr(value, 'attempt', '?')}"
    if isinstance(value, tuple):
        return _brief(value[0])
    return str(value)
