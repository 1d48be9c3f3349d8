"""The route that tells which kinds of work there are."""

from fastapi import APIRouter

from app.api.responses import problems
from app.api.schemas import BackoffOut, TaskTypeOut, TypeDefaultsOut, TypeLimitsOut
from app.domain.retry import MOST_ATTEMPTS
from app.handlers import registry
from app.handlers.registry import TaskType
from app.services.drafts import LONGEST_DELAY_SECONDS
from app.settings import get_settings

router = APIRouter(tags=["task types"])


@router.get("/task-types", include_in_schema=False, response_model=list[TaskTypeOut])
@router.get(
    "/task-types/",
    summary="List the task types",
    response_model=list[TaskTypeOut],
    responses=problems(),
)
def list_types() -> list[TaskTypeOut]:
    """Return the kinds of work that a task can ask for, by name."""
    return [_out(task_type) for task_type in registry.all_types()]


def _out(task_type: TaskType) -> TaskTypeOut:
    settings = get_settings()
    longest = settings.time_limit_seconds
    return TaskTypeOut(
        name=task_type.name,
        description=task_type.description,
        payload_schema=task_type.payload_model.model_json_schema(),
        example=task_type.example,
        defaults=TypeDefaultsOut(
            priority=task_type.priority,
            max_attempts=task_type.max_attempts,
            backoff=BackoffOut.model_validate(task_type.backoff),
            timeout_seconds=min(task_type.timeout_seconds or longest, longest),
        ),
        limits=TypeLimitsOut(
            max_attempts=MOST_ATTEMPTS,
            timeout_seconds=longest,
            delay_seconds=LONGEST_DELAY_SECONDS,
            payload_bytes=settings.max_payload_bytes,
            result_bytes=settings.max_result_bytes,
        ),
    )
