"""Registering task types: what a handler may look like, and what is refused with which words."""

from __future__ import annotations

import asyncio
import functools
import gc
import logging
from datetime import UTC, datetime
from typing import Annotated, Literal

import pytest
from pydantic import BaseModel, ConfigDict, Field, SecretStr, field_validator

from app.domain.priority import Priority
from app.handlers import AttemptStopped, Backoff, PermanentError, TaskContext, registry, task_type
from app.handlers.registry import PayloadError, TaskType


class Payload(BaseModel):
    number: int = 1


class Cat(BaseModel):
    kind: Literal["cat"]
    lives: int


class Dog(BaseModel):
    kind: Literal["dog"]
    name: str


class Rich(BaseModel):
    """What a payload may hold."""

    model_config = ConfigDict(strict=True)

    address: str = Field(alias="to")
    password: SecretStr
    at: datetime
    mode: Literal["fast", "slow"] = "fast"
    pets: list[Annotated[Cat | Dog, Field(discriminator="kind")]] = []
    size: int | list[int] = 0


@pytest.fixture(autouse=True)
def own_types(monkeypatch: pytest.MonkeyPatch) -> dict[str, TaskType]:
    """An empty registry, so that no test leaves a type behind."""
    registry.load()
    types: dict[str, TaskType] = {}
    monkeypatch.setattr(registry, "_types", types)
    return types


def context() -> TaskContext:
    return TaskContext(1, 1, 0)


def test_the_built_in_types_are_known(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.undo()
    for name in ("simulated_work", "broken", "retry", "slow", "hang", "exit", "memory"):
        found = registry.get(name)
        assert found is not None
        assert found.name == name
        assert found.description
    assert registry.get("nobody_knows") is None


# -- Handlers of every kind ---------------------------------------------------------------------


def test_a_plain_function_is_enough() -> None:
    @task_type("plain")
    def plain(payload: Payload, context: TaskContext) -> int:
        return payload.number * context.task_id

    found = registry.get("plain")
    assert found is not None
    assert found.run({"number": 7}, context()) == 7
    assert plain(Payload(number=3), context()) == 3
    assert (found.max_attempts, found.timeout_seconds) == (1, None)
    assert (found.priority, found.backoff) == (Priority.MEDIUM, Backoff())
    assert (found.description, found.example) == ("", {})


def test_defaults_and_description_are_as_given() -> None:
    pause = Backoff(initial_seconds=0.5, factor=3, max_seconds=9, jitter=False)

    @task_type(
        "told",
        max_attempts=4,
        backoff=pause,
        timeout_seconds=2,
        priority="HIGH",
        example={"number": 2},
    )
    def told(payload: Payload, context: TaskContext) -> None:
        """Do it
        at last.

        And more.
        """

    found = registry.get("told")
    assert found is not None
    assert (found.max_attempts, found.backoff, found.timeout_seconds) == (4, pause, 2)
    assert (found.priority, found.example) == (Priority.HIGH, {"number": 2})
    assert found.description == "Do it at last."


def test_a_coroutine_runs_in_a_loop_of_its_own() -> None:
    loops = set()

    @task_type("later")
    async def later(payload: Payload, context: TaskContext) -> int:
        await asyncio.sleep(0)
        loops.add(asyncio.get_running_loop())
        return payload.number

    found = registry.get("later")
    assert found is not None
    assert [found.run({"number": each}, context()) for each in (1, 2)] == [1, 2]
    assert len(loops) == 2


def test_what_a_coroutine_leaves_behind_is_cancelled() -> None:
    ended = []

    async def beside() -> None:
        try:
            await asyncio.sleep(60)
        finally:
            ended.append(True)

    @task_type("leaves")
    async def leaves(payload: Payload, context: TaskContext) -> str:
        leaves.task = asyncio.create_task(beside())
        await asyncio.sleep(0)
        return "done"

    found = registry.get("leaves")
    assert found is not None
    assert found.run({}, context()) == "done"
    assert ended == [True]


def test_a_coroutine_that_is_stopped_before_it_begins_makes_no_noise(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    @task_type("early")
    async def early(payload: Payload, context: TaskContext) -> None:
        raise AssertionError

    def stopped(*args: object) -> None:
        raise AttemptStopped

    found = registry.get("early")
    assert found is not None
    with monkeypatch.context() as patch:
        patch.setattr(asyncio, "Runner", stopped)
        with pytest.raises(AttemptStopped):
            found.run({}, context())
    gc.collect()  # "was never awaited" would be an error here.


def test_a_part_that_was_stopped_is_not_reported_as_an_error(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async def fails(error: BaseException) -> None:
        raise error

    @task_type("parts")
    async def parts(payload: Payload, context: TaskContext) -> None:
        task = asyncio.create_task(fails(AttemptStopped() if payload.number else OSError("no")))
        await asyncio.wait([task])

    found = registry.get("parts")
    assert found is not None
    for number, expected in ((1, 0), (0, 1)):
        caplog.clear()
        found.run({"number": number}, context())
        gc.collect()
        assert len([each for each in caplog.records if each.name == "asyncio"]) == expected


def test_a_callable_object_is_a_handler() -> None:
    class Greeter:
        """Greets."""

        def __call__(self, payload: Payload, context: TaskContext) -> int:
            return payload.number

    task_type("object")(Greeter())

    found = registry.get("object")
    assert found is not None
    assert found.run({"number": 5}, context()) == 5
    assert found.description == "Greets."


def test_a_partial_and_a_wrapped_function_are_handlers() -> None:
    def add(payload: Payload, context: TaskContext, more: int = 0) -> int:
        """Add."""
        return payload.number + more

    @functools.wraps(add)
    def wrapped(*args: object) -> int:
        return add(*args)

    task_type("partial")(functools.partial(add, more=10))
    task_type("wrapped")(wrapped)

    for name, expected in (("partial", 11), ("wrapped", 1)):
        found = registry.get(name)
        assert found is not None
        assert found.run({}, context()) == expected
        assert found.description == "Add."


def test_a_model_next_to_its_handler_is_found() -> None:
    # Its annotation is text here, as everywhere in this module.
    class Local(BaseModel):
        word: str

    @task_type("local")
    def local(payload: Local, context: OnlyForTypeCheckers = None) -> str:  # noqa: F821
        return payload.word

    found = registry.get("local")
    assert found is not None
    assert found.payload_model is Local
    assert found.run({"word": "hi"}, context()) == "hi"


# -- Payloads -----------------------------------------------------------------------------------


def rich(**changes: object) -> dict[str, object]:
    return {"to": "a@b", "password": "hunter2", "at": "2026-11-24T12:00:00Z", **changes}


def test_a_payload_arrives_as_its_model_says() -> None:
    @task_type("rich")
    def handler(payload: Rich, context: TaskContext) -> Rich:
        return payload

    found = registry.get("rich")
    assert found is not None
    got = found.run(rich(mode="slow", pets=[{"kind": "cat", "lives": 9}]), context())
    assert (got.address, got.mode) == ("a@b", "slow")
    assert got.password.get_secret_value() == "hunter2"
    assert got.at == datetime(2026, 11, 24, 12, tzinfo=UTC)
    assert got.pets == [Cat(kind="cat", lives=9)]


@pytest.mark.parametrize(
    ("change", "place"),
    [
        ({"to": 7}, ("to",)),
        ({"at": "soon"}, ("at",)),
        ({"mode": "medium"}, ("mode",)),
        # Not the names that pydantic gives to the members of a union.
        ({"pets": [{"kind": "cat", "lives": 1}, {"kind": "dog"}]}, ("pets", 1, "name")),
        ({"pets": [{"kind": "fox"}]}, ("pets", 0)),
        ({"size": [1, "two"]}, ("size", 1)),
        ({"size": "two"}, ("size",)),
    ],
)
def test_a_fault_points_into_the_payload(change: dict[str, object], place: tuple) -> None:
    @task_type("rich")
    def handler(payload: Rich, context: TaskContext) -> None: ...

    found = registry.get("rich")
    assert found is not None
    with pytest.raises(PayloadError) as caught:
        found.validated(rich(**change))
    assert place in [path for path, _ in caught.value.faults]
    assert {path[0] for path, _ in caught.value.faults} == {place[0]}
    assert "hunter2" not in str(caught.value)


def test_a_payload_that_no_longer_fits_fails_for_good() -> None:
    @task_type("rich")
    def handler(payload: Rich, context: TaskContext) -> None: ...

    found = registry.get("rich")
    assert found is not None
    with pytest.raises(PermanentError, match="password: Field required") as caught:
        found.run({"to": "a@b", "at": "2026-11-24T12:00:00Z"}, context())
    assert caught.value.__cause__ is None


def test_a_validator_that_raises_anything_is_a_fault_of_the_payload() -> None:
    class Fragile(BaseModel):
        word: str

        @field_validator("word")
        @classmethod
        def _look_up(cls, word: str) -> str:
            return {}[word]

    @task_type("fragile")
    def fragile(payload: Fragile, context: TaskContext) -> None: ...

    found = registry.get("fragile")
    assert found is not None
    with pytest.raises(PayloadError, match="could not be checked: KeyError") as caught:
        found.validated({"word": "hunter2"})
    assert "hunter2" not in str(caught.value)


# -- Refused ------------------------------------------------------------------------------------


def handler(payload: Payload, context: TaskContext) -> None:
    """A handler."""


def test_a_name_is_registered_once() -> None:
    task_type("once")(handler)

    with pytest.raises(ValueError, match=f"'once' is registered twice, first in {__name__}"):
        task_type("once")(handler)


@pytest.mark.parametrize("name", ["", "Upper", "1st", "two words", "имя", "a" * 101, None])
def test_an_odd_name_is_refused(name: str) -> None:
    with pytest.raises(ValueError, match="must begin with a letter a-z"):
        task_type(name)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"max_attempts": 0}, "max_attempts of 'odd' must be from 1 to 100"),
        ({"max_attempts": 101}, "max_attempts"),
        ({"max_attempts": 2.5}, "max_attempts"),
        ({"max_attempts": True}, "max_attempts"),
        ({"timeout_seconds": 0}, "timeout_seconds of 'odd' must be a number above 0"),
        ({"timeout_seconds": float("nan")}, "timeout_seconds"),
        ({"timeout_seconds": "10"}, "timeout_seconds"),
        ({"priority": "URGENT"}, "URGENT"),
        ({"backoff": {"initial_seconds": 1}}, "must be a Backoff"),
        ({"backoff": Backoff(initial_seconds=-1)}, "from 0 to 604800 s"),
        ({"backoff": Backoff(max_seconds=1e9)}, "from 0 to 604800 s"),
        ({"backoff": Backoff(factor=0.5)}, "factor"),
        ({"example": {"number": "many"}}, "the example of 'odd' does not fit"),
        ({"example": {"number": datetime.now(UTC)}}, "not JSON serializable"),
    ],
)
def test_odd_defaults_are_refused(
    options: dict, words: str, own_types: dict[str, TaskType]
) -> None:
    with pytest.raises((ValueError, TypeError), match=words):
        task_type("odd", **options)(handler)
    assert own_types == {}


def nothing(payload, context):
    pass


def a_dict(payload: dict, context: TaskContext) -> None: ...


def undefined(payload: Undefined, context: TaskContext) -> None:  # noqa: F821
    pass


def alone(payload: Payload) -> None: ...


def by_name(payload: Payload, *, context: TaskContext) -> None: ...


def too_many(payload: Payload, context: TaskContext, more: int) -> None: ...


@pytest.mark.parametrize(
    ("odd", "words"),
    [
        (nothing, "first parameter of nothing must be annotated with a pydantic model"),
        (a_dict, "first parameter of a_dict must be annotated with a pydantic model"),
        (undefined, "annotation 'Undefined' of the first parameter of undefined means nothing"),
        (alone, "alone must take two arguments"),
        (by_name, "by_name must take two arguments"),
        (too_many, "too_many must take two arguments"),
        ("text", "must take two arguments"),
    ],
)
def test_an_odd_handler_is_refused(odd: object, words: str) -> None:
    with pytest.raises(TypeError, match=words):
        task_type("odd")(odd)


# -- What is shown ------------------------------------------------------------------------------


def test_nothing_of_an_unknown_types_payload_is_shown() -> None:
    assert registry.shown("nobody_knows", {"a": "b"}) == {"a": "**********"}


def test_a_conceal_that_raises_conceals_everything(caplog: pytest.LogCaptureFixture) -> None:
    task_type("odd", conceal=lambda payload: payload["missing"])(handler)

    with caplog.at_level(logging.ERROR):
        assert registry.shown("odd", {"number": 1}) == {"number": "**********"}
    assert "odd" in caplog.text


# -- The context --------------------------------------------------------------------------------


def test_progress_is_kept_within_its_range() -> None:
    one = context()
    for said, kept in ((-1, 0.0), (0.25, 0.25), (7, 1.0), (10**400, 1.0), (float("inf"), 1.0)):
        one.progress(said, "шаг\nпервый\0")
        assert one.progress_fraction == kept
    assert one.progress_note == "шаг первый\N{REPLACEMENT CHARACTER}"
    with pytest.raises(ValueError, match="0 to 1"):
        one.progress(float("nan"))
    one.progress(1, "n" * 10_000)
    assert one.progress_note is not None
    assert len(one.progress_note) == 500
    one.progress(1)
    assert one.progress_note is None


def test_an_attempt_that_nobody_stops_is_not_stopped() -> None:
    context().check_cancelled()
