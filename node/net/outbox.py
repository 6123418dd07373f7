"""The bounded outgoing queue of one connection, in two lanes.

The consensus lane goes first and is never dropped: if it overflows, the peer does not read and the
connection has to end. The bulk lane (transactions, blocks, snapshots: all can be asked for again)
drops its oldest frames. So a slow peer costs a bounded amount of memory and nobody else's time.
"""

from __future__ import annotations

import asyncio
from collections import deque
from enum import Enum

from node.net.limits import WRITE_BYTES_MAX, NetLimits
from node.protocol.messages import BlockRange, Message, SnapshotPart, Transactions


class Lane(Enum):
    """Which queue a message waits in."""

    CONSENSUS = "consensus"
    BULK = "bulk"


def lane_of(message: Message) -> Lane:
    """The lane of a message unless its sender knows better."""
    return (
        Lane.BULK
        if isinstance(message, Transactions | BlockRange | SnapshotPart)
        else Lane.CONSENSUS
    )


class Outbox:
    """Frames waiting for the writer. Filled without blocking, emptied by one task."""

    def __init__(self, limits: NetLimits) -> None:
        self._limits = limits
        self._control: dict[int, bytes] = {}
        self._consensus: deque[bytes] = deque()
        self._bulk: deque[bytes] = deque()
        self._filled = asyncio.Event()
        self._closed = False
        self.consensus_bytes = 0
        self.bulk_bytes = 0
        self.bulk_dropped = 0

    @property
    def consensus_frames(self) -> int:
        """How many frames wait in the consensus lane."""
        return len(self._consensus)

    @property
    def bulk_frames(self) -> int:
        """How many frames wait in the bulk lane."""
        return len(self._bulk)

    def put(self, lane: Lane, frame: bytes) -> bool:
        """Queue a frame. False: the consensus lane is full and the peer must go."""
        if self._closed:
            return True
        if lane is Lane.CONSENSUS:
            self._consensus.append(frame)
            self.consensus_bytes += len(frame)
            fits = (
                len(self._consensus) <= self._limits.consensus_frames_max
                and self.consensus_bytes <= self._limits.consensus_bytes_max
            )
        else:
            self._bulk.append(frame)
            self.bulk_bytes += len(frame)
            while self.bulk_bytes > self._limits.bulk_bytes_max:
                self.bulk_bytes -= len(self._bulk.popleft())
                self.bulk_dropped += 1
            fits = True
        self._filled.set()
        return fits

    def put_control(self, kind: int, frame: bytes) -> None:
        """Queue a ping or pong; only the latest of each kind waits, however many are asked for."""
        self._control[kind] = frame
        self._filled.set()

    async def take(self) -> bytes:
        """The next frames joined, about `WRITE_BYTES_MAX` at most; empty once closed."""
        await self._filled.wait()
        if self._closed:
            return b""
        taken = list(self._control.values())
        self._control.clear()
        size = 0
        while self._consensus and size < WRITE_BYTES_MAX:
            taken.append(self._consensus.popleft())
            size += len(taken[-1])
            self.consensus_bytes -= len(taken[-1])
        while self._bulk and size < WRITE_BYTES_MAX:
            taken.append(self._bulk.popleft())
            size += len(taken[-1])
            self.bulk_bytes -= len(taken[-1])
        if not self._consensus and not self._bulk:
            self._filled.clear()
        return b"".join(taken)

    def close(self) -> None:
        """Forget everything and let the writer end."""
        self._closed = True
        self._control.clear()
        self._consensus.clear()
        self._bulk.clear()
        self.consensus_bytes = self.bulk_bytes = 0
        self._filled.set()
