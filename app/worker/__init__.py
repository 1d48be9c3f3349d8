"""The Celery side: what runs tasks. `celery -A app.worker.celery worker` starts it.

Nothing here imports Celery: a name `celery` in this package would hide the module of that name.
"""
