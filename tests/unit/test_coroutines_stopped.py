"""Handlers that are coroutines, stopped as a worker stops them: by its signal, from a thread."""

import asyncio
import gc
import logging
import signal
import threading
import time
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import pytest
from pydantic import BaseModel

from app.handlers import AttemptStopped, TaskContext, registry, task_type
from app.worker import interruption
from app.worker.interruption import Run, StopReason

# A run only hands them on.
TASK: Any = SimpleNamespace(id=1, attempt=1)
TERMS: Any = None


class Nothing(BaseModel):
    """No choices."""


class Stage:
    """What a handler has come to."""

    def __init__(self) -> None:
        self.begun = threading.Event()
        self.cleaned = 0


stage = Stage()


@pytest.fixture(autouse=True)
def own_stage(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    registry.load()
    monkeypatch.setattr(registry, "_types", {})
    monkeypatch.setattr("tests.unit.test_coroutines_stopped.stage", Stage())
    before = signal.getsignal(signal.SIGUSR2)
    interruption.install()
    yield
    signal.signal(signal.SIGUSR2, before)


def stopped(handler: Any) -> float:
    """Run a handler, stop it, and return the seconds that it took to end from then on."""
    task_type("stopped")(handler)
    found = registry.get("stopped")
    assert found is not None
    context = TaskContext(1, 1, 0)
    run = Run(TASK, context, TERMS)
    ended = threading.Event()
    asked_at: list[float] = []

    def stop() -> None:
        stage.begun.wait(10)
        asked_at.append(time.monotonic())
        while run.stop(StopReason.CANCELLED, 10) > 0 and not ended.wait(0.1):
            pass

    thread = threading.Thread(target=stop)
    thread.start()
    try:
        run.call(lambda: found.run({}, context))
    except BaseException:
        took = time.monotonic() - asked_at[0]
        # However it ended, the worker knows that it was stopped.
        assert run.is_interrupted
    else:
        raise AssertionError("it was not stopped")
    finally:
        ended.set()
        thread.join()
    # A coroutine or loop that was left open would be a warning, and so an error, here.
    gc.collect()
    return took


async def burn() -> None:
    """Compute without ever waiting."""
    stage.begun.set()
    while True:
        sum(range(1000))
        len("more than one call in a loop")


async def never() -> None:
    stage.begun.set()
    await asyncio.sleep(60)


async def awaits(payload: Nothing, context: TaskContext) -> None:
    try:
        await never()
    finally:
        # Cleaning up may take its time, and wait.
        await asyncio.sleep(0.05)
        stage.cleaned += 1


async def computes(payload: Nothing, context: TaskContext) -> None:
    try:
        await burn()
    finally:
        await asyncio.sleep(0.05)
        stage.cleaned += 1


async def waits_for_many(payload: Nothing, context: TaskContext) -> None:
    try:
        async with asyncio.TaskGroup() as group:
            group.create_task(never())
            group.create_task(asyncio.sleep(60))
    finally:
        stage.cleaned += 1


async def computes_in_a_group(payload: Nothing, context: TaskContext) -> None:
    try:
        async with asyncio.TaskGroup() as group:
            group.create_task(asyncio.sleep(60))
            group.create_task(burn())
    finally:
        stage.cleaned += 1


async def leaves_tasks_behind(payload: Nothing, context: TaskContext) -> None:
    async def beside() -> None:
        try:
            await asyncio.sleep(60)
        finally:
            stage.cleaned += 1

    task = asyncio.create_task(beside())
    await asyncio.sleep(0)
    await never()
    del task


async def never_waits_long(payload: Nothing, context: TaskContext) -> None:
    async def ping() -> None:
        while True:  # noqa: ASYNC110 - it is meant to be busy
            await asyncio.sleep(0)

    stage.begun.set()
    try:
        await asyncio.gather(*(ping() for _ in range(10)))
    finally:
        stage.cleaned += 1


async def asks_in_a_thread(payload: Nothing, context: TaskContext) -> None:
    def wait() -> None:
        stage.begun.set()
        try:
            while True:
                time.sleep(0.01)
                context.check_cancelled()
        finally:
            stage.cleaned += 1

    await asyncio.to_thread(wait)


async def waits_for_a_process(payload: Nothing, context: TaskContext) -> None:
    process = await asyncio.create_subprocess_exec("sleep", "60")
    stage.begun.set()
    try:
        await process.wait()
    finally:
        process.kill()
        await process.wait()
        stage.cleaned += 1


async def goes_on_once(payload: Nothing, context: TaskContext) -> str:
    try:
        await never()
    except asyncio.CancelledError:
        stage.cleaned += 1
    return "went on"


@pytest.mark.parametrize(
    "handler",
    [
        awaits,
        computes,
        waits_for_many,
        computes_in_a_group,
        leaves_tasks_behind,
        never_waits_long,
        asks_in_a_thread,
        waits_for_a_process,
        goes_on_once,
    ],
)
def test_a_coroutine_is_stopped_at_once_and_cleans_up(
    handler: Any, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING):
        took = stopped(handler)

    assert took < 2
    assert stage.cleaned == 1
    assert caplog.records == []


async def goes_on_for_ever(payload: Nothing, context: TaskContext) -> None:
    while True:
        try:
            await never()
        except asyncio.CancelledError:
            continue


async def computes_beside(payload: Nothing, context: TaskContext) -> None:
    task = asyncio.create_task(burn())
    try:
        await asyncio.sleep(60)
    finally:
        stage.cleaned += task.done()


async def waits_for_a_deaf_thread(payload: Nothing, context: TaskContext) -> None:
    stage.begun.set()
    await asyncio.to_thread(time.sleep, 3)


@pytest.mark.parametrize("handler", [goes_on_for_ever, computes_beside, waits_for_a_deaf_thread])
def test_one_that_does_not_mind_is_stopped_by_the_second_interruption(handler: Any) -> None:
    assert stopped(handler) < 3


def test_the_next_attempt_finds_no_trace_of_the_one_before() -> None:
    stopped(computes)
    registry._types.clear()

    @task_type("next")
    async def following(payload: Nothing, context: TaskContext) -> str:
        await asyncio.sleep(0.01)
        return "fine"

    found = registry.get("next")
    assert found is not None
    context = TaskContext(1, 1, 0)
    assert Run(TASK, context, TERMS).call(lambda: found.run({}, context)) == "fine"


def test_a_thread_that_was_left_behind_is_stopped_and_harms_no_result() -> None:
    left = []

    async def leaves_a_thread(payload: Nothing, context: TaskContext) -> str:
        def wait() -> None:
            stage.begun.set()
            try:
                while True:
                    time.sleep(0.01)
                    context.check_cancelled()
            except AttemptStopped:
                stage.cleaned += 1

        left.append(threading.Thread(target=wait))
        left[0].start()
        await asyncio.sleep(0.05)
        return "done"

    task_type("leaves")(leaves_a_thread)
    found = registry.get("leaves")
    assert found is not None
    context = TaskContext(1, 1, 0)
    run = Run(TASK, context, TERMS)

    assert run.call(lambda: found.run({}, context)) == "done"

    left[0].join(10)
    assert stage.cleaned == 1
    assert not run.is_interrupted


def test_a_plain_function_is_stopped_too() -> None:
    def sleeps(payload: Nothing, context: TaskContext) -> None:
        stage.begun.set()
        try:
            time.sleep(60)
        except AttemptStopped:
            stage.cleaned += 1
            raise

    assert stopped(sleeps) < 2
    assert stage.cleaned == 1
