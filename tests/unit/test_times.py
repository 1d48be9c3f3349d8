"""Times are written the same in every answer, whoever makes its JSON."""

import json
from datetime import UTC, datetime, timedelta, timezone

import pytest

from app.api.rendering import attempts_json, events_json, lines_json
from app.api.times import rfc3339
from app.domain.history import Attempt, AttemptOutcome, Event, LogLine
from app.domain.status import Status

TIMES = [
    ((31, 399880), "31.39988Z"),
    ((31, 399881), "31.399881Z"),
    ((31, 300000), "31.3Z"),
    ((30, 0), "30Z"),
    ((0, 0), "00Z"),
    ((0, 10), "00.00001Z"),
]


@pytest.mark.parametrize(("given", "written"), TIMES)
def test_a_time_has_no_zeros_at_its_end(given: tuple[int, int], written: str) -> None:
    time = datetime(2026, 11, 27, 20, 50, *given, tzinfo=UTC)
    expected = f"2026-11-27T20:50:{written}"

    assert rfc3339(time) == expected
    attempt = Attempt(1, "w@a/1", time, time, AttemptOutcome.FAILED, "no", None)
    (told,) = json.loads(attempts_json([attempt]))
    assert (told["started_at"], told["finished_at"]) == (expected, expected)
    (told,) = json.loads(events_json([Event(time, "created", Status.NEW, 0, None)]))
    assert told["at"] == expected
    (told,) = json.loads(lines_json([LogLine(1, 1, time, "INFO", "здесь")]))
    assert told["at"] == expected


def test_a_running_attempt_s_end_is_null() -> None:
    now = datetime.now(UTC)
    (told,) = json.loads(attempts_json([Attempt(1, "w@a/1", now, None, None, None, None)]))
    assert told["finished_at"] is None


def test_a_time_is_in_utc_whatever_zone_the_session_has() -> None:
    moscow = timezone(timedelta(hours=3))
    assert rfc3339(datetime(2026, 11, 27, 1, 2, 3, 450000, moscow)) == "2026-11-26T22:02:03.45Z"
