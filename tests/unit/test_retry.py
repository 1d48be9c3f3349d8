"""The arithmetic of pauses."""

from hypothesis import given
from hypothesis import strategies as st

from app.domain.retry import Backoff


def test_pauses_grow_by_the_factor_up_to_the_ceiling() -> None:
    backoff = Backoff(initial_seconds=1, factor=2, max_seconds=5)
    assert [backoff.pause_seconds(failures) for failures in (1, 2, 3, 4, 5)] == [1, 2, 4, 5, 5]


@given(st.floats(0, 1e3), st.floats(1, 100), st.floats(0, 1e5), st.integers(1, 10**9))
def test_a_pause_never_overflows_nor_leaves_its_bounds(
    initial: float, factor: float, ceiling: float, failures: int
) -> None:
    assert 0 <= Backoff(initial, factor, ceiling).pause_seconds(failures) <= ceiling
