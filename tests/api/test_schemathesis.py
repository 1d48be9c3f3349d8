"""Schemathesis, the property-based tester of OpenAPI services, against the running service.

It derives valid and invalid requests, and sequences of them, from the service's own document, and
checks each answer against it: no 5xx, no status code, content type, header or body that the
document does not describe, nothing valid refused, nothing invalid taken. Run through its command
line, because its fixtures for pytest are not made for pytest 9.
"""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.servers import ROOT

CONFIGURATION = Path(__file__).with_name("schemathesis.toml")


# It asks some thousand times, which a busy machine takes its time for.
@pytest.mark.timeout(300)
def test_every_answer_is_as_the_openapi_document_says(start_service, tmp_path: Path) -> None:
    # A service of its own, which may be left with some hundred tasks that end at once.
    # A busy machine must not make GET /health say 503, which counts as a failure here.
    service = start_service(
        SIMULATED_WORK_SECONDS="0", UNKNOWN_TYPE_SECONDS="1", HEALTH_TIMEOUT_SECONDS="10"
    )
    # Its API takes tasks of every type; the worker must not do everything that is thought up.
    service.worker_app = "tests.api.harmless_worker"
    service.start_worker()

    done = subprocess.run(
        [
            *(sys.executable, "-m", "schemathesis.cli"),
            *("--config-file", CONFIGURATION),
            *("run", f"{service.url}/openapi.json", "--no-color"),
        ],
        # It leaves a record of failures where it runs.
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=280,
        check=False,
    )

    assert done.returncode == 0, done.stdout + done.stderr
    assert "Selected: 17/17" in done.stdout
    generated = re.search(r"(\d+) generated, (\d+) passed", done.stdout)
    assert generated, done.stdout
    assert int(generated[1]) == int(generated[2]) > 500
    assert "Traceback" not in service.log("api")
