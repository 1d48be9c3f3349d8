"""A database for explorers that come back: all of its transactions are parts of a single one."""

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager

from app.db.engine import Connection, Database
from app.errors import DatabaseUnavailable


class OneTransaction(Database):
    """Never commits, and can be told to fail."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        # How many transactions are made before the database is gone; None for no such end.
        self.left: int | None = None
        # Whether the next transaction is made while its answer is lost.
        self.loses_answer = False

    @contextmanager
    def transaction(self) -> Iterator[Connection]:
        """Yield the connection. Raises DatabaseUnavailable as it was told to."""
        if self.left is not None:
            if not self.left:
                raise DatabaseUnavailable("the model's database is gone")
            self.left -= 1
        yield self._connection
        if self.loses_answer:
            self.loses_answer = False
            raise DatabaseUnavailable("the model's database does not answer")

    def statement(self) -> AbstractContextManager[Connection]:
        """Yield the connection, as `transaction()` does."""
        return self.transaction()
