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
import time
from pathlib import Path

from pydantic import BaseModel

from app.domain.retry import Backoff
from app.handlers import PermanentError, TaskContext, task_type
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


@_kind("fails_twice", max_attempts=3, backoff=Backoff(initial_seconds=0.5, factor=2))
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
