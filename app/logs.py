"""How log lines look, for every process of the service: one line each, on standard error.

Owns the format and the levels. Cyrillic and any other script appear as they are.
"""

import logging
import logging.config
import time

from app.settings import Settings

_FORMAT = "%(asctime)s.%(msecs)03d %(levelname)-7s %(name)s: %(message)s"


def configure(settings: Settings) -> None:
    """Set up logging for this process, in UTC, replacing what was set up before."""
    logging.Formatter.converter = time.gmtime
    # What no line of ours says need not be found out for each (Python's "Logging HOWTO",
    # "Optimization").
    logging.logThreads = logging.logProcesses = logging.logMultiprocessing = False
    logging.config.dictConfig(
        {
            "version": 1,
            "disable_existing_loggers": False,
            "formatters": {"line": {"format": _FORMAT, "datefmt": "%Y-%m-%dT%H:%M:%S"}},
            "handlers": {"stderr": {"class": "logging.StreamHandler", "formatter": "line"}},
            "root": {"level": settings.log_level, "handlers": ["stderr"]},
            "loggers": {
                # uvicorn and Celery come with handlers of their own; one line a message is enough.
                "uvicorn": {"handlers": [], "propagate": True},
                "uvicorn.access": {"handlers": [], "propagate": True},
                "uvicorn.error": {"handlers": [], "propagate": True},
                # Says hello at each look at the schema's revision.
                "alembic.runtime.migration": {"level": "WARNING"},
                # One line for each message received, beside our own for each attempt.
                "celery.worker.strategy": {"level": "WARNING"},
                "celery.app.trace": {"level": "WARNING"},
            },
        }
    )
