"""The console: prefixes, lines held back, and a terminal that does not read."""

import os
from collections.abc import Iterator
from contextlib import suppress

import pytest

from app.local.console import Console, wants_colour


@pytest.fixture
def pipe() -> Iterator[tuple[int, int]]:
    read, write = os.pipe()
    yield read, write
    for descriptor in (read, write):
        with suppress(OSError):
            os.close(descriptor)


def written(pipe: tuple[int, int]) -> list[str]:
    os.close(pipe[1])
    return os.read(pipe[0], 65_536).decode().splitlines()


def test_each_line_carries_its_process_name(pipe: tuple[int, int]) -> None:
    console = Console(pipe[1], colour=False)
    console.release()

    console.prefixed("api")("hello")
    console.prefixed("postgres")("привет")
    console.close()

    assert written(pipe) == ["api       | hello", "postgres  | привет"]


def test_lines_wait_until_the_run_is_ready(pipe: tuple[int, int]) -> None:
    console = Console(pipe[1], colour=False)
    api = console.prefixed("api")

    api("early")
    console.say("ready")
    console.release()
    api("late")
    console.close()

    assert written(pipe) == ["ready", "api       | early", "api       | late"]


def test_lines_of_a_run_that_never_was_ready_are_not_written(pipe: tuple[int, int]) -> None:
    console = Console(pipe[1], colour=False)
    console.prefixed("api")("early")
    console.close()

    assert written(pipe) == []


def test_only_prefixes_are_coloured_and_each_in_its_own_way(pipe: tuple[int, int]) -> None:
    console = Console(pipe[1], colour=True)
    console.release()
    for name in ("api", "worker"):
        console.prefixed(name)("line")
    console.close()

    lines = written(pipe)
    assert all(line.startswith("\x1b[") and line.endswith("\x1b[0mline") for line in lines)
    assert lines[0][:5] != lines[1][:5]


def test_a_reader_that_stopped_reading_blocks_nobody(pipe: tuple[int, int]) -> None:
    console = Console(pipe[1], colour=False)
    console.release()
    api = console.prefixed("api")

    for _ in range(20_000):  # Far more than the pipe and the console hold.
        api("x" * 100)
    console.close(0.1)


def test_a_reader_that_has_gone_is_ignored(pipe: tuple[int, int]) -> None:
    console = Console(pipe[1], colour=False)
    os.close(pipe[0])

    console.say("to nobody")
    console.close()


def test_colour_is_for_terminals_whose_user_wants_it(pipe: tuple[int, int]) -> None:
    main, terminal = os.openpty()
    try:
        assert wants_colour(terminal, None)
        assert wants_colour(terminal, "")
        assert not wants_colour(terminal, "1")
        assert not wants_colour(pipe[1], None)
    finally:
        os.close(main)
        os.close(terminal)
