"""Celery's configuration, each setting with its reason.

Owns what is common to publishing and running. Celery is used as transport and process pool only:
retries, schedules, results and cancelling are the service's own, in PostgreSQL. Names and
meanings are those of Celery's "Configuration and defaults" page.
"""

from typing import Any

from kombu import Queue

from app.domain.priority import QUEUES_BY_URGENCY
from app.settings import Settings

# The one Celery task. What it does is decided by the row in PostgreSQL.
RUN_TASK = "app.run_task"

# How long one side may wait for Redis, in seconds. The API publishes beside its requests and
# should soon leave the work to the maintenance loop; a worker has nothing better to do than wait.
API_REDIS_TIMEOUT_SECONDS = 0.2
WORKER_CONNECT_TIMEOUT_SECONDS = 2
WORKER_REDIS_TIMEOUT_SECONDS = 5


def configuration(settings: Settings, *, publisher_only: bool) -> dict[str, Any]:
    """Return Celery's settings for an API process (`publisher_only`) or a worker and Flower."""
    connect = API_REDIS_TIMEOUT_SECONDS if publisher_only else WORKER_CONNECT_TIMEOUT_SECONDS
    answer = API_REDIS_TIMEOUT_SECONDS if publisher_only else WORKER_REDIS_TIMEOUT_SECONDS
    return {
        "broker_url": settings.redis_url,
        # Named by the documented stack as the result store. Nothing is stored there, because
        # results belong into the task table: a result backend that is down would fail a task
        # that has finished.
        "result_backend": settings.redis_url,
        "task_ignore_result": True,
        "result_expires": 3600,
        # The order is the order in which a worker asks the queues.
        "task_queues": [Queue(queue.value) for queue in QUEUES_BY_URGENCY],
        "task_default_queue": "medium",
        # A message for a misspelt queue would never be read; better an error at publishing.
        "task_create_missing_queues": False,
        "broker_transport_options": {
            # Strict priority: always ask `high` first.
            "queue_order_strategy": "priority",
            # One list per queue. By default kombu splits each into four and asks all of them.
            "priority_steps": [0],
            # Celery 5.7.0's worker dies for good when Redis goes away while it holds unacknowledged
            # messages; without kombu's emulation of acknowledgements it does not, and nothing is
            # delivered twice after the visibility timeout. What that may lose, the lease finds.
            "ack_emulation": False,
            "socket_connect_timeout": connect,
            "socket_timeout": answer,
            "socket_keepalive": True,
            "health_check_interval": 10,
        },
        # A publisher that finds no free connection must not wait for ever, as is the default.
        "broker_pool_acquire_timeout": 1,
        "broker_connection_timeout": connect,
        # One try: whoever publishes has the task table to fall back on.
        "task_publish_retry_policy": {
            "max_retries": 0,
            "interval_start": 0,
            "interval_step": 0,
            "interval_max": 0,
        },
        # JSON only: a pickle from a foreign Redis would run its code.
        "task_serializer": "json",
        "result_serializer": "json",
        "accept_content": ["json"],
        "timezone": "UTC",
        "enable_utc": True,
        # Late, so that a worker with N processes takes N messages and no more: with an early
        # acknowledgement one LOW message waits inside the worker ahead of every HIGH one.
        "task_acks_late": True,
        "worker_prefetch_multiplier": 1,
        # The lease decides whether a task runs again; requeueing its message as well would make a
        # task that kills its worker do so for ever.
        "task_reject_on_worker_lost": False,
        "task_acks_on_failure_or_timeout": True,
        # A lost connection harms no running task: its right to run is the lease in PostgreSQL.
        "worker_cancel_long_running_tasks_on_connection_loss": False,
        "worker_concurrency": settings.worker_concurrency,
        # A backstop behind the worker's own time limit, which stops an attempt with its reason: the
        # process is killed, some seconds late, and the task is rescued as after any crash.
        "task_time_limit": settings.time_limit_seconds + settings.cancel_grace_seconds + 60,
        # On TERM, running tasks may finish for this long and are then handed back.
        "worker_soft_shutdown_timeout": settings.soft_shutdown_seconds,
        "worker_enable_soft_shutdown_on_idle": False,
        # Processes are replaced now and then, against leaks in libraries that handlers use.
        "worker_max_tasks_per_child": 10_000,
        "worker_max_memory_per_child": 1_000_000,  # KiB, checked between tasks
        # Keep trying, at the start and later, however long Redis is away.
        "broker_connection_retry_on_startup": True,
        "broker_connection_max_retries": None,
        "broker_channel_error_retry": True,
        # What Flower shows comes from these events.
        "worker_send_task_events": True,
        "task_send_sent_event": True,
        # The logging is the service's own (app.logs).
        "worker_hijack_root_logger": False,
        "worker_redirect_stdouts": False,
    }
