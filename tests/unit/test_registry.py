"""Registering task types, and what a handler may do with its context."""

import pytest
from pydantic import BaseModel

from app.handlers import TaskContext, registry, task_type


class Payload(BaseModel):
    number: int = 1


def test_the_built_in_types_are_known() -> None:
    for name in ("simulated_work", "broken", "retry"):
        found = registry.get(name)
        assert found is not None
        assert found.name == name
    assert registry.get("nobody_knows") is None


def test_a_name_is_registered_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(registry, "_types", {})

    @task_type("once", max_attempts=4)
    def once(payload: Payload, context: TaskContext) -> int:
        return payload.number

    with pytest.raises(ValueError, match="once"):
        task_type("once")(once)
    found = registry._types["once"]
    assert found.max_attempts == 4
    assert found.run({"number": 7}, TaskContext(1, 1, 0)) == 7


def test_a_handler_without_a_payload_model_is_refused() -> None:
    with pytest.raises(TypeError, match="pydantic model"):

        @task_type("unannotated")
        def unannotated(payload, context):
            return None


def test_progress_is_kept_within_its_range() -> None:
    context = TaskContext(1, 1, 0)
    for said, kept in ((-1, 0.0), (0.25, 0.25), (7, 1.0)):
        context.progress(said, "шаг\nпервый\0")
        assert context.progress_fraction == kept
    assert context.progress_note == "шаг первый\N{REPLACEMENT CHARACTER}"
    with pytest.raises(ValueError, match="0 to 1"):
        context.progress(float("nan"))
