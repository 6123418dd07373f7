"""Proposals of the open height: built, executed, remembered until one of them is final.

It turns the replica's two questions (build one, execute this one) into answers, and keeps each
result so that the commit need not execute again. Poison and inadmissible blocks become alarms. It
sends and stores nothing.
"""

from __future__ import annotations

from collections.abc import Sequence

from node.admission import Candidate
from node.bodies import Bodies
from node.consensus.events import BuildProposal, Outcome, ProposalBuilt, ProposalExecuted
from node.execution import NO_EPOCH_SECRET, BlockResult, Executor, Inadmissible, Locked, Poison
from node.importer import matches
from node.mempool import Mempool
from node.outputs import Alarm
from node.protocol.block import BLOCK_VERSION, BlockHeader
from node.protocol.domain import Chain

RESULTS_MAX = 8


class Proposals:
    """The executed proposals of one height."""

    def __init__(
        self, chain: Chain, public_key: bytes, executor: Executor, mempool: Mempool, bodies: Bodies
    ) -> None:
        self._chain = chain
        self._public_key = public_key
        self._executor = executor
        self._mempool = mempool
        self._bodies = bodies
        self._results: dict[bytes, BlockResult] = {}
        self._persisted: set[bytes] = set()
        self._alarms: list[Alarm] = []

    def build(self, request: BuildProposal, parent_id: bytes, time_ms: int) -> ProposalBuilt:
        """A fresh proposal of what waits, executed; no header where there is nothing to order."""
        dropped: list[Candidate] = []

        def on_poison(poison: Poison) -> None:
            dropped.append(poison.candidate)
            self._alarms.append(Alarm("POISON", f"left out of block {request.height}: {poison}"))

        result = self._executor.build_block(
            request.height, time_ms, self._mempool.round_robin(), on_poison
        )
        for candidate in dropped:
            self._mempool.quarantine(candidate)
        if not result.candidates and not request.allow_empty:
            return ProposalBuilt(request.height, request.view, None, ())
        header = BlockHeader(
            BLOCK_VERSION,
            request.height,
            time_ms,
            parent_id,
            result.transactions_root,
            result.receipts_root,
            result.state_root,
            result.next_validators.hash,
            self._public_key,
        )
        self._remember(header, result)
        hashes = tuple(candidate.content_hash for candidate in result.candidates)
        return ProposalBuilt(request.height, request.view, header, hashes)

    def execute(self, header: BlockHeader, candidates: Sequence[Candidate]) -> ProposalExecuted:
        """What our own execution makes of a proposal whose transactions are all here."""
        block_id = header.id(self._chain)
        known = self._results.pop(block_id, None)
        if known is not None:
            # Back as the youngest: what the replica asked for last is what it commits.
            self._results[block_id] = known
            return ProposalExecuted(block_id, Outcome.MATCHES)
        try:
            result = self._executor.execute_block(header.height, header.time_ms, candidates)
        except Inadmissible as refusal:
            self._alarms.append(Alarm("INADMISSIBLE", f"proposal {header.height}: {refusal.code}"))
            return ProposalExecuted(block_id, Outcome.INVALID)
        except Locked as locked:
            self._alarms.append(Alarm(NO_EPOCH_SECRET, f"proposal {header.height}: {locked}"))
            return ProposalExecuted(block_id, Outcome.UNAVAILABLE)
        except Poison as poison:
            self._mempool.quarantine(poison.candidate)
            self._alarms.append(Alarm("POISON", f"proposal {header.height}: {poison}"))
            return ProposalExecuted(block_id, Outcome.UNAVAILABLE)
        if header.transactions_root != result.transactions_root:
            return ProposalExecuted(block_id, Outcome.INVALID)
        if not matches(header, result):
            return ProposalExecuted(block_id, Outcome.DIFFERS, result.state_root)
        self._remember(header, result)
        return ProposalExecuted(block_id, Outcome.MATCHES)

    def result(self, header: BlockHeader, hashes: Sequence[bytes]) -> BlockResult | None:
        """The result of a block that matched here; executed again if it was forgotten since.

        None if its transactions are no longer at hand.
        """
        block_id = header.id(self._chain)
        if block_id not in self._results:
            candidates = self._bodies.resolve(hashes)
            if candidates is not None:
                self.execute(header, candidates)
        return self._results.get(block_id)

    def body_to_persist(self, block_id: bytes) -> tuple[bytes, ...]:
        """The raw transactions that a vote for this block promises to serve, once a block."""
        if block_id in self._persisted:
            return ()
        self._persisted.add(block_id)
        return self._results[block_id].raws

    def take_alarms(self) -> list[Alarm]:
        """What an operator should see, once."""
        alarms, self._alarms = self._alarms, []
        return alarms

    def clear(self) -> None:
        """The height is final."""
        self._results.clear()
        self._persisted.clear()

    def _remember(self, header: BlockHeader, result: BlockResult) -> None:
        self._results[header.id(self._chain)] = result
        while len(self._results) > RESULTS_MAX:
            del self._results[next(iter(self._results))]
        self._bodies.keep(result.candidates)
