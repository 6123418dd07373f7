"""What waits to be examined: raw transactions before the verifier, bounded in number and bytes.

What the open proposal lacks goes first, so that no flood keeps it from being executed; clients and
what peers pass on are served half and half. Each peer has a lane of its own, and these take turns:
the flood of one delays nobody else's. A transaction may be 64 KiB: a number alone would allow more
than a gigabyte. Nothing is checked here.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from typing import NamedTuple

LANE_TRANSACTIONS_MAX = 10_000
LANE_BYTES_MAX = 32 << 20
PEER_TRANSACTIONS_MAX = 5_000
PEER_BYTES_MAX = 8 << 20
# Of each lane: what is examined together enters the engine together, and is read there once more.
BATCH_BYTES_MAX = 512 << 10


Origin = bytes | None


class Unexamined(NamedTuple):
    """One transaction: from the peer `origin` or a client, for `request` (0: nobody waits)."""

    raw: bytes
    origin: Origin
    request: int


class Lane:
    """First come, first served."""

    def __init__(
        self, transactions_max: int = LANE_TRANSACTIONS_MAX, bytes_max: int = LANE_BYTES_MAX
    ) -> None:
        self._waiting: deque[Unexamined] = deque()
        self._transactions_max = transactions_max
        self._bytes_max = bytes_max
        self.bytes = 0

    def __len__(self) -> int:
        return len(self._waiting)

    def has_room(self, raws: Sequence[bytes]) -> bool:
        """Whether all of `raws` may be added."""
        return (
            len(self._waiting) + len(raws) <= self._transactions_max
            and self.bytes + sum(map(len, raws)) <= self._bytes_max
        )

    def add(self, item: Unexamined) -> None:
        """Append one, for which there must be room."""
        self._waiting.append(item)
        self.bytes += len(item.raw)

    def take(self, count_max: int, bytes_max: int | None = None) -> list[Unexamined]:
        """Remove and return the oldest, as many and as large as one batch may have."""
        taken: list[Unexamined] = []
        size, bytes_max = 0, BATCH_BYTES_MAX if bytes_max is None else bytes_max
        while self._waiting and len(taken) < count_max and size < bytes_max:
            taken.append(self._waiting.popleft())
            size += len(taken[-1].raw)
        self.bytes -= size
        return taken


class PeerLanes:
    """One lane for each peer that has something waiting, served in turn."""

    def __init__(self) -> None:
        self._lanes: dict[Origin, Lane] = {}

    def __len__(self) -> int:
        return sum(map(len, self._lanes.values()))

    @property
    def bytes(self) -> int:
        """All of them together."""
        return sum(lane.bytes for lane in self._lanes.values())

    def of(self, origin: Origin) -> Lane:
        """The lane of one peer."""
        lane = self._lanes.get(origin)
        if lane is None:
            lane = self._lanes[origin] = Lane(PEER_TRANSACTIONS_MAX, PEER_BYTES_MAX)
        return lane

    def take(self, count_max: int) -> list[Unexamined]:
        """Remove and return up to `count_max`, of every peer as many; who was served goes last."""
        taken: list[Unexamined] = []
        size = turns = 0
        while self._lanes and len(taken) < count_max and size < BATCH_BYTES_MAX:
            turns = turns or len(self._lanes)
            share = -(-(count_max - len(taken)) // turns)
            origin = next(iter(self._lanes))
            lane = self._lanes.pop(origin)
            part = lane.take(share, max(1, (BATCH_BYTES_MAX - size) // turns))
            if len(lane):
                self._lanes[origin] = lane
            taken += part
            size += sum(len(item.raw) for item in part)
            turns -= 1
        return taken


class ExaminationQueue:
    """What is wanted, what clients sent, what peers pass on."""

    def __init__(self) -> None:
        self.wanted = Lane()
        self.clients = Lane()
        self.peers = PeerLanes()

    def take(self, count_max: int) -> list[Unexamined]:
        """Remove and return up to `count_max`: what is wanted, then half of each other kind."""
        first = self.wanted.take(count_max)
        room = count_max - len(first)
        half = max(room // 2, room - len(self.clients))
        first += self.peers.take(half)
        return first + self.clients.take(count_max - len(first))
