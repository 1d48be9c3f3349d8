"""Text from handlers, made fit for a database, JSON and a log line."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import text

from app.db.engine import Connection
from app.domain.result import storable_result
from app.domain.stored_json import stored_size
from app.domain.text import one_line, shortened, storable

# In bytes, for results of which the size does not matter.
LIMIT = 1_000_000

any_text = st.text(st.characters())
json_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | any_text,
    lambda inner: st.lists(inner) | st.dictionaries(any_text, inner),
)


@given(any_text)
def test_storable_text_has_neither_nul_nor_surrogates(text: str) -> None:
    made = storable(text)
    made.encode("utf-8")
    assert "\0" not in made


@given(st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0")))
def test_good_text_stays_as_it_is(text: str) -> None:
    assert storable(text) == text


@given(any_text, st.integers(2, 50))
def test_a_line_is_one_line_within_its_limit(text: str, limit: int) -> None:
    line = one_line(text, limit)
    assert len(line) <= limit
    assert len(line.splitlines()) <= 1


@given(any_text, st.integers(0, 80))
def test_a_shortened_text_keeps_both_ends_within_its_limit(text: str, limit: int) -> None:
    made = shortened(text, limit)
    assert len(made) <= limit
    if len(storable(text)) <= limit:
        assert made == storable(text)
    elif limit > 30:
        assert "shortened" in made
        assert (made[0], made[-1]) == (storable(text)[0], storable(text)[-1])


@given(json_values)
def test_every_json_value_is_a_result(value: object) -> None:
    made = storable_result(value, LIMIT)
    assert "\\u0000" not in json.dumps(made)
    json.dumps(made, ensure_ascii=False).encode("utf-8")


@pytest.mark.parametrize(
    "value",
    [object(), {1, 2}, float("nan"), float("inf"), b"bytes", 10**5000, {("a",): 1}],
    ids=["object", "set", "nan", "infinity", "bytes", "huge", "odd key"],
)
def test_what_is_no_json_is_refused_with_a_reason(value: object) -> None:
    with pytest.raises(ValueError, match="not JSON"):
        storable_result(value, LIMIT)


def test_a_cycle_or_a_very_deep_result_is_refused() -> None:
    cycle: list[object] = []
    cycle.append(cycle)
    deep: list[object] = []
    for _ in range(100_000):
        deep = [deep]
    for value in (cycle, deep):
        with pytest.raises(ValueError, match="not JSON"):
            storable_result(value, LIMIT)


@pytest.mark.parametrize("value", ["a" * 10, "ы" * 5, {"a": [1, 2, 3]}], ids=repr)
def test_a_result_may_be_as_large_as_its_limit_and_no_larger(value: object) -> None:
    size = len(json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode())
    assert storable_result(value, size) == value
    with pytest.raises(ValueError, match=f"larger than the {size - 1} bytes"):
        storable_result(value, size - 1)


def test_a_result_that_holds_itself_many_times_over_is_refused_at_once() -> None:
    value: list[object] = []
    for _ in range(60):
        value = [value, value]
    with pytest.raises(ValueError, match="larger than"):
        storable_result(value, LIMIT)


@pytest.mark.parametrize("number", [1e308, 1e-308, 5e-324, 1e16, 1.5, 0.1, -2.5e-7, 0.0])
def test_a_number_counts_with_the_digits_that_postgresql_writes(
    connection: Connection, number: float
) -> None:
    query = text("SELECT octet_length(CAST(:value AS jsonb)::text)")
    written = connection.execute(query, {"value": json.dumps([number])}).scalar_one()
    # Python's ".0" is not written, or is the digit 0 after the point.
    assert abs(stored_size([number]) - written) <= 2
