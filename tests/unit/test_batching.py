"""What many requests ask for at the same time is done at once, within bounds and fairly."""

import asyncio
import threading

import pytest

from app.errors import DatabaseUnavailable, Overloaded
from app.services.batching import Batcher


class Work:
    """Work that notes its batches, and that a test can hold up."""

    def __init__(self) -> None:
        self.batches: list[list[int]] = []
        self.free = asyncio.Event()
        self.free.set()
        self.began = asyncio.Event()
        self.error: Exception | None = None

    async def __call__(self, batch: list[int]) -> list[int | Exception]:
        self.batches.append(batch)
        self.began.set()
        await asyncio.wait_for(self.free.wait(), 10)
        if self.error:
            raise self.error
        return [ValueError(f"not {item}") if item < 0 else item * 10 for item in batch]

    def hold(self) -> None:
        self.began.clear()
        self.free.clear()

    async def begun(self) -> None:
        await asyncio.wait_for(self.began.wait(), 10)


def batcher(work: Work, **limits) -> Batcher[int, int]:
    wanted = {
        "most_waiting": 100,
        "most_at_once": 4,
        "most_weight": 1000,
        "patience_seconds": 10,
        "weigh": abs,
        **limits,
    }
    made = Batcher(work, **wanted)
    made.start()
    return made


def asked(made: Batcher[int, int], *items: int) -> list[asyncio.Task[int]]:
    return [asyncio.create_task(made.submit(item)) for item in items]


def test_what_comes_while_a_batch_is_worked_on_is_the_next_batch() -> None:
    async def main() -> None:
        work = Work()
        made = batcher(work)
        work.hold()
        first = asked(made, 1)
        await work.begun()
        others = asked(made, 2, 3, 4, 5, 6)
        await asyncio.sleep(0)
        work.free.set()
        assert await asyncio.gather(*first, *others) == [10, 20, 30, 40, 50, 60]
        assert work.batches == [[1], [2, 3, 4, 5], [6]]
        await made.close(5)

    asyncio.run(main())


def test_one_that_is_refused_fails_alone_and_a_batch_that_fails_fails_whole() -> None:
    async def main() -> None:
        work = Work()
        made = batcher(work)
        outcomes = await asyncio.gather(*asked(made, 1, -2, 3), return_exceptions=True)
        assert [outcomes[0], outcomes[2]] == [10, 30]
        assert isinstance(outcomes[1], ValueError)
        work.error = DatabaseUnavailable("away")
        outcomes = await asyncio.gather(*asked(made, 1, 2), return_exceptions=True)
        assert outcomes == [work.error, work.error]
        work.error = None
        assert await made.submit(7) == 70
        await made.close(5)

    asyncio.run(main())


@pytest.mark.parametrize(("limits", "items"), [({"most_waiting": 2}, (1, 2)), ({}, (600, 300))])
def test_more_than_may_wait_is_turned_away_at_once(limits, items) -> None:
    async def main() -> None:
        work = Work()
        made = batcher(work, **limits)
        work.hold()
        waiting = asked(made, *items)
        await work.begun()
        with pytest.raises(Overloaded):
            await made.submit(200)
        work.free.set()
        await asyncio.gather(*waiting)
        assert await made.submit(5000) == 50000, "what comes alone is taken, however heavy"
        await made.close(5)

    asyncio.run(main())


def test_nobody_waits_for_longer_than_is_said_and_what_was_given_up_is_not_begun() -> None:
    async def main() -> None:
        work = Work()
        made = batcher(work, patience_seconds=0.05)
        work.hold()
        held = asked(made, 1)
        await work.begun()
        late, gone = asked(made, 2, 3)
        await asyncio.sleep(0)
        gone.cancel()
        for waiting in (*held, late):
            with pytest.raises(DatabaseUnavailable):
                await waiting
        work.free.set()
        assert await made.submit(4) == 40
        assert work.batches == [[1], [4]]
        await made.close(5)

    asyncio.run(main())


def test_while_there_is_no_hope_one_tries_and_the_others_are_turned_away() -> None:
    async def main() -> None:
        work, silent = Work(), threading.Event()
        made = batcher(work, is_hopeless=silent.is_set)
        work.hold()
        trying = asked(made, 1)
        await work.begun()
        behind = asked(made, 2, 3, 4, 5, 6, 7)
        await asyncio.sleep(0)
        silent.set()
        with pytest.raises(DatabaseUnavailable):
            await made.submit(8)
        work.error = DatabaseUnavailable("no answer")
        work.free.set()
        outcomes = await asyncio.gather(*trying, *behind, return_exceptions=True)
        assert outcomes == [work.error] * 7
        assert work.batches == [[1]]
        work.error = None
        assert await made.submit(9) == 90
        await made.close(5)

    asyncio.run(main())


def test_what_was_submitted_before_the_end_is_still_done() -> None:
    async def main() -> None:
        work = Work()
        made = batcher(work)
        work.hold()
        waiting = asked(made, 1, 2, 3, 4, 5, 6, 7, 8, 9)
        await work.begun()
        closing = asyncio.create_task(made.close(5))
        work.free.set()
        await closing
        assert await asyncio.gather(*waiting) == [10, 20, 30, 40, 50, 60, 70, 80, 90]

    asyncio.run(main())
