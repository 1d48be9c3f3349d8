"""The walk of the READMEs' first task, through real processes."""

from datetime import datetime

import pytest

from tests.service import Service

pytestmark = pytest.mark.acceptance


def test_a_created_task_completes(service: Service) -> None:
    task = service.create(title="Отчёт", priority="HIGH")

    assert task["status"] == "NEW"
    done = service.wait_until(task["id"], "COMPLETED", "FAILED")
    assert done["status"] == "COMPLETED"
    assert done["title"] == "Отчёт"
    assert done["result"]
    assert done["error_info"] is None
    times = [
        datetime.fromisoformat(done[name]) for name in ("created_at", "started_at", "completed_at")
    ]
    assert times == sorted(times)
