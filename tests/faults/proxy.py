"""A TCP proxy that misbehaves on demand, between the service and one of its servers.

Owns one listening port of 127.0.0.1 and the connections through it. What it can do to them is what
networks and dying servers do: refuse, reset, hang, cut in the middle of a message, be slow.
"""

import asyncio
import socket
import struct
import threading
from collections.abc import Callable, Coroutine
from types import TracebackType
from typing import Any, Self

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
        self._connections: set[tuple[asyncio.StreamWriter, asyncio.StreamWriter]] = set()
        self._flowing = asyncio.Event()
        self._chunk = _CHUNK
        self._pause = 0.0
        self._cut_after: int | None = None
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

    def hang(self) -> None:
        """Forward nothing any more, in either direction; accept connections, and keep them open."""
        self._do(self._set, self._flowing.clear)

    def slow(self, chunk_bytes: int, pause_seconds: float) -> None:
        """Forward in pieces of `chunk_bytes`, with a pause before each."""

        def change() -> None:
            self._chunk, self._pause = chunk_bytes, pause_seconds

        self._do(self._set, change)

    def cut_after(self, answer_bytes: int) -> None:
        """Reset each connection that gets another `answer_bytes` from the server, after those.

        So a statement reaches the server and is carried out, but its answer comes in part or, with
        0, not at all.
        """

        def change() -> None:
            self._cut_after = answer_bytes

        self._do(self._set, change)

    @property
    def connections(self) -> int:
        """How many connections go through now."""
        return len(self._connections)

    def _do(self, step: Callable[..., Coroutine[Any, Any, None]], *arguments: Any) -> None:
        asyncio.run_coroutine_threadsafe(step(*arguments), self._loop).result(10)

    async def _set(self, change: Callable[[], None]) -> None:
        change()

    async def _heal(self) -> None:
        self._chunk, self._pause, self._cut_after = _CHUNK, 0.0, None
        self._flowing.set()
        if self._server is None:
            self._server = await asyncio.start_server(self._serve, "127.0.0.1", self.port)

    async def _refuse(self) -> None:
        if self._server is not None:
            self._server.close()
            self._server = None
        await self._reset()

    async def _reset(self) -> None:
        for pair in list(self._connections):
            _abort(pair)

    async def _close(self) -> None:
        await self._refuse()
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        try:
            await self._connect(reader, writer)
        finally:
            self._tasks.discard(task)

    async def _connect(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            answers, requests = await asyncio.open_connection(*self._target)
        except OSError:
            writer.transport.abort()
            return
        pair = (writer, requests)
        self._connections.add(pair)
        try:
            await asyncio.gather(
                self._forward(reader, requests, pair, is_answer=False),
                self._forward(answers, writer, pair, is_answer=True),
            )
        except OSError:
            # One side has gone; the other is told in the same way.
            pass
        finally:
            self._connections.discard(pair)
            _abort(pair)

    async def _forward(
        self,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        pair: tuple[asyncio.StreamWriter, asyncio.StreamWriter],
        *,
        is_answer: bool,
    ) -> None:
        while data := await reader.read(_CHUNK):
            await self._flowing.wait()
            if is_answer and self._cut_after is not None:
                data, is_cut = data[: self._cut_after], len(data) >= self._cut_after
                self._cut_after -= len(data)
                await self._write(writer, data)
                if is_cut:
                    break
                continue
            await self._write(writer, data)
        _abort(pair)

    async def _write(self, writer: asyncio.StreamWriter, data: bytes) -> None:
        for start in range(0, len(data), self._chunk):
            if self._pause:
                await asyncio.sleep(self._pause)
            writer.write(data[start : start + self._chunk])
            await writer.drain()


def _abort(pair: tuple[asyncio.StreamWriter, asyncio.StreamWriter]) -> None:
    """End both connections of a pair with a reset, as a crash does."""
    for writer in pair:
        connection = writer.get_extra_info("socket")
        if connection is not None and connection.fileno() >= 0:
            # Zero seconds to linger: close() then sends RST (socket(7)).
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        writer.transport.abort()
