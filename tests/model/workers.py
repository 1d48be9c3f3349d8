"""The model's workers: what each believes it runs. Whether that is true is for the checks."""

from dataclasses import dataclass, field, replace

from app.domain.task import Task
from app.services.lifecycle.attempts import Outcome


@dataclass(frozen=True, slots=True)
class Belief:
    """An attempt that a worker claimed and has not settled yet, as far as it knows."""

    task: Task
    # Its lease has not lapsed since the last renewal: nobody else may touch the task.
    safe: bool = True
    knows_cancel: bool = False
    # A renewal said that the attempt is over.
    knows_lost: bool = False
    # How the handler ended; it is being written down, for the first time or once more.
    outcome: Outcome | None = None


@dataclass(frozen=True, slots=True)
class Worker:
    """One place for a pool process; a process that died is followed by another incarnation."""

    name: str
    incarnation: int = 1
    belief: Belief | None = None
    frozen: bool = False

    @property
    def identity(self) -> str:
        """The name under which this process claims."""
        return f"{self.name}@model/{self.incarnation}"

    def dead(self) -> "Worker":
        """Return the process that takes the place of this one."""
        return Worker(self.name, self.incarnation + 1)

    def believing(self, belief: Belief | None) -> "Worker":
        """Return the worker with another belief."""
        return replace(self, belief=belief)


@dataclass
class Crew:
    """All workers, and the identities of the processes that are gone."""

    workers: dict[str, Worker]
    gone: frozenset[str] = field(default=frozenset())

    def __getitem__(self, name: str) -> Worker:
        return self.workers[name]

    def set(self, worker: Worker) -> None:
        """Remember what a worker believes now."""
        self.workers[worker.name] = worker

    def believe(self, name: str, belief: Belief | None) -> None:
        """Let a worker believe something else."""
        self.set(self[name].believing(belief))

    def bury(self, name: str) -> None:
        """Let a worker's process be gone, and another take its place."""
        worker = self[name]
        self.gone |= {worker.identity}
        self.set(worker.dead())

    def doubt(self, task_id: int, attempt: int) -> None:
        """Note that the lease of an attempt has lapsed."""
        for worker in list(self.workers.values()):
            if worker.belief and is_of(worker.belief, task_id, attempt):
                self.set(replace(worker, belief=replace(worker.belief, safe=False)))

    def is_watched(self, identity: str | None, task_id: int, attempt: int) -> bool:
        """Return whether the process that claimed an attempt is there and keeps its lease.

        It does so while the handler runs, and no longer while it writes down how that ended.
        """
        return any(
            worker.identity == identity
            and not worker.frozen
            and worker.belief is not None
            and worker.belief.outcome is None
            and is_of(worker.belief, task_id, attempt)
            for worker in self.workers.values()
        )


def is_of(belief: Belief, task_id: int, attempt: int) -> bool:
    """Return whether a belief is about this attempt."""
    return (belief.task.id, belief.task.attempt) == (task_id, attempt)
