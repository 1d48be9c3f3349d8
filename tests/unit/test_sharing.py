"""What many ask for at the same time is done once, and never before they asked."""

import asyncio

import pytest

from app.errors import Overloaded
from app.services.sharing import Shared


class Work:
    """Work that notes what it began, and ends when a test says so."""

    def __init__(self) -> None:
        self.begun: list[str] = []
        self.ends: list[asyncio.Future[str]] = []
        self.third = asyncio.Event()

    async def __call__(self, key: str) -> str:
        self.begun.append(key)
        if len(self.begun) == 3:
            self.third.set()
        self.ends.append(asyncio.get_running_loop().create_future())
        return await self.ends[-1]


def shared(work: Work, *, most: int = 100, patience: float = 10) -> Shared[str, str]:
    return Shared(work, most_waiting=most, patience_seconds=patience)


def asked(made: Shared[str, str], *keys: str) -> list[asyncio.Task[str]]:
    return [asyncio.create_task(made.get(key)) for key in keys]


async def settled() -> None:
    """Let everything go on that can."""
    for _ in range(10):
        await asyncio.sleep(0)


def test_who_asks_while_it_is_done_shares_the_next_time_and_gets_nothing_old() -> None:
    async def main() -> None:
        work = Work()
        made = shared(work)
        first = asked(made, "a")
        await settled()
        later = asked(made, "a", "a", "a")
        await settled()
        assert work.begun == ["a"]
        work.ends[0].set_result("old")
        assert await asyncio.gather(*first) == ["old"]
        await settled()
        assert work.begun == ["a", "a"]
        work.ends[1].set_result("new")
        assert await asyncio.gather(*later) == ["new"] * 3
        again = asked(made, "a")
        await settled()
        assert len(work.begun) == 3, "nothing is kept"
        work.ends[2].set_result("newest")
        assert await again[0] == "newest"

    asyncio.run(main())


def test_different_things_do_not_wait_for_each_other_nor_for_ever_for_a_slow_one() -> None:
    async def main() -> None:
        work = Work()
        made = shared(work, patience=0.05)
        requests = asked(made, "slow", "b")
        await settled()
        requests += asked(made, "slow")
        assert work.begun == ["slow", "b"]
        async with asyncio.timeout(5):
            await work.third.wait()
        for number, end in enumerate(work.ends):
            end.set_result(f"{number}")
        assert await asyncio.gather(*requests) == ["0", "1", "2"]

    asyncio.run(main())


def test_an_error_reaches_all_who_asked_and_who_goes_away_takes_nothing_along() -> None:
    async def main() -> None:
        work = Work()
        made = shared(work, most=3)
        gone, *staying = asked(made, "a", "a", "a")
        await settled()
        with pytest.raises(Overloaded):
            await made.get("b")
        gone.cancel()
        await settled()
        work.ends[0].set_exception(ValueError("no"))
        outcomes = await asyncio.gather(*staying, return_exceptions=True)
        assert [str(each) for each in outcomes] == ["no", "no"]
        after = asked(made, "a", "b")
        await settled()
        assert work.begun == ["a", "a", "b"]
        for each in after:
            each.cancel()

    asyncio.run(main())
