"""What waits to be examined: raw transactions before the verifier, bounded in number and bytes.

Clients and peers have a lane each and are served half and half, so that no flood of clients can
keep the transactions of a proposal from being examined. A transaction may be 64 KiB: a number
alone would allow more than a gigabyte. Nothing is checked here.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from typing import NamedTuple

LANE_TRANSACTIONS_MAX = 10_000
LANE_BYTES_MAX = 32 << 20


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

    def take(self, count: int) -> list[Unexamined]:
        """Remove and return the oldest `count`."""
        taken = [self._waiting.popleft() for _ in range(count)]
        self.bytes -= sum(len(item.raw) for item in taken)
        return taken


class ExaminationQueue:
    """The two lanes."""

    def __init__(self) -> None:
        self.clients = Lane()
        self.peers = Lane()

    def take(self, count_max: int) -> list[Unexamined]:
        """Remove and return up to `count_max`, half of each lane while both have them."""
        half = max(count_max // 2, count_max - len(self.clients))
        taken = self.peers.take(min(len(self.peers), half))
        return taken + self.clients.take(min(len(self.clients), count_max - len(taken)))
