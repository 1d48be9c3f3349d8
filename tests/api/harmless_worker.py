"""What `celery -A tests.api.harmless_worker` finds: a worker as of a version with fewer types.

It knows those only that neither kill it, nor take what the machine has, nor call anybody. Tasks of
the others it leaves for a worker that knows them.
"""

from app.handlers import registry
from app.worker.celery import celery

__all__ = ["celery"]

_HARMLESS = {"simulated_work", "broken", "retry"}

for _name in registry.names():
    if _name not in _HARMLESS:
        del registry._types[_name]
