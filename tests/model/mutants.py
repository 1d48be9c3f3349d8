"""Faults to plant into the service's SQL, each of which the model must find.

A mutant rewrites statements just before they are sent, in this process alone.
"""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Engine, event


@dataclass(frozen=True, slots=True)
class Mutant:
    """What a statement that matches `where` says instead of `old`, a regular expression too."""

    name: str
    old: str
    new: str
    where: str = ""

    @contextmanager
    def planted(self) -> Iterator[None]:
        """Change the statements of every engine; at least one must have been changed at the end."""
        changed = 0

        def rewrite(
            connection: Any, cursor: Any, sql: str, parameters: Any, context: Any, many: bool
        ) -> tuple[str, Any]:
            nonlocal changed
            if re.search(self.where, sql, re.DOTALL):
                sql, count = re.subn(self.old, self.new, sql)
                changed += count
            return sql, parameters

        event.listen(Engine, "before_cursor_execute", rewrite, retval=True)
        try:
            yield
        finally:
            event.remove(Engine, "before_cursor_execute", rewrite)
            assert changed, f"the mutant {self.name!r} met no statement"


# How the statements are told apart.
_CLAIM = r"attempt=\(tasks\.attempt"
_SETTLE = r"^WITH .*p_attempt"
_REQUEUE = r"max_attempts=.* crashes="
_CANCEL = r", cancel_requested_at=now\(\)"
_UNDISPATCHED = r"^SELECT .*LIMIT"

_FENCE = r" AND tasks\.attempt = %\(p_attempt\)s"
_NOT_ASKED = r"tasks\.cancel_requested_at IS NULL AND "

NO_FENCE = Mutant("no fence at an attempt's end", _FENCE, "", _SETTLE)
NO_FENCE_FOR_HEARTBEATS = Mutant("no fence for heartbeats", _FENCE, "", "^UPDATE")
NO_STATUS_GUARD = Mutant(
    "an attempt may end from any status", r"tasks\.status IN \([^)]*\)s\)", "true", _SETTLE
)
CANCEL_FORGOTTEN = Mutant("after a cancel an attempt may end otherwise", _NOT_ASKED, "", _SETTLE)
CANCEL_FORGOTTEN_BY_RESCUE = Mutant("a rescue requeues the cancelled", _NOT_ASKED, "", _REQUEUE)
CANCEL_NOT_STORED = Mutant("a cancel of a running task is not stored", _CANCEL, "", "IS NULL")
NO_LOCK = Mutant("cancel and update lock nothing", r" FOR UPDATE$", "")
CLAIM_OF_RUNNING = Mutant(
    "a claim takes what runs", r"tasks\.status IN \(", "tasks.status IN ('IN_PROGRESS', ", _CLAIM
)
CLAIM_TOO_SOON = Mutant("a claim does not wait", r" AND tasks\.run_at <= now\(\)", "", _CLAIM)
CLAIM_FROM_ANYWHERE = Mutant(
    "a claim follows messages from other queues", r" AND tasks\.queue = %\(p_queue\)s", "", _CLAIM
)
RESUMED_BY_ANYBODY = Mutant(
    "a claim without an answer takes what others run",
    r" AND tasks\.worker = %\(p_worker\)s",
    "",
    "^UPDATE",
)
RESCUE_OF_THE_LIVING = Mutant(
    "a rescue asks for no lapsed lease", r"tasks\.lease_expires_at < now\(\)", "true"
)
CRASH_NOT_COUNTED = Mutant(
    "a crash is not counted", r"crashes=\(tasks\.crashes [^)]*\)s\)", "crashes=tasks.crashes"
)
NO_CRASH_LIMIT = Mutant("crashes have no limit", r"%\(p_crash_limit\)s", "1000")
CRASH_COSTS_AN_ATTEMPT = Mutant(
    "a crash costs an attempt",
    r"max_attempts=\(tasks\.max_attempts [^)]*\)s\)",
    "max_attempts=tasks.max_attempts",
)
NO_RESCUE = Mutant("nobody is rescued", r"tasks\.lease_expires_at < now\(\)", "false")
RETRIES_UNPUBLISHED = Mutant(
    "retries are not published", r"tasks\.dispatched_at IS NULL", "tasks.attempt = 0", _UNDISPATCHED
)
LOST_MESSAGES_STAY_LOST = Mutant(
    "lost messages stay lost", r"tasks\.dispatched_at < least", "false AND now() < least"
)
