"""The mempool: candidates that wait for a block, bounded in count, bytes and share per sender.

Batches are picked round-robin over senders with each sender's arrival order kept, so that one busy
sender cannot starve the rest. Under overload it refuses (`MEMPOOL_FULL`) rather than collapse.
Poisonous transactions are quarantined here: never proposed, and no reason to run a timer. It
neither executes nor verifies anything.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator

from node.admission import Candidate
from node.protocol.errors import Refused
from node.protocol.transaction import VALID_FOR_MS_MAX, lifetime_code

POOL_TRANSACTIONS_MAX = 20_000
POOL_BYTES_MAX = 64 << 20
SENDER_TRANSACTIONS_MAX = 4_000
SENDER_CALLS_MAX = 8_000
SENDER_BYTES_MAX = 8 << 20
QUARANTINE_MAX = 1_000
NEVER_MS = 1 << 62
SENDER_LIMIT = ("SENDER_LIMIT", "enough of this sender waits already; send it again in a while")


class Mempool:
    """An ordered, bounded set of candidates."""

    def __init__(self) -> None:
        self._by_hash: dict[bytes, Candidate] = {}
        self._hash_of_id: dict[bytes, bytes] = {}
        self._senders: dict[bytes, dict[bytes, Candidate]] = {}
        self._quarantine: dict[bytes, None] = {}
        self._weight_of: dict[bytes, tuple[int, int]] = {}
        self._earliest_end = NEVER_MS
        self.bytes = 0

    def __len__(self) -> int:
        return len(self._by_hash)

    def __contains__(self, content_hash: bytes) -> bool:
        return content_hash in self._by_hash

    def get(self, content_hash: bytes) -> Candidate | None:
        """The waiting candidate with this content hash."""
        return self._by_hash.get(content_hash)

    def find(self, transaction_id: bytes) -> Candidate | None:
        """The waiting candidate with this transaction id."""
        content_hash = self._hash_of_id.get(transaction_id)
        return None if content_hash is None else self._by_hash[content_hash]

    def add(self, candidate: Candidate, now_ms: int) -> bool:
        """Take a candidate; False if its id waits already.

        Raises `Refused`: `TX_EXPIRED`, `TX_TOO_DISTANT`, `QUARANTINED`, `MEMPOOL_FULL`,
        `SENDER_LIMIT`, or the code of a bad seal.
        """
        transaction = candidate.transaction
        if not candidate.poolable:
            raise Refused(candidate.rejection, "a sealed call does not open")
        if transaction.id in self._hash_of_id:
            return False
        self._check_lifetime(transaction.body.valid_until, now_ms)
        if transaction.content_hash in self._quarantine:
            raise Refused("QUARANTINED", "this transaction made an execution fail; operators know")
        sender, size = transaction.body.sender, len(transaction.raw)
        if self.is_at_limit(sender):
            raise Refused(*SENDER_LIMIT)
        if len(self._by_hash) >= POOL_TRANSACTIONS_MAX or self.bytes + size > POOL_BYTES_MAX:
            raise Refused("MEMPOOL_FULL", "the node is overloaded; send it again in a while")
        self._by_hash[transaction.content_hash] = candidate
        self._hash_of_id[transaction.id] = transaction.content_hash
        self._senders.setdefault(sender, {})[transaction.content_hash] = candidate
        self._weigh(candidate, 1)
        self._earliest_end = min(self._earliest_end, transaction.body.valid_until)
        self.bytes += size
        return True

    def is_at_limit(self, sender: bytes) -> bool:
        """Whether a sender's share is used up: in transactions, calls or bytes."""
        size, calls = self._weight_of.get(sender, (0, 0))
        return (
            len(self._senders.get(sender, ())) >= SENDER_TRANSACTIONS_MAX
            or calls >= SENDER_CALLS_MAX
            or size >= SENDER_BYTES_MAX
        )

    def remove(self, transaction_id: bytes) -> None:
        """Forget the candidate with this id; its sender goes to the end of the round."""
        content_hash = self._hash_of_id.pop(transaction_id, None)
        if content_hash is None:
            return
        candidate = self._by_hash.pop(content_hash)
        sender, size = candidate.transaction.body.sender, len(candidate.transaction.raw)
        self.bytes -= size
        queue = self._senders.pop(sender)
        del queue[content_hash]
        if queue:
            self._senders[sender] = queue
        self._weigh(candidate, -1)

    def quarantine(self, candidate: Candidate) -> None:
        """Drop a poisonous candidate and remember not to take it again."""
        self.remove(candidate.transaction.id)
        self._quarantine[candidate.content_hash] = None
        while len(self._quarantine) > QUARANTINE_MAX:
            del self._quarantine[next(iter(self._quarantine))]

    def drop_expired(self, time_ms: int) -> list[bytes]:
        """Forget whatever no block after `time_ms` may hold; the ids, in order of arrival."""
        if time_ms <= self._earliest_end:
            return []
        ends = [(c.transaction.body.valid_until, c.transaction.id) for c in self._by_hash.values()]
        expired = [transaction_id for end, transaction_id in ends if end < time_ms]
        for transaction_id in expired:
            self.remove(transaction_id)
        self._earliest_end = min((end for end, _ in ends if end >= time_ms), default=NEVER_MS)
        return expired

    def drop_other_epochs(self, accepted: Collection[int]) -> list[bytes]:
        """Forget whatever is sealed to an epoch that is none of `accepted`; the ids, in order."""
        found = [
            candidate.transaction.id
            for candidate in self._by_hash.values()
            if not all(epoch in accepted for epoch in candidate.epochs)
        ]
        for transaction_id in found:
            self.remove(transaction_id)
        return found

    def round_robin(self) -> Iterator[Candidate]:
        """All candidates, one per sender and round. The pool must not change meanwhile."""
        active: Iterable[Iterator[Candidate]] = (iter(q.values()) for q in self._senders.values())
        while True:
            following = []
            for queue in active:
                candidate = next(queue, None)
                if candidate is not None:
                    yield candidate
                    following.append(queue)
            if not following:
                return
            active = following

    def oldest(self, count: int) -> list[Candidate]:
        """The first `count` arrivals."""
        waiting = iter(self._by_hash.values())
        return [candidate for _, candidate in zip(range(count), waiting, strict=False)]

    def _weigh(self, candidate: Candidate, sign: int) -> None:
        """Add a candidate to its sender's share, or take it out of it."""
        body = candidate.transaction.body
        size, calls = self._weight_of.pop(body.sender, (0, 0))
        calls += sign * len(body.calls)
        if calls:
            self._weight_of[body.sender] = (size + sign * len(candidate.transaction.raw), calls)

    @staticmethod
    def _check_lifetime(valid_until: int, now_ms: int) -> None:
        code = lifetime_code(valid_until, now_ms)
        if code == "TX_EXPIRED":
            raise Refused(code, "valid_until has passed; sign it again with a later one")
        if code is not None:
            raise Refused(code, f"valid_until is more than {VALID_FOR_MS_MAX // 60_000} min ahead")
