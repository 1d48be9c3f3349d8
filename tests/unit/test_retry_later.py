"""What a handler may ask for with RetryLater."""

import math

import pytest

from app.handlers import RetryLater


@pytest.mark.parametrize(
    ("asked", "kept"), [(0, 0), (1.5, 1.5), (1e300, 604_800), (10**400, 604_800)]
)
def test_a_pause_is_kept_up_to_a_week(asked: float, kept: float) -> None:
    assert RetryLater("busy", asked).after_seconds == kept
    assert RetryLater("busy", math.inf).after_seconds == 604_800


@pytest.mark.parametrize("asked", [-1, math.nan, "5", None])
def test_what_is_no_pause_is_refused(asked: float) -> None:
    with pytest.raises(ValueError, match="after_seconds"):
        RetryLater("busy", asked)
