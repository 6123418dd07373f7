"""State sync: which file of which snapshot to ask whom for, and what to do when none comes.

A pure scheduler like `catch_up`, for a node that lacks more blocks than it would execute. One part
of one file of one snapshot is asked of one peer at a time, and of the same peer while it delivers.
What peers offer are hints. A whole file is handed out to be judged: its judgement comes back as
`accepted` (with the file to ask for next) or as `on_fault`. Files are the same with every honest
node, and each is judged alone, so a bad file costs its giver and nothing else: whatever was
accepted stays, over fail-overs and restarts.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from node.net.sources import COOL_DOWN_MAX_MS, Punish, Source
from node.protocol.errors import PeerFault
from node.protocol.messages import (
    MANIFEST_FILE,
    SNAPSHOT_FILE_BYTES_MAX,
    SNAPSHOT_PART_BYTES,
    SNAPSHOT_PART_COST,
    SnapshotFile,
    SnapshotPart,
    SnapshotRequest,
)

PART_TIMEOUT_MS = 10_000
# While no file was accepted for so long, blocks are asked for besides.
PATIENCE_MS = 60_000
# Peers are heard one by one: so long the newest offer is waited for before one is begun, and after
# a restart the peers that have what was begun before.
START_MS = 2_000
GRACE_MS = 5_000
# Between two ticks, a second apart; peers serve twice as much.
PACE_BYTES = 8 << 20
NEVER = -(1 << 62)


@dataclass(frozen=True, slots=True)
class AskPart:
    """Send this request to this peer."""

    peer: bytes
    request: SnapshotRequest


@dataclass(frozen=True, slots=True)
class Judge:
    """Check this whole file that the peer gave, and say `accepted` or `on_fault`."""

    peer: bytes
    height: int
    file: SnapshotFile
    content: bytes


Action = AskPart | Judge | Punish
Rank = tuple[int, bool, int, bool, int]


@dataclass(slots=True)
class _Offerer(Source):
    """A peer, and the heights of the snapshots that it says it has.

    One that left while it rested is remembered until then: coming back makes it no better.
    """

    heights: tuple[int, ...] = ()
    connected: bool = True


@dataclass(slots=True)
class _Fetch:
    """A file on its way. `size` is known from its first part on."""

    peer: bytes
    height: int
    file: SnapshotFile
    deadline: int
    size: int | None = None
    content: bytearray = field(default_factory=bytearray)
    paused: bool = False
    judged: bool = False


class StateSync:
    """The snapshot that is being fetched, and the peers that may have it.

    `target` is its height, 0 before a manifest was accepted. Every method that may lead to
    something returns the actions in order.
    """

    def __init__(self, target: int = 0, file: SnapshotFile = MANIFEST_FILE) -> None:
        """After a restart: go on with `file` of the snapshot of height `target`."""
        self.target = target
        self.complete = False
        self._next = file
        self._least = self._most = 0
        self._sources: dict[bytes, _Offerer] = {}
        self._fetch: _Fetch | None = None
        self._last_peer = b""
        self._taken = 0
        self._progress_at = NEVER
        self._target_seen_at = NEVER
        self._offered_at = NEVER

    def holds(self, now_ms: int) -> bool:
        """Whether a snapshot is on its way, so that blocks need not be asked for."""
        if self.complete:
            return True
        asks = self._fetch is not None or bool(self._options(now_ms))
        offered = any(self.target in source.heights for source in self._sources.values())
        is_stuck = self._progress_at != NEVER and now_ms >= self._progress_at + PATIENCE_MS
        return (asks or offered) and not is_stuck

    def aim(self, least: int, most: int, now_ms: int) -> list[Action]:
        """Snapshots of these heights are worth having; with `least` above `most` none is."""
        self._least, self._most = least, most
        if not self.target and not self._options(now_ms):
            self._progress_at = self._offered_at = NEVER
        return self._ask(now_ms)

    def drop(self) -> None:
        """What was fetched so far is of no use any more."""
        self.target, self._next, self._fetch = 0, MANIFEST_FILE, None

    def on_offer(self, peer: bytes, heights: Sequence[int], now_ms: int) -> list[Action]:
        """A connected peer says of which heights it has snapshots."""
        source = self._sources.setdefault(peer, _Offerer())
        source.heights, source.connected = tuple(heights), True
        return self._ask(now_ms)

    def on_part(self, peer: bytes, part: SnapshotPart, now_ms: int) -> list[Action]:
        """Part of a file came. Late answers are ignored; what was not asked for is a fault."""
        fetch = self._fetch
        if fetch is None or fetch.judged or fetch.paused or fetch.peer != peer:
            return []
        if (part.height, part.file, part.offset) != (
            fetch.height,
            fetch.file,
            len(fetch.content),
        ):
            return []
        source = self._sources[peer]
        if part.size is None:  # it has made newer ones since it offered this
            source.heights = tuple([h for h in source.heights if h != fetch.height])
            source.rest(now_ms)
            return self._abandon(now_ms)
        expected = min(SNAPSHOT_PART_BYTES, part.size - part.offset)
        size_changed = fetch.size is not None and fetch.size != part.size
        if part.size > SNAPSHOT_FILE_BYTES_MAX or len(part.data) != expected or size_changed:
            fault = PeerFault("BAD_PART", "it is not the part of the file that was asked for")
            return [Punish(peer, fault), *self.on_fault(peer, now_ms)]
        source.delivered(now_ms)
        fetch.size = part.size
        fetch.content += part.data
        self._taken += max(SNAPSHOT_PART_COST, len(part.data))
        if len(fetch.content) == part.size:
            fetch.judged = True
            return [Judge(peer, fetch.height, fetch.file, bytes(fetch.content))]
        fetch.paused = self._taken >= PACE_BYTES
        return [] if fetch.paused else [self._request(fetch, now_ms)]

    def accepted(self, following: SnapshotFile | None, now_ms: int) -> list[Action]:
        """The judged file was good; go on with `following`, or be complete."""
        fetch = self._fetch
        if fetch is None or not fetch.judged:
            raise AssertionError("no file was handed out to be judged")
        self.target = fetch.height
        self._fetch = None
        self._progress_at = now_ms
        if following is None:
            self.complete = True
            return []
        self._next = following
        return self._ask(now_ms)

    def on_fault(self, peer: bytes, now_ms: int) -> list[Action]:
        """The peer's file was bad, or it broke the protocol otherwise: turn to another."""
        source = self._sources.get(peer)
        if source is not None:
            source.rest(now_ms, COOL_DOWN_MAX_MS)
        return self._abandon(now_ms) if self._is_asked(peer) else []

    def on_disconnected(self, peer: bytes, now_ms: int) -> list[Action]:
        """The peer is gone, and its offers with it."""
        source = self._sources.get(peer)
        if source is not None:
            source.heights, source.connected = (), False
        return self._abandon(now_ms) if self._is_asked(peer) else []

    def tick(self, now_ms: int) -> list[Action]:
        """A second has passed."""
        self._taken = 0
        for peer, source in list(self._sources.items()):
            if not source.connected and source.rests_until <= now_ms:
                del self._sources[peer]
        fetch = self._fetch
        if fetch is None or fetch.judged:
            return self._ask(now_ms)
        if fetch.paused:
            return [self._request(fetch, now_ms)]
        if now_ms < fetch.deadline:
            return []
        self._sources[fetch.peer].rest(now_ms)
        return self._abandon(now_ms)

    def _is_asked(self, peer: bytes) -> bool:
        return self._fetch is not None and self._fetch.peer == peer

    def _abandon(self, now_ms: int) -> list[Action]:
        self._fetch = None
        return self._ask(now_ms)

    def _ask(self, now_ms: int) -> list[Action]:
        options = self._options(now_ms)
        if self._offered_at == NEVER and options:
            self._offered_at = now_ms
        if self._target_seen_at == NEVER or any(height == self.target for *_, height in options):
            self._target_seen_at = now_ms
        idle = self._fetch is None and not self.complete and self._taken < PACE_BYTES
        chosen = self._choose(now_ms) if idle else None
        if chosen is None:
            return []
        peer, height = chosen
        # The target is given up only for another one whose manifest was accepted.
        file = self._next if height == self.target else MANIFEST_FILE
        self._last_peer = peer
        if self._progress_at == NEVER:
            self._progress_at = now_ms  # patience begins
        self._fetch = _Fetch(peer, height, file, 0)
        return [self._request(self._fetch, now_ms)]

    def _request(self, fetch: _Fetch, now_ms: int) -> AskPart:
        self._sources[fetch.peer].asked_at = now_ms
        fetch.deadline, fetch.paused = now_ms + PART_TIMEOUT_MS, False
        request = SnapshotRequest(fetch.height, fetch.file, len(fetch.content))
        return AskPart(fetch.peer, request)

    def _choose(self, now_ms: int) -> tuple[bytes, int] | None:
        """Whom to ask for which snapshot, if it is time."""
        options = self._options(now_ms)
        if not options:
            return None
        _, peer, height = min(options)
        if height != self.target:
            since, wait_ms = self._offered_at, START_MS
            if self.target:
                since, wait_ms = self._target_seen_at, GRACE_MS
            if now_ms < since + wait_ms:
                return None
        return peer, height

    def _options(self, now_ms: int) -> list[tuple[Rank, bytes, int]]:
        """The snapshots that could be asked for now, with their peers, by rank.

        The least failing peer comes first; among these one that has the target, else the newest
        worth having; among these the one that was asked last, else the longest not asked.
        """
        options: list[tuple[Rank, bytes, int]] = []
        for peer, source in self._sources.items():
            if source.rests_until > now_ms:
                continue
            worth = [h for h in source.heights if self._least <= h <= self._most]
            if self.target in source.heights:
                worth = [self.target]
            if worth:
                height = max(worth)
                other = height != self.target
                rank = source.failures, other, -height, peer != self._last_peer, source.asked_at
                options.append((rank, peer, height))
        return options
