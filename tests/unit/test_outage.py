"""What the log says of a Redis that takes no messages: enough, and not with each message."""

from collections.abc import Callable

import pytest

from app.broker.outage import Outage


class Clock:
    """A clock that is set by hand, in seconds."""

    def __init__(self) -> None:
        self.at = 100.0

    def __call__(self) -> float:
        return self.at


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def outage(clock: Clock) -> Outage:
    return Outage(clock)


@pytest.fixture
def said(caplog: pytest.LogCaptureFixture) -> Callable[[], list[str]]:
    """What has been logged since this was last asked."""
    caplog.set_level("INFO", "app.broker.outage")

    def take() -> list[str]:
        lines = [record.getMessage() for record in caplog.records]
        caplog.clear()
        return lines

    return take


def refused(messages: int, seconds: int, reason: str = "gone") -> str:
    return (
        f"Could not publish {messages} messages in {seconds} s; "
        f"their tasks wait in the database: {reason}"
    )


def test_an_outage_is_said_at_first_and_once_a_minute(outage, clock, said) -> None:
    for _ in range(240):
        outage.note(2, OSError("gone"))
        clock.at += 0.5
    assert said() == [refused(2, 0), refused(242, 60)]


def test_another_reason_is_said_sooner_but_not_each_time(outage, clock, said) -> None:
    for _ in range(10):
        outage.note(1, OSError("gone"))
        outage.note(1, TimeoutError())
        clock.at += 1
    assert said() == [refused(1, 0), refused(12, 5, "TimeoutError")]


def test_its_end_is_said_once_and_the_next_one_counts_anew(outage, clock, said) -> None:
    outage.end()
    assert said() == []
    outage.note(3, OSError("gone"))
    clock.at += 1.5
    outage.end()
    outage.end()
    assert said() == [refused(3, 0), "Redis takes messages again after 1.5 s"]
    outage.note(1, OSError("gone"))
    assert said() == [refused(1, 0)]


def test_the_reason_is_what_redis_says_and_not_what_it_was_told(outage, clock, said) -> None:
    for queue in ("high", "low"):
        command = f'LPUSH {queue} {{"title": "a secret of pipeline caused error: "}}'
        outage.note(1, OSError(f"Command # 1 ({command}) of pipeline caused error: OOM"))
        clock.at += 10
    assert said() == [refused(1, 0, "OOM")]
