"""Celery's request, which hands to a process of the pool what that needs to run a task, no more."""

from typing import Any

from celery.worker.request import Request as CeleryRequest


class Request(CeleryRequest):
    """Celery's own sends each message on whole, still encoded, and beside it all its headers.

    Celery hands over these three properties in a method that it generates for each Celery task.
    """

    # That the body is not encoded.
    content_type: Any = None
    content_encoding: Any = None

    @property
    def body(self) -> tuple[Any, Any, None]:
        """The arguments; without the callbacks and chains that Celery lets a message ask for."""
        return self.args, self.kwargs, None

    @property
    def request_dict(self) -> dict[str, Any]:
        """What becomes `self.request` in the Celery task."""
        return {
            "id": self.id,
            "shadow": self.name,
            "root_id": self.root_id,
            "delivery_info": self.delivery_info,
            "ignore_result": self.ignore_result,
            # Celery would otherwise look for headers of the sender's own, and find these.
            "headers": {},
        }
