"""A TCP proxy that misbehaves on demand, between the service and one of its servers.

Owns one listening port of 127.0.0.1 and the connections through it. What it can do to them is what
networks and dying servers do: refuse, reset, hang, cut in the middle of a message, be slow.
"""

import asyncio
import threading
from collections.abc import Callable, Coroutine
from types import TracebackType
from typing import Any, Self

from tests.faults.connection import Ambush, Connection
from tests.support import free_port

_CHUNK = 64 * 1024


class FaultProxy:
    """One for each server. A context manager; every method may be called from any thread."""

    def __init__(self, host: str, port: int) -> None:
        """Prepare to forward to `host` and `port`; nothing listens yet."""
        self._target = (host, port)
        self.port = free_port()
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="proxy", daemon=True)
        self._server: asyncio.Server | None = None
        self._connections: set[Connection] = set()
        self._flowing = asyncio.Event()
        self._chunk = _CHUNK
        self._pause = 0.0
        self._cut_after: int | None = None
        self._ambush: Ambush | None = None
        self._answers_cut = 0
        self._tasks: set[asyncio.Task[None]] = set()

    def __enter__(self) -> Self:
        self._thread.start()
        self.heal()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._do(self._close)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(5)
        self._loop.close()

    def heal(self) -> None:
        """Forward everything at once, and accept connections again."""
        self._do(self._heal)

    def refuse(self) -> None:
        """Reset every connection and refuse new ones, as the port of a dead server does."""
        self._do(self._refuse)

    def reset(self) -> None:
        """Reset every connection once (RST); new ones are welcome."""
        self._do(self._reset)

    def redirect(self, host: str, port: int) -> None:
        """Forward new connections to another server; those that stand stay where they are."""

        def change() -> None:
            self._target = (host, port)

        self._do(self._set, change)

    def hang(self) -> None:
        """Forward nothing any more, in either direction; accept connections, and keep them open."""
        self._do(self._set, self._flowing.clear)

    def slow(self, chunk_bytes: int, pause_seconds: float) -> None:
        """Forward in pieces of `chunk_bytes`, with a pause before each."""

        def change() -> None:
            self._chunk, self._pause = chunk_bytes, pause_seconds

        self._do(self._set, change)

    def cut_after(self, answer_bytes: int) -> None:
        """Reset each connection, new ones too, after another `answer_bytes` from the server.

        So a statement reaches the server and is carried out, but its answer comes in part or, with
        0, not at all.
        """

        def change() -> None:
            self._cut_after = answer_bytes
            for connection in self._connections:
                connection.bytes_left = answer_bytes

        self._do(self._set, change)

    def cut_answer_to(self, request: bytes, *, after: bytes = b"", holding: bytes = b"") -> None:
        """Lose one answer: to the first request with these bytes; then reset that connection.

        With `after`, only where the connection has asked for that before, since its last such
        request; with `holding`, only an answer that has these bytes. The server has then carried
        out what was asked, and nobody knows. `answers_cut` tells when it has happened.
        """

        def change() -> None:
            self._ambush = Ambush(request, after, holding)
            for connection in self._connections:
                connection.asked.clear()

        self._do(self._set, change)

    @property
    def answers_cut(self) -> int:
        """How many answers `cut_answer_to` has lost."""
        return self._answers_cut

    @property
    def connections(self) -> int:
        """How many connections go through now."""
        return len(self._connections)

    def _do(self, step: Callable[..., Coroutine[Any, Any, None]], *arguments: Any) -> None:
        asyncio.run_coroutine_threadsafe(step(*arguments), self._loop).result(10)

    async def _set(self, change: Callable[[], None]) -> None:
        change()

    async def _heal(self) -> None:
        self._chunk, self._pause, self._cut_after, self._ambush = _CHUNK, 0.0, None, None
        for connection in self._connections:
            connection.bytes_left, connection.loses_next_answer = None, False
        self._flowing.set()
        if self._server is None:
            self._server = await asyncio.start_server(self._serve, "127.0.0.1", self.port)

    async def _refuse(self) -> None:
        if self._server is not None:
            self._server.close()
            self._server = None
        await self._reset()

    async def _reset(self) -> None:
        for connection in list(self._connections):
            connection.abort()

    async def _close(self) -> None:
        await self._refuse()
        # What was accepted last is served a turn of the loop later, and what is aborted is closed
        # a turn later; a transport that is never closed would be an error in some later test.
        for _ in range(3):
            for task in list(self._tasks):
                task.cancel()
            await asyncio.gather(*self._tasks, return_exceptions=True)
            await asyncio.sleep(0)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        try:
            await self._connect(reader, writer)
        except asyncio.CancelledError:
            # By `_close` alone, which waits for it; asyncio would log it as an error.
            pass
        finally:
            self._tasks.discard(task)

    async def _connect(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            answers, requests = await asyncio.open_connection(*self._target)
        except OSError:
            writer.transport.abort()
            return
        except asyncio.CancelledError:
            writer.transport.abort()
            raise
        connection = Connection(writer, requests, self._cut_after)
        self._connections.add(connection)
        try:
            await asyncio.gather(
                self._forward_requests(reader, connection),
                self._forward_answers(answers, connection),
            )
        except OSError:
            # One side has gone; the other is told in the same way.
            pass
        finally:
            self._connections.discard(connection)
            connection.abort()

    async def _forward_requests(self, reader: asyncio.StreamReader, connection: Connection) -> None:
        while data := await reader.read(_CHUNK):
            await self._flowing.wait()
            if self._ambush is not None:
                connection.asked += data
                # Before it is forwarded, or the answer could be faster.
                connection.loses_next_answer |= self._ambush.is_asked_for(connection.asked)
            await self._write(connection.server, data)
        connection.abort()

    async def _forward_answers(self, reader: asyncio.StreamReader, connection: Connection) -> None:
        while data := await reader.read(_CHUNK):
            await self._flowing.wait()
            if self._is_ambushed(connection, data):
                self._answers_cut += 1
                break
            left = connection.bytes_left
            if left is None:
                await self._write(connection.client, data)
                continue
            await self._write(connection.client, data[:left])
            if len(data) >= left:
                break
            connection.bytes_left = left - len(data)
        connection.abort()

    def _is_ambushed(self, connection: Connection, answer: bytes) -> bool:
        """Return whether this is the one answer to lose; the ambush is over then."""
        if self._ambush is None or not connection.loses_next_answer:
            return False
        connection.loses_next_answer = False
        if self._ambush.holding not in answer:
            return False
        self._ambush = None
        return True

    async def _write(self, writer: asyncio.StreamWriter, data: bytes) -> None:
        start = 0
        while start < len(data):
            if self._pause:
                await asyncio.sleep(self._pause)
            # Asked for once a piece: `slow` and `heal` change it while a message is on its way.
            piece = data[start : start + self._chunk]
            writer.write(piece)
            await writer.drain()
            start += len(piece)
