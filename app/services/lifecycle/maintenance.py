"""One round of repairs: what keeps every task moving when messages, workers or publishers are lost.

Run by every worker twice a second; an advisory lock lets one of them do it at a time. Each step
is a transaction of its own and safe to repeat, so that a round may end anywhere.
"""

import logging

from app.broker.publisher import Publisher
from app.db import maintenance as store
from app.db import promotion, rounds
from app.db.engine import Database
from app.db.transitions import Moved
from app.domain.priority import QUEUES_BY_URGENCY
from app.errors import BrokerUnavailable
from app.services.health import WORKER_SILENCE_SECONDS
from app.services.lifecycle.batches import BATCH, batches
from app.services.lifecycle.dispatch import dispatch
from app.services.lifecycle.lost_messages import LostMessages
from app.services.lifecycle.retention import Retention
from app.settings import Settings

log = logging.getLogger(__name__)


def run_round(
    database: Database,
    publisher: Publisher,
    settings: Settings,
    lost_messages: LostMessages,
    retention: Retention | None = None,
) -> bool:
    """Do one round, unless another worker is doing one; return whether it was done.

    Raises:
        DatabaseUnavailable: PostgreSQL does not answer; the next round goes on.
    """
    quarter = settings.max_wait_seconds / 4
    with database.transaction() as guard:
        need = rounds.try_lead(guard, quarter, lost_messages.least_age_seconds)
        if need is None:
            return False
        if need.rescue:
            rescue_lapsed(database, settings)
        if need.promotion:
            promote_patient(database, settings)
        # Once at the start too: a Redis that is new seems to have lost everything.
        has_to_compare = need.comparison or not lost_messages.has_looked
        if has_to_compare:
            try:
                lost_messages.mark(database, publisher, need.at)
            except BrokerUnavailable as error:
                log.debug("The queues cannot be compared with the task table: %s", error)
                # To publish would be in vain, and a second wait would outlast the lead.
                return True
        # Each of these may have put tasks back in line.
        if need.rescue or need.promotion or has_to_compare or need.dispatch:
            dispatch_due(database, publisher)
        # Last, since nobody waits for it.
        if retention is not None:
            retention.step(database)
        return True


def rescue_lapsed(database: Database, settings: Settings) -> None:
    """Bring back the tasks whose worker has not renewed their lease in time."""
    for _ in batches():
        with database.statement() as connection:
            rescued = store.rescue_lapsed(connection, settings.crash_limit, BATCH)
        _log_rescued(rescued)
        if len(rescued) < BATCH:
            return


def rescue_from(database: Database, worker: str, settings: Settings) -> None:
    """Bring back at once what a process ran that is known to be dead."""
    with database.transaction() as connection:
        _log_rescued(store.rescue_from(connection, worker, settings.crash_limit))


def _log_rescued(tasks: list[Moved]) -> None:
    for task in tasks:
        log.warning(
            "task %d: attempt %d ended with its worker %s; it is %s now",
            task.id,
            task.attempt,
            task.worker,
            task.status,
        )


def promote_patient(database: Database, settings: Settings) -> None:
    """Raise tasks by one queue with each quarter of the longest wait, ahead of all in the last.

    That quarter is for a slot to become free, and for others that have waited still longer.
    """
    quarter = settings.max_wait_seconds / 4
    for quarters, to in zip((3, 2, 1), QUEUES_BY_URGENCY, strict=False):
        waited = quarters * quarter
        with database.statement() as connection:
            promoted = promotion.promote(connection, to, waited, WORKER_SILENCE_SECONDS)
        if promoted:
            log.info("Raised %d tasks to queue %s after %g s of waiting", len(promoted), to, waited)


def dispatch_due(database: Database, publisher: Publisher) -> None:
    """Publish what is due and in no queue: retries, and what its own API process could not."""
    for _ in batches():
        with database.statement() as connection:
            messages = store.undispatched(connection, BATCH)
        if not messages:
            return
        if not dispatch(database, publisher, messages) or len(messages) < BATCH:
            return
