"""Signals: the first ends a pause at once, a second one means haste."""

import os
import signal
import threading
import time
from collections.abc import Iterator

import pytest

from app.local.errors import StopRequested
from app.local.signals import STOP_SIGNALS, StopSignals


@pytest.fixture
def signals() -> Iterator[StopSignals]:
    handlers = {number: signal.getsignal(number) for number in STOP_SIGNALS}
    signals = StopSignals()
    signals.install()
    yield signals
    signal.set_wakeup_fd(-1)
    for number, handler in handlers.items():
        signal.signal(number, handler)


def test_a_pause_without_a_signal_takes_its_time(signals: StopSignals) -> None:
    begin = time.monotonic()
    signals.pause(0.05)

    assert time.monotonic() - begin >= 0.05
    assert not signals.in_a_hurry()


@pytest.mark.parametrize("number", STOP_SIGNALS)
def test_a_signal_ends_a_pause_at_once(signals: StopSignals, number: signal.Signals) -> None:
    timer = threading.Timer(0.05, os.kill, (os.getpid(), number))
    timer.start()
    begin = time.monotonic()

    with pytest.raises(StopRequested):
        signals.pause(60)

    assert time.monotonic() - begin < 10
    timer.join()


def test_a_signal_between_two_pauses_is_not_lost(signals: StopSignals) -> None:
    os.kill(os.getpid(), signal.SIGTERM)

    with pytest.raises(StopRequested):
        signals.pause(60)
    assert not signals.in_a_hurry()


def test_a_second_signal_means_haste(signals: StopSignals) -> None:
    os.kill(os.getpid(), signal.SIGINT)
    os.kill(os.getpid(), signal.SIGINT)

    assert signals.in_a_hurry()


def test_nohup_is_respected() -> None:
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    others = {number: signal.getsignal(number) for number in STOP_SIGNALS}
    try:
        StopSignals().install()
        assert signal.getsignal(signal.SIGHUP) == signal.SIG_IGN
    finally:
        signal.set_wakeup_fd(-1)
        for number, handler in others.items():
            signal.signal(number, handler)
        signal.signal(signal.SIGHUP, before)
