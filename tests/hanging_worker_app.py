"""What `celery -A tests.hanging_worker_app` finds: the tests' worker, which can be made to hang.

SIGURG holds its main thread, and so Celery's event loop, until SIGURG comes again. What takes half
a minute in a real worker to be noticed takes seconds in this one.
"""

import logging
import signal
import time
from typing import Any

from app.worker import consumption
from tests.worker_app import celery

__all__ = ["celery"]

consumption.PERIOD_SECONDS = 3.0
consumption.LOOK_SECONDS = 0.2
consumption._TURN_SECONDS = 0.3
consumption._HANGS_AFTER_SECONDS = 1.0

log = logging.getLogger(__name__)
hangs = False


def hang(*details: Any) -> None:
    global hangs
    hangs = not hangs
    log.warning("The event loop %s", "hangs" if hangs else "goes on")
    while hangs:
        time.sleep(0.05)


signal.signal(signal.SIGURG, hang)
