"""A database for coroutines: whoever waits for PostgreSQL lets the others of the loop go on."""

import asyncio
import threading

from sqlalchemy import literal, select

from app.db.engine import Database, in_event_loop
from app.settings import Settings

_ONE = select(literal(1))


def test_the_first_connections_may_be_made_at_the_same_time(settings: Settings) -> None:
    database = Database(settings, pool_size=4, application_name="test", in_event_loop=True)
    answers: list[int] = []

    def ask() -> int:
        with database.statement() as connection:
            return connection.execute(_ONE).scalar_one()

    async def main() -> None:
        answers.extend(await asyncio.gather(*(in_event_loop(ask) for _ in range(4))))

    # A loop that waits for itself takes no time-out; its thread can be left behind.
    thread = threading.Thread(target=asyncio.run, args=(main(),), daemon=True)
    thread.start()
    thread.join(10)
    assert answers == [1, 1, 1, 1]
    database.close()
