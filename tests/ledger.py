"""The ledger outside the service: what handlers say of themselves, whatever the database says.

Owns one file that handlers append to, and a folder of locks beside it: while a handler runs it
holds a lock on its task, which the kernel takes back when its process dies. So two attempts that
run at the same time are seen as such, and one after a crash is not.
"""

import fcntl
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Entry:
    """One line. `at` is in seconds by time.monotonic(), which all processes of a machine share."""

    task_id: int
    attempt: int
    word: str
    at: float


class Ledger:
    """The words are `started`, `finished`, and `overlaps` for one that found another running."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._word = path.with_name("word")

    def write(self, task_id: int, attempt: int, word: str) -> None:
        """Append a line; a short one is written whole, also beside others (write(2), O_APPEND)."""
        line = f"{task_id} {attempt} {word} {time.monotonic():.6f}\n"
        file = os.open(self._path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o666)
        try:
            os.write(file, line.encode())
        finally:
            os.close(file)

    @contextmanager
    def attempt(self, task_id: int, attempt: int) -> Iterator[None]:
        """Write down that an attempt runs, and that it finished unless it raises or dies."""
        folder = self._path.with_name("running")
        folder.mkdir(exist_ok=True)
        lock = os.open(folder / str(task_id), os.O_RDWR | os.O_CREAT, 0o666)
        try:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                self.write(task_id, attempt, "overlaps")
            self.write(task_id, attempt, "started")
            yield
            self.write(task_id, attempt, "finished")
        finally:
            os.close(lock)

    def give_word(self) -> None:
        """Let the handlers go on that wait for it."""
        self._word.touch()

    def take_word_back(self) -> None:
        """Let handlers that come now wait again."""
        self._word.unlink()

    def word_is_given(self) -> bool:
        """Return whether handlers may go on."""
        return self._word.exists()

    def entries(self) -> list[Entry]:
        """Return all lines in their order."""
        if not self._path.exists():
            return []
        lines = [line.split() for line in self._path.read_text().splitlines()]
        return [Entry(int(task), int(number), word, float(at)) for task, number, word, at in lines]

    def words(self, task_id: int) -> list[str]:
        """Return what was written about a task, as ATTEMPT WORD."""
        return [f"{e.attempt} {e.word}" for e in self.entries() if e.task_id == task_id]

    def started(self) -> list[int]:
        """Return the tasks in the order in which their attempts started."""
        return [entry.task_id for entry in self.entries() if entry.word == "started"]

    def count(self, word: str) -> int:
        """Return how often a word was written, about all tasks together."""
        return sum(entry.word == word for entry in self.entries())

    def overlaps(self) -> list[Entry]:
        """Return the attempts that began while another of the same task was running."""
        return [entry for entry in self.entries() if entry.word == "overlaps"]
