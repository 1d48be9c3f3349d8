"""Modules with task types: what is said of one that cannot be imported, and of one without any."""

import logging
import os
import subprocess
import sys
from pathlib import Path

import pytest

from app.handlers import registry
from app.handlers.modules import import_or_exit
from app.settings import Settings
from tests.servers import ROOT

HEAD = """\
from pydantic import BaseModel
from app.handlers import task_type
class P(BaseModel):
    n: int = 1
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder whose modules can be imported, and are forgotten afterwards."""
    registry.load()
    monkeypatch.setattr(registry, "_types", dict(registry._types))
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    for name in list(sys.modules):
        if name.partition(".")[0] in {"mine", "beside"}:
            monkeypatch.delitem(sys.modules, name)
    return tmp_path


def refusal(name: str) -> str:
    with pytest.raises(SystemExit) as caught:
        import_or_exit(name)
    assert isinstance(caught.value.code, str)
    assert "\n" not in caught.value.code
    return caught.value.code


@pytest.mark.parametrize(
    ("text", "reason", "line"),
    [
        ("import no_such", "ModuleNotFoundError: No module named 'no_such'", 1),
        ("import os.path.no", "ModuleNotFoundError: No module named 'os.path.no'", 1),
        ("from os import no_such", "ImportError: cannot import name 'no_such'", 1),
        ("x = 1\ndef f(:\n", "SyntaxError: invalid syntax", 2),
        ("if x:\ny = 1\n", "IndentationError: expected an indented block", 2),
        ("\n\nraise RuntimeError('one\\ntwo')", "RuntimeError: one two", 3),
        ("import sys\nsys.exit('bye')", "SystemExit: bye", 2),
        ("import sys\nsys.exit(0)", "SystemExit: 0", 2),
        ("class Odd(BaseException): pass\nraise Odd", "Odd: ", 2),
        ("def f(): f()\nf()", "RecursionError: maximum recursion depth exceeded", 1),
        # In a library, but it is this line that can be mended.
        ("import json\n\njson.loads('{')", "JSONDecodeError: ", 3),
        (
            f"{HEAD}@task_type('simulated_work')\ndef again(payload: P, context): pass",
            "ValueError: the task type 'simulated_work' is registered twice, "
            "first in app.handlers.simulated_work",
            5,
        ),
        (f"{HEAD}@task_type('Upper')\ndef f(payload: P, context): pass", "'Upper' must begin", 5),
        (f"{HEAD}@task_type('wrong')\ndef f(payload: dict, context): pass", "a pydantic model", 5),
        (f"{HEAD}@task_type('wrong')\ndef f(payload: P): pass", "must take two arguments", 5),
    ],
)
def test_the_line_names_module_reason_and_place(
    folder: Path, text: str, reason: str, line: int
) -> None:
    (folder / "mine.py").write_text(text)

    said = refusal("mine")

    assert said.startswith("The task module mine cannot be imported: ")
    assert reason in said
    assert said.endswith(f" ({folder}{os.sep}mine.py, line {line})")


def test_a_module_that_is_nowhere_is_told_with_what_helps(folder: Path) -> None:
    for name in ("mine", "mine.inner", "mi-ne"):
        said = refusal(name)
        assert said.endswith(
            f"there is no module {name.partition('.')[0]}; is its folder in PYTHONPATH?"
        )


def test_an_error_in_a_module_beside_it_is_told_with_its_place(folder: Path) -> None:
    (folder / "mine.py").write_text("import beside\n")
    (folder / "beside.py").write_text("\n\n1 / 0\n")

    assert refusal("mine") == (
        "The task module mine cannot be imported: ZeroDivisionError: division by zero "
        f"({folder}/beside.py, line 3)"
    )


def test_a_file_that_is_no_python_is_named(folder: Path) -> None:
    (folder / "mine.py").write_bytes(b"x = 1\0\n")

    said = refusal("mine")

    assert "null bytes" in said
    assert f"{folder}/mine.py" in said


def test_a_long_reason_is_cut(folder: Path) -> None:
    (folder / "mine.py").write_text("raise ValueError('x' * 100_000)")

    assert len(refusal("mine")) < 1000


def test_an_interrupt_is_no_error_of_the_module(folder: Path) -> None:
    (folder / "mine.py").write_text("raise KeyboardInterrupt")

    with pytest.raises(KeyboardInterrupt):
        import_or_exit("mine")


# -- TASK_MODULES -------------------------------------------------------------------------------


def load(monkeypatch: pytest.MonkeyPatch, modules: str) -> None:
    settings = Settings(task_modules=modules, _env_file=None)
    monkeypatch.setattr(registry, "get_settings", lambda: settings)
    registry.load.__wrapped__()


def test_modules_are_separated_by_commas_and_spaces_do_not_matter(
    folder: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    for name in ("mine", "beside"):
        text = f"{HEAD}@task_type('{name}')\ndef handler(payload: P, context): return 1"
        (folder / f"{name}.py").write_text(text)

    load(monkeypatch, " mine ,, beside, ")

    assert {"mine", "beside", "simulated_work"} <= set(registry.names())
    assert caplog.records == []


def test_a_module_that_registers_nothing_gets_a_warning(
    folder: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    (folder / "mine").mkdir()
    (folder / "mine" / "__init__.py").write_text("")
    handler = f"{HEAD}@task_type('inner')\ndef handler(payload: P, context): return 1"
    (folder / "mine" / "inner.py").write_text(handler)

    with caplog.at_level(logging.WARNING):
        load(monkeypatch, "mine")
        assert caplog.messages == ["The task module mine registers no task type."]
        caplog.clear()
        # Its types are there already when the package is named after what is in it.
        load(monkeypatch, "mine.inner,mine")
        assert caplog.messages == []


@pytest.mark.parametrize("exist", [True, False])
def test_the_types_that_make_trouble_can_be_left_out(exist: bool) -> None:
    # In a process of its own: what is imported once stays.
    done = subprocess.run(
        [sys.executable, "-c", "from app.handlers import registry; print(*registry.names())"],
        cwd=ROOT,
        env={**os.environ, "TROUBLE_TYPES": str(exist).lower()},
        capture_output=True,
        text=True,
        timeout=30,
        check=True,
    )

    names = set(done.stdout.split())
    trouble = {"broken", "exit", "hang", "memory", "retry", "slow"}
    assert names & trouble == (trouble if exist else set())
    assert {"simulated_work", "http_request"} <= names
