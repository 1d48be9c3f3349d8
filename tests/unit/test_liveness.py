"""The file by which a worker tells the liveness check of its container that it is well."""

import logging
import os
import time
from pathlib import Path

import pytest

from app.worker import liveness


@pytest.fixture
def file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    path = tmp_path / "worker.alive"
    monkeypatch.setattr(liveness, "_FILE", path)
    return path


def check(capsys: pytest.CaptureFixture[str]) -> tuple[int, str]:
    code = liveness.main()
    return code, capsys.readouterr().err


def grow_old(file: Path, seconds: float) -> None:
    then = time.time() - seconds
    os.utime(file, (then, then))


def test_where_no_worker_has_run_the_check_fails(
    file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert check(capsys) == (1, "no worker has run here\n")


def test_a_worker_is_alive_as_long_as_it_says_so(
    file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    report = liveness.Report()
    report.write("")
    assert check(capsys) == (0, "")

    grow_old(file, 29)
    assert check(capsys) == (0, "")
    grow_old(file, 31)
    assert check(capsys) == (1, "the worker has been silent for 31 s\n")

    report.write("")
    assert check(capsys) == (0, "")


def test_a_complaint_fails_the_check_until_it_is_taken_back(
    file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    report = liveness.Report()
    report.write("")
    report.write("it is of no use")
    report.write("it is of no use")
    assert check(capsys) == (1, "it is of no use\n")

    grow_old(file, 31)
    assert check(capsys) == (1, "the worker has been silent for 31 s\n")

    report.write("")
    assert check(capsys) == (0, "")
    assert list(file.parent.iterdir()) == [file]


def test_a_new_worker_does_not_inherit_the_complaint_of_the_one_before(
    file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    liveness.Report().write("it is of no use")
    liveness.Report().write("")

    assert check(capsys) == (0, "")


def test_a_file_that_somebody_removed_comes_back(
    file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    report = liveness.Report()
    report.write("")
    file.unlink()
    report.write("")

    assert check(capsys) == (0, "")


def test_a_file_that_cannot_be_written_is_logged_once_and_raises_nothing(
    file: Path, caplog: pytest.LogCaptureFixture, capsys: pytest.CaptureFixture[str]
) -> None:
    # A folder cannot be replaced by a file.
    file.mkdir()
    report = liveness.Report()
    report.write("")
    report.write("")

    (record,) = caplog.records
    assert record.levelno == logging.ERROR
    assert str(file) in record.message
    assert list(file.parent.iterdir()) == [file], "what could not be put in place is not left over"
    file.rmdir()

    report.write("")

    assert len(caplog.records) == 1
    assert check(capsys) == (0, "")
