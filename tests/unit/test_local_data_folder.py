"""The data folder: one run at a time, and secrets for its owner alone."""

import os
from pathlib import Path

import pytest

from app.local.data_folder import locked, secret
from app.local.errors import LocalRunError


def test_a_second_run_is_told_who_holds_the_folder(tmp_path: Path) -> None:
    with (
        locked(tmp_path / "data"),
        pytest.raises(LocalRunError, match=rf"Another run \(process {os.getpid()}\) uses"),
        locked(tmp_path / "data"),
    ):
        pass


def test_the_folder_is_free_again_after_a_run(tmp_path: Path) -> None:
    for _ in range(2):
        with locked(tmp_path / "data"):
            assert (tmp_path / "data" / "lock").read_text() == f"{os.getpid()}\n"


def test_a_folder_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").touch()

    with (
        pytest.raises(LocalRunError, match=rf"{tmp_path}/file/data cannot be used .*DATA_DIR="),
        locked(tmp_path / "file" / "data"),
    ):
        pass


def test_a_secret_is_made_once_and_readable_by_its_owner_alone(tmp_path: Path) -> None:
    first = secret(tmp_path / "password")

    assert len(first) >= 32
    assert first.isalnum()
    assert (tmp_path / "password").stat().st_mode & 0o777 == 0o600
    assert secret(tmp_path / "password") == first
    assert secret(tmp_path / "another") != first
