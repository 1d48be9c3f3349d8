"""The arithmetic of pauses."""

from statistics import fmean

from hypothesis import given
from hypothesis import strategies as st

from app.domain.retry import Backoff

FAILURES = (1, 2, 3, 4, 5)


def test_pauses_grow_by_the_factor_up_to_the_ceiling() -> None:
    backoff = Backoff(initial_seconds=1, factor=2, max_seconds=5, jitter=False)
    assert [backoff.pause_seconds(failures) for failures in FAILURES] == [1, 2, 4, 5, 5]


def test_with_jitter_a_pause_is_drawn_from_zero_to_that_length() -> None:
    backoff = Backoff(initial_seconds=1, factor=2, max_seconds=5)
    for draw in (0.0, 0.25, 1.0):
        drawn = [backoff.pause_seconds(failures, lambda draw=draw: draw) for failures in FAILURES]
        assert drawn == [draw * longest for longest in (1, 2, 4, 5, 5)]


def test_tasks_that_failed_together_do_not_come_back_together() -> None:
    pauses = [Backoff(initial_seconds=10).pause_seconds(1) for _ in range(1000)]
    assert len(set(pauses)) > 900
    # Even draws: a mean of 1000 lies further off than 1 once in 10**27 times.
    assert 4 < fmean(pauses) < 6
    assert min(pauses) < 1
    assert max(pauses) > 9


@given(
    st.floats(0, 1e3),
    st.floats(1, 100),
    st.floats(0, 1e5),
    st.integers(1, 10**9),
    st.booleans(),
)
def test_a_pause_never_overflows_nor_leaves_its_bounds(
    initial: float, factor: float, ceiling: float, failures: int, jitter: bool
) -> None:
    assert 0 <= Backoff(initial, factor, ceiling, jitter).pause_seconds(failures) <= ceiling
