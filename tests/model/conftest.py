"""One database for the whole package, and the actors' threads, which live as long."""

import logging
from collections.abc import Iterator

import psycopg2
import pytest

from app.db.engine import Database
from app.settings import Settings
from app.worker import executor
from tests.model import known
from tests.model.cast import NAMES
from tests.model.snapshot import TABLES, Observer
from tests.model.stage import Stage
from tests.model.world import World, model_settings
from tests.servers import Postgres


@pytest.fixture(scope="package", autouse=True)
def _quick_and_quiet() -> Iterator[None]:
    """Keep everybody from telling of troubles that are meant to happen, by the thousand."""
    loggers = {logging.getLogger(name): logging.CRITICAL for name in ("app", "sqlalchemy.pool")}
    levels = {logger: logger.level for logger in loggers}
    for logger, level in loggers.items():
        logger.setLevel(level)
    with pytest.MonkeyPatch.context() as patch:
        # Nor does a worker wait before it asks once more: the model says what happens meanwhile.
        patch.setattr(executor, "_PAUSE_SECONDS", 0.0)
        # What a worker knows is for the model to say.
        patch.setattr(executor, "registry", known)
        yield
    for logger, level in levels.items():
        logger.setLevel(level)


@pytest.fixture(scope="package")
def settings(postgres: Postgres) -> Iterator[Settings]:
    with postgres.database() as url:
        yield model_settings(url)


@pytest.fixture(scope="package")
def direct(settings: Settings) -> Iterator[Database]:
    """A way to the database that waits for nobody's order."""
    # A round of maintenance takes two connections.
    database = Database(settings, pool_size=2, application_name="model direct")
    yield database
    database.close()


@pytest.fixture(scope="package")
def observer(settings: Settings) -> Iterator[Observer]:
    url = settings.database_url.replace("postgresql+psycopg2://", "postgresql://")
    connection = psycopg2.connect(url)
    connection.autocommit = True
    with connection.cursor() as cursor:
        for table in TABLES:
            # Autovacuum locks a table out of everybody's way to cut off its empty end, which would
            # look as if the service were in its own way.
            cursor.execute(f"ALTER TABLE {table} SET (vacuum_truncate = off)")
    yield Observer(connection)
    connection.close()


@pytest.fixture(scope="package")
def stage(settings: Settings, observer: Observer) -> Iterator[Stage]:
    stage = Stage(settings, observer, NAMES)
    yield stage
    stage.close()


@pytest.fixture
def world(settings: Settings, observer: Observer, direct: Database) -> Iterator[World]:
    yield World(settings, observer, direct)
    observer.clear()
