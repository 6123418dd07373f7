"""The intake: examined transactions on their way into the mempool, each with its answer.

It refuses what can be refused before ordering: bad seals, epochs that the chain does not accept,
lifetimes, strangers, overload. What a peer passes on of a sender that is not registered is held
aside, since the block that registers it may be on its way; but only a little of it, and nothing of
it is ordered meanwhile: a byzantine member could sign any amount with keys of its own making. A
transaction that a waiting proposal lacks is noted in passing. It orders and executes nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Protocol

from contracts.kernel.registry import accepted_epochs, may_send
from contracts.kernel.state import Reader
from node.admission import SEAL_CODES, WRONG_EPOCH, Candidate, Verdict, admit
from node.bodies import Bodies
from node.code import Code
from node.mempool import Mempool
from node.outputs import SubmitResult
from node.protocol.domain import Chain
from node.protocol.errors import PeerFault, Refused
from node.protocol.transaction import sender_of

STRANGER = (
    "UNAUTHORIZED",
    "the sender's key is not registered on this chain, or replaced or suspended",
)


HELD_TRANSACTIONS_MAX = 500
HELD_BYTES_MAX = 1 << 20


class FinalState(Reader, Protocol):
    """What the intake needs of the store."""

    def find(self, transaction_id: bytes) -> tuple[int, int] | None:
        """Where a final transaction stands, or None."""


def is_stranger(state: Reader, raw: bytes) -> bool:
    """Whether `raw` names a sender that is not registered: told without any cryptography.

    False also where the bytes are no transaction; examining them costs nothing then.
    """
    sender = sender_of(raw)
    return sender is not None and not may_send(state, sender)


class Intake:
    """See the module."""

    def __init__(
        self,
        chain: Chain,
        code: Code,
        state: FinalState,
        mempool: Mempool,
        bodies: Bodies,
        unlock: Callable[[Candidate], Candidate],
    ) -> None:
        """`unlock` opens a candidate with the secrets that came since it was examined."""
        self._chain = chain
        self._code = code
        self._state = state
        self._mempool = mempool
        self._bodies = bodies
        self._unlock = unlock
        self._accepted: tuple[int, ...] = ()
        self._held: dict[bytes, Candidate] = {}
        self._held_bytes = 0

    def take(
        self, items: Sequence[tuple[bytes, Verdict]], from_client: bool, now_ms: int
    ) -> tuple[list[SubmitResult], list[Candidate]]:
        """The answer to each transaction in order, and those that are new here."""
        results, fresh = [], []
        for raw, verdict in items:
            try:
                result, added = self._take_one(raw, verdict, from_client, now_ms)
            except Refused as refusal:
                result, added = SubmitResult(None, refusal.code, refusal.message), None
            results.append(result)
            if added is not None:
                fresh.append(added)
        return results, fresh

    @staticmethod
    def fault(items: Sequence[tuple[bytes, Verdict]]) -> PeerFault | None:
        """What a peer did wrong in sending these: honest ones pass on only what they examined.

        Whether a seal opens depends on the keys that a node holds, and is nobody's fault.
        """
        for _, verdict in items:
            if verdict.code and verdict.code not in SEAL_CODES:
                return PeerFault("BAD_TRANSACTION", f"{verdict.code}: {verdict.message}")
        return None

    def tidy(self, now_ms: int) -> tuple[bytes, ...]:
        """Forget whatever no block of now may hold; the ids of those whose epoch has ended."""
        self._mempool.drop_expired(now_ms)
        self._look_at_held(now_ms)
        accepted = accepted_epochs(self._state, now_ms)
        if accepted == self._accepted:
            return ()
        self._accepted = accepted
        return tuple(self._mempool.drop_other_epochs(accepted))

    def _take_one(
        self, raw: bytes, verdict: Verdict, from_client: bool, now_ms: int
    ) -> tuple[SubmitResult, Candidate | None]:
        candidate = admit(self._chain, self._code.now, raw, verdict)
        identity = candidate.transaction.id
        self._bodies.arrived(candidate)
        if self._state.find(identity) is not None:
            return SubmitResult(identity, "COMMITTED", "it is final already"), None
        if not may_send(self._state, candidate.transaction.body.sender):
            # Whoever is not registered could only fill blocks with failed receipts.
            if not from_client:
                self._hold(candidate)
            raise Refused(*STRANGER)
        candidate = self._opened(candidate, now_ms)
        if not self._mempool.add(candidate, now_ms):
            return SubmitResult(identity, "KNOWN", "it waits already"), None
        return SubmitResult(identity, "PENDING", ""), candidate

    def _opened(self, candidate: Candidate, now_ms: int) -> Candidate:
        """The candidate, opened if its secret came meanwhile; raises `Refused` `WRONG_EPOCH`."""
        if not candidate.epochs:
            return candidate
        accepted = accepted_epochs(self._state, now_ms)
        for epoch in candidate.epochs:
            if epoch not in accepted:
                raise Refused(
                    WRONG_EPOCH,
                    f"calls are sealed to epoch {accepted[0]}, not {epoch}; seal it again",
                )
        return self._unlock(candidate) if candidate.locked else candidate

    # ---- strangers

    def _look_at_held(self, now_ms: int) -> None:
        """Whoever was a stranger may be registered now."""
        for candidate in list(self._held.values()):
            transaction = candidate.transaction
            if transaction.body.valid_until < now_ms:
                self._release(candidate)
            elif may_send(self._state, transaction.body.sender):
                self._release(candidate)
                if self._state.find(transaction.id) is None:
                    with suppress(Refused):
                        self._mempool.add(self._opened(candidate, now_ms), now_ms)

    def _hold(self, candidate: Candidate) -> None:
        """Keep one aside; the oldest makes room."""
        if candidate.content_hash in self._held:
            return
        self._held[candidate.content_hash] = candidate
        self._held_bytes += len(candidate.transaction.raw)
        while len(self._held) > HELD_TRANSACTIONS_MAX or self._held_bytes > HELD_BYTES_MAX:
            self._release(next(iter(self._held.values())))

    def _release(self, candidate: Candidate) -> None:
        del self._held[candidate.content_hash]
        self._held_bytes -= len(candidate.transaction.raw)
