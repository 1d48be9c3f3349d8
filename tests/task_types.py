"""Task types for tests: each writes to a ledger outside the service when it starts and ends."""

import asyncio
import ctypes
import logging
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

from pydantic import BaseModel

from app.domain.retry import Backoff
from app.handlers import AttemptStopped, PermanentError, RetryLater, TaskContext, task_type
from tests.ledger import Ledger


class Work(BaseModel):
    """How long, and for whom to wait."""

    seconds: float = 0.0


def _kind(name: str, **options):
    """Register a handler that writes to the ledger around its work."""

    def decorate(work):
        @task_type(name, **options)
        def handler(payload: Work, context: TaskContext) -> str:
            with Ledger(Path(os.environ["TEST_LEDGER"])).attempt(context.task_id, context.attempt):
                work(payload, context)
            return f"done by attempt {context.attempt}"

        return handler

    return decorate


@_kind("sleep")
def sleep(payload: Work, context: TaskContext) -> None:
    time.sleep(payload.seconds)


@_kind("long_at_first")
def long_at_first(payload: Work, context: TaskContext) -> None:
    if context.attempt == 1:
        time.sleep(payload.seconds)


@_kind("waits_for_word")
def waits_for_word(payload: Work, context: TaskContext) -> None:
    while not Ledger(Path(os.environ["TEST_LEDGER"])).word_is_given():
        time.sleep(0.02)
    time.sleep(payload.seconds)


@_kind("socket_wait")
def socket_wait(payload: Work, context: TaskContext) -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        ours.recv(1)


@_kind("cpu_loop")
def cpu_loop(payload: Work, context: TaskContext) -> None:
    deadline = time.monotonic() + payload.seconds
    while time.monotonic() < deadline:
        sum(range(1000))


@_kind("child_process")
def child_process(payload: Work, context: TaskContext) -> None:
    subprocess.run([sys.executable, "-c", "import time; time.sleep(60)"], check=True)


@_kind("swallows_exceptions")
def swallows_exceptions(payload: Work, context: TaskContext) -> None:
    deadline = time.monotonic() + payload.seconds
    while time.monotonic() < deadline:
        try:
            time.sleep(0.05)
        except Exception:
            continue


@_kind("swallows_everything")
def swallows_everything(payload: Work, context: TaskContext) -> None:
    deadline = time.monotonic() + payload.seconds
    while time.monotonic() < deadline:
        try:
            time.sleep(0.05)
        except BaseException:
            continue


@_kind("deaf_c_call")
def deaf_c_call(payload: Work, context: TaskContext) -> None:
    # A lock that is taken twice: it waits in C, where no signal's handler runs, and costs nothing.
    lock = ctypes.create_string_buffer(64)
    library = ctypes.CDLL(None)
    for _ in range(2):
        library.pthread_mutex_lock(lock)


@_kind("holds_interpreter")
def holds_interpreter(payload: Work, context: TaskContext) -> None:
    # It backtracks for ever, inside one call that never gives the interpreter's lock away.
    re.match(r"(a+)+$", "a" * 40 + "b")


@_kind("holds_interpreter_at_first")
def holds_interpreter_at_first(payload: Work, context: TaskContext) -> None:
    if context.attempt == 1:
        re.match(r"(a+)+$", "a" * 40 + "b")


@_kind("freezes")
def freezes(payload: Work, context: TaskContext) -> None:
    os.kill(os.getpid(), signal.SIGSTOP)


@_kind("poison")
def poison(payload: Work, context: TaskContext) -> None:
    os.kill(os.getpid(), signal.SIGKILL)


@_kind("dies_once")
def dies_once(payload: Work, context: TaskContext) -> None:
    if context.attempt == 1:
        os.kill(os.getpid(), signal.SIGKILL)


@_kind("gives_up", max_attempts=5, backoff=Backoff(initial_seconds=0.1))
def gives_up(payload: Work, context: TaskContext) -> None:
    raise PermanentError("there is no point")


@_kind("fails_twice", max_attempts=3, backoff=Backoff(initial_seconds=0.5, factor=2, jitter=False))
def fails_twice(payload: Work, context: TaskContext) -> None:
    if context.failures < 2:
        raise RuntimeError(f"Сбой\0 номер {context.failures + 1}\nвторая строка")


@_kind("exits")
def exits(payload: Work, context: TaskContext) -> None:
    sys.exit(3)


@_kind("is_cancelled_inside")
def is_cancelled_inside(payload: Work, context: TaskContext) -> None:
    raise asyncio.CancelledError


class UnspeakableError(Exception):
    def __str__(self) -> str:
        raise RuntimeError("no words")


@_kind("is_unspeakable")
def is_unspeakable(payload: Work, context: TaskContext) -> None:
    raise UnspeakableError


@_kind("logs_without_end")
def logs_without_end(payload: Work, context: TaskContext) -> None:
    while True:
        logging.getLogger("tests").info("a line")


@task_type("returns_no_json")
def returns_no_json(payload: Work, context: TaskContext) -> object:
    return object()


@task_type("returns_odd_text")
def returns_odd_text(payload: Work, context: TaskContext) -> object:
    return {"nul\0": ["\ud800", "Юникод", None, 1.5]}


class Size(BaseModel):
    """How large the result is to be."""

    bytes: int


@task_type("returns_much")
def returns_much(payload: Size, context: TaskContext) -> str:
    # With its quotes it is that many bytes of JSON.
    return "x" * (payload.bytes - 2)


@_kind("asks_for_a_pause", max_attempts=2, backoff=Backoff(initial_seconds=0.01))
def asks_for_a_pause(payload: Work, context: TaskContext) -> None:
    if context.attempt == 1:
        raise RetryLater("the target is busy", after_seconds=payload.seconds)


@_kind("logs_and_dies")
def logs_and_dies(payload: Work, context: TaskContext) -> None:
    context.logger.info("Строка %d", context.attempt)
    if context.attempt == 1:
        # Longer than a heartbeat, which takes the line along.
        time.sleep(payload.seconds)
        os.kill(os.getpid(), signal.SIGKILL)


@_kind("logs_much")
def logs_much(payload: Work, context: TaskContext) -> None:
    for number in range(1, 2001):
        context.logger.info("line %d %s", number, "я" * 3000)


@_kind("reports_progress_often")
def reports_progress_often(payload: Work, context: TaskContext) -> None:
    deadline = time.monotonic() + payload.seconds
    count = 0
    while time.monotonic() < deadline:
        count += 1
        context.progress(0.5, f"call {count}")
    context.logger.info("%d calls", count)


@_kind("asks_whether_to_stop")
def asks_whether_to_stop(payload: Work, context: TaskContext) -> None:
    # In a thread of its own, which no signal reaches.
    stopped = []

    def work() -> None:
        try:
            while True:
                time.sleep(0.01)
                context.check_cancelled()
        except AttemptStopped:
            stopped.append(True)
            Ledger(Path(os.environ["TEST_LEDGER"])).write(context.task_id, context.attempt, "heard")

    thread = threading.Thread(target=work)
    thread.start()
    try:
        while thread.is_alive():
            time.sleep(0.01)
    finally:
        thread.join()


@_kind("is_same_token")
def is_same_token(payload: Work, context: TaskContext) -> None:
    ledger = Ledger(Path(os.environ["TEST_LEDGER"]))
    ledger.write(context.task_id, context.attempt, context.idempotency_token)
    if context.attempt == 1:
        raise RuntimeError("once more")


@task_type("returns_endless_text")
def returns_endless_text(payload: Work, context: TaskContext) -> object:
    value: list[object] = []
    for _ in range(60):
        value = [value, value]
    return value


class EndlessError(Exception):
    def __str__(self) -> str:
        time.sleep(60)
        return ""


@_kind("raises_what_has_no_end")
def raises_what_has_no_end(payload: Work, context: TaskContext) -> None:
    raise EndlessError


@_kind("sets_odd_progress")
def sets_odd_progress(payload: Work, context: TaskContext) -> None:
    logging.addLevelName(25, "NOT\0ICE")
    context.progress_fraction = 2
    context.logger.log(25, "a line")
    time.sleep(payload.seconds)


class Reaction(Work):
    """What a handler makes of being stopped."""

    raises: bool = False


@task_type("goes_on_when_stopped")
def goes_on_when_stopped(payload: Reaction, context: TaskContext) -> str:
    try:
        time.sleep(payload.seconds)
    except AttemptStopped:
        if payload.raises:
            raise RuntimeError("something else") from None
    return "half of it"


class AsyncWork(Work):
    """What an async handler is to do."""

    catches: bool = False


@task_type("waits_async")
async def waits_async(payload: AsyncWork, context: TaskContext) -> str:
    with Ledger(Path(os.environ["TEST_LEDGER"])).attempt(context.task_id, context.attempt):
        try:
            await asyncio.sleep(payload.seconds)
        except asyncio.CancelledError:
            Ledger(Path(os.environ["TEST_LEDGER"])).write(
                context.task_id, context.attempt, "cleaned"
            )
            if not payload.catches:
                raise
            return "caught"
    return "awaited"
