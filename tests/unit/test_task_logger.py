"""The logger of a task's context: what is kept of a line, and what the service's own log says."""

import logging
import sys
import threading
from collections.abc import Iterator

import pytest

from app.handlers import TaskContext
from app.handlers.lines import LogLines, TaskLogger

FURTHER = "Further lines of this attempt are not kept."


@pytest.fixture(params=["DEBUG", "INFO", "ERROR"])
def level(request: pytest.FixtureRequest) -> Iterator[str]:
    """The service's LOG_LEVEL."""
    logger = logging.getLogger("app.task")
    logger.setLevel(request.param)
    yield request.param
    logger.setLevel(logging.NOTSET)


@pytest.fixture
def told(caplog: pytest.LogCaptureFixture) -> Iterator[pytest.LogCaptureFixture]:
    """What the service's own log says, of every level."""
    with caplog.at_level(logging.DEBUG, "app.task"):
        yield caplog


def logger(most_lines: int = 1000, most_characters: int = 2000) -> tuple[TaskLogger, LogLines]:
    lines = LogLines(3, most_lines, most_characters)
    return TaskLogger(17, 3, lines), lines


def kept(lines: LogLines) -> list[tuple[str, str]]:
    return [(line.level, line.message) for line in lines.waiting()]


# -- Levels -------------------------------------------------------------------------------------


def test_from_info_on_every_line_is_kept_whatever_the_level(
    level: str, caplog: pytest.LogCaptureFixture
) -> None:
    to, lines = logger()
    for say in (to.debug, to.info, to.warning, to.error, to.critical):
        say("a line")

    levels = [name for name, _ in kept(lines)]
    assert levels == ["DEBUG"] * (level == "DEBUG") + ["INFO", "WARNING", "ERROR", "CRITICAL"]
    shown = [record.levelname for record in caplog.records]
    assert shown == [
        each for each in levels if logging.getLevelName(each) >= getattr(logging, level)
    ]


def test_a_handler_that_asks_first_is_told_that_its_line_goes_somewhere(level: str) -> None:
    to, _ = logger()

    assert to.isEnabledFor(logging.INFO)
    assert to.isEnabledFor(logging.DEBUG) == (level == "DEBUG")
    assert to.getEffectiveLevel() == (logging.DEBUG if level == "DEBUG" else logging.INFO)


# -- Limits -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("most", "logged", "expected"),
    [
        (3, 2, ["line 1", "line 2"]),
        (3, 5, ["line 1", "line 2", FURTHER]),
        (1, 5, ["line 1"]),
    ],
)
def test_of_too_many_lines_the_first_are_kept(most: int, logged: int, expected: list[str]) -> None:
    to, lines = logger(most_lines=most)
    for number in range(1, logged + 1):
        to.info("line %d", number)

    assert [message for _, message in kept(lines)] == expected
    assert [line.number for line in lines.waiting()] == list(range(1, len(expected) + 1))
    assert {line.attempt for line in lines.waiting()} == {3}


def test_lines_that_are_stored_still_count(told: pytest.LogCaptureFixture) -> None:
    to, lines = logger(most_lines=3)
    to.info("one")
    first = lines.waiting()
    to.info("two")
    lines.stored(first)
    lines.stored(())

    assert kept(lines) == [("INFO", "two")]
    to.info("three")
    to.info("four")
    assert [line.number for line in lines.waiting()] == [2, 3]
    # The service's own log has no such limit.
    assert len(told.records) == 4


def test_a_long_line_is_cut_in_both_places(told: pytest.LogCaptureFixture) -> None:
    to, lines = logger(most_characters=100)
    to.info("begin " + "ю" * 10_000 + " end")

    [(_, message)] = kept(lines)
    assert len(message) <= 100
    assert message.startswith("begin ")
    assert message.endswith(" end")
    assert len(told.messages[0]) <= 100 + len("task 17: attempt 3: ")


# -- Text ---------------------------------------------------------------------------------------


def test_a_line_carries_task_and_attempt_in_the_services_log(
    told: pytest.LogCaptureFixture,
) -> None:
    to, lines = logger()
    to.info("Привет\n2026-11-24 INFO forged\0\ud800 %s", "мир")

    assert told.messages == [
        "task 17: attempt 3: Привет 2026-11-24 INFO forged\N{REPLACEMENT CHARACTER}"
        "\N{REPLACEMENT CHARACTER}\N{REPLACEMENT CHARACTER}\N{REPLACEMENT CHARACTER} мир"
    ]
    assert told.records[0].name == "app.task"
    told.messages[0].encode()
    [(_, message)] = kept(lines)
    assert message.startswith("Привет\n2026-11-24 INFO forged\N{REPLACEMENT CHARACTER}")
    message.encode()


def test_a_record_names_the_line_that_logged_it(told: pytest.LogCaptureFixture) -> None:
    to, _ = logger()
    to.info("by its name")
    to.log(logging.INFO, "by its level")

    assert {record.funcName for record in told.records} == {
        "test_a_record_names_the_line_that_logged_it"
    }


class Unspeakable:
    def __str__(self) -> str:
        raise RuntimeError("no words")

    __repr__ = __str__


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (("100 %",), "100 %"),
        (("%d items", "many"), "%d items many"),
        (("no place", 1, 2), "no place 1 2"),
        (("%(name)s", {"name": "by name"}), "by name"),
        ((12.5,), "12.5"),
        ((None,), "None"),
        (("%s", Unspeakable()), "%s <tests.unit.test_task_logger.Unspeakable object at"),
        ((Unspeakable(),), "<tests.unit.test_task_logger.Unspeakable object at"),
    ],
)
def test_no_line_makes_its_handler_fail(
    arguments: tuple[object, ...], expected: str, told: pytest.LogCaptureFixture
) -> None:
    to, lines = logger()
    to.warning(*arguments)

    [(level, message)] = kept(lines)
    assert level == "WARNING"
    assert message.startswith(expected)
    assert told.messages[0].startswith(f"task 17: attempt 3: {expected}")


# -- Exceptions ---------------------------------------------------------------------------------


def test_an_exception_is_kept_with_its_traceback(told: pytest.LogCaptureFixture) -> None:
    to, lines = logger()
    try:
        raise ValueError("why")
    except ValueError as error:
        to.exception("in %s", "short")
        to.warning("once more", exc_info=error)
        to.info("and again", exc_info=sys.exc_info())
        to.info("without")

    messages = [message for _, message in kept(lines)]
    for message, text in zip(messages, ("in short", "once more", "and again"), strict=False):
        assert message.startswith(f"{text}\nTraceback (most recent call last):\n")
        assert message.endswith("ValueError: why")
    assert messages[3] == "without"
    assert [bool(record.exc_info) for record in told.records] == [True, True, True, False]


@pytest.mark.parametrize("nothing", [True, False, None, (None, None, None)])
def test_without_an_exception_there_is_no_traceback(nothing: object) -> None:
    to, lines = logger()
    to.info("calm", exc_info=nothing)

    assert kept(lines) == [("INFO", "calm")]


# -- Threads ------------------------------------------------------------------------------------


def test_threads_may_log_at_the_same_time() -> None:
    to, lines = logger(most_lines=10_000)

    def say(who: int) -> None:
        for number in range(200):
            to.info("%d %d", who, number)

    threads = [threading.Thread(target=say, args=(who,)) for who in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    found = lines.waiting()
    assert [line.number for line in found] == list(range(1, 1601))
    for who in range(8):
        own = [line.message for line in found if line.message.startswith(f"{who} ")]
        assert own == [f"{who} {number}" for number in range(200)]


def test_a_context_brings_its_logger(monkeypatch: pytest.MonkeyPatch) -> None:
    context = TaskContext(5, 2, 1)
    context.logger.info("hello")

    assert [(line.attempt, line.message) for line in context.lines.waiting()] == [(2, "hello")]


def test_many_long_lines_are_stored_piece_by_piece() -> None:
    lines = LogLines(1, 1000, 100_000)
    for number in range(12):
        lines.add("INFO", f"{number} " + "я" * 99_000)
    seen = []
    while piece := lines.waiting():
        assert sum(len(line.message) for line in piece) <= 500_000
        assert lines.has_more_than_a_piece() == (len(seen) + len(piece) < 12)
        seen += [line.number for line in piece]
        lines.stored(piece)
    assert seen == list(range(1, 13))
