"""The replica: PBFT for one height after the other, one proposal in flight, as a pure function.

`handle(event, now_ms)` returns the effects that the caller carries out one by one. A replica
executes a proposal before it PREPAREs, so votes are on results; it persists every vote before it
sends it, and counts its own like anybody's. The formulation is QBFT's: a PRE-PREPARE of view v ≥ 1
carries a quorum of VIEW-CHANGEs, and the PREPAREs of the block with the highest prepared view among
them, which it must propose again. No clock, chance, disk or network in here.

This file leads from height to height; `inbox` judges messages for the open one, `voter` casts votes
and decides, `pacemaker` says when the timer runs.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import assert_never

from node.consensus.backlog import Backlog
from node.consensus.committee import Committee
from node.consensus.events import (
    Alarm,
    BlockCommitted,
    Broadcast,
    Effect,
    Event,
    ForwardPending,
    Halt,
    MessageReceived,
    Outcome,
    PeerConnected,
    PendingChanged,
    ProposalBuilt,
    ProposalExecuted,
    ReportPeer,
    Send,
    Tick,
    Timeouts,
    TimerFired,
    TrimVotes,
)
from node.consensus.height import OpenHeight
from node.consensus.inbox import Inbox
from node.consensus.outbox import Outbox, Stop
from node.consensus.pacemaker import Pacemaker
from node.consensus.recovery import read_records
from node.consensus.voter import Voter
from node.consensus.votes import SignedVote
from node.protocol.block import BlockHeader, CommitCertificate, check_certificate
from node.protocol.domain import Chain
from node.protocol.errors import Refused
from node.protocol.keys import PrivateKey
from node.protocol.messages import CertifiedHeader, ConsensusMessage
from node.protocol.validators import ValidatorSet


class Replica:
    """One validator's (or observer's) consensus."""

    def __init__(
        self,
        chain: Chain,
        key: PrivateKey,
        validators: ValidatorSet,
        head: BlockHeader | None,
        timeouts: Timeouts,
        restored: Sequence[bytes] = (),
        head_certificate: CommitCertificate | None = None,
        genesis_ms: int = 0,
        vote_from: int = 0,
    ) -> None:
        """`validators` is the set of the height after `head` (None: genesis, of `genesis_ms`).

        With the head's certificate, whoever is behind can be answered from the start.
        `restored` are the vote log's records, oldest first; raises `StoreFailure` if they are
        unreadable or another's. Below `vote_from` the log was trimmed: a node whose blocks were
        lost, but not its votes, fetches those heights and votes on none of them again.
        """
        self._chain = chain
        self._key = key
        self._me = key.public_key
        self._restored = read_records(chain, self._me, restored)
        self._pacemaker = Pacemaker(timeouts)
        self._backlog = Backlog()
        self._out = Outbox()
        self._pending = False
        self._halted = False
        self._vote_from = vote_from
        self._final: CertifiedHeader | None = None
        if head is not None:
            self._keep_final(head, head_certificate)
        self._enter_height(Committee(chain, validators, head, genesis_ms), None)
        # What a restarted node has signed goes out again on the first tick.
        self._marker: tuple[object, ...] = self._progress_marker()

    @property
    def height(self) -> int:
        """The open height: the one being decided."""
        return self._open.height

    @property
    def view(self) -> int:
        """The view this replica is in."""
        return self._open.view

    @property
    def leader(self) -> bytes:
        """The public key of the current view's leader."""
        return self._open.committee.leader(self._open.view)

    def handle(self, event: Event, now_ms: int) -> list[Effect]:
        """The effects of one event, at this time of the node's clock, `Persist`s first."""
        if self._halted:
            return []
        try:
            self._dispatch(event, now_ms)
            self._voter.advance(self._pending)
        except Stop as stop:
            self._halted = True
            return [Halt(stop.code, stop.message)]
        self._out.emit(*self._pacemaker.update(self._open, self._pending, now_ms))
        return self._out.take()

    def _dispatch(self, event: Event, now_ms: int) -> None:
        match event:
            case MessageReceived(sender, message):
                self._on_message(sender, message, now_ms)
            case ProposalBuilt():
                self._on_built(event)
            case ProposalExecuted():
                self._on_executed(event)
            case PendingChanged(pending):
                self._pending = pending
                self._open.nothing_to_build = False
            case TimerFired(token):
                if self._pacemaker.expired(token):
                    self._voter.change_view(self.view + 1)
            case BlockCommitted():
                self._on_block_committed(event, now_ms)
            case PeerConnected(peer):
                self._out.emit(*(Send(peer, vote) for vote in self._voter.latest_own()))
            case Tick():
                self._on_tick()
            case _:
                assert_never(event)

    # ---- messages, by height

    def _on_message(self, sender: bytes, message: ConsensusMessage, now_ms: int) -> None:
        if isinstance(message, CertifiedHeader):
            self._on_certified_header(sender, message)
        elif message.height > self.height:
            self._on_later_height(sender, message, now_ms)
        elif message.height < self.height:
            if self._final is not None:
                self._out.answer(sender, self._final)
        elif not self._open.committing:
            self._inbox.receive(sender, message, now_ms)

    def _on_later_height(self, sender: bytes, message: SignedVote, now_ms: int) -> None:
        if message.height == self.height + 1:
            self._backlog.keep(sender, message, now_ms)
        if sender in self._open.committee and sender != self._me:
            self._backlog.claim(sender, message.height)
        # Whoever is one height ahead may have beaten us by a moment; two ahead have left us.
        self._follow_claims(self.height + 2)

    def _follow_claims(self, height_min: int) -> None:
        supported = self._backlog.supported(self._open.committee)
        if supported is not None and supported[1] >= height_min:
            peer, height = supported
            self._out.request_catch_up(peer, height - 1)

    def _on_certified_header(self, sender: bytes, message: CertifiedHeader) -> None:
        opened, height = self._open, message.header.height
        if height < self.height or opened.committing:
            return
        if height > self.height:
            # Its set is not known yet: a hint, checked by whoever fetches the blocks.
            self._out.request_catch_up(sender, height)
            return
        validators = opened.committee.validators
        try:
            check_certificate(self._chain, message.header, message.certificate, validators)
        except Refused as refusal:
            self._out.emit(ReportPeer(sender, refusal.code, refusal.message))
            return
        opened.decide(message.certificate)
        if message.certificate.block_id not in opened.candidates:
            self._out.request_catch_up(sender, height)

    # ---- answers of the node, and time

    def _on_built(self, event: ProposalBuilt) -> None:
        opened = self._open
        if not opened.building or (event.height, event.view) != (opened.height, opened.view):
            return
        opened.building = False
        if event.header is None:
            opened.nothing_to_build = True
        elif opened.proposal is None:
            self._voter.on_built(event.header, event.transaction_hashes)

    def _on_executed(self, event: ProposalExecuted) -> None:
        opened = self._open
        if opened.executing == event.block_id:
            opened.executing = None
        candidate = opened.candidates.get(event.block_id)
        if candidate is None:
            return
        opened.executed = event
        proposer = candidate.header.proposer
        if event.outcome is Outcome.INVALID and opened.report_once("INVALID_PROPOSAL", proposer):
            message = f"the proposal for height {self.height} breaks the rules"
            self._out.emit(Alarm("INVALID_PROPOSAL", message, {"member": proposer.hex()}))

    def _on_tick(self) -> None:
        """Say again what was said, if nothing has moved since the last tick."""
        self._out.tick()
        self._open.nothing_to_build = False
        if self._pending and not self._open.is_member:
            # It runs no timer and never leads: what only it knows would wait here for ever.
            self._out.emit(ForwardPending())
        marker = self._progress_marker()
        stalled, self._marker = marker == self._marker, marker
        if not stalled:
            return
        self._out.emit(*(Broadcast(vote) for vote in self._voter.latest_own()))
        if self._pending and self._pacemaker.waits_for_others(self._open):
            self._out.emit(ForwardPending())
        self._voter.request_decided()
        self._follow_claims(self.height + 1)

    def _progress_marker(self) -> tuple[object, ...]:
        opened = self._open
        return opened.height, opened.view, opened.proposal, len(opened.own)

    # ---- from height to height

    def _on_block_committed(self, event: BlockCommitted, now_ms: int) -> None:
        header = event.header
        if header.height < self.height:
            return
        decided = self._open.decided if header.height == self.height else None
        if decided is not None and decided.block_id != header.id(self._chain):
            raise Stop("FORK", f"two blocks are certified at height {header.height}")
        self._keep_final(header, event.certificate or decided)
        self._out.emit(TrimVotes(header.height + 1))
        self._out.emit(*self._pacemaker.stop())
        self._enter_height(Committee(self._chain, event.next_validators, header), now_ms)
        for sender, message, received_ms in self._backlog.take(self.height, self._open.committee):
            self._inbox.receive(sender, message, received_ms)

    def _keep_final(self, header: BlockHeader, certificate: CommitCertificate | None) -> None:
        """Whoever still votes on this height, or on an earlier one, is answered with it."""
        self._final = None if certificate is None else CertifiedHeader(header, certificate)

    def _enter_height(self, committee: Committee, now_ms: int | None) -> None:
        silent = committee.height < self._vote_from
        self._open = OpenHeight(committee, self._me, now_ms, silent)
        self._open.restore(self._restored.pop(committee.height, ()))
        self._restored = {
            height: records
            for height, records in self._restored.items()
            if height > committee.height
        }
        self._inbox = Inbox(self._open, self._out)
        self._voter = Voter(self._key, self._open, self._out)
