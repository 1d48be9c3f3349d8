"""Which user servers run as, and what that user can reach."""

import os
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from app.local import server_user
from app.local.server_user import ServerUser, can_reach, copy_for_everyone

NOBODY = ServerUser(65534, 65534)


@pytest.fixture
def open_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder whose every parent anyone may enter, as far as the mode bits say."""
    monkeypatch.setattr(server_user, "_allows", _within(tmp_path, server_user._allows))
    tmp_path.chmod(0o755)
    return tmp_path


def _within(top: Path, ask: object) -> object:
    assert callable(ask)
    return lambda path, user, wanted: not path.is_relative_to(top) or ask(path, user, wanted)


def test_we_can_reach_whatever_we_can() -> None:
    assert can_reach(Path("/root"), None)


def test_a_user_needs_the_right_to_enter_every_folder(open_folder: Path) -> None:
    inner = open_folder / "outer" / "inner"
    inner.mkdir(parents=True)
    assert can_reach(inner, NOBODY)

    (open_folder / "outer").chmod(0o711)
    assert can_reach(inner, NOBODY)

    (open_folder / "outer").chmod(0o700)
    assert not can_reach(inner, NOBODY)


def test_a_user_needs_the_right_to_read_the_file_itself(open_folder: Path) -> None:
    program = open_folder / "program"
    program.touch(mode=0o755)
    assert can_reach(program, NOBODY)

    program.chmod(0o700)
    assert not can_reach(program, NOBODY)
    assert can_reach(program, ServerUser(program.stat().st_uid, 65534))

    program.chmod(0o750)
    assert not can_reach(program, NOBODY)
    assert can_reach(program, ServerUser(65533, program.stat().st_gid))


def test_a_copy_has_the_same_layout_and_everyone_can_read_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    target = tmp_path / "temporary"
    target.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(target))
    (tmp_path / "root" / "a" / "lib").mkdir(parents=True, mode=0o700)
    (tmp_path / "root" / "a" / "lib" / "needed.so").touch(mode=0o600)
    (tmp_path / "root" / "a" / "lib" / "unneeded.a").touch()
    (tmp_path / "root" / "a" / "program").touch(mode=0o700)

    copy = copy_for_everyone(tmp_path / "root", ["a/lib", "a/program"])

    copied = {str(path.relative_to(copy)) for path in copy.rglob("*")}
    assert copied == {"a", "a/lib", "a/lib/needed.so", "a/program"}
    assert {path.stat().st_mode & 0o777 for path in [copy, *copy.rglob("*")]} == {0o755}


def test_copies_of_processes_that_are_gone_are_removed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    gone = subprocess.run(
        [sys.executable, "-c", "import os; print(os.getpid())"],
        capture_output=True,
        text=True,
        check=True,
    ).stdout.strip()
    abandoned = tmp_path / f"{server_user.COPY_PREFIX}{gone}-x"
    in_use = tmp_path / f"{server_user.COPY_PREFIX}{os.getpid()}-x"
    others = tmp_path / f"{server_user.COPY_PREFIX}not-a-number"
    link = tmp_path / f"{server_user.COPY_PREFIX}{gone}-link"
    for folder in (abandoned, in_use, others):
        folder.mkdir()
    link.symlink_to(in_use)

    server_user.remove_abandoned_copies()

    assert sorted(tmp_path.iterdir()) == sorted([in_use, others, link])
