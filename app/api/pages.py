"""Pages of the list, each read and written once for all who ask for it at the same time."""

from app.api.conditional import Tagged, tagged
from app.db.engine import Database
from app.services.lanes import Lanes
from app.services.reading import PageOf, list_tasks
from app.services.sharing import Shared
from app.settings import Settings

# A page, and where the next one starts, if there is one.
Pages = Shared[PageOf, tuple[Tagged, int | None]]

# How many are read at a time, each on a connection of its own.
PAGE_LANES = 4


def open_pages(database: Database, settings: Settings) -> Pages:
    """Return what one API process gets its pages from. `database` is one for the event loop."""
    most, patience = settings.max_waiting_reads, settings.database_timeout_seconds
    lanes = Lanes(PAGE_LANES, most_waiting=most, patience_seconds=patience)

    async def read(wanted: PageOf) -> tuple[Tagged, int | None]:
        page = await list_tasks(database, lanes, wanted)
        return tagged(page.json.encode()), page.next_before

    return Shared(read, most_waiting=most, patience_seconds=patience)
