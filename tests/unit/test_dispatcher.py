"""When the dispatcher publishes what it is offered: at once, or together with what else comes."""

import asyncio
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from types import SimpleNamespace

from app.domain.priority import QueueName
from app.domain.status import Status
from app.services.lifecycle import dispatch
from app.services.lifecycle.dispatch import Dispatcher

LONG = 60.0


class Heard:
    """A broker and a database that note what reaches them."""

    def __init__(self) -> None:
        self.published: list[list[int]] = []
        self.recorded: list[int] = []

    async def publish(self, messages) -> bool:
        self.published.append([message.task_id for message in messages])
        return True


def run(test: Callable[[Dispatcher, Heard], Awaitable[None]], **seconds: float) -> None:
    async def with_dispatcher() -> None:
        heard = Heard()
        dispatcher = Dispatcher(None, heard)

        async def record() -> None:
            messages, dispatcher._unrecorded = dispatcher._unrecorded, []
            heard.recorded += [message.task_id for message in messages]

        dispatcher._record = record
        for name, value in seconds.items():
            setattr(dispatcher, name, value)
        dispatcher.start()
        try:
            await asyncio.wait_for(test(dispatcher, heard), 10)
        finally:
            await dispatcher.stop(1)

    asyncio.run(with_dispatcher())


def task(number: int) -> SimpleNamespace:
    return SimpleNamespace(
        id=number,
        queue=QueueName.LOW,
        type="noop",
        title="задача",
        status=Status.NEW,
        updated_at=datetime.now(UTC),
    )


async def until(is_so: Callable[[], bool]) -> None:
    for _ in iter(is_so, True):
        await asyncio.sleep(0.001)


def test_one_that_comes_alone_is_published_at_once_also_soon_after_another() -> None:
    async def test(dispatcher: Dispatcher, heard: Heard) -> None:
        for number in range(1, 5):
            dispatcher.offer([task(number)])
            await until(lambda n=number: heard.published[-1:] == [[n]])
        assert heard.published == [[1], [2], [3], [4]]
        # Their records wait for each other.
        assert heard.recorded == []

    run(test, _RECORD=LONG, _GATHER=LONG)


def test_one_record_follows_for_all_that_was_published_meanwhile() -> None:
    async def test(dispatcher: Dispatcher, heard: Heard) -> None:
        for number in (1, 2):
            dispatcher.offer([task(number)])
            await until(lambda n=number: heard.published[-1:] == [[n]])
        await until(lambda: heard.recorded == [1, 2])
        # And the next one is not lost on it.
        dispatcher.offer([task(3)])
        await until(lambda: heard.recorded == [1, 2, 3])

    run(test, _RECORD=0.2)


def test_what_comes_after_a_crowd_is_gathered() -> None:
    async def test(dispatcher: Dispatcher, heard: Heard) -> None:
        dispatcher.offer([task(1), task(2), task(3)])
        await until(lambda: heard.published == [[1, 2, 3]])
        dispatcher.offer([task(4)])
        for _ in range(20):
            await asyncio.sleep(0)
        dispatcher.offer([task(5)])
        await until(lambda: len(heard.published) > 1)
        assert heard.published == [[1, 2, 3], [4, 5]]

    run(test, _RECORD=LONG, _GATHER=0.2)


def test_a_stop_publishes_and_records_what_was_offered() -> None:
    async def test(dispatcher: Dispatcher, heard: Heard) -> None:
        dispatcher.offer([task(1)])
        await until(lambda: heard.published == [[1]])
        dispatcher.offer([task(2)])
        await dispatcher.stop(5)
        assert heard.published == [[1], [2]]
        assert heard.recorded == [1, 2]

    run(test, _RECORD=LONG, _GATHER=LONG)


def test_a_record_is_not_put_off_by_offers_that_do_not_end() -> None:
    async def test(dispatcher: Dispatcher, heard: Heard) -> None:
        async def publish_while_more_is_offered(messages) -> bool:
            # Whatever is published, more has come meanwhile.
            if len(heard.published) < 10_000:
                dispatcher.offer([task(1000 + len(heard.published))])
            await asyncio.sleep(0)
            return await Heard.publish(heard, messages)

        heard.publish = publish_while_more_is_offered
        dispatcher.offer([task(1)])
        await until(lambda: len(heard.recorded) >= 1)
        assert len(heard.recorded) <= 200
        assert len(heard.published) < 10_000

    run(test, _RECORD=0.05)


def test_what_a_standstill_has_left_is_recorded_in_pieces(monkeypatch) -> None:
    pieces: list[list[int]] = []
    monkeypatch.setattr(
        dispatch,
        "record",
        lambda database, messages: pieces.append([message.task_id for message in messages]),
    )

    async def test() -> None:
        dispatcher = Dispatcher(None, Heard())
        dispatcher.start()
        dispatcher.offer([task(number) for number in range(3000)])
        await asyncio.wait_for(until(lambda: sum(map(len, pieces)) == 3000), 10)
        await dispatcher.stop(1)

    asyncio.run(test())
    assert [number for piece in pieces for number in piece] == list(range(3000))
    # To record so many takes PostgreSQL milliseconds; ten thousand in one go may take it longer
    # than its time-out.
    assert max(map(len, pieces)) <= 200
