"""Serving: answers to what peers ask for, a bounded amount for each between two ticks.

A request is a few bytes, its answer up to megabytes read and encoded: a peer that asks without end
would take the time that consensus needs. Who catches up asks once for each range that it has
executed, so no honest peer meets the bound. What exceeds it stays unanswered.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from node.admission import Candidate
from node.net.catch_up import answer_request
from node.protocol.block import CertifiedBlock
from node.protocol.messages import (
    SNAPSHOT_PART_BYTES,
    SNAPSHOT_PART_COST,
    BlockRange,
    BlockRequest,
    SnapshotFile,
    SnapshotPart,
    SnapshotRequest,
    Transactions,
    in_batches,
)
from node.state.shelf import Shelf

PEER_BYTES_PER_TICK = 8 << 20
# Twice what a peer may ask for between two of its own ticks.
SNAPSHOT_BYTES_PER_TICK = 16 << 20
RANGE_COST_BYTES = 256 << 10
BATCH_COST_BYTES = 32 << 10


class Serving:
    """See the module. `block_at` and `find` say what is at hand."""

    def __init__(
        self,
        block_at: Callable[[int], CertifiedBlock | None],
        find: Callable[[bytes], Candidate | None],
        shelf: Shelf,
    ) -> None:
        self._block_at = block_at
        self._find = find
        self._shelf = shelf
        self._spent: dict[bytes, int] = {}
        self._spent_on_snapshots: dict[bytes, int] = {}
        self._in_parts: tuple[int, SnapshotFile, bytes] | None = None

    def tick(self) -> None:
        """A second has passed: everybody may ask again."""
        self._spent.clear()
        self._spent_on_snapshots.clear()
        self._in_parts = None

    def blocks(self, peer: bytes, request: BlockRequest, head: int) -> list[BlockRange]:
        """The blocks that are here, or nothing if the peer has had its share."""
        if self._is_served(peer):
            return []
        answer = answer_request(request, self._block_at, head)
        size = sum(len(raw) for block in answer.blocks for raw in block.transactions)
        self._charge(peer, RANGE_COST_BYTES, size)
        return [answer]

    def transactions(self, peer: bytes, hashes: Sequence[bytes]) -> list[Transactions]:
        """The transactions that are here, in batches, or nothing if the peer has had its share."""
        if self._is_served(peer):
            return []
        raws = [c.transaction.raw for c in map(self._find, hashes) if c is not None]
        self._charge(peer, BATCH_COST_BYTES, sum(map(len, raws)))
        return list(in_batches(raws))

    def snapshot(self, peer: bytes, request: SnapshotRequest) -> list[SnapshotPart]:
        """Part of a snapshot, or that it is not here, or nothing if the peer has had its share."""
        spent = self._spent_on_snapshots.get(peer, 0)
        if spent >= SNAPSHOT_BYTES_PER_TICK:
            return []
        content = self._file(request.height, request.file)
        start, size = request.offset, None if content is None else len(content)
        data = b"" if content is None else content[start : start + SNAPSHOT_PART_BYTES]
        self._spent_on_snapshots[peer] = spent + max(SNAPSHOT_PART_COST, len(data))
        return [SnapshotPart(request.height, request.file, start, size, data)]

    def _file(self, height: int, file: SnapshotFile) -> bytes | None:
        """A file of a snapshot; one that goes in parts is read once."""
        if self._in_parts is not None and self._in_parts[:2] == (height, file):
            return self._in_parts[2]
        content = self._shelf.read(height, file)
        large = content is not None and len(content) > SNAPSHOT_PART_BYTES
        self._in_parts = (height, file, content) if large and content is not None else None
        return content

    def _is_served(self, peer: bytes) -> bool:
        return self._spent.get(peer, 0) >= PEER_BYTES_PER_TICK

    def _charge(self, peer: bytes, at_least: int, size: int) -> None:
        self._spent[peer] = self._spent.get(peer, 0) + max(at_least, size)
