"""One connection through the fault proxy, and the one answer that is to be lost on its way."""

import asyncio
import socket
import struct
from dataclasses import dataclass, field


@dataclass(eq=False)
class Connection:
    """One connection through the proxy; compared by identity."""

    client: asyncio.StreamWriter
    server: asyncio.StreamWriter
    # How much of the answers is still forwarded before the cut; None for all of them.
    bytes_left: int | None
    # What was asked since the last request that `cut_answer_to` looks for.
    asked: bytearray = field(default_factory=bytearray)
    loses_next_answer: bool = False

    def abort(self) -> None:
        """End both sides with a reset, as a crash does."""
        for writer in (self.client, self.server):
            connection = writer.get_extra_info("socket")
            if connection is not None and connection.fileno() >= 0:
                # Zero seconds to linger: close() then sends RST (socket(7)).
                linger = struct.pack("ii", 1, 0)
                connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
            writer.transport.abort()


@dataclass(frozen=True, slots=True)
class Ambush:
    """Which answer `cut_answer_to` waits for."""

    request: bytes
    after: bytes
    holding: bytes

    def is_asked_for(self, asked: bytearray) -> bool:
        """Look through what a connection asked; forget it once the request has been seen."""
        place = asked.find(self.request)
        if place < 0:
            return False
        found = self.after in asked[:place] if self.after else True
        asked.clear()
        return found
