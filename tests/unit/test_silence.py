"""After one wait in vain, one caller at a time tries again, and nobody else waits with it."""

import threading
import time

import pytest

from app.db.silence import Silence, StillSilentError
from tests.support import wait_for


def test_a_server_that_answers_keeps_nobody_out() -> None:
    silence = Silence()
    with silence.respected(), silence.respected():
        silence.end()


def test_while_one_tries_the_others_are_turned_away_at_once() -> None:
    silence = Silence()
    silence.note()
    with silence.respected():
        began_at = time.monotonic()
        for _ in range(20):
            with pytest.raises(StillSilentError), silence.respected():
                pytest.fail("it would wait in vain")
        # All together they wait as long as a server that is well may take, and not each of them.
        assert time.monotonic() - began_at < 3
    # It tried in vain, and is followed by another.
    with silence.respected(), pytest.raises(StillSilentError), silence.respected():
        pytest.fail("it would wait in vain")


def test_an_answer_lets_everybody_in_even_before_the_one_that_tried_is_done() -> None:
    silence = Silence()
    silence.note()
    with silence.respected():
        silence.end()
        with silence.respected(), silence.respected():
            pass


def test_one_that_comes_while_a_server_that_is_well_is_tried_is_let_in() -> None:
    silence = Silence(patience_seconds=10)
    silence.note()
    came_in = threading.Event()

    def come() -> None:
        with silence.respected():
            came_in.set()

    with silence.respected():
        other = threading.Thread(target=come)
        other.start()
        wait_for(lambda: silence._changed._waiters, 5, "the other waits for the one that tries")
        assert not came_in.is_set()
        silence.end()
        assert came_in.wait(5)
    other.join()


def test_one_that_fails_leaves_the_next_to_try() -> None:
    silence = Silence()
    silence.note()
    with pytest.raises(ConnectionError), silence.respected():
        raise ConnectionError
    with silence.respected():
        pass
