"""What the service counts and measures for Prometheus, by name. Where it is served: `app.api`."""

from prometheus_client import Counter, Gauge, Histogram

HTTP_REQUESTS = Counter(
    "task_manager_http_requests_total",
    "Requests answered, by method, route and status code",
    ["method", "route", "status"],
)
HTTP_SECONDS = Histogram(
    "task_manager_http_request_duration_seconds",
    "Time from a request's headers to its answer's end, by method and route",
    ["method", "route"],
    buckets=(0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5),
)
TASKS_UNFINISHED = Gauge(
    "task_manager_tasks_unfinished",
    "Tasks that have not ended, by status and queue, as the database counts them",
    ["status", "queue"],
)
QUEUE_MESSAGES = Gauge(
    "task_manager_queue_messages",
    "Messages waiting in Redis, by queue",
    ["queue"],
)
WORKERS_ALIVE = Gauge("task_manager_workers_alive", "Workers that have reported of late")
OLDEST_WAITING_SECONDS = Gauge(
    "task_manager_oldest_waiting_seconds",
    "How long ago the task became due that has waited longest, 0 when none waits",
)
