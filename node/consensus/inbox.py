"""The inbox: what messages about the open height are worth, and where they are kept.

Each is seen before, forged, contradictory or counted. Nothing is believed that was not checked
here, also not what comes inside another message. What a node then does is decided in `voter`.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import assert_never

from node.consensus.events import Alarm, ReportDissent, ReportEvidence, ReportPeer
from node.consensus.height import OpenHeight
from node.consensus.outbox import Outbox, Stop
from node.consensus.proposal import check_proposal
from node.consensus.view_change import check_view_change
from node.consensus.votes import SignedVote, bare, contradicts, says_the_same
from node.protocol.errors import Refused
from node.protocol.messages import (
    Commit,
    Dissent,
    Prepare,
    PrePrepare,
    ViewChange,
    has_valid_signature,
)


class Inbox:
    """Checks messages for one open height, and files them into it."""

    def __init__(self, opened: OpenHeight, outbox: Outbox) -> None:
        self._chain = opened.committee.chain
        self._open = opened
        self._out = outbox

    def receive(self, sender: bytes, message: SignedVote, received_ms: int) -> None:
        """Check one message and file it. Raises `Stop` where it shows that we have a twin."""
        opened, signer = self._open, message.signer
        if signer not in opened.committee:
            return
        earlier = self._kept_like(message)
        if earlier is not None and says_the_same(self._chain, earlier, message):
            return
        if not has_valid_signature(self._chain, message):
            self._out.emit(ReportPeer(sender, "BAD_SIGNATURE", f"a {type(message).__name__}"))
            return
        if self._is_settled(message, earlier):
            return
        try:
            self._file(sender, message, received_ms)
        except Refused as refusal:
            if refusal.code == "CLOCK_SKEW":
                self._alarm_skew(signer, refusal)
            else:
                self._out.emit(ReportPeer(sender, refusal.code, refusal.message))

    def _file(self, sender: bytes, message: SignedVote, received_ms: int) -> None:
        opened = self._open
        match message:
            case Prepare():
                opened.prepares.add(message)
                opened.saw(message.signer, message.view)
            case Commit():
                opened.saw(message.signer, message.view)
                opened.add_commit(message)
            case PrePrepare():
                self._on_pre_prepare(sender, message, received_ms)
            case ViewChange():
                self._on_view_change(message)
            case Dissent():
                opened.saw(message.signer, message.view)
                if message.signer not in opened.dissents:
                    opened.dissents[message.signer] = message
                    self._out.emit(ReportDissent(message))
            case _:
                assert_never(message)

    def _on_pre_prepare(self, sender: bytes, message: PrePrepare, received_ms: int) -> None:
        opened = self._open
        if message.signer != opened.committee.leader(message.view):
            raise Refused("WRONG_LEADER", f"view {message.view} has another leader")
        if message.view < opened.view:
            return
        if message.view == opened.view and opened.proposal is not None:
            return
        check_proposal(opened.committee, message, received_ms)
        self._compare_embedded(message.prepares)
        self._compare_embedded(message.view_changes)
        opened.accept(message, sender)

    def _on_view_change(self, message: ViewChange) -> None:
        opened = self._open
        latest = opened.view_changes.get(message.signer)
        if latest is not None and latest.view >= message.view:
            return
        check_view_change(opened.committee, message)
        if message.proof is not None:
            self._compare_embedded(message.proof.prepares)
        opened.view_changes[message.signer] = message
        opened.saw(message.signer, message.view)

    # ---- twins and equivocation

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

    def _is_settled(self, vote: SignedVote, earlier: SignedVote | None) -> bool:
        """Whether a signed vote needs no counting: it is our own, or contradicts an earlier one."""
        if vote.signer == self._open.me:
            if isinstance(vote, Dissent) or self._open.silent:
                return True  # A dissent promises nothing and is not written; others are forgotten.
            written = self._open.own.get((type(vote), vote.view))
            if written is None or not says_the_same(self._chain, written, vote):
                raise Stop(
                    "FOREIGN_SIGNATURE",
                    f"a {type(vote).__name__} of height {vote.height}, view {vote.view} bears this "
                    "node's signature but was never written here: someone else runs with its key, "
                    "or its vote log was lost or rolled back",
                )
            return True
        if earlier is None or not contradicts(self._chain, earlier, vote):
            return False
        if self._open.report_once(type(vote).__name__, vote.signer):
            self._out.emit(ReportEvidence(bare(earlier), bare(vote)))
        return True

    def _compare_embedded(self, votes: Iterable[SignedVote]) -> None:
        """Votes that came inside another message can betray a twin or an equivocation, too."""
        for vote in votes:
            self._is_settled(vote, self._kept_like(vote))

    def _alarm_skew(self, member: bytes, refusal: Refused) -> None:
        if self._open.report_once(refusal.code, member):
            self._out.emit(Alarm(refusal.code, refusal.message, {"member": member.hex()}))
