"""Runs http_request in the test's own process, without a worker."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import pytest

from app.domain.targets import parse_targets
from app.handlers import TaskContext, registry
from app.handlers.http_request import handler
from app.handlers.http_request.client import Client
from app.settings import Settings
from tests.http_target import Target

TOKEN = "5f0c2a7e-0000-5000-8000-000000000007"


@dataclass
class Caller:
    """Runs http_request in this process, allowed to reach one target and nothing else."""

    target: Target
    client: Client
    monkeypatch: pytest.MonkeyPatch

    def __call__(self, path_or_url: str, *, attempt: int = 1, **payload: Any) -> Any:
        """Return the result of one attempt."""
        url = self.target.url(path_or_url) if path_or_url.startswith("/") else path_or_url
        task_type = registry.get("http_request")
        assert task_type is not None
        context = TaskContext(7, attempt, 0, TOKEN)
        return task_type.run({"url": url, **payload}, context)

    def configure(self, **settings: Any) -> None:
        """Let other settings hold than those of the environment."""
        changed = Settings(_env_file=None, **settings)
        self.monkeypatch.setattr(handler, "get_settings", lambda: changed)

    def allow(self, text: str) -> None:
        """Open these targets, and close all connections."""
        self.client.drop()
        self.client = Client(parse_targets(text))


@contextmanager
def caller(target: Target, monkeypatch: pytest.MonkeyPatch) -> Iterator[Caller]:
    allowed = parse_targets(f"127.0.0.1:{target.port}")
    own = Caller(target, Client(allowed), monkeypatch)
    monkeypatch.setattr(handler, "client", lambda: own.client)
    own.configure()
    try:
        yield own
    finally:
        own.client.drop()
