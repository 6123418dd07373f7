"""The intake: examined transactions on their way into the mempool, each with its answer.

It refuses what can be refused before ordering: bad seals, epochs that the chain does not accept,
lifetimes, strangers, overload. A transaction that a waiting proposal lacks is noted in passing. It
orders and executes nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
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
        if from_client and is_stranger(self._state, raw):
            # Whoever is not registered could only fill blocks with failed receipts.
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
