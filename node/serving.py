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
from node.protocol.messages import BlockRange, BlockRequest, Transactions, in_batches

PEER_BYTES_PER_TICK = 8 << 20
RANGE_COST_BYTES = 256 << 10
BATCH_COST_BYTES = 32 << 10


class Serving:
    """See the module. `block_at` and `find` say what is at hand."""

    def __init__(
        self,
        block_at: Callable[[int], CertifiedBlock | None],
        find: Callable[[bytes], Candidate | None],
    ) -> None:
        self._block_at = block_at
        self._find = find
        self._spent: dict[bytes, int] = {}

    def tick(self) -> None:
        """A second has passed: everybody may ask again."""
        self._spent.clear()

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

    def _is_served(self, peer: bytes) -> bool:
        return self._spent.get(peer, 0) >= PEER_BYTES_PER_TICK

    def _charge(self, peer: bytes, at_least: int, size: int) -> None:
        self._spent[peer] = self._spent.get(peer, 0) + max(at_least, size)
