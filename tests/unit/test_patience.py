"""Many waits with one timer: each is given up at its own time, and only if it still waits."""

import asyncio
import time

from app.services.patience import Patience

SECONDS = 0.1


def given_up(waits, seconds: float = SECONDS) -> list[tuple[str, float]]:
    """Return who was given up by what a coroutine function does, and when, in seconds."""
    found: list[tuple[str, float]] = []
    began = time.monotonic()

    async def main() -> None:
        patience: Patience[str] = Patience(
            seconds, lambda who: found.append((who, time.monotonic() - began))
        )
        await waits(patience)
        await asyncio.sleep(4 * seconds)

    asyncio.run(main())
    return found


def test_each_is_given_up_at_its_own_time() -> None:
    async def waits(patience: Patience[str]) -> None:
        patience.begin("first")
        await asyncio.sleep(SECONDS / 2)
        patience.begin("second")

    (first, first_at), (second, second_at) = given_up(waits)
    assert (first, second) == ("first", "second")
    assert SECONDS <= first_at < second_at
    assert second_at >= 1.5 * SECONDS


def test_who_has_what_it_waits_for_is_not_given_up() -> None:
    async def waits(patience: Patience[str]) -> None:
        for name in ("one", "two", "three"):
            patience.begin(name)
        patience.end("one")
        patience.end("three")
        patience.end("three")

    assert [name for name, _ in given_up(waits)] == ["two"]


def test_who_begins_anew_has_the_whole_time_again() -> None:
    # A busy machine stands still for some hundred milliseconds now and then.
    seconds = 2.0

    async def waits(patience: Patience[str]) -> None:
        patience.begin("slow")
        patience.begin("silent")
        await asyncio.sleep(seconds / 2)
        patience.begin("slow")

    (silent, _), (slow, slow_at) = given_up(waits, seconds)
    assert (silent, slow) == ("silent", "slow")
    assert slow_at >= 1.5 * seconds


def test_one_that_cannot_be_given_up_does_not_keep_the_others() -> None:
    found = []

    def give_up(who: str) -> None:
        found.append(who)
        if who == "first":
            raise RuntimeError(who)

    async def main() -> None:
        asyncio.get_running_loop().set_exception_handler(lambda loop, context: None)
        patience: Patience[str] = Patience(SECONDS, give_up)
        for name in ("first", "second", "third"):
            patience.begin(name)
        await asyncio.sleep(4 * SECONDS)

    asyncio.run(main())
    assert found == ["first", "second", "third"]


def test_it_works_in_the_next_event_loop() -> None:
    found: list[str] = []
    patience: Patience[str] = Patience(SECONDS, found.append)

    async def one(name: str, seconds: float) -> None:
        patience.begin(name)
        await asyncio.sleep(seconds)
        patience.end(name)

    asyncio.run(one("early", 0))
    asyncio.run(one("late", 4 * SECONDS))
    assert found == ["late"]


def test_it_works_on_after_nobody_has_waited() -> None:
    async def waits(patience: Patience[str]) -> None:
        patience.begin("early")
        patience.end("early")
        await asyncio.sleep(2 * SECONDS)
        patience.begin("late")

    ((late, late_at),) = given_up(waits)
    assert late == "late"
    assert late_at >= 3 * SECONDS


def test_many_waits_take_one_timer(monkeypatch) -> None:
    timers = 0

    async def waits(patience: Patience[str]) -> None:
        loop = asyncio.get_running_loop()
        call_later = loop.call_later

        def counted(*args):
            nonlocal timers
            timers += 1
            return call_later(*args)

        monkeypatch.setattr(loop, "call_later", counted)
        for number in range(1000):
            patience.begin(str(number))
            patience.end(str(number))
        monkeypatch.undo()

    assert given_up(waits) == []
    assert timers == 1
