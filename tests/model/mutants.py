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
_RUN_AGAIN = r"max_attempts=greatest"
_RELEASE = r"max_attempts=\(.* AND tasks\.attempt = "
_RECORD = r"INSERT INTO task_attempts"
_LINES = r"INSERT INTO task_logs"

_FENCE = r" AND tasks\.attempt = %\(p_attempt\)s"
# See `app.db.transitions.has_status`.
_HAS_STATUS = r"\(tasks\.status \|\| %\(\w+\)s\) IN \("
_OR_RUNS = r"\g<0>'IN_PROGRESS', "
_NOT_ASKED = r"tasks\.cancel_requested_at IS NULL AND "

NO_FENCE = Mutant("no fence at an attempt's end", _FENCE, "", _SETTLE)
NO_FENCE_FOR_HEARTBEATS = Mutant("no fence for heartbeats", _FENCE, "", "^UPDATE")
NO_STATUS_GUARD = Mutant(
    "an attempt may end from any status", rf"{_HAS_STATUS}[^)]*\)s\)", "true", _SETTLE
)
CANCEL_FORGOTTEN = Mutant("after a cancel an attempt may end otherwise", _NOT_ASKED, "", _SETTLE)
CANCEL_FORGOTTEN_BY_RESCUE = Mutant("a rescue requeues the cancelled", _NOT_ASKED, "", _REQUEUE)
CANCEL_NOT_STORED = Mutant("a cancel of a running task is not stored", _CANCEL, "", "IS NULL")
NO_LOCK = Mutant("cancel and update lock nothing", r" FOR UPDATE$", "")
CLAIM_OF_RUNNING = Mutant("a claim takes what runs", _HAS_STATUS, _OR_RUNS, _CLAIM)
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
    "lost messages stay lost", r"tasks\.dispatched_at < CAST", "false AND now() < CAST"
)

NOT_ON_RECORD = Mutant(
    "an attempt is not on record",
    r"FROM moved\)\s*SELECT",
    "FROM moved WHERE false) SELECT",
    _RECORD,
)
ON_RECORD_TWICE = Mutant(
    "an attempt is on record twice",
    r"(?s)moved\.attempt AS attempt, moved\.worker(.*?)FROM moved\)\s*SELECT",
    r"moved.attempt + more, moved.worker\1FROM moved, generate_series(0, 1) AS more) SELECT",
    _RECORD,
)
ON_RECORD_AS_ANOTHERS = Mutant(
    "an attempt is on record as another's", r"moved\.worker AS worker", "'somebody'", _RECORD
)
RELEASED_AS_LOST = Mutant(
    "what was handed back is on record as lost",
    r"moved\.started_at AS started_at, %\(param_\d+\)s",
    "moved.started_at, 'LOST'",
    _RELEASE,
)
LINES_WITHOUT_FENCE = Mutant("no fence for lines", _FENCE, "", _LINES)
LINES_TWICE = Mutant("a line is stored twice", r" ON CONFLICT DO NOTHING", "", _LINES)
LINES_WITHOUT_LOCK = Mutant("lines lock nothing", r" FOR [A-Z ]+\)", ")", _LINES)
LINES_WITHOUT_ENOUGH_LOCK = Mutant(
    "lines lock a row less than its changes do", r" FOR NO KEY UPDATE", " FOR KEY SHARE", _LINES
)
STILL_CANCELLED = Mutant(
    "a task runs again with its cancel", r", cancel_requested_at=%\(param_\d+\)s", "", _RUN_AGAIN
)
CRASHES_KEPT = Mutant(
    "a task runs again with its crashes", r", crashes=%\(param_\d+\)s", "", _RUN_AGAIN
)
NO_ROOM = Mutant(
    "a task runs again without room for an attempt",
    r"greatest\(tasks\.max_attempts, [^)]*\)s\)",
    "tasks.max_attempts",
    _RUN_AGAIN,
)
COUNTED_ANEW = Mutant(
    "a task runs again as for the first time", r"SET status", "SET attempt=0, status", _RUN_AGAIN
)
RUN_AGAIN_FROM_ANYWHERE = Mutant(
    "a task runs again while it runs", _HAS_STATUS, _OR_RUNS, _RUN_AGAIN
)
_UNKNOWN = r"tasks\.type != all\([^]]*\]\)\)"
CLAIM_OF_ANY_TYPE = Mutant(
    "a claim takes what the worker does not know", r"tasks\.type = any\([^]]*\]\)\)", "true", _CLAIM
)
UNKNOWN_TO_ALL = Mutant("a worker leaves to others what it knows", _UNKNOWN, "true")
UNKNOWN_AT_ONCE = Mutant(
    "an unknown type is given no time", r"tasks\.set_aside_at < now\(\) -", "now() > now() -"
)
STILL_SET_ASIDE = Mutant(
    "what runs is still set aside", r"set_aside_at=%\(param_\d+\)s, ", "", _CLAIM
)
