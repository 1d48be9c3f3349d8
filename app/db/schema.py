"""Whether the database's schema is the one that this version of the code needs."""

from functools import lru_cache
from pathlib import Path

from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection

from app.errors import SchemaOutdated

_ROOT = Path(__file__).resolve().parents[2]


def alembic_config() -> Config:
    """Return Alembic's configuration, wherever the process was started."""
    config = Config(str(_ROOT / "alembic.ini"))
    config.set_main_option("script_location", str(_ROOT / "alembic"))
    return config


@lru_cache(maxsize=1)
def newest_revision() -> str | None:
    """Return the revision that this code needs."""
    return ScriptDirectory.from_config(alembic_config()).get_current_head()


def check(connection: Connection) -> None:
    """Pass when the database is at this code's revision.

    Raises:
        SchemaOutdated: it has no schema yet, or another revision. A database that is ahead, as
            during a deployment, passes: migrations keep the code before them working.
    """
    found = MigrationContext.configure(connection).get_current_revision()
    needed = newest_revision()
    if found == needed:
        return
    if found is None:
        raise SchemaOutdated("The database has no schema yet: run `alembic upgrade head`.")
    if not _is_known(found):
        return
    raise SchemaOutdated(
        f"The database schema is at {found}, behind {needed}: run `alembic upgrade head`."
    )


def _is_known(revision: str) -> bool:
    script = ScriptDirectory.from_config(alembic_config())
    return any(known.revision == revision for known in script.walk_revisions())
