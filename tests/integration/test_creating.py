"""Tasks that are created at the same time share a commit, and nothing else."""

from dataclasses import replace
from datetime import timedelta

import pytest
from sqlalchemy import text

from app.db import creation, history, tasks
from app.db.engine import Connection, Database
from app.domain.priority import Priority
from app.domain.retry import Backoff
from app.domain.status import Status
from app.domain.task import NewTask, Task
from app.errors import DatabaseUnavailable, StatementRefused
from app.services import tasks as service

NEW = NewTask("Отчёт", "d'escription \\ \" {} , NULL", Priority.HIGH, "any", {"a": [1, "ü"]}, 3)
VARIED = [
    NEW,
    replace(NEW, title="second", description=None, payload={}, priority=Priority.LOW),
    replace(NEW, backoff=Backoff(0.5, 2.0, 60.0, jitter=False), timeout_seconds=2.5),
    replace(NEW, delay_seconds=3600.0, type="other", max_attempts=100),
]


class Offers:
    """Stands for a dispatcher: what was offered to it."""

    def __init__(self) -> None:
        self.ids: list[int] = []

    def offer(self, offered: list[Task]) -> None:
        self.ids += [task.id for task in offered]


def test_each_of_a_batch_is_stored_and_returned_as_it_was_sent(connection: Connection) -> None:
    stored = creation.insert_tasks(connection, VARIED)
    assert [task.id for task in stored] == sorted(task.id for task in stored)
    assert [tasks.get(connection, task.id) for task in stored] == stored
    assert [task.title for task in stored] == [new.title for new in VARIED]
    assert [task.status for task in stored] == [Status.NEW] * 3 + [Status.PENDING]
    assert stored[3].run_at - stored[3].created_at == timedelta(hours=1)
    lines = [history.events_of(connection, task.id, skip=0, limit=9) for task in stored]
    assert [[line.event for line in each] for each in lines] == [["created"]] * 4


def test_a_bad_row_fails_alone_and_only_what_is_due_is_offered(database: Database) -> None:
    offers = Offers()
    bad = replace(NEW, title="x" * 300)
    outcomes = service.create_tasks(database, offers, [VARIED[0], bad, *VARIED[1:]])
    assert isinstance(outcomes[1], StatementRefused)
    stored = [task for task in outcomes if isinstance(task, Task)]
    assert [task.title for task in stored] == [new.title for new in VARIED]
    assert offers.ids == [task.id for task in stored[:3]]
    with database.transaction() as connection:
        found = connection.execute(text("SELECT id FROM tasks ORDER BY id")).scalars().all()
    assert found == [task.id for task in stored]


def test_nothing_is_offered_that_may_not_be_stored(settings) -> None:
    nowhere = settings.model_copy(
        update={"database_url": "postgresql+psycopg2://nobody@127.0.0.1:9/none"}
    )
    offers, database = Offers(), Database(nowhere, pool_size=1, application_name="test")
    with pytest.raises(DatabaseUnavailable):
        service.create_tasks(database, offers, [NEW])
    assert offers.ids == []
