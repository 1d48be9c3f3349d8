"""The walk of the READMEs' first task, through real processes."""

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
    assert done["created_at"] <= done["started_at"] <= done["completed_at"]
