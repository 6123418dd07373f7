"""The replica: PBFT for one height after the other, one proposal in flight, as a pure function.

`handle(event, now_ms)` returns the effects that the caller carries out one by one. A replica
executes a proposal before it PREPAREs, so votes are on results; it persists every vote before it
sends it, and counts its own like anybody's. The formulation is QBFT's: a PRE-PREPARE of view v ≥ 1
carries a quorum of VIEW-CHANGEs, and the PREPAREs of the block with the highest prepared view among
them, which it must propose again. No clock, chance, disk or network in here.

After each event `_advance` does whatever has become possible, in one fixed order. What is known of
the open height is in `height`, when the timer runs in `pacemaker`, who else leads in `committee`.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import assert_never

import msgspec

from node.consensus.backlog import Backlog
from node.consensus.committee import Committee
from node.consensus.events import (
    Alarm,
    BlockCommitted,
    Broadcast,
    BuildProposal,
    CommitBlock,
    Effect,
    Event,
    ExecuteProposal,
    ForwardPending,
    Halt,
    MessageReceived,
    Outcome,
    PeerConnected,
    PendingChanged,
    Persist,
    ProposalBuilt,
    ProposalExecuted,
    ReportDissent,
    ReportEvidence,
    ReportPeer,
    RequestCatchUp,
    Send,
    Tick,
    Timeouts,
    TimerFired,
    TrimVotes,
)
from node.consensus.height import Candidate, OpenHeight
from node.consensus.pacemaker import Pacemaker
from node.consensus.proposal import check_proposal
from node.consensus.recovery import (
    CommitRecord,
    OwnRecord,
    PrepareRecord,
    PrePrepareRecord,
    ViewChangeRecord,
    read_records,
)
from node.consensus.view_change import (
    NOTHING_PREPARED,
    check_view_change,
    highest_prepared,
    supported_view,
)
from node.consensus.votes import SignedVote, bare, certificate_of, contradicts
from node.protocol.block import VIEW_MAX, BlockHeader, CommitCertificate, check_certificate
from node.protocol.domain import Chain
from node.protocol.encoding import encode
from node.protocol.errors import Refused
from node.protocol.keys import PrivateKey
from node.protocol.messages import (
    CertifiedHeader,
    Commit,
    ConsensusMessage,
    Dissent,
    Prepare,
    PrePrepare,
    SignedMessage,
    ViewChange,
    has_valid_signature,
    message_digest,
    sign_message,
)
from node.protocol.validators import ValidatorSet

ANSWERED_PER_TICK_MAX = 128


class Replica:
    """One validator's (or observer's) consensus. Restored records are those of the vote log."""

    def __init__(
        self,
        chain: Chain,
        key: PrivateKey,
        validators: ValidatorSet,
        head: BlockHeader | None,
        timeouts: Timeouts,
        restored: Sequence[bytes] = (),
    ) -> None:
        """`validators` is the set of the height after `head`. Raises `StoreFailure`."""
        self._chain = chain
        self._key = key
        self._me = key.public_key
        self._restored = read_records(chain, self._me, restored)
        self._pacemaker = Pacemaker(timeouts)
        self._backlog = Backlog()
        self._effects: list[Effect] = []
        self._now_ms = 0
        self._pending = False
        self._halted = False
        self._final: CertifiedHeader | None = None
        self._answered: set[bytes] = set()
        self._catch_up_asked = 0
        self._open = self._open_height(Committee(chain, validators, head), None)
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
        self._now_ms = now_ms
        self._effects = []
        self._dispatch(event)
        self._advance()
        effects = self._effects
        if self._halted:
            return [effect for effect in effects if isinstance(effect, Halt)][:1]
        effects.sort(key=lambda effect: not isinstance(effect, Persist))
        return effects

    def _dispatch(self, event: Event) -> None:
        match event:
            case MessageReceived(sender, message):
                self._on_message(sender, message)
            case ProposalBuilt():
                self._on_built(event)
            case ProposalExecuted():
                self._on_executed(event)
            case PendingChanged(pending):
                self._pending = pending
                self._open.nothing_to_build = False
            case TimerFired(token):
                if self._pacemaker.expired(token):
                    self._change_view(self._open.view + 1)
            case BlockCommitted():
                self._on_block_committed(event)
            case PeerConnected(peer):
                for vote in self._latest_own():
                    self._emit(Send(peer, vote))
            case Tick():
                self._on_tick()
            case _:
                assert_never(event)

    def _emit(self, effect: Effect) -> None:
        self._effects.append(effect)

    # ---- messages

    def _on_message(self, sender: bytes, message: ConsensusMessage) -> None:
        if isinstance(message, CertifiedHeader):
            self._on_certified_header(sender, message)
        elif message.height < self.height:
            self._answer_final(sender)
        elif message.height > self.height:
            self._on_later_height(sender, message)
        elif not self._open.committing:
            self._on_vote(sender, message, self._now_ms)

    def _on_vote(self, sender: bytes, message: SignedVote, received_ms: int) -> None:
        """A message about the open height: seen before, forged, contradictory, or counted."""
        opened, signer = self._open, message.signer
        if signer not in opened.committee:
            return
        earlier = self._kept_like(message)
        if earlier is not None and self._says_the_same(earlier, message):
            return
        if not has_valid_signature(self._chain, message):
            self._emit(ReportPeer(sender, "BAD_SIGNATURE", f"a {type(message).__name__}"))
            return
        if self._is_settled(message, earlier):
            return
        match message:
            case Prepare():
                opened.prepares.add(message)
                opened.saw(signer, message.view)
            case Commit():
                opened.commits.add(message)
                opened.saw(signer, message.view)
                self._count_commits(message)
            case PrePrepare():
                self._on_pre_prepare(sender, message, received_ms)
            case ViewChange():
                self._on_view_change(sender, message)
            case Dissent():
                if signer not in opened.dissents:
                    opened.dissents[signer] = message
                    self._emit(ReportDissent(message))
            case _:
                assert_never(message)

    def _kept_like(self, message: SignedVote) -> SignedVote | None:
        """What this signer said before in the same (type, view) of the open height, if kept."""
        opened = self._open
        kept: SignedVote | None
        match message:
            case Prepare(_, view, _, signer):
                return opened.prepares.of(signer, view)
            case Commit(_, view, _, signer):
                return opened.commits.of(signer, view)
            case PrePrepare():
                kept = opened.pre_prepare
            case ViewChange():
                kept = opened.view_changes.get(message.signer)
            case Dissent():
                kept = opened.dissents.get(message.signer)
            case _:
                assert_never(message)
        return kept if kept is not None and kept.view == message.view else None

    def _says_the_same(self, first: SignedVote, second: SignedVote) -> bool:
        return message_digest(self._chain, first) == message_digest(self._chain, second)

    def _is_settled(self, vote: SignedVote, earlier: SignedVote | None) -> bool:
        """Whether a signed vote needs no counting: it is our own, or contradicts an earlier one."""
        if vote.signer == self._me:
            written = self._open.own.get((type(vote), vote.view))
            if written is None or not self._says_the_same(written, vote):
                self._halt(
                    "FOREIGN_SIGNATURE",
                    f"a {type(vote).__name__} of height {vote.height}, view {vote.view} bears this "
                    "node's signature but was never written here: someone else runs with its key, "
                    "or its vote log was lost or rolled back",
                )
            return True
        if earlier is None or not contradicts(self._chain, earlier, vote):
            return False
        key = (type(vote).__name__, vote.signer)
        if key not in self._open.reported:
            self._open.reported.add(key)
            self._emit(ReportEvidence(bare(earlier), bare(vote)))
        return True

    def _on_pre_prepare(self, sender: bytes, message: PrePrepare, received_ms: int) -> None:
        opened = self._open
        if message.signer != opened.committee.leader(message.view):
            self._emit(ReportPeer(sender, "WRONG_LEADER", f"view {message.view} has another"))
            return
        if message.view < opened.view:
            return
        if message.view == opened.view and opened.proposal is not None:
            return
        try:
            check_proposal(opened.committee, message, received_ms)
        except Refused as refusal:
            if refusal.code == "CLOCK_SKEW":
                self._alarm_once(message.signer, refusal.code, refusal.message)
            else:
                self._emit(ReportPeer(sender, refusal.code, refusal.message))
            return
        self._compare_embedded(message.prepares)
        self._compare_embedded(message.view_changes)
        self._accept(message, sender)

    def _accept(self, message: PrePrepare, source: bytes) -> None:
        """Make a checked PRE-PREPARE the proposal of its view, which we thereby join."""
        opened = self._open
        if message.view > opened.view:
            opened.enter(message.view)
        opened.saw(message.signer, message.view)
        opened.saw(self._me, message.view)
        for view_change in message.view_changes:
            opened.saw(view_change.signer, view_change.view)
        candidate = opened.candidate(message.header, message.transaction_hashes, source)
        if candidate.outcome is Outcome.UNAVAILABLE:
            candidate.outcome = None
        opened.pre_prepare = message
        opened.proposal = candidate.block_id

    def _on_view_change(self, sender: bytes, message: ViewChange) -> None:
        opened = self._open
        latest = opened.view_changes.get(message.signer)
        if latest is not None and latest.view >= message.view:
            return
        try:
            check_view_change(opened.committee, message)
        except Refused as refusal:
            self._emit(ReportPeer(sender, refusal.code, refusal.message))
            return
        if message.proof is not None:
            self._compare_embedded(message.proof.prepares)
        opened.view_changes[message.signer] = message
        opened.saw(message.signer, message.view)

    def _compare_embedded(self, votes: Iterable[SignedVote]) -> None:
        """Votes that came inside another message can betray a twin or an equivocation, too."""
        for vote in votes:
            self._is_settled(vote, self._kept_like(vote))

    # ---- other heights

    def _on_later_height(self, sender: bytes, message: SignedVote) -> None:
        if message.height == self.height + 1:
            self._backlog.keep(sender, message, self._now_ms)
        if sender in self._open.committee and sender != self._me:
            self._backlog.claim(sender, message.height)
        # Whoever is one height ahead may have beaten us by a moment; two ahead have left us.
        self._follow_claims(self.height + 2)

    def _follow_claims(self, height_min: int) -> None:
        supported = self._backlog.supported(self._open.committee)
        if supported is not None and supported[1] >= height_min:
            self._request_catch_up(supported[0], supported[1] - 1)

    def _request_catch_up(self, peer: bytes, height: int) -> None:
        """Ask at most once between two ticks, unless for more."""
        if height > self._catch_up_asked:
            self._catch_up_asked = height
            self._emit(RequestCatchUp(peer, height))

    def _answer_final(self, peer: bytes) -> None:
        """Tell whoever is behind, at most once between two ticks, what is final here."""
        if (
            self._final is not None
            and peer not in self._answered
            and len(self._answered) < ANSWERED_PER_TICK_MAX
        ):
            self._answered.add(peer)
            self._emit(Send(peer, self._final))

    def _on_certified_header(self, sender: bytes, message: CertifiedHeader) -> None:
        height = message.header.height
        if height < self.height or self._open.committing:
            return
        if height > self.height:
            # Its set is not known yet: a hint, checked by whoever fetches the blocks.
            self._request_catch_up(sender, height)
            return
        committee = self._open.committee
        try:
            check_certificate(
                self._chain, message.header, message.certificate, committee.validators
            )
        except Refused as refusal:
            self._emit(ReportPeer(sender, refusal.code, refusal.message))
            return
        self._decide(message.certificate)
        if message.certificate.block_id not in self._open.candidates:
            self._request_catch_up(sender, height)

    def _on_block_committed(self, event: BlockCommitted) -> None:
        header = event.header
        if header.height < self.height:
            return
        decided = self._open.decided
        if (
            header.height == self.height
            and decided is not None
            and decided.block_id != header.id(self._chain)
        ):
            self._halt("FORK", f"two blocks are certified at height {header.height}")
            return
        certificate = event.certificate or decided
        self._final = None
        if certificate is not None and certificate.height == header.height:
            self._final = CertifiedHeader(header, certificate)
        self._emit(TrimVotes(header.height + 1))
        self._effects += self._pacemaker.stop()
        committee = Committee(self._chain, event.next_validators, header)
        self._open = self._open_height(committee, self._now_ms)
        for sender, message, received_ms in self._backlog.take(self.height):
            self._on_vote(sender, message, received_ms)

    def _open_height(self, committee: Committee, now_ms: int | None) -> OpenHeight:
        opened = OpenHeight(committee, now_ms)
        records: list[OwnRecord] = self._restored.pop(committee.height, [])
        self._restored = {
            height: kept for height, kept in self._restored.items() if height > committee.height
        }
        opened.restore(records)
        return opened

    # ---- answers of the node, and time

    def _on_built(self, event: ProposalBuilt) -> None:
        opened = self._open
        if not opened.building or (event.height, event.view) != (opened.height, opened.view):
            return
        opened.building = False
        if event.header is None:
            opened.nothing_to_build = True
            return
        if event.header.parent != opened.committee.parent_id or event.header.proposer != self._me:
            raise AssertionError("the proposal was built for another place")
        candidate = opened.candidate(event.header, event.transaction_hashes, self._me)
        candidate.outcome = Outcome.MATCHES
        self._propose(candidate, ())

    def _on_executed(self, event: ProposalExecuted) -> None:
        opened = self._open
        if opened.executing == event.block_id:
            opened.executing = None
        candidate = opened.candidates.get(event.block_id)
        if candidate is None:
            return
        candidate.outcome = event.outcome
        candidate.own_root = event.own_root
        if event.outcome is Outcome.INVALID:
            proposer = candidate.header.proposer
            self._alarm_once(proposer, "INVALID_PROPOSAL", "a proposal cannot be executed")

    def _on_tick(self) -> None:
        """Send one's own latest messages again if nothing has moved since the last tick."""
        self._answered.clear()
        self._catch_up_asked = 0
        self._open.nothing_to_build = False
        marker = self._progress_marker()
        stalled, self._marker = marker == self._marker, marker
        if not stalled or self._open.committing:
            return
        for vote in self._latest_own():
            self._emit(Broadcast(vote))
        if self._pending and self._pacemaker.waits_for_others(self._open):
            self._emit(ForwardPending())
        self._follow_claims(self.height + 1)

    def _progress_marker(self) -> tuple[object, ...]:
        opened = self._open
        return opened.height, opened.view, opened.proposal, len(opened.own)

    def _latest_own(self) -> list[SignedVote]:
        """One's own latest message of each kind for the open height."""
        latest: dict[type[SignedVote], SignedVote] = {}
        for (kind, view), vote in sorted(self._open.own.items(), key=lambda item: item[0][1]):
            if kind in (PrePrepare, Dissent) and view != self._open.view:
                continue
            latest[kind] = vote
        kinds: tuple[type[SignedVote], ...] = (ViewChange, PrePrepare, Prepare, Commit, Dissent)
        return [latest[kind] for kind in kinds if kind in latest]

    # ---- what has become possible

    def _advance(self) -> None:
        opened = self._open
        if self._halted or opened.committing or self._finish():
            return
        if self._me in opened.committee:
            self._change_view(supported_view(opened.committee, opened.views.values()))
            self._lead()
            self._judge_proposal()
            self._commit()
            if self._finish():
                return
            self._effects += self._pacemaker.update(opened, self._pending, self._now_ms)
        else:
            self._judge_proposal()

    def _finish(self) -> bool:
        """Carry out a decision. True if nothing else is to be done at this height meanwhile."""
        opened, decided = self._open, self._open.decided
        if decided is None:
            return False
        candidate = opened.candidates.get(decided.block_id)
        others = [seal.signer for seal in decided.seals if seal.signer != self._me]
        if candidate is None:
            # Its header or body never came; a later re-proposal may bring it before catch-up does.
            if others:
                self._request_catch_up(others[0], opened.height)
            return False
        match candidate.outcome:
            case None:
                self._execute(candidate)
            case Outcome.MATCHES:
                opened.committing = True
                self._effects += self._pacemaker.stop()
                self._emit(CommitBlock(candidate.header, candidate.transaction_hashes, decided))
            case Outcome.DIFFERS:
                self._halt(
                    "DIVERGED",
                    f"a quorum certified height {opened.height} with state root "
                    f"{candidate.header.state_root.hex()}, ours is {candidate.own_root.hex()}",
                )
            case Outcome.INVALID | Outcome.UNAVAILABLE:
                if others:
                    self._request_catch_up(others[0], opened.height)
        return True

    def _change_view(self, view: int) -> None:
        """Leave all lower views for `view`, for good, if that is a later one."""
        opened = self._open
        if not opened.view < view <= VIEW_MAX or self._me not in opened.committee:
            return
        opened.enter(view)
        prepared = opened.prepared
        vote = self._sign(
            ViewChange(
                opened.height,
                view,
                prepared.view if prepared else NOTHING_PREPARED,
                prepared.block_id if prepared else b"",
                self._me,
                b"",
                None,
            )
        )
        self._emit(Persist(encode(ViewChangeRecord(vote))))
        self._emit(Broadcast(opened.add_own_view_change(vote)))

    def _lead(self) -> None:
        """Propose, if it is our turn and nothing has been proposed in this view."""
        opened = self._open
        if opened.proposal is not None or opened.committee.leader(opened.view) != self._me:
            return
        if opened.view == 0:
            if self._pending:
                self._request_build(allow_empty=False)
            return
        justification = self._justification()
        if len(justification) < opened.committee.quorum:
            return
        highest = highest_prepared(justification)
        if highest is None:
            self._request_build(allow_empty=True)
            return
        proof = highest.proof
        if proof is None:
            raise AssertionError("a VIEW-CHANGE was kept without its proof")
        candidate = opened.candidate(proof.header, proof.transaction_hashes, highest.signer)
        self._propose(candidate, proof.prepares)

    def _justification(self) -> list[ViewChange]:
        """The VIEW-CHANGEs for the current view, with proofs, ascending by signer."""
        kept = self._open.view_changes
        return [kept[signer] for signer in sorted(kept) if kept[signer].view == self._open.view]

    def _request_build(self, *, allow_empty: bool) -> None:
        opened = self._open
        if not opened.building and not opened.nothing_to_build:
            opened.building = True
            parent = opened.committee.parent
            self._emit(BuildProposal(opened.height, opened.view, parent, allow_empty))

    def _propose(self, candidate: Candidate, prepares: tuple[Prepare, ...]) -> None:
        view_changes = tuple(
            msgspec.structs.replace(view_change, proof=None)
            for view_change in (self._justification() if self._open.view else ())
        )
        vote = self._sign(
            PrePrepare(
                self._open.view,
                candidate.header,
                candidate.transaction_hashes,
                self._me,
                b"",
                view_changes,
                prepares,
            )
        )
        executed = candidate.outcome is Outcome.MATCHES
        record = encode(PrePrepareRecord(vote))
        self._emit(Persist(record, candidate.block_id if executed else None))
        self._emit(Broadcast(vote))
        self._accept(vote, candidate.source)

    def _judge_proposal(self) -> None:
        """Execute the open proposal, and vote on the result."""
        opened = self._open
        if opened.proposal is None:
            return
        candidate = opened.candidates[opened.proposal]
        if candidate.outcome is None:
            self._execute(candidate)
        elif self._me not in opened.committee:
            return
        elif candidate.outcome is Outcome.MATCHES:
            self._prepare(candidate)
        elif candidate.outcome is Outcome.DIFFERS:
            self._dissent(candidate)

    def _execute(self, candidate: Candidate) -> None:
        if self._open.executing == candidate.block_id:
            return
        self._open.executing = candidate.block_id
        source = candidate.source
        if source == self._me:
            # We built it before a restart: whoever prepared it since has the body.
            source = next((m for m in self._open.committee.members if m != self._me), source)
        self._emit(ExecuteProposal(candidate.header, candidate.transaction_hashes, source))

    def _prepare(self, candidate: Candidate) -> None:
        opened = self._open
        if (Prepare, opened.view) in opened.own:
            return
        unsigned = Prepare(opened.height, opened.view, candidate.block_id, self._me, b"")
        vote = self._sign(unsigned)
        record = PrepareRecord(vote, candidate.header, candidate.transaction_hashes)
        self._emit(Persist(encode(record), candidate.block_id))
        self._emit(Broadcast(vote))
        opened.prepares.add(vote)

    def _commit(self) -> None:
        """COMMIT once a quorum, ourselves included, has PREPAREd the proposal in this view."""
        opened = self._open
        if (Prepare, opened.view) not in opened.own or (Commit, opened.view) in opened.own:
            return
        if opened.proposal is None:
            raise AssertionError("prepared in this view, but there is no proposal")
        if opened.candidates[opened.proposal].outcome is not Outcome.MATCHES:
            return
        prepares = opened.prepares.matching(opened.view, opened.proposal)
        if len(prepares) < opened.committee.quorum:
            return
        opened.note_prepared(opened.view, prepares)
        vote = self._sign(Commit(opened.height, opened.view, opened.proposal, self._me, b""))
        self._emit(Persist(encode(CommitRecord(vote, prepares))))
        self._emit(Broadcast(vote))
        opened.commits.add(vote)
        self._count_commits(vote)

    def _count_commits(self, vote: Commit) -> None:
        """A quorum of COMMITs of any one view decides, whatever view we are in by now."""
        opened = self._open
        commits = opened.commits.matching(vote.view, vote.block_id)
        certificate = certificate_of(opened.committee, commits)
        if certificate is not None:
            self._decide(certificate)

    def _decide(self, certificate: CommitCertificate) -> None:
        decided = self._open.decided
        if decided is None:
            self._open.decided = certificate
        elif decided.block_id != certificate.block_id:
            self._halt("FORK", f"two blocks are certified at height {self.height}")

    def _dissent(self, candidate: Candidate) -> None:
        opened = self._open
        if (Dissent, opened.view) in opened.own:
            return
        roots = (candidate.header.state_root, candidate.own_root)
        vote = self._sign(
            Dissent(opened.height, opened.view, candidate.block_id, *roots, self._me, b"")
        )
        self._emit(Broadcast(vote))
        self._emit(ReportDissent(vote))
        self._emit(Alarm("DISSENT", f"our result for height {opened.height} differs"))

    def _sign(self, unsigned: SignedMessage) -> SignedMessage:
        """Sign one's only vote of this kind in this view; a second one would be equivocation."""
        opened = self._open
        key = (type(unsigned), unsigned.view)
        if unsigned.view != opened.view or key in opened.own:
            raise AssertionError(f"{type(unsigned).__name__} in view {unsigned.view} again")
        vote = sign_message(self._chain, self._key, unsigned)
        opened.own[key] = vote
        opened.saw(self._me, opened.view)
        return vote

    def _alarm_once(self, member: bytes, code: str, message: str) -> None:
        if (code, member) not in self._open.reported:
            self._open.reported.add((code, member))
            self._emit(Alarm(code, message, {"height": self.height, "member": member.hex()}))

    def _halt(self, code: str, message: str) -> None:
        self._halted = True
        self._emit(Halt(code, message))
