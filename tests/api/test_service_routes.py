"""The routes about the service: root, health, metrics, documentation."""

import re

import httpx
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


def test_the_root_leads_everywhere(client: httpx.Client) -> None:
    body = client.get("/").json()

    assert body["name"]
    assert re.fullmatch(r"\d+\.\d+\.\d+", body["version"])
    assert body["links"]
    for link in body["links"].values():
        assert client.get(link).status_code == 200


def test_health_names_every_part(client: httpx.Client) -> None:
    response = client.get("/health")

    assert response.status_code == 200
    body = response.json()
    assert body["status"] == "ok"
    assert set(body["checks"]) == {"database", "broker", "workers"}
    for check in body["checks"].values():
        assert check["ok"] is True
        assert check["detail"]
        assert 0 <= check["milliseconds"] < 1000


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


@pytest.mark.parametrize("path", ["/", "/health", "/tasks/", "/metrics", "/docs", "/openapi.json"])
def test_head_answers_as_get_does_without_the_body(client: httpx.Client, path: str) -> None:
    response = client.head(path)

    assert (response.status_code, response.content) == (200, b"")
    assert int(response.headers["content-length"]) > 0
    assert response.headers["content-type"] == client.get(path).headers["content-type"]
