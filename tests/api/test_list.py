"""GET /tasks/: order, filters, and paging to the last task."""

import re

import httpx
import pytest

from tests.service import Service

PRIORITIES = ["LOW", "MEDIUM", "HIGH"]


@pytest.fixture(scope="module")
def listed(start_service) -> Service:
    """A service with twelve waiting tasks, four of each priority; every sixth is cancelled."""
    service = start_service()
    with service.client() as client:
        for number in range(12):
            priority = PRIORITIES[number % 3]
            task = service.create(title=f"task {number}", priority=priority)
            if number % 6 == 0:
                assert client.post(f"/tasks/{task['id']}/cancel").status_code == 200
    return service


@pytest.fixture
def client(listed: Service):
    with listed.client() as client:
        yield client


def numbers(response: httpx.Response) -> list[int]:
    assert response.status_code == 200, response.text
    assert response.headers["content-type"] == "application/json"
    return [int(task["title"].removeprefix("task ")) for task in response.json()]


def next_url(response: httpx.Response) -> str | None:
    link = response.headers.get("link")
    if link is None:
        return None
    found = re.fullmatch(r'<([^>]+)>; rel="next"', link)
    assert found, link
    return found.group(1)


def pages(client: httpx.Client, path: str) -> list[list[int]]:
    """Follow the Link header to the end."""
    found: list[list[int]] = []
    url: str | None = path
    while url is not None:
        response = client.get(url)
        found.append(numbers(response))
        url = next_url(response)
        assert len(found) <= 20, "the links go round in circles"
    return found


@pytest.mark.parametrize("path", ["/tasks", "/tasks/"])
def test_all_tasks_come_newest_first_without_a_redirect(client: httpx.Client, path: str) -> None:
    response = client.get(path)

    assert numbers(response) == list(range(11, -1, -1))
    assert next_url(response) is None


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("priority=HIGH", [11, 8, 5, 2]),
        ("priority=HIGH&priority=LOW", [11, 9, 8, 6, 5, 3, 2, 0]),
        ("priority=HIGH,LOW", [11, 9, 8, 6, 5, 3, 2, 0]),
        ("status=CANCELLED", [6, 0]),
        ("status=CANCELLED&priority=HIGH", []),
        ("status=CANCELLED&priority=LOW&priority=MEDIUM", [6, 0]),
        ("status=NEW&status=PENDING&priority=LOW", [9, 3]),
        ("status=NEW,PENDING,CANCELLED&priority=LOW", [9, 6, 3, 0]),
        ("status=COMPLETED", []),
        ("limit=2", [11, 10]),
        ("limit=2&skip=3", [8, 7]),
        ("skip=11", [0]),
        ("skip=12", []),
        (f"skip={2**63 - 1}", []),
        ("limit=1000", list(range(11, -1, -1))),
        (f"before={2**63 - 1}&limit=1", [11]),
        ("before=1", []),
        ("nobody=knows&limit=1", [11]),
    ],
)
def test_filters_and_pages_select(client: httpx.Client, query: str, expected: list[int]) -> None:
    assert numbers(client.get(f"/tasks/?{query}")) == expected


@pytest.mark.parametrize("path", ["/tasks", "/tasks/"])
def test_links_lead_through_every_task_once(client: httpx.Client, path: str) -> None:
    found = pages(client, f"{path}?limit=5")

    assert found == [[11, 10, 9, 8, 7], [6, 5, 4, 3, 2], [1, 0]]


def test_the_last_page_has_no_link_even_when_it_is_full(client: httpx.Client) -> None:
    assert [len(page) for page in pages(client, "/tasks/?limit=6")] == [6, 6]


def test_links_keep_the_filters(client: httpx.Client) -> None:
    repeated = pages(client, "/tasks/?limit=3&priority=HIGH&priority=LOW&status=NEW&status=PENDING")
    joined = pages(client, "/tasks/?limit=3&priority=HIGH,LOW&status=NEW,PENDING")

    assert repeated == joined == [[11, 9, 8], [5, 3, 2]]


def test_links_lead_through_tasks_that_are_all_of_one_status_and_priority(
    client: httpx.Client,
) -> None:
    assert pages(client, "/tasks/?limit=2&priority=HIGH&status=NEW,PENDING") == [[11, 8], [5, 2]]


def test_a_link_goes_on_after_what_was_skipped(client: httpx.Client) -> None:
    assert pages(client, "/tasks/?limit=4&skip=3") == [[8, 7, 6, 5], [4, 3, 2, 1], [0]]


def test_a_link_is_an_absolute_url_under_the_name_that_the_client_used(
    client: httpx.Client, listed: Service
) -> None:
    own = next_url(client.get("/tasks/?limit=1"))
    other = next_url(client.get("/tasks/?limit=1", headers={"host": "tasks.example:8080"}))

    assert own is not None
    assert own.startswith(f"{listed.url}/tasks/?")
    assert other is not None
    assert other.startswith("http://tasks.example:8080/tasks/?")


def test_tasks_created_meanwhile_do_not_shift_the_pages(start_service) -> None:
    service = start_service()
    for number in range(4):
        service.create(title=f"task {number}")
    with service.client() as client:
        first = client.get("/tasks/?limit=2")
        service.create(title="task 99")
        second = client.get(str(next_url(first)))

    assert (numbers(first), numbers(second)) == ([3, 2], [1, 0])


# Each of them twice as much as a page may have.
LARGE = {
    # A character beyond the first 65,536 makes all others of a text as large in Python.
    "descriptions": ({"description": "🎲" + "x" * 900_000}, 18),
    # Of a type that may have something to conceal.
    "payloads": (
        {
            "type": "http_request",
            "payload": {"url": "https://example.com/", "body": "x" * 250_000},
            "delay_seconds": 900,
        },
        66,
    ),
}


@pytest.mark.parametrize("kind", LARGE)
def test_a_page_of_large_tasks_ends_early_and_the_links_lead_through_all(
    start_service, kind: str
) -> None:
    """So that one page cannot take all of the API's memory, nor its time."""
    more, count = LARGE[kind]
    service = start_service()
    with service.client() as client:
        for number in range(count):
            body = {"title": f"task {number}", "priority": "HIGH", **more}
            assert client.post("/tasks/", json=body).status_code == 201
        for query, skipped in (("limit=100", 0), ("limit=1000&priority=HIGH&skip=2", 2)):
            found: list[list[int]] = []
            url: str | None = f"/tasks/?{query}"
            while url is not None:
                response = client.get(url)
                assert len(response.content) < 17 * 2**20
                found.append(numbers(response))
                url = next_url(response)
            assert len(found) > 1
            everyone = list(range(count - 1 - skipped, -1, -1))
            assert [number for page in found for number in page] == everyone
