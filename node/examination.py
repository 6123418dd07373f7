"""What waits to be examined: raw transactions before the verifier, bounded in number and bytes.

What the open proposal lacks goes first, so that no flood keeps it from being executed; clients and
other transactions of peers have a lane each and are served half and half. A transaction may be
64 KiB: a number alone would allow more than a gigabyte. Nothing is checked here.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from typing import NamedTuple

LANE_TRANSACTIONS_MAX = 10_000
LANE_BYTES_MAX = 32 << 20
# Of each lane: what is examined together enters the engine together, and is read there once more.
BATCH_BYTES_MAX = 512 << 10


class Unexamined(NamedTuple):
    """One transaction: from the peer `origin` or a client, for `request` (0: nobody waits)."""

    raw: bytes
    origin: bytes | None
    request: int


class Lane:
    """First come, first served."""

    def __init__(self) -> None:
        self._waiting: deque[Unexamined] = deque()
        self.bytes = 0

    def __len__(self) -> int:
        return len(self._waiting)

    def has_room(self, raws: Sequence[bytes]) -> bool:
        """Whether all of `raws` may be added."""
        return (
            len(self._waiting) + len(raws) <= LANE_TRANSACTIONS_MAX
            and self.bytes + sum(map(len, raws)) <= LANE_BYTES_MAX
        )

    def add(self, item: Unexamined) -> None:
        """Append one, for which there must be room."""
        self._waiting.append(item)
        self.bytes += len(item.raw)

    def take(self, count_max: int) -> list[Unexamined]:
        """Remove and return the oldest, as many and as large as one batch may have."""
        taken: list[Unexamined] = []
        size = 0
        while self._waiting and len(taken) < count_max and size < BATCH_BYTES_MAX:
            taken.append(self._waiting.popleft())
            size += len(taken[-1].raw)
        self.bytes -= size
        return taken


class ExaminationQueue:
    """The three lanes."""

    def __init__(self) -> None:
        self.wanted = Lane()
        self.clients = Lane()
        self.peers = Lane()

    def take(self, count_max: int) -> list[Unexamined]:
        """Remove and return up to `count_max`: what is wanted, then half of each other lane."""
        first = self.wanted.take(count_max)
        room = count_max - len(first)
        half = max(room // 2, room - len(self.clients))
        first += self.peers.take(half)
        return first + self.clients.take(count_max - len(first))
