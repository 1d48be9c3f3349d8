"""Puts the ASGI application together: what it opens, its middleware, its routes."""

import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import anyio.to_thread
from fastapi import FastAPI
from fastapi_offline import FastAPIOffline

from app import __version__, garbage, logs
from app.api import creation, history, problems, reading, service, task_types, tasks
from app.api.dependencies import Resources
from app.api.head import HeadAsGet
from app.api.limits import BodyLimit
from app.api.measuring import Measuring
from app.api.openapi import describe
from app.api.pages import PAGE_LANES, open_pages
from app.broker.celery import create_celery
from app.broker.loop_publisher import LoopPublisher
from app.broker.publisher import Publisher
from app.db import schema
from app.db.engine import Database
from app.errors import Unavailable
from app.handlers import registry
from app.services.health import Health
from app.services.lifecycle.dispatch import Dispatcher
from app.services.reading import open_reader
from app.services.tasks import open_writer
from app.settings import Settings, get_settings

# Seconds that tasks created last have to be published before the process ends.
_DRAIN_SECONDS = 2.0

log = logging.getLogger(__name__)


def create_application() -> FastAPI:
    """Return the application, ready to be served; it connects when it starts."""
    settings = get_settings()
    logs.configure(settings)
    registry.load()
    # fastapi-offline serves the documentation pages' scripts itself, so that they need no internet.
    app: FastAPI = FastAPIOffline(
        title="Task Manager API",
        version=__version__,
        description="Takes work over HTTP, runs it on Celery workers, and keeps what became of it.",
        lifespan=_lifespan,
        redirect_slashes=False,
    )
    problems.install(app)
    app.add_middleware(BodyLimit, max_bytes=settings.max_body_bytes)
    app.add_middleware(Measuring)
    app.add_middleware(HeadAsGet)
    # Not with `include_router`, which searches each router anew at every request; the routes that
    # are asked for most come first.
    modules = (creation, reading, tasks, history, service, task_types)
    app.router.routes[:0] = [route for module in modules for route in module.router.routes]
    describe(app)
    return app


@asynccontextmanager
async def _lifespan(app: FastAPI) -> AsyncIterator[None]:
    settings = get_settings()
    resources = _open(settings)
    app.state.resources = resources
    # As many threads as connections: with more, requests would wait for each other's.
    anyio.to_thread.current_default_thread_limiter().total_tokens = settings.api_threads
    await anyio.to_thread.run_sync(_say_schema, resources.database)
    resources.dispatcher.start()
    resources.writer.start()
    resources.reader.start()
    garbage.spare_what_is_there()
    try:
        yield
    finally:
        # What was asked for is stored first, and then published.
        await resources.writer.close(_DRAIN_SECONDS)
        await resources.reader.close(_DRAIN_SECONDS)
        await resources.dispatcher.stop(_DRAIN_SECONDS)
        await resources.loop_publisher.close()
        resources.loop_database.close()
        resources.health.close()
        resources.database.close()


def _open(settings: Settings) -> Resources:
    celery = create_celery(settings, publisher_only=True)
    publisher = Publisher(celery)
    database = Database(
        settings, pool_size=settings.api_threads, application_name="task-manager api"
    )
    # For the writer, the dispatcher, the reader, and pages.
    loop_database = Database(
        settings,
        pool_size=3 + PAGE_LANES,
        application_name="task-manager api",
        in_event_loop=True,
        generic_plans=True,
    )
    loop_publisher = LoopPublisher(celery, settings)
    health = Health(
        Database(
            settings,
            pool_size=Health.CONNECTIONS,
            application_name="task-manager health",
            timeout_seconds=settings.health_timeout_seconds,
        ),
        publisher,
        settings.health_timeout_seconds,
    )
    dispatcher = Dispatcher(loop_database, loop_publisher)
    return Resources(
        database,
        loop_database,
        publisher,
        loop_publisher,
        dispatcher,
        open_writer(loop_database, dispatcher, settings),
        open_reader(loop_database, settings),
        open_pages(loop_database, settings),
        health,
        settings,
    )


def _say_schema(database: Database) -> None:
    """Say clearly at the start what requests would otherwise run into one by one."""
    try:
        with database.transaction() as connection:
            schema.check(connection)
    except Unavailable as error:
        log.error("Requests that need the database get 503 for now: %s", error)
