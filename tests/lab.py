"""A worker that knows the tests' own task types, and a way to give it such tasks."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from app.broker.celery import create_celery
from app.broker.publisher import Publisher
from app.db import creation, tasks
from app.db.engine import Database
from app.domain.priority import Priority
from app.domain.task import NewTask, TaskMessage
from app.services.lifecycle.dispatch import dispatch
from app.settings import Settings
from tests.ledger import Ledger
from tests.service import Service
from tests.support import wait_for


@dataclass
class Lab:
    """A service whose tasks are of the tests' types, with the ledger they write."""

    service: Service
    database: Database
    publisher: Publisher
    ledger: Ledger

    def add(
        self,
        kind: str,
        *,
        priority: Priority = Priority.MEDIUM,
        max_attempts: int = 1,
        **payload: object,
    ) -> int:
        """Store a task as the API does; the maintenance loop dispatches it."""
        new = NewTask(f"задача {kind}", None, priority, kind, payload, max_attempts)
        with self.database.transaction() as connection:
            return creation.insert_task(connection, new).id

    def start(self, kind: str, *, max_attempts: int = 1, **payload: object) -> int:
        """Add a task, publish it, and wait until its handler has begun."""
        task_id = self.add(kind, max_attempts=max_attempts, **payload)
        self.publish(task_id)
        wait_for(lambda: self.ledger.words(task_id), 15, f"task {task_id} ({kind}) has begun")
        return task_id

    def publish(self, task_id: int) -> None:
        """Publish a task without recording it, as a publisher does that dies in between."""
        assert self.publisher.publish([self._message(task_id)])

    def dispatch(self, task_ids: Sequence[int]) -> None:
        """Publish tasks and record it, as the API does."""
        messages = [self._message(task_id) for task_id in task_ids]
        assert dispatch(self.database, self.publisher, messages)

    def _message(self, task_id: int) -> TaskMessage:
        with self.database.transaction() as connection:
            task = tasks.get(connection, task_id)
        assert task is not None
        return TaskMessage(task.id, task.queue, task.type, task.title, task.updated_at)


def patient_publisher(settings: Settings) -> Publisher:
    """Return a publisher that waits longer for Redis than an API does, which has others to ask."""
    celery = create_celery(settings, publisher_only=True)
    celery.conf.broker_transport_options |= {"socket_timeout": 5, "socket_connect_timeout": 5}
    return Publisher(celery)


@contextmanager
def lab(database_url: str, redis_url: str, directory: Path, **settings: str) -> Iterator[Lab]:
    """Yield a lab whose API runs; its workers are the test's to start."""
    ledger = directory / "ledger"
    service = Service(
        database_url,
        redis_url,
        directory,
        {"TEST_LEDGER": str(ledger), "WORKER_CONCURRENCY": "2", **settings},
        worker_app="tests.worker_app",
    )
    values = Settings(database_url=database_url, redis_url=redis_url, _env_file=None)
    database = Database(values, pool_size=3, application_name="test")
    publisher = patient_publisher(values)
    try:
        service.start_api()
        yield Lab(service, database, publisher, Ledger(ledger))
    finally:
        service.close()
        database.close()
