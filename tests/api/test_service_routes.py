"""The routes about the service: root, health, metrics, documentation."""

import re
import time
from typing import Any

import httpx
import psycopg2
import pytest
from prometheus_client.parser import text_string_to_metric_families

from tests.service import Service


def samples(client: httpx.Client) -> dict[tuple[str, frozenset[tuple[str, str]]], float]:
    """Return what GET /metrics tells, by name and labels."""
    response = client.get("/metrics")
    assert response.status_code == 200
    assert response.headers["content-type"].startswith("text/plain; version=")
    return {
        (sample.name, frozenset(sample.labels.items())): sample.value
        for family in text_string_to_metric_families(response.text)
        for sample in family.samples
    }


def labels(**values: str) -> frozenset[tuple[str, str]]:
    return frozenset(values.items())


OLDEST_WAITING = ("task_manager_oldest_waiting_seconds", labels())


def change(service: Service, sql: str) -> None:
    """Bring tasks into a state that the service would need hours for."""
    connection = psycopg2.connect(service.database_url)
    try:
        connection.autocommit = True
        connection.cursor().execute(sql)
    finally:
        connection.close()


def test_the_root_leads_everywhere(client: httpx.Client) -> None:
    body = client.get("/").json()

    assert body["name"]
    assert re.fullmatch(r"\d+\.\d+\.\d+", body["version"])
    assert {"tasks", "task_types", "docs", "openapi", "health", "metrics"} <= set(body["links"])
    for link in body["links"].values():
        assert client.get(link).status_code == 200


def test_health_names_every_part(client: httpx.Client) -> None:
    response = client.get("/health")

    assert response.status_code == 200
    body = response.json()
    assert body["status"] == "ok"
    assert set(body["checks"]) == {"database", "broker", "workers", "oldest_waiting"}
    for name, check in body["checks"].items():
        assert check["ok"] is True
        assert check["detail"]
        assert 0 <= check["milliseconds"] < 1000
        told = {"task_id", "seconds"} if name == "oldest_waiting" else set()
        assert set(check) == {"ok", "milliseconds", "detail"} | told


def test_health_and_metrics_tell_what_has_waited_longest(new_service: Service) -> None:
    new_service.start_api()

    def told(client: httpx.Client) -> dict[str, Any]:
        answer = client.get("/health").json()
        # It is told beside what is wrong, and is nothing wrong itself.
        assert answer["status"] == 503
        assert "oldest_waiting" not in answer["detail"]
        return answer["checks"]["oldest_waiting"]

    with new_service.client() as client:
        nothing = told(client)
        assert (nothing["ok"], nothing["task_id"], nothing["seconds"]) == (True, None, None)
        assert nothing["detail"] == "no task waits"
        assert samples(client)[OLDEST_WAITING] == 0

        waits, runs, later = (new_service.create(priority=p)["id"] for p in ("LOW", "HIGH", "HIGH"))
        waits_less = new_service.create(priority="HIGH")["id"]
        change(
            new_service,
            f"UPDATE tasks SET run_at = now() - interval '300 s' WHERE id = {waits_less};"
            f"UPDATE tasks SET run_at = now() - interval '400.5 s' WHERE id = {waits};"
            f"UPDATE tasks SET run_at = now() + interval '1 h', created_at = now() - interval '1 h'"
            f" WHERE id = {later};"
            "UPDATE tasks SET run_at = now() - interval '1 h', status = 'IN_PROGRESS', attempt = 1,"
            " started_at = now(), worker = 'w/1', lease_expires_at = now() + interval '1 h'"
            f" WHERE id = {runs};",
        )
        oldest = told(client)
        assert (oldest["ok"], oldest["task_id"]) == (True, waits)
        assert 400.5 <= oldest["seconds"] < 420
        assert re.fullmatch(
            rf"task {waits} has waited 4[01]\d\.\d s in queue low", oldest["detail"]
        )
        assert 400.5 <= samples(client)[OLDEST_WAITING] < 420


def test_a_part_that_hangs_keeps_no_other_from_its_answer(new_service: Service) -> None:
    new_service.start_api()
    locker = psycopg2.connect(new_service.database_url)
    try:
        locker.cursor().execute("LOCK TABLE tasks IN ACCESS EXCLUSIVE MODE")
        with new_service.client() as client:
            asked = time.monotonic()
            # Those who ask at the same time or again share the question that hangs.
            answers = [client.get("/health").json() for _ in range(3)]
            assert time.monotonic() - asked < 3 * 2
    finally:
        locker.close()

    for answer in answers:
        checks = answer["checks"]
        assert checks["database"]["ok"]
        assert checks["broker"]["ok"]
        assert "no worker has reported" in checks["workers"]["detail"]
        oldest = checks["oldest_waiting"]
        assert (oldest["ok"], oldest["task_id"], oldest["seconds"]) == (False, None, None)
        assert oldest["milliseconds"] >= 900
        assert f"oldest_waiting: {oldest['detail']}" in answer["detail"]


def test_live_says_only_that_the_process_answers(client: httpx.Client) -> None:
    response = client.get("/health/live")

    assert (response.status_code, response.json()) == (200, {"status": "ok"})


def test_metrics_count_requests_by_the_template_of_their_route(client: httpx.Client) -> None:
    name = "task_manager_http_requests_total"
    asked = (name, labels(method="GET", route="/tasks/{task_id}", status="404"))
    unknown = (name, labels(method="GET", route="none", status="404"))
    before = samples(client)

    client.get(f"/tasks/{2**63 - 1}")
    client.get("/there/is/nothing/here")

    after = samples(client)
    assert after[asked] == before.get(asked, 0) + 1
    assert after[unknown] == before.get(unknown, 0) + 1
    timed = ("task_manager_http_request_duration_seconds_count", labels(method="GET", route="none"))
    assert after[timed] >= after[unknown]
    assert not any(str(2**63 - 1) in value for _, pairs in after for _, value in pairs)


def test_metrics_tell_tasks_queues_and_workers(service: Service, idle: Service) -> None:
    with service.client() as client:
        assert samples(client)[("task_manager_workers_alive", labels())] == 1

    with idle.client() as client:
        before = samples(client)
        idle.wait_until(idle.create(priority="LOW")["id"], "PENDING")
        after = samples(client)

    assert after[("task_manager_workers_alive", labels())] == 0
    for sample in (
        ("task_manager_tasks_unfinished", labels(status="PENDING", queue="low")),
        ("task_manager_queue_messages", labels(queue="low")),
    ):
        assert after[sample] == before[sample] + 1


@pytest.mark.parametrize("path", ["/docs", "/redoc"])
def test_documentation_needs_no_internet(client: httpx.Client, path: str) -> None:
    page = client.get(path)

    assert page.status_code == 200
    assert page.headers["content-type"].startswith("text/html")
    assert re.findall(r"""(?:src|href)\s*=\s*["']?(?:https?:)?//""", page.text) == []
    assert re.findall(r"url\(\s*['\"]?(?:https?:)?//", page.text) == []
    assets = re.findall(r"""(?:src|href)="(/[^"]+)\"""", page.text)
    assert any(asset.endswith(".js") for asset in assets)
    for asset in assets:
        response = client.get(asset)
        assert response.status_code == 200, asset
        assert response.content


@pytest.mark.parametrize(
    "path",
    ["/", "/health", "/tasks/", "/task-types/", "/metrics", "/docs", "/openapi.json"],
)
def test_head_answers_as_get_does_without_the_body(client: httpx.Client, path: str) -> None:
    response = client.head(path)

    assert (response.status_code, response.content) == (200, b"")
    assert int(response.headers["content-length"]) > 0
    assert response.headers["content-type"] == client.get(path).headers["content-type"]
