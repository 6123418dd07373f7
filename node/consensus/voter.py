"""The voter: what has become possible at the open height, and the votes that this node then casts.

`advance` is called after every event and does, in one fixed order: finish a decided block, follow
the others into a later view, propose, execute and PREPARE, COMMIT. Every vote is signed once,
recorded, and only then sent; it counts here like anybody's. Leaving a view is for good.
"""

from __future__ import annotations

import msgspec

from node.consensus.events import (
    Alarm,
    Broadcast,
    BuildProposal,
    CommitBlock,
    ExecuteProposal,
    Outcome,
    Persist,
    ProposalExecuted,
    ReportDissent,
)
from node.consensus.height import Candidate, OpenHeight
from node.consensus.outbox import Outbox, Stop
from node.consensus.recovery import (
    CommitRecord,
    PrepareRecord,
    PrePrepareRecord,
    ViewChangeRecord,
)
from node.consensus.view_change import NOTHING_PREPARED, highest_prepared, supported_view
from node.consensus.votes import SignedVote
from node.protocol.block import VIEW_MAX, BlockHeader
from node.protocol.encoding import encode
from node.protocol.keys import PrivateKey
from node.protocol.messages import (
    Commit,
    Dissent,
    Prepare,
    PrePrepare,
    SignedMessage,
    ViewChange,
    sign_message,
)


class Voter:
    """One member's (or observer's) part in deciding one open height."""

    def __init__(self, key: PrivateKey, opened: OpenHeight, outbox: Outbox) -> None:
        self._key = key
        self._me = key.public_key
        self._open = opened
        self._out = outbox

    def advance(self, pending: bool) -> None:
        """Do what has become possible. Raises `Stop` where going on would be wrong."""
        opened = self._open
        if opened.committing or self._finish():
            return
        self.change_view(supported_view(opened.committee, opened.views.values()))
        self._lead(pending)
        self._judge_proposal()
        self._commit()
        self._finish()

    def change_view(self, view: int) -> None:
        """Leave all lower views for `view`, for good, if that is a later one."""
        opened = self._open
        if not self._open.is_member or not opened.view < view <= VIEW_MAX:
            return
        opened.enter(view)
        prepared = opened.prepared
        prepared_view, block = (
            (prepared.view, prepared.block_id) if prepared else (NOTHING_PREPARED, b"")
        )
        vote = self._sign(
            ViewChange(opened.height, view, prepared_view, block, self._me, b"", None)
        )
        self._out.emit(Persist(encode(ViewChangeRecord(vote))))
        self._out.emit(Broadcast(opened.add_own_view_change(vote)))

    def on_built(self, header: BlockHeader, transaction_hashes: tuple[bytes, ...]) -> None:
        """Propose the block that the node built, and executed, for this view."""
        opened = self._open
        if header.parent != opened.committee.parent_id or header.proposer != self._me:
            raise AssertionError("the proposal was built for another place")
        candidate = opened.candidate(header, transaction_hashes, self._me)
        opened.executed = ProposalExecuted(candidate.block_id, Outcome.MATCHES, header.state_root)
        self._propose(candidate, ())

    def latest_own(self) -> list[SignedVote]:
        """One's own latest message of each kind for the open height."""
        latest: dict[type[SignedVote], SignedVote] = {}
        for (kind, view), vote in sorted(self._open.own.items(), key=lambda item: item[0][1]):
            if kind not in (PrePrepare, Dissent) or view == self._open.view:
                latest[kind] = vote
        kinds: tuple[type[SignedVote], ...] = (ViewChange, PrePrepare, Prepare, Commit, Dissent)
        return [latest[kind] for kind in kinds if kind in latest]

    def request_decided(self) -> None:
        """Ask whoever sealed the decided block for it, since it cannot be committed from here."""
        decided = self._open.decided
        if decided is None or self._open.committing:
            return
        others = [seal.signer for seal in decided.seals if seal.signer != self._me]
        if others:
            self._out.request_catch_up(others[0], self._open.height)

    # ---- deciding

    def _finish(self) -> bool:
        """Carry out a decision. True if nothing else is to be done at this height meanwhile."""
        opened, decided = self._open, self._open.decided
        if decided is None:
            return False
        candidate = opened.candidates.get(decided.block_id)
        if candidate is None:
            # Its body never came; a later re-proposal may bring it before catch-up does.
            self.request_decided()
            return False
        match opened.outcome(candidate.block_id):
            case None:
                self._execute(candidate)
            case Outcome.MATCHES:
                opened.committing = True
                self._out.emit(CommitBlock(candidate.header, candidate.transaction_hashes, decided))
            case Outcome.DIFFERS:
                raise Stop(
                    "DIVERGED",
                    f"a quorum certified height {opened.height} with state root "
                    f"{candidate.header.state_root.hex()}; our own result is another",
                )
            case Outcome.INVALID | Outcome.UNAVAILABLE:
                self.request_decided()
        return True

    # ---- leading

    def _lead(self, pending: bool) -> None:
        """Propose, if it is our turn and nothing has been proposed in this view."""
        opened = self._open
        if opened.proposal is not None or opened.committee.leader(opened.view) != self._me:
            return
        if not opened.is_member:
            return
        if opened.view == 0:
            if pending:
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
            self._out.emit(BuildProposal(opened.height, opened.view, parent, allow_empty))

    def _propose(self, candidate: Candidate, prepares: tuple[Prepare, ...]) -> None:
        opened = self._open
        view_changes = tuple(
            msgspec.structs.replace(view_change, proof=None)
            for view_change in (self._justification() if opened.view else ())
        )
        body = (candidate.header, candidate.transaction_hashes)
        vote = self._sign(PrePrepare(opened.view, *body, self._me, b"", view_changes, prepares))
        executed = opened.outcome(candidate.block_id) is Outcome.MATCHES
        record = encode(PrePrepareRecord(vote))
        self._out.emit(Persist(record, candidate.block_id if executed else None))
        self._out.emit(Broadcast(vote))
        opened.accept(vote, candidate.source)

    # ---- voting

    def _judge_proposal(self) -> None:
        """Execute the open proposal, and vote on the result. An observer only executes."""
        opened = self._open
        if opened.proposal is None:
            return
        candidate, executed = opened.candidates[opened.proposal], opened.executed
        if executed is None or executed.block_id != candidate.block_id:
            self._execute(candidate)
        elif opened.is_member and executed.outcome is Outcome.MATCHES:
            self._prepare(candidate)
        elif opened.is_member and executed.outcome is Outcome.DIFFERS:
            self._dissent(candidate, executed.own_root)

    def _execute(self, candidate: Candidate) -> None:
        if self._open.executing == candidate.block_id:
            return
        self._open.executing = candidate.block_id
        source = candidate.source
        if source == self._me:
            # We built it before a restart: whoever prepared it since has the body.
            source = next((m for m in self._open.committee.members if m != self._me), source)
        self._out.emit(ExecuteProposal(candidate.header, candidate.transaction_hashes, source))

    def _prepare(self, candidate: Candidate) -> None:
        opened = self._open
        if (Prepare, opened.view) in opened.own:
            return
        unsigned = Prepare(opened.height, opened.view, candidate.block_id, self._me, b"")
        vote = self._sign(unsigned)
        record = PrepareRecord(vote, candidate.header, candidate.transaction_hashes)
        self._out.emit(Persist(encode(record), candidate.block_id))
        self._out.emit(Broadcast(vote))
        opened.prepares.add(vote)

    def _dissent(self, candidate: Candidate, own_root: bytes) -> None:
        opened = self._open
        if (Dissent, opened.view) in opened.own:
            return
        roots = (candidate.header.state_root, own_root)
        block_id = candidate.block_id
        vote = self._sign(Dissent(opened.height, opened.view, block_id, *roots, self._me, b""))
        message = f"our result for height {opened.height} differs from the proposed one"
        self._out.emit(Broadcast(vote), ReportDissent(vote), Alarm("DIFFERS", message))

    def _commit(self) -> None:
        """COMMIT once a quorum, ourselves included, has PREPAREd the proposal in this view."""
        opened = self._open
        if (Prepare, opened.view) not in opened.own or (Commit, opened.view) in opened.own:
            return
        if opened.proposal is None:
            raise AssertionError("prepared in this view, but there is no proposal")
        if opened.outcome(opened.proposal) is not Outcome.MATCHES:
            return
        prepares = opened.prepares.matching(opened.view, opened.proposal)
        if len(prepares) < opened.committee.quorum:
            return
        opened.note_prepared(opened.view, prepares)
        vote = self._sign(Commit(opened.height, opened.view, opened.proposal, self._me, b""))
        self._out.emit(Persist(encode(CommitRecord(vote, prepares))))
        self._out.emit(Broadcast(vote))
        opened.add_commit(vote)

    def _sign(self, unsigned: SignedMessage) -> SignedMessage:
        """Sign one's only vote of this kind in this view; a second one would be equivocation."""
        opened = self._open
        key = (type(unsigned), unsigned.view)
        if unsigned.view != opened.view or key in opened.own:
            raise AssertionError(f"{type(unsigned).__name__} in view {unsigned.view} again")
        vote = sign_message(opened.committee.chain, self._key, unsigned)
        opened.own[key] = vote
        opened.saw(self._me, opened.view)
        return vote
