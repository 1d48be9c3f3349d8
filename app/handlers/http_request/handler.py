"""The task type `http_request`."""

from typing import Any

import httpx

from app.domain.retry import Backoff
from app.domain.targets import signing_key
from app.domain.text import one_line
from app.handlers.context import TaskContext
from app.handlers.errors import PermanentError, RetryLater
from app.handlers.http_request import body
from app.handlers.http_request.answer import result
from app.handlers.http_request.client import Client, client
from app.handlers.http_request.exchange import call
from app.handlers.http_request.payload import HttpRequest
from app.handlers.http_request.redaction import Redaction, conceal
from app.handlers.http_request.verdict import NoAnswer, TargetFailed, raise_failure
from app.handlers.registry import task_type
from app.settings import get_settings

_EXAMPLE = {
    "url": "https://reports.example.com/monthly",
    "method": "POST",
    "headers": {"Authorization": "Bearer the-token-of-your-target"},
    "json": {"month": "2026-11"},
    "timeout_seconds": 20,
}
_REASON = 500


@task_type(
    "http_request",
    max_attempts=5,
    backoff=Backoff(initial_seconds=1, factor=3, max_seconds=300),
    example=_EXAMPLE,
    conceal=conceal,
)
def http_request(payload: HttpRequest, context: TaskContext) -> dict[str, Any]:
    """Send an HTTP request, and again later if the target cannot answer it now.

    The result is its answer. Whatever language the target is written in, it does the work.
    """
    redaction, own = Redaction(payload.headers), client()
    try:
        return _done(own, payload, context, redaction)
    except (RetryLater, TargetFailed):
        raise
    except PermanentError as error:
        raise PermanentError(redaction.text(str(error))) from None
    except (httpx.TransportError, body.BrokenBody) as error:
        if isinstance(error, httpx.PoolTimeout):
            own.drop()
        reason = one_line(redaction.text(_reason(error, payload)), _REASON)
        raise NoAnswer(reason) from None
    except Exception as error:
        own.drop()
        reason = redaction.text(f"{type(error).__name__}: {error}")
        raise RuntimeError(reason).with_traceback(error.__traceback__) from None
    except BaseException:
        # Stopped in the midst of something.
        own.drop()
        raise


def _done(
    own: Client, payload: HttpRequest, context: TaskContext, redaction: Redaction
) -> dict[str, Any]:
    settings = get_settings()
    key = signing_key(settings.http_request_secret.get_secret_value())
    found = call(own, payload, context, key, settings.http_request_max_body_bytes)
    host = redaction.text(httpx.URL(found.url).netloc.decode())
    context.logger.info(
        "%s to %s: %d after %.3f s", payload.http_method, host, found.status, found.seconds
    )
    told = body.tell(found.body, " ".join(found.values("content-type")[:1]), redaction)
    if not payload.is_success(found.status):
        raise_failure(
            found.status,
            redaction.text(found.reason),
            told.text,
            found.values("retry-after"),
            settings.http_request_max_retry_after_seconds,
        )
    return result(
        found,
        told,
        redaction,
        most_header_bytes=settings.http_request_max_header_bytes,
        most_bytes=settings.max_result_bytes,
    )


def _reason(error: Exception, payload: HttpRequest) -> str:
    """Return in one sentence why there is no answer."""
    match error:
        case httpx.ConnectTimeout():
            return f"no connection within {payload.timeout_seconds:g} s"
        case httpx.TimeoutException():
            return f"no complete answer within {payload.timeout_seconds:g} s"
        case httpx.ProtocolError():
            return f"the answer is not valid HTTP: {error}"
        case _:
            return str(error) or type(error).__name__
