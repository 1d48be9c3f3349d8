"""The virtual environment is installed into when the requirements changed, and only then."""

import shutil
from pathlib import Path

import pytest

from app.local import install
from app.local.errors import LocalRunError


class Commands:
    """Stands for the commands that the installation runs: records them, and succeeds or not."""

    def __init__(self, venv: Path) -> None:
        self.failing = ""
        self.run: list[str] = []
        self._venv = venv

    def __call__(self, *command: str | Path, quiet: bool = False) -> bool:
        line = " ".join(map(str, command))
        self.run.append(line)
        if "-m venv" in line:
            shutil.rmtree(self._venv, ignore_errors=True)
            (self._venv / "bin").mkdir(parents=True)
            (self._venv / "bin" / "python").touch()
        return not self.failing or self.failing not in line

    def installations(self) -> list[str]:
        """Return what pip was asked to install, and forget it."""
        lines = [line.partition("--no-input ")[2] for line in self.run if "pip install" in line]
        self.run.clear()
        return lines


@pytest.fixture
def commands(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Commands:
    venv = tmp_path / ".venv"
    monkeypatch.setattr(install, "PROJECT", tmp_path)
    monkeypatch.setattr(install, "VENV", venv)
    monkeypatch.setattr(install, "PYTHON", venv / "bin" / "python")
    monkeypatch.setattr(install, "STAMP", venv / ".installed")
    commands = Commands(venv)
    monkeypatch.setattr(install, "_run", commands)
    for name in ("requirements.txt", "requirements-local.txt", "requirements-dev.txt"):
        (tmp_path / name).write_text(f"# {name}\n")
    return commands


RUN = ["requirements.txt", "requirements-local.txt"]
ALL = [*RUN, "requirements-dev.txt"]


def test_the_first_time_creates_the_environment_and_installs(commands: Commands) -> None:
    assert install.main(RUN) == 0

    assert sum("-m venv" in line for line in commands.run) == 1
    assert commands.installations() == ["-r requirements.txt -r requirements-local.txt"]


def test_nothing_is_installed_while_nothing_changed(commands: Commands) -> None:
    install.main(ALL)
    commands.installations()

    for names in (ALL, RUN, ALL):
        assert install.main(names) == 0

    assert not any("-m venv" in line for line in commands.run)
    assert commands.installations() == []


def test_a_changed_file_is_installed_again(commands: Commands, tmp_path: Path) -> None:
    install.main(ALL)
    commands.installations()
    (tmp_path / "requirements.txt").write_text("celery==5.7.1\n")

    install.main(RUN)
    assert commands.installations() == ["-r requirements.txt -r requirements-local.txt"]
    install.main(RUN)
    assert commands.installations() == []


def test_files_for_development_join_those_of_a_run(commands: Commands) -> None:
    install.main(RUN)
    commands.installations()

    install.main(ALL)
    assert len(commands.installations()) == 1
    install.main(RUN)
    assert commands.installations() == []


def test_a_failed_installation_is_one_line_and_tried_again(
    commands: Commands, capsys: pytest.CaptureFixture[str]
) -> None:
    commands.failing = "pip install"

    assert install.main(RUN) == 1

    assert "Is there a network?" in capsys.readouterr().err
    commands.failing = ""
    commands.run.clear()
    assert install.main(RUN) == 0
    assert len(commands.installations()) == 1


def test_an_environment_whose_python_was_replaced_is_made_anew(commands: Commands) -> None:
    install.main(RUN)
    commands.installations()
    commands.failing = "site-packages"

    install.main(RUN)

    assert sum("-m venv --clear" in line for line in commands.run) == 1
    assert len(commands.installations()) == 1


def test_a_python_without_venv_is_explained(
    commands: Commands, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda _: None)

    assert install.main(RUN) == 1

    assert "on Debian and Ubuntu: apt install python3." in capsys.readouterr().err
    with pytest.raises(LocalRunError):
        install.install(RUN)


def test_an_environment_that_may_not_be_read_is_one_line(
    commands: Commands, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def refuse(names: object) -> None:
        raise PermissionError(13, "Permission denied", ".venv/bin/python")

    monkeypatch.setattr(install, "install", refuse)

    assert install.main(["requirements.txt"]) == 1
    printed = capsys.readouterr().err
    assert printed.startswith("Error: .venv cannot be used or made:")
    assert printed.count("\n") == 1
