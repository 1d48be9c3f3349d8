"""Celery's pool of processes, with less to do for each task in the worker's main process.

Owns five short cuts, and nothing of how processes are made, watched and ended:

- A task is written to an idle process at once. Celery waits for a turn of its loop in which the
  pipe says that it can be written to, and asks the kernel about every pipe in every turn.
- A task and its length are written together. Celery writes them one after the other, and wakes the
  process twice.
- Time limits are looked at together from time to time. Celery sets a timer for each task, and one
  that is not needed any more stays in memory until its time has come, which here is an hour.
- The loop is not asked to stop looking at what it does not look at, nor to look at a pipe again
  that it looks at. Celery asks so after each message from a process.
"""

import select
from collections.abc import Callable
from typing import Any

from celery.concurrency.asynpool import AsynPool, ResultHandler
from celery.concurrency.prefork import TaskPool as CeleryTaskPool

# Celery's limit is a backstop behind our own (`app.broker.configuration`) and may come late.
_LOOK_AT_LIMITS_SECONDS = 5.0


class _ResultHandler(ResultHandler):
    """Reads what processes say; `handle_event` is what the loop calls when one has."""

    handle_event: Callable[..., Any]
    _hub: Any

    def _recv_message(self, add_reader: Callable[..., Any], fd: int, *args: Any) -> Any:
        return super()._recv_message(self._look_again, fd, *args)

    def _look_again(self, fd: int, *called: Any) -> None:
        # In the loop there stands something else only if the message came in pieces.
        if self._hub.readers.get(fd) != (self.handle_event, (fd,)):
            self._hub.add_reader(fd, *called)


class _Pool(AsynPool):
    """Leans on how AsynPool wires itself into the loop; a test holds each name it uses."""

    ResultHandler = _ResultHandler

    # Of AsynPool and billiard's Pool: pipes to the processes by their number, those of the ones
    # that run a task or are being written to, what waits to be written, and the look at limits.
    _all_inqueues: set[int]
    _busy_workers: set[int]
    _active_writes: set[int]
    outbound_buffer: Any
    # What is handed over and has not ended, by the number of the job.
    _cache: dict[int, Any]
    check_timeouts: Callable[[], None]
    on_poll_start: Callable[[], None]
    _quick_put: Callable[[Any], None]

    def register_with_event_loop(self, hub: Any) -> None:
        remove_writer = type(hub).remove_writer

        def remove_known_writer(fd: Any) -> None:
            # A connection instead of its number comes when a process has ended.
            if type(fd) is not int or fd in hub.writers:
                remove_writer(hub, fd)

        hub.remove_writer = remove_known_writer
        super().register_with_event_loop(hub)

    def _create_timelimit_handlers(self, hub: Any) -> None:
        super()._create_timelimit_handlers(hub)
        # What each task would call when it starts and ends.
        self.on_timeout_set = self.on_timeout_cancel = None
        hub.call_repeatedly(_LOOK_AT_LIMITS_SECONDS, self.check_timeouts)

    def _create_write_handlers(self, hub: Any, **options: Any) -> None:
        super()._create_write_handlers(hub, **options)
        put, watch_pipes = self._quick_put, self.on_poll_start
        write_to: Callable[[list[int]], None] = hub.consolidate_callback

        def put_and_write(message: Any) -> None:
            put(message)
            _join_header_and_body(self._cache[message[1][0]])
            idle = self._all_inqueues - self._busy_workers - self._active_writes
            if idle:
                # To one, since there is one job: Celery stops looking at those left over.
                write_to([idle.pop()])

        def watch_pipes_if_needed() -> None:
            # The pipes that the loop looks at are those in `consolidate`.
            if self.outbound_buffer or hub.consolidate:
                watch_pipes()

        self._quick_put, self.on_poll_start = put_and_write, watch_pipes_if_needed


def _join_header_and_body(job: Any) -> None:
    """Let a job be written in one piece, where a pipe takes it wholly or not at all (pipe(7)).

    Celery writes the header until its four bytes are gone, and then the rest of the body.
    """
    header, body, size = job._payload
    if len(header) + size <= select.PIPE_BUF:
        job._payload = memoryview(b"".join((header, body))), memoryview(b""), 0


class TaskPool(CeleryTaskPool):
    """Named in the setting `worker_pool`."""

    Pool = _Pool
