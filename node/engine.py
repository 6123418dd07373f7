"""The engine: the spine that carries an input through mempool, consensus, execution and state.

`handle(input, now_ms)` returns the outputs for the caller to perform one by one. It is
synchronous, knows no socket, clock or thread, writes nothing, and is the only module that knows
the order of the stages. The driver runs it in a node, the simulator in a cluster of them.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence, Set
from typing import assert_never

from node import outputs as io
from node.admission import Candidate, Verdict
from node.bodies import Bodies, VoteEntry
from node.code import Code, Warner
from node.consensus import events as consensus
from node.consensus.replica import Replica
from node.evidence import EvidenceBook
from node.execution import BlockResult, Executor
from node.heads import Heads
from node.importer import Diverged
from node.intake import Intake
from node.mempool import Mempool
from node.proposals import Proposals
from node.protocol.block import BlockHeader, CertifiedBlock
from node.protocol.encoding import encode
from node.protocol.errors import PeerFault
from node.protocol.genesis import Genesis
from node.protocol.messages import (
    BATCH_TRANSACTIONS_MAX,
    BlockRange,
    BlockRequest,
    ConsensusMessage,
    Dissent,
    Evidence,
    Head,
    Message,
    SnapshotPart,
    SnapshotRequest,
    TransactionRequest,
    Transactions,
    in_batches,
)
from node.protocol.validators import ValidatorSet
from node.serving import Serving
from node.state.shelf import Shelf
from node.state.store import Store
from node.sync import Sync


class Engine:
    """One node's deterministic core."""

    def __init__(
        self,
        genesis: Genesis,
        code: Code,
        public_key: bytes,
        replica: Replica,
        executor: Executor,
        store: Store,
        sync: Sync,
        shelf: Shelf,
        restored: Sequence[Candidate],
        restored_height: int,
        validators: ValidatorSet,
    ) -> None:
        self._chain = genesis.chain
        self._genesis_ms = genesis.created_ms
        self._public_key = public_key
        self._replica = replica
        self._store = store
        self._shelf = shelf
        self._validators = validators
        self.mempool = Mempool()
        self._bodies = Bodies(self.mempool.get)
        self._bodies.restore(restored, restored_height)
        self._serving = Serving(store.block, self._bodies.find, shelf)
        self._intake = Intake(self._chain, code, store, self.mempool, self._bodies, executor.unlock)
        self._proposals = Proposals(self._chain, public_key, executor, self.mempool, self._bodies)
        self._code = Warner(code)
        self._writing: tuple[CertifiedBlock, BlockResult] | None = None
        self._peers: dict[bytes, None] = {}
        self._pending = False
        self._now_ms = 0
        self._out: list[io.Output] = []
        self.evidence = EvidenceBook(self._chain)
        self.heads = Heads()
        self.sync = sync
        self.halted = False

    def start(self, now_ms: int) -> list[io.Output]:
        """The outputs of coming alive: timers, and one's own latest messages again."""
        return self._run(lambda: self._consensus(consensus.Tick()), now_ms)

    def handle(self, event: io.Input, now_ms: int) -> list[io.Output]:
        """Everything that follows from one input, in the order in which it must be done."""
        return self._run(lambda: self._dispatch(event), now_ms)

    def _run(self, step: Callable[[], None], now_ms: int) -> list[io.Output]:
        if self.halted:
            return []
        self._now_ms = now_ms
        self.sync.read_clock(now_ms)
        self._out = []
        step()
        self._update_pending()
        return self._out

    def _dispatch(self, event: io.Input) -> None:
        match event:
            case io.PeerMessage(peer, message):
                self._on_message(peer, message)
            case io.Examined(items, origin, request):
                self._on_examined(items, origin, request)
            case io.TimerElapsed(token):
                self._consensus(consensus.TimerFired(token))
            case io.BlockWritten(height):
                self._on_block_written(height)
            case io.Tick():
                self._on_tick()
            case io.PeerConnected(peer):
                self._peers[peer] = None
                self._emit(io.SendTo(peer, self._own_head()))
                self._consensus(consensus.PeerConnected(peer))
            case io.PeerDisconnected(peer):
                self._peers.pop(peer, None)
                self.heads.forget(peer)
                self._follow(self.sync.on_disconnected(peer))
            case _:
                assert_never(event)

    @property
    def _head_time_ms(self) -> int:
        header = self._store.head.header
        return header.time_ms if header is not None else self._genesis_ms

    def _emit(self, output: io.Output) -> None:
        self._out.append(output)

    # ---- messages of peers

    def _on_message(self, peer: bytes, message: Message) -> None:
        match message:
            case Transactions(raws):
                self._emit(io.Verify(raws, peer))
            case TransactionRequest(hashes):
                for batch in self._serving.transactions(peer, hashes):
                    self._emit(io.SendTo(peer, batch))
            case BlockRequest():
                for blocks in self._serving.blocks(peer, message, self._store.head.height):
                    self._emit(io.SendTo(peer, blocks))
            case SnapshotRequest():
                for part in self._serving.snapshot(peer, message):
                    self._emit(io.SendTo(peer, part))
            case BlockRange():
                self._follow(self.sync.on_range(peer, message))
            case SnapshotPart():
                self._follow(self.sync.on_part(peer, message))
            case Head(height):
                self.heads.note(peer, height, self._now_ms)
                self._follow(self.sync.on_head(peer, message))
            case Evidence():
                self.evidence.offer(message, self._validators.members)
            case _:
                self._consensus(consensus.MessageReceived(peer, message))

    # ---- transactions

    def _on_examined(
        self, items: Sequence[tuple[bytes, Verdict]], origin: bytes | None, request: int
    ) -> None:
        results, fresh = self._intake.take(items, origin is None, self._now_ms)
        if origin is not None and (fault := self._intake.fault(items)) is not None:
            self._emit(io.PunishPeer(origin, fault))
        if fresh and origin is None:
            # Everybody is connected with everybody: who got it from a client tells all, once.
            self._emit(io.Gossip(tuple([(c.content_hash, c.transaction.raw) for c in fresh])))
        if request:
            self._emit(io.Submitted(request, tuple(results)))
        self._execute_if_complete()

    def _tidy_pool(self) -> None:
        """Forget what no block may hold, or every block would fail: its submitter is told."""
        if dropped := self._intake.tidy(self._now_ms):
            self._emit(io.Dropped(dropped))

    def _update_pending(self) -> None:
        """Tell the replica when transactions start or cease to wait: it arms its timer by that."""
        pending = len(self.mempool) > 0
        if pending != self._pending and not self.halted:
            self._pending = pending
            self._consensus(consensus.PendingChanged(pending))

    # ---- consensus

    def _consensus(self, event: consensus.Event) -> None:
        """Feed the replica, and carry out its effects in order; some answer at once."""
        effects = deque(self._replica.handle(event, self._now_ms))
        while effects and not self.halted:
            answer = self._perform(effects.popleft())
            if answer is not None:
                effects.extend(self._replica.handle(answer, self._now_ms))

    def _perform(self, effect: consensus.Effect) -> consensus.Event | None:
        match effect:
            case consensus.Persist():
                self._persist(effect)
            case consensus.Broadcast(message):
                self._emit(io.SendToAll(message))
            case consensus.Send(to, message):
                self._emit(io.SendTo(to, message))
            case consensus.BuildProposal():
                return self._build(effect)
            case consensus.ExecuteProposal(header, hashes, peer):
                return self._execute_or_wait(header, hashes, peer)
            case consensus.CommitBlock():
                self._commit(effect)
            case consensus.SetTimer(token, delay_ms):
                self._emit(io.SetTimer(token, delay_ms))
            case consensus.CancelTimer(token):
                self._emit(io.CancelTimer(token))
            case consensus.ForwardPending():
                self._forward_pending()
            case consensus.RequestCatchUp(peer, height):
                self._follow(self.sync.on_hint(peer, height))
            case consensus.ReportEvidence(first, second):
                self._report_evidence(first, second)
            case consensus.ReportDissent(message):
                self._report_dissent(message)
            case consensus.ReportPeer(peer, code, message):
                self._emit(io.PunishPeer(peer, PeerFault(code, message)))
            case consensus.Alarm(code, message):
                self._emit(io.Alarm(code, message))
            case consensus.Halt(code, message):
                self._halt(code, message)
            case consensus.TrimVotes(below_height):
                self._emit(io.TrimVotes(below_height))
            case _:
                assert_never(effect)
        return None

    def _persist(self, effect: consensus.Persist) -> None:
        """The vote log keeps a proposal's body with the first record that promises to serve it."""
        raws = self._proposals.body_to_persist(effect.block_id) if effect.block_id else ()
        height = self._store.head.height + 1
        self._emit(io.WriteVote(height, encode(VoteEntry(effect.record, raws))))

    def _build(self, request: consensus.BuildProposal) -> consensus.Event:
        time_ms = max(self._now_ms, self._head_time_ms + 1)
        built = self._proposals.build(request, self._store.head.block_id, time_ms)
        self._raise_alarms()
        return built

    def _execute_or_wait(
        self, header: BlockHeader, hashes: Sequence[bytes], peer: bytes
    ) -> consensus.Event | None:
        candidates = self._bodies.resolve(hashes)
        if candidates is None:
            self._bodies.wait(header, hashes)
            for request in self._bodies.requests():
                self._emit(io.SendTo(peer, request))
            return None
        executed = self._proposals.execute(header, candidates)
        self._raise_alarms()
        return executed

    def _execute_if_complete(self) -> None:
        if (complete := self._bodies.take_complete()) is not None:
            answer = self._execute_or_wait(complete.header, complete.hashes, self._public_key)
            if answer is None:
                raise AssertionError("a complete proposal lacks a transaction")
            self._consensus(answer)

    def _raise_alarms(self) -> None:
        self._out += self._proposals.take_alarms()

    def _forward_pending(self) -> None:
        oldest = self.mempool.oldest(BATCH_TRANSACTIONS_MAX)
        for batch in in_batches(candidate.transaction.raw for candidate in oldest):
            self._emit(io.SendToAll(batch))

    # ---- final blocks

    def _commit(self, commit: consensus.CommitBlock) -> None:
        if result := self._proposals.result(commit.header, commit.transaction_hashes):
            self._write(CertifiedBlock(commit.header, result.raws, commit.certificate), result)
        elif self._peers:
            height = commit.header.height
            self._follow(self.sync.on_hint(self._rotate_peer(), height))

    def _write(self, block: CertifiedBlock, result: BlockResult) -> None:
        if self._writing is not None:
            return
        following = result.next_validators
        new_validators = None if following == self._validators else following
        batch = self._store.block_batch(
            block, result.receipts, result.writes, result.delta, new_validators
        )
        self._writing = (block, result)
        self._emit(io.WriteBlock(block.header.height, batch))

    def _on_block_written(self, height: int) -> None:
        if self._writing is None or self._writing[0].header.height != height:
            raise AssertionError(f"block {height} was written without being asked for")
        (block, result), self._writing = self._writing, None
        for receipt in result.receipts:
            self.mempool.remove(receipt.transaction_id)
        self._tidy_pool()
        self._proposals.clear()
        self._bodies.clear(height)
        self._emit(io.Committed(height, result.receipts))
        self._validators = result.next_validators
        self._out += self._code.warnings(height)
        if (lacking := self._code.lacking()) is not None:
            return self._halt("UNKNOWN_CONTRACT_HASH", lacking)
        self._consensus(
            consensus.BlockCommitted(block.header, result.next_validators, block.certificate)
        )
        self._follow(self.sync.on_stored(height, self._validators))

    def _import_next(self) -> None:
        """Check, execute and write the next block that a peer sent, if it is the turn of one."""
        head = self._store.head
        taken = None if self._writing is not None else self.sync.importer.take(head.height + 1)
        if taken is None:
            return
        peer, block = taken
        try:
            self.sync.importer.check(block, head.block_id, self._head_time_ms, self._validators)
            result = self.sync.importer.execute(block)
        except PeerFault as fault:
            self.sync.importer.drop()
            self._emit(io.PunishPeer(peer, fault))
            self._follow(self.sync.on_fault(peer))
        except Diverged as failure:
            self._halt(failure.code, str(failure))
        else:
            self.sync.on_imported(block)
            self._write(block, result)

    def _follow(self, outputs: Sequence[io.Output]) -> None:
        """Do what catching up needs; blocks that came are imported in their turn."""
        self._out += outputs
        self._import_next()

    def _own_head(self) -> Head:
        return Head(self._store.head.height, self._store.oldest.block, self._shelf.heights())

    def _on_tick(self) -> None:
        self._serving.tick()
        self._tidy_pool()
        self._emit(io.SendToAll(self._own_head()))
        self._follow(self.sync.tick())
        if (requests := self._bodies.requests()) and self._peers:
            peer = self._rotate_peer()
            for request in requests:
                self._emit(io.SendTo(peer, request))
        self._consensus(consensus.Tick())

    def _rotate_peer(self) -> bytes:
        """The connected peers in turn, for what the proposer itself did not answer."""
        peer = next(iter(self._peers))
        del self._peers[peer]
        self._peers[peer] = None
        return peer

    @property
    def wanted(self) -> Set[bytes]:
        """Content hashes of transactions without which the open proposal cannot be executed."""
        return self._bodies.missing

    @property
    def view(self) -> int:
        """The view of the open height."""
        return self._replica.view

    @property
    def leader(self) -> bytes:
        """The public key of the current view's leader."""
        return self._replica.leader

    # ---- what operators see

    def _report_evidence(self, first: ConsensusMessage, second: ConsensusMessage) -> None:
        item = Evidence(encode(first), encode(second))
        if self.evidence.offer(item, self._validators.members):
            self._emit(io.SendToAll(item))
            self._emit(io.Alarm("EQUIVOCATION", "a member contradicts itself: see /v1/evidence"))

    def _report_dissent(self, dissent: Dissent) -> None:
        self.evidence.note_dissent(dissent)
        self._emit(io.Alarm("DISSENT", f"{dissent.signer.hex()[:16]}… at {dissent.height}"))

    def _halt(self, code: str, message: str) -> None:
        self.halted = True
        self._emit(io.Halt(code, message))
