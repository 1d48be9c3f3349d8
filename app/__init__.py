"""An asynchronous task manager: FastAPI takes the work, Celery runs it, PostgreSQL is the truth."""

__version__ = "0.1.0"
