"""Which parts of a payload are never shown."""

from dataclasses import dataclass
from datetime import date
from typing import Annotated, NewType

import pytest
from pydantic import (
    AliasChoices,
    AliasPath,
    BaseModel,
    ConfigDict,
    Field,
    RootModel,
    Secret,
    SecretBytes,
    SecretStr,
)
from typing_extensions import TypedDict

from app.handlers.concealment import CONCEALED, all_concealed, concealing


class Inner(BaseModel):
    token: SecretStr


@dataclass
class Data:
    token: SecretStr


class Typed(TypedDict):
    token: SecretStr


class Hidden(Secret[date]):
    """A secret whose JSON Schema does not say so."""


Pin = NewType("Pin", Secret[int])


class Node(BaseModel):
    """A model that refers to itself, which stands among the definitions of its JSON Schema."""

    name: str = ""
    token: SecretStr | None = None
    next: "Node | None" = None


class Everything(BaseModel):
    open: str = ""
    plain: SecretStr = SecretStr("default")
    optional: SecretBytes | None = None
    many: list[SecretStr] = []
    by_name: dict[str, SecretStr] = {}
    inner: Inner | None = None
    inners: list[Inner] = []
    data: Data | None = None
    typed: Typed | None = None
    hidden: Hidden | None = None
    number: Secret[int] = Secret(1)
    pin: Pin | None = None
    renamed: SecretStr = Field(default=SecretStr(""), alias="re-named")
    declared: str = Field(default="", json_schema_extra={"writeOnly": True})
    deeply: list[Annotated[str, Field(json_schema_extra={"writeOnly": True})]] = []
    choice: SecretStr = Field(
        default=SecretStr(""), validation_alias=AliasChoices("chosen", AliasPath("path", 0))
    )
    other: int = Field(default=0, validation_alias=AliasChoices("another", "yet_another"))


OPEN = {"open", "other", "another", "yet_another"}
SECRET = set(Everything.model_fields) - OPEN | {"re-named", "chosen", "path"}


@pytest.mark.parametrize("name", sorted(SECRET))
def test_what_is_or_holds_a_secret_is_replaced(name: str) -> None:
    conceal = concealing(Everything)

    assert conceal({name: {"deep": ["hunter2"]}}) == {name: CONCEALED}
    assert conceal({name: None}) == {name: None}


@pytest.mark.parametrize("name", sorted(OPEN))
def test_everything_else_is_shown(name: str) -> None:
    assert concealing(Everything)({name: [1]}) == {name: [1]}


def test_what_a_model_with_secrets_does_not_know_is_replaced() -> None:
    # It may be a secret whose name is misspelt.
    assert concealing(Inner)({"tokn": "hunter2"}) == {"tokn": CONCEALED}


def test_a_model_without_secrets_conceals_nothing() -> None:
    class Open(BaseModel):
        model_config = ConfigDict(extra="allow")

        open: str

    payload = {"open": "a", "more": {"b": 1}}
    assert concealing(Open)(payload) == payload
    assert concealing(RootModel[dict[str, int]])({"a": 1}) == {"a": 1}


def test_a_model_that_refers_to_itself_conceals_too() -> None:
    payload = {"name": "a", "token": "hunter2", "next": {"token": "hunter2"}}

    assert concealing(Node)(payload) == {"name": "a", "token": CONCEALED, "next": CONCEALED}


def test_a_model_of_any_keys_conceals_all_of_them() -> None:
    class Extra(BaseModel):
        model_config = ConfigDict(extra="allow")
        __pydantic_extra__: dict[str, SecretStr]

    for model in (RootModel[dict[str, SecretStr]], RootModel[Inner], Extra):
        assert concealing(model)({"token": "hunter2"}) == {"token": CONCEALED}


def test_a_function_of_the_type_conceals_beside_the_declared_secrets() -> None:
    def more(payload: dict) -> dict:
        return payload | {"open": payload["open"][:2] + "…"}

    both = concealing(Everything, more)
    assert both({"open": "secret", "plain": "hunter2"}) == {"open": "se…", "plain": CONCEALED}

    class Open(BaseModel):
        open: str

    assert concealing(Open, more)({"open": "secret"}) == {"open": "se…"}


def test_the_payload_itself_stays_as_it_is() -> None:
    payload = {"token": "hunter2"}
    concealing(Inner)(payload)
    all_concealed(payload)

    assert payload == {"token": "hunter2"}
