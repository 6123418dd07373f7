"""What a replica knows of the one open height: a passive record, replaced whole by the next.

Everything is bounded: by the members, by slots of each member, or by a named constant. Nothing of
an earlier height survives in here, so nothing of it can leak into a later one.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import msgspec

from node.consensus.committee import Committee
from node.consensus.events import Outcome, ProposalExecuted
from node.consensus.outbox import Stop
from node.consensus.recovery import (
    CommitRecord,
    OwnRecord,
    PrepareRecord,
    PrePrepareRecord,
    ViewChangeRecord,
)
from node.consensus.view_change import Prepared
from node.consensus.votes import SignedVote, Tally, certificate_of
from node.protocol.block import BlockHeader, CommitCertificate
from node.protocol.messages import (
    Commit,
    Dissent,
    Prepare,
    PreparedProof,
    PrePrepare,
    ViewChange,
)

CANDIDATES_MAX = 6


@dataclass(slots=True)
class Candidate:
    """A block that may become the one of this height, and a peer that knows its transactions."""

    block_id: bytes
    header: BlockHeader
    transaction_hashes: tuple[bytes, ...]
    source: bytes


@dataclass(slots=True)
class OpenHeight:
    """The state of the open height. `proposal` is the block accepted in `view`, if any."""

    committee: Committee
    me: bytes
    opened_ms: int | None
    silent: bool = False
    view: int = 0
    proposal: bytes | None = None
    pre_prepare: PrePrepare | None = None
    prepared: Prepared | None = None
    decided: CommitCertificate | None = None
    committing: bool = False
    building: bool = False
    nothing_to_build: bool = False
    executing: bytes | None = None
    executed: ProposalExecuted | None = None
    candidates: dict[bytes, Candidate] = field(default_factory=dict)
    prepares: Tally[Prepare] = field(default_factory=Tally[Prepare])
    commits: Tally[Commit] = field(default_factory=Tally[Commit])
    view_changes: dict[bytes, ViewChange] = field(default_factory=dict)
    dissents: dict[bytes, Dissent] = field(default_factory=dict)
    views: dict[bytes, int] = field(default_factory=dict)
    own: dict[tuple[type[SignedVote], int], SignedVote] = field(default_factory=dict)
    reported: set[tuple[str, bytes]] = field(default_factory=set)

    @property
    def height(self) -> int:
        """The height that is being decided."""
        return self.committee.height

    @property
    def is_member(self) -> bool:
        """Whether this node votes at this height; otherwise it only watches.

        It is `silent` where it has voted and forgotten how.
        """
        return self.me in self.committee and not self.silent

    def enter(self, view: int) -> None:
        """Leave all lower views: what was accepted or under way there is not voted on here."""
        self.view = view
        self.proposal = None
        self.pre_prepare = None
        self.building = False
        self.nothing_to_build = False

    def saw(self, signer: bytes, view: int) -> None:
        """Note that `signer`, if it is a member, has reached `view`."""
        if signer in self.committee:
            self.views[signer] = max(view, self.views.get(signer, 0))

    def outcome(self, block_id: bytes) -> Outcome | None:
        """What executing this block showed, if it is the one that was executed last.

        Of an earlier one the node may have dropped the result; asking again is cheap where it has
        not. So whatever is prepared or committed has its result at hand.
        """
        executed = self.executed
        return executed.outcome if executed and executed.block_id == block_id else None

    def reached(self, view: int) -> int:
        """How many members have reached `view` or a later one."""
        return sum(1 for latest in self.views.values() if latest >= view)

    def accept(self, message: PrePrepare, source: bytes) -> None:
        """Make a checked PRE-PREPARE the proposal of its view, which is thereby entered."""
        if message.view > self.view:
            self.enter(message.view)
        self.saw(message.signer, message.view)
        self.saw(self.me, message.view)
        for view_change in message.view_changes:
            self.saw(view_change.signer, view_change.view)
        candidate = self.candidate(message.header, message.transaction_hashes, source)
        if self.outcome(candidate.block_id) is Outcome.UNAVAILABLE:
            self.executed = None  # A new view, a new attempt.
        self.pre_prepare = message
        self.proposal = candidate.block_id

    def add_commit(self, commit: Commit) -> None:
        """Count a checked COMMIT: a quorum in any one view decides, whatever view we are in."""
        self.commits.add(commit)
        commits = self.commits.matching(commit.view, commit.block_id)
        certificate = certificate_of(self.committee, commits)
        if certificate is not None:
            self.decide(certificate)

    def decide(self, certificate: CommitCertificate) -> None:
        """Take a checked certificate. Raises `Stop` if another block is certified already."""
        if self.decided is None:
            self.decided = certificate
        elif self.decided.block_id != certificate.block_id:
            raise Stop("FORK", f"two blocks are certified at height {self.height}")

    def report_once(self, code: str, member: bytes) -> bool:
        """Whether this is the first report of `code` about `member` at this height."""
        if (code, member) in self.reported:
            return False
        self.reported.add((code, member))
        return True

    def candidate(
        self, header: BlockHeader, transaction_hashes: tuple[bytes, ...], source: bytes
    ) -> Candidate:
        """The candidate with this header; a new one displaces the oldest that nothing needs."""
        block_id = header.id(self.committee.chain)
        known = self.candidates.get(block_id)
        if known is not None:
            return known
        if len(self.candidates) >= CANDIDATES_MAX:
            needed = {self.proposal, self.executing}
            needed.add(self.prepared.block_id if self.prepared else None)
            needed.add(self.decided.block_id if self.decided else None)
            del self.candidates[next(key for key in self.candidates if key not in needed)]
        fresh = Candidate(block_id, header, transaction_hashes, source)
        self.candidates[block_id] = fresh
        return fresh

    def note_prepared(self, view: int, prepares: tuple[Prepare, ...]) -> None:
        """These PREPAREs are a quorum for a candidate: whatever comes, carry it on."""
        candidate = self.candidates[prepares[0].block_id]
        proof = PreparedProof(candidate.header, candidate.transaction_hashes, prepares)
        self.prepared = Prepared(view, candidate.block_id, proof)

    def add_own_view_change(self, vote: ViewChange) -> ViewChange:
        """Keep one's own signed VIEW-CHANGE, with the proof of what it claims attached."""
        if self.prepared is not None:
            vote = msgspec.structs.replace(vote, proof=self.prepared.proof)
        self.own[ViewChange, vote.view] = vote
        self.view_changes[vote.signer] = vote
        return vote

    def restore(self, records: Sequence[OwnRecord]) -> None:
        """Take up one's own votes again, in the order in which they were written."""
        for record in records:
            vote = record.vote
            self.own[type(vote), vote.view] = vote
            self.saw(vote.signer, vote.view)
            if vote.view > self.view:
                self.enter(vote.view)
            match record:
                case PrePrepareRecord(pre_prepare):
                    self._restore_proposal(
                        pre_prepare.header, pre_prepare.transaction_hashes, vote.signer
                    )
                    self.pre_prepare = pre_prepare
                case PrepareRecord(prepare, header, transaction_hashes):
                    self._restore_proposal(header, transaction_hashes, header.proposer)
                    self.prepares.add(prepare)
                case CommitRecord(commit, prepares):
                    for prepare in prepares:
                        self.prepares.add(prepare)
                    self.note_prepared(commit.view, prepares)
                    self.commits.add(commit)
                case ViewChangeRecord(view_change):
                    self.add_own_view_change(view_change)

    def _restore_proposal(
        self, header: BlockHeader, transaction_hashes: tuple[bytes, ...], source: bytes
    ) -> None:
        self.proposal = self.candidate(header, transaction_hashes, source).block_id
