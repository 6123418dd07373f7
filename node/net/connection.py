"""One authenticated connection: a reader, a writer, and the sense of whether the far end lives.

The reader hands messages to a coroutine and reads on only when that returns, so a busy node slows
the peers that feed it and queues nothing. Closing never cancels that coroutine. Who the peer is
was settled by the handshake; what follows from the end of a connection, the transport decides.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from node.net import frames
from node.net.handshake import Role
from node.net.limits import NetLimits
from node.net.outbox import Lane, Outbox
from node.protocol.errors import PeerFault
from node.protocol.messages import Message

Receive = Callable[[bytes, Message], Awaitable[None]]


@dataclass(slots=True)
class Traffic:
    """Counters of one peer, summed over its connections."""

    bytes_in: int = 0
    bytes_out: int = 0
    messages_in: int = 0
    messages_out: int = 0
    bulk_dropped: int = 0


@dataclass(frozen=True, slots=True)
class Ending:
    """Why a connection ended; `fault` when the peer broke the protocol."""

    code: str
    message: str
    fault: bool


class Connection:
    """Made after the handshake; `run` lives as long as the connection does."""

    def __init__(
        self,
        peer: bytes,
        role: Role,
        streams: tuple[asyncio.StreamReader, asyncio.StreamWriter],
        limits: NetLimits,
        traffic: Traffic,
    ) -> None:
        self.peer = peer
        self.role = role
        self.outbox = Outbox(limits)
        self.ending: Ending | None = None
        self.opened_at = time.monotonic()
        self.since_ms = time.time_ns() // 1_000_000
        self._rtt_ms: float | None = None
        self._pinged_at: float | None = None
        self._reader, self._writer = streams
        self._limits = limits
        self._traffic = traffic
        self._reading_since: float | None = None
        self._writing_since: float | None = None

    @property
    def age_s(self) -> float:
        """Seconds since it was opened."""
        return time.monotonic() - self.opened_at

    @property
    def rtt_ms(self) -> float | None:
        """The last round trip, or the time that an answer has been due if that is longer."""
        if self._pinged_at is None or self._rtt_ms is None:
            return self._rtt_ms
        return max(self._rtt_ms, (time.monotonic() - self._pinged_at) * 1000)

    def send(self, lane: Lane, frame: bytes) -> None:
        """Queue a frame; a peer that lets its consensus lane overflow is cut off."""
        self._traffic.messages_out += 1
        if not self.outbox.put(lane, frame):
            self.close(Ending("SLOW_PEER", "the peer does not read its consensus messages", False))

    def heartbeat(self) -> None:
        """Ping, and end the connection if a frame or a write has been stuck for too long."""
        now = time.monotonic()
        for direction, since in (("read", self._reading_since), ("write", self._writing_since)):
            if since is not None and now - since > self._limits.silence_max_s:
                self.close(Ending("SILENT", f"no {direction} for {now - since:.0f} s", False))
                return
        self._pinged_at = self._pinged_at or now
        token = time.monotonic_ns().to_bytes(frames.TOKEN_BYTES, "big")
        self.outbox.put_control(frames.PING, frames.frame(frames.PING, token))

    def close(self, ending: Ending) -> None:
        """End it at once; the first reason counts. Safe to call from the receiving coroutine."""
        if self.ending is None:
            self.ending = ending
            self._traffic.bulk_dropped += self.outbox.bulk_dropped
            self.outbox.close()
            self._writer.transport.abort()

    async def run(self, receive: Receive) -> Ending:
        """Serve until the end and say why; whatever `receive` raises beyond `PeerFault` passes."""
        writing = asyncio.create_task(self._write())
        try:
            await self._read(receive)
        except PeerFault as fault:
            self.close(Ending(fault.code, fault.message, True))
        except (OSError, asyncio.IncompleteReadError):
            self.close(Ending("LOST", "the far end closed the connection", False))
        finally:
            self.close(Ending("STOPPED", "this node stopped reading", False))
            await writing
        assert self.ending is not None
        return self.ending

    async def _read(self, receive: Receive) -> None:
        while self.ending is None:
            self._reading_since = time.monotonic()
            kind, payload = await frames.read_frame(self._reader, frames.SESSION_LIMITS)
            self._reading_since = None
            self._traffic.bytes_in += len(payload) + frames.HEADER_BYTES
            if self.ending is not None:  # closed while the frame was already buffered
                return
            if kind == frames.PING:
                self.outbox.put_control(frames.PONG, frames.frame(frames.PONG, payload))
            elif kind == frames.PONG:
                self._on_pong(payload)
            else:
                self._traffic.messages_in += 1
                await receive(self.peer, frames.read_message(kind, payload))

    async def _write(self) -> None:
        try:
            while chunk := await self.outbox.take():
                self._writing_since = time.monotonic()
                self._writer.write(chunk)
                await self._writer.drain()
                self._writing_since = None
                self._traffic.bytes_out += len(chunk)
        except OSError:
            self.close(Ending("LOST", "the far end closed the connection", False))

    def _on_pong(self, token: bytes) -> None:
        elapsed_ns = time.monotonic_ns() - int.from_bytes(token, "big")
        if len(token) != frames.TOKEN_BYTES or elapsed_ns < 0:
            raise PeerFault("BAD_PONG", "an answer to no ping of ours")
        self._rtt_ms, self._pinged_at = elapsed_ns / 1e6, None
