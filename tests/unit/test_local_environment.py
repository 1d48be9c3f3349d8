"""What the local run takes from the environment, and what it hands on."""

from pathlib import Path

import pytest

from app.local.environment import PROJECT, child_environment, read_options
from app.local.errors import LocalRunError
from app.settings import Settings


def test_defaults_are_the_documented_ones() -> None:
    options = read_options({})

    assert (options.api_port, options.flower_port) == (8000, 5555)
    assert options.data_dir == PROJECT / ".data"
    assert options.database_url is None
    assert options.redis_url is None
    assert options.embedded


def test_the_worker_has_the_time_to_stop_that_the_service_gives_it() -> None:
    default = Settings.model_fields["soft_shutdown_seconds"].default

    assert read_options({}).soft_shutdown_seconds == default
    assert read_options({"SOFT_SHUTDOWN_SECONDS": "0.5"}).soft_shutdown_seconds == 0.5


def test_a_worker_that_has_its_time_to_end_from_a_file_is_given_it(tmp_path: Path) -> None:
    dotenv = tmp_path / ".env"
    dotenv.write_text("# Ждать дольше\nsoft_shutdown_seconds=60\nAPI_PORT=1\n", encoding="utf-8")
    options = read_options({}, dotenv)
    assert (options.soft_shutdown_seconds, options.api_port) == (60, 8000)
    from_both = read_options({"SOFT_SHUTDOWN_SECONDS": "0.5"}, dotenv)
    assert from_both.soft_shutdown_seconds == 0.5


def test_empty_variables_count_as_not_set() -> None:
    empty = dict.fromkeys(["API_PORT", "FLOWER_PORT", "DATA_DIR", "DATABASE_URL", "REDIS_URL"], "")

    assert read_options(empty) == read_options({})


def test_nothing_is_embedded_once_both_servers_are_given() -> None:
    both = {"DATABASE_URL": "postgresql://a@b/c", "REDIS_URL": "redis://d"}

    assert not read_options(both).embedded
    for one in both.items():
        assert read_options(dict([one])).embedded


def test_a_data_folder_is_relative_to_the_checkout(tmp_path: Path) -> None:
    assert read_options({"DATA_DIR": "other"}).data_dir == PROJECT / "other"
    assert read_options({"DATA_DIR": str(tmp_path)}).data_dir == tmp_path
    assert read_options({"DATA_DIR": "~/x"}).data_dir == Path.home() / "x"


@pytest.mark.parametrize("value", ["0", "65536", "-1", "eighty", "8000.5", "٨٠٠٠"])
@pytest.mark.parametrize("variable", ["API_PORT", "FLOWER_PORT"])
def test_what_is_no_port_is_named(variable: str, value: str) -> None:
    with pytest.raises(LocalRunError, match=f"{variable} must be a port number .*{value}"):
        read_options({variable: value})


def test_one_port_is_not_enough_for_both() -> None:
    with pytest.raises(LocalRunError, match="API_PORT and FLOWER_PORT are both 5555"):
        read_options({"API_PORT": "5555"})


def test_children_get_the_servers_and_everything_but_makes_own_variables() -> None:
    ours = {"PATH": "/bin", "LOG_LEVEL": "DEBUG", "MAKEFLAGS": "s", "MAKELEVEL": "1"}

    environment = child_environment(ours, "postgresql://here", "redis://here")

    assert environment["DATABASE_URL"] == "postgresql://here"
    assert environment["REDIS_URL"] == "redis://here"
    assert environment["LOG_LEVEL"] == "DEBUG"
    assert environment["PATH"].endswith(":/bin")
    assert not {"MAKEFLAGS", "MAKELEVEL"} & environment.keys()
