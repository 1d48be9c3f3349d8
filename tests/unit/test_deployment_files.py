"""What the Dockerfile, docker-compose.yml and .env.example promise, read without any Docker.

Does not start anything, and so cannot show that the containers become healthy.
"""

import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from pydantic import TypeAdapter

from app.settings import Settings

ROOT = Path(__file__).resolve().parents[2]
COMPOSE_TEXT = (ROOT / "docker-compose.yml").read_text(encoding="utf-8")
COMPOSE: dict[str, Any] = yaml.safe_load(COMPOSE_TEXT)
SERVICES: dict[str, dict[str, Any]] = COMPOSE["services"]
DOCKERFILE = (ROOT / "Dockerfile").read_text(encoding="utf-8")

ONE_SHOT = {"migrate"}
OURS = {"migrate", "api", "worker", "flower"}
LONG_RUNNING = sorted(SERVICES.keys() - ONE_SHOT)
INTERPOLATION = re.compile(r"\$\{(?P<name>\w+)(?::-(?P<default>[^}]*))?}")
# Set by docker-compose.yml itself: the servers' addresses inside the network of the containers.
FIXED_SETTINGS = {"DATABASE_URL", "REDIS_URL"}


def interpolated(text: str) -> str:
    """Return the text as Compose reads it when neither `.env` nor the shell sets a variable."""
    return INTERPOLATION.sub(lambda match: match["default"] or "", text)


def seconds(duration: str) -> float:
    """Return the seconds of a Compose duration that has one unit, such as 20s or 1m."""
    match = re.fullmatch(r"(\d+)(s|m)", interpolated(duration))
    assert match, f"not a duration with one unit: {duration}"
    return int(match[1]) * {"s": 1, "m": 60}[match[2]]


def passed_through() -> set[str]:
    """Return the variables that reach the containers under their own name, if they are set."""
    return {
        name
        for service in OURS
        for name, value in SERVICES[service]["environment"].items()
        if value is None
    }


def example_values() -> dict[str, str]:
    """Return the variables of .env.example, all of which stand there commented out."""
    text = (ROOT / ".env.example").read_text(encoding="utf-8")
    return dict(re.findall(r"^# ([A-Z][A-Z_]+)=(.*)$", text, flags=re.MULTILINE))


def final_stage() -> str:
    return re.split(r"^FROM ", DOCKERFILE, flags=re.MULTILINE)[-1]


def test_the_services_are_those_of_the_architecture() -> None:
    assert SERVICES.keys() == {"postgres", "redis", *OURS}


def test_published_ports_are_reachable_from_this_machine_only() -> None:
    published = {
        name: list(map(interpolated, service.get("ports", [])))
        for name, service in SERVICES.items()
    }
    assert {name: ports for name, ports in published.items() if ports} == {
        "api": ["127.0.0.1:8000:8000"],
        "flower": ["127.0.0.1:5555:5555"],
    }


@pytest.mark.parametrize("name", LONG_RUNNING)
def test_a_long_running_service_is_restarted_and_checked_within_a_bounded_time(name: str) -> None:
    service = SERVICES[name]
    assert service["restart"] == "unless-stopped"
    check = service["healthcheck"]
    assert seconds(check["timeout"]) <= seconds(check["interval"])
    assert check["retries"] >= 1
    assert seconds(check["start_period"]) > 0


@pytest.mark.parametrize("name", ["api", "flower"])
def test_an_http_check_gives_up_before_docker_ends_it(name: str) -> None:
    check = SERVICES[name]["healthcheck"]
    found = re.search(r"timeout=(\d+)", check["test"][-1])
    assert found
    assert int(found[1]) < seconds(check["timeout"])


@pytest.mark.parametrize("name", sorted(SERVICES))
def test_a_container_is_confined_and_its_log_is_bounded(name: str) -> None:
    service = SERVICES[name]
    assert service["read_only"] is True
    assert service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert {"max-size", "max-file"} <= service["logging"]["options"].keys()
    assert "container_name" not in service, "a fixed name rules out --scale and a second copy"


@pytest.mark.parametrize("name", ["postgres", "redis"])
def test_a_server_keeps_its_data_in_a_named_volume_and_is_not_run_by_root(name: str) -> None:
    assert SERVICES[name]["user"] == name
    (volume,) = SERVICES[name]["volumes"]
    assert volume.split(":")[0] in COMPOSE["volumes"]


def test_redis_writes_every_message_to_disk_and_evicts_none() -> None:
    command = " ".join(SERVICES["redis"]["command"])
    assert "--appendonly yes" in command
    assert "--maxmemory-policy noeviction" in command


def test_everything_of_ours_runs_from_one_image_that_is_built_once() -> None:
    assert {SERVICES[name]["image"] for name in OURS} == {"task-manager:local"}
    assert [name for name in SERVICES if "build" in SERVICES[name]] == ["migrate"]


def test_everything_of_ours_uses_the_same_database_and_broker() -> None:
    for name in OURS:
        environment = SERVICES[name]["environment"]
        assert (
            interpolated(environment["DATABASE_URL"])
            == "postgresql://task_manager:local-use-only@postgres:5432/task_manager"
        )
        assert interpolated(environment["REDIS_URL"]) == "redis://:local-use-only@redis:6379/0"
    assert (
        interpolated(SERVICES["postgres"]["environment"]["POSTGRES_PASSWORD"]) == "local-use-only"
    )
    assert interpolated(SERVICES["redis"]["command"][-1]) == "local-use-only"


def test_containers_run_the_documented_commands() -> None:
    commands = {name: " ".join(SERVICES[name]["command"]) for name in OURS}
    assert commands["migrate"] == "alembic upgrade head"
    assert commands["api"].startswith("uvicorn main:app ")
    assert commands["worker"] == "celery -A app.worker.celery worker --loglevel=info"
    assert commands["flower"].startswith("celery -A app.worker.celery flower --port=5555")


def test_the_migration_runs_once_and_everything_else_of_ours_waits_for_it_and_for_the_servers() -> (
    None
):
    assert SERVICES["migrate"]["restart"] == "no"
    assert SERVICES["migrate"]["depends_on"] == {"postgres": {"condition": "service_healthy"}}
    for name in OURS - ONE_SHOT:
        assert SERVICES[name]["depends_on"] == {
            "migrate": {"condition": "service_completed_successfully"},
            "postgres": {"condition": "service_healthy"},
            "redis": {"condition": "service_healthy"},
        }


def test_docker_leaves_a_stopping_worker_more_than_its_soft_shutdown() -> None:
    soft_shutdown = Settings.model_fields["soft_shutdown_seconds"].default
    assert seconds(SERVICES["worker"]["stop_grace_period"]) >= soft_shutdown + 10


def test_a_worker_that_is_told_to_stop_limits_the_time_of_its_tasks() -> None:
    assert "REMAP_SIGTERM=SIGQUIT" in DOCKERFILE


def test_every_setting_can_be_set_for_the_containers() -> None:
    settings = {name.upper() for name in Settings.model_fields}
    assert passed_through() - {"FLOWER_BASIC_AUTH"} == settings - FIXED_SETTINGS


def test_the_example_lists_exactly_the_variables_that_compose_reads() -> None:
    read = {match["name"] for match in INTERPOLATION.finditer(COMPOSE_TEXT)} | passed_through()
    assert example_values().keys() == read


def test_the_example_shows_the_defaults() -> None:
    defaults = {match["name"]: match["default"] for match in INTERPOLATION.finditer(COMPOSE_TEXT)}
    for name, value in example_values().items():
        field = Settings.model_fields.get(name.lower())
        if field is None:
            assert value == defaults.get(name, ""), name
        elif field.default_factory is not None:
            assert value == "", f"{name} depends on the machine"
        else:
            assert TypeAdapter(field.annotation).validate_python(value) == field.default, name


def test_the_image_is_run_by_a_fixed_unprivileged_user() -> None:
    user = re.search(r"^USER (\d+):(\d+)$", final_stage(), flags=re.MULTILINE)
    assert user
    assert int(user[1]) > 0
    assert "USER" not in final_stage()[user.end() :]


def test_the_image_holds_the_service_and_its_pinned_packages_only() -> None:
    copied = {
        name
        for line in re.findall(r"^COPY (?!--from)(.*)$", DOCKERFILE, flags=re.MULTILINE)
        for name in line.split()[:-1]
    }
    assert copied == {"requirements.txt", "alembic.ini", "main.py", "alembic/", "app/"}
    assert "apt-get" not in DOCKERFILE


def test_the_image_starts_the_api_without_a_shell_between() -> None:
    assert 'CMD ["uvicorn", "main:app", "--host", "0.0.0.0", "--port", "8000"]' in final_stage()


def test_the_image_builds_without_fetching_a_dockerfile_frontend() -> None:
    assert not re.search(r"^#\s*syntax=", DOCKERFILE, flags=re.MULTILINE | re.IGNORECASE)


def test_the_build_context_is_an_allow_list() -> None:
    lines = (ROOT / ".dockerignore").read_text(encoding="utf-8").splitlines()
    rules = [line for line in lines if line and not line.startswith("#")]
    assert rules[0] == "*"
    allowed = {rule[1:] for rule in rules if rule.startswith("!")}
    assert allowed == {"requirements.txt", "alembic.ini", "main.py", "alembic/", "app/"}
    assert "app/local/" in rules
