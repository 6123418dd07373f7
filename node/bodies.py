"""Bodies: the transactions behind the hashes of the open height's proposals.

A proposal names content hashes; this room finds the candidates (mempool, fetched, restored from the
vote log), keeps the list of the missing ones, and serves to others what this node has prepared.
A height that takes many views may see more proposals than there is room for: then the oldest go,
since whatever is prepared is proposed again and thereby young. It executes and decides nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence, Set

import msgspec

from node.admission import Candidate
from node.protocol.block import BLOCK_TRANSACTIONS_MAX, BlockHeader
from node.protocol.encoding import Codec, Record
from node.protocol.messages import BATCH_TRANSACTIONS_MAX, TransactionRequest

KEPT_MAX = 32 * BLOCK_TRANSACTIONS_MAX
VOTE_ENTRY_BYTES_MAX = 16 << 20


class VoteEntry(Record, frozen=True):
    """One record of the vote log: the replica's own, and the bodies that it promises to serve."""

    record: bytes
    raws: tuple[bytes, ...]


vote_entry_codec: Codec[VoteEntry] = Codec(VoteEntry, VOTE_ENTRY_BYTES_MAX)


class Waiting(msgspec.Struct):
    """A proposal whose execution waits for transactions.

    It holds those that are here already: the mempool may drop one of them meanwhile.
    """

    header: BlockHeader
    hashes: tuple[bytes, ...]
    found: dict[bytes, Candidate]
    missing: set[bytes]


class Bodies:
    """Candidates by content hash for the open height."""

    def __init__(self, find_pooled: Callable[[bytes], Candidate | None]) -> None:
        self._find_pooled = find_pooled
        self._kept: dict[bytes, Candidate] = {}
        self._waiting: Waiting | None = None
        self._restored: tuple[Candidate, ...] = ()
        self._restored_until = 0

    @property
    def waiting(self) -> Waiting | None:
        """The proposal that waits for transactions, if any."""
        return self._waiting

    @property
    def missing(self) -> Set[bytes]:
        """The content hashes that the waiting proposal lacks."""
        return self._waiting.missing if self._waiting is not None else frozenset()

    def find(self, content_hash: bytes) -> Candidate | None:
        """The candidate with this hash, wherever it is kept."""
        waiting = self._waiting
        return (
            self._kept.get(content_hash)
            or (waiting.found.get(content_hash) if waiting is not None else None)
            or self._find_pooled(content_hash)
        )

    def resolve(self, hashes: Sequence[bytes]) -> tuple[Candidate, ...] | None:
        """All candidates of a proposal in order, or None if one is missing."""
        found = [self.find(content_hash) for content_hash in hashes]
        return None if None in found else tuple(c for c in found if c is not None)

    def keep(self, candidates: Sequence[Candidate]) -> None:
        """Hold these until the height is final, whatever the mempool does meanwhile."""
        for candidate in candidates:
            self._kept.pop(candidate.content_hash, None)
            self._kept[candidate.content_hash] = candidate
        while len(self._kept) > KEPT_MAX:
            del self._kept[next(iter(self._kept))]

    def restore(self, candidates: Sequence[Candidate], height: int) -> None:
        """Hold what votes up to `height` promise to serve until that height is final."""
        self._restored, self._restored_until = tuple(candidates), height
        self.keep(candidates)

    def wait(self, header: BlockHeader, hashes: Sequence[bytes]) -> None:
        """Remember a proposal that cannot be executed yet; it replaces an earlier one."""
        waiting = Waiting(header, tuple(hashes), {}, set())
        for content_hash in hashes:
            candidate = self.find(content_hash)
            if candidate is None:
                waiting.missing.add(content_hash)
            else:
                waiting.found[content_hash] = candidate
        self._waiting = waiting

    def arrived(self, candidate: Candidate) -> bool:
        """Note a candidate; True if it was missing from the waiting proposal."""
        waiting = self._waiting
        if waiting is None or candidate.content_hash not in waiting.missing:
            return False
        waiting.found[candidate.content_hash] = candidate
        waiting.missing.discard(candidate.content_hash)
        return True

    def take_complete(self) -> Waiting | None:
        """The waiting proposal, once nothing is missing: its transactions are all kept now."""
        if self._waiting is None or self._waiting.missing:
            return None
        complete, self._waiting = self._waiting, None
        self.keep(list(complete.found.values()))
        return complete

    def requests(self) -> list[TransactionRequest]:
        """What to ask a peer for, in requests of bounded size."""
        if self._waiting is None:
            return []
        missing = sorted(self._waiting.missing)
        step = BATCH_TRANSACTIONS_MAX
        return [
            TransactionRequest(tuple(missing[start : start + step]))
            for start in range(0, len(missing), step)
        ]

    def clear(self, height: int) -> None:
        """The height is final: forget everything kept for it."""
        self._kept.clear()
        if height < self._restored_until:
            self.keep(self._restored)
        else:
            self._restored = ()
        self._waiting = None
