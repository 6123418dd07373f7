"""View changes: what a VIEW-CHANGE must prove, and what a new view must therefore propose.

Pure functions. A quorum of VIEW-CHANGEs for a view decides what its leader may propose: the block
with the highest prepared view among them, header unchanged, or, if none is prepared, a fresh one.
Any quorum contains an honest member of the quorum that prepared a block which somebody may have
committed, hence a committed block is never replaced. Every replica computes this for itself.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import msgspec

from node.consensus.committee import Committee
from node.protocol.errors import Refused
from node.protocol.messages import (
    Prepare,
    PreparedProof,
    PrePrepare,
    ViewChange,
    has_valid_signature,
)
from node.protocol.proofs import merkle_root

NOTHING_PREPARED = -1


class Prepared(msgspec.Struct, frozen=True):
    """The block that this node has prepared in the highest view, with the proof."""

    view: int
    block_id: bytes
    proof: PreparedProof


def check_view_change(committee: Committee, message: ViewChange) -> None:
    """Raise `Refused` `BAD_VIEW_CHANGE` unless the claim holds and is proved. All but signature."""
    _check_claim(committee, message)
    proof = message.proof
    if message.prepared_view == NOTHING_PREPARED:
        if proof is not None:
            raise Refused("BAD_VIEW_CHANGE", "a proof of nothing")
        return
    if proof is None:
        raise Refused("BAD_VIEW_CHANGE", "a prepared block without its proof")
    if proof.header.height != committee.height or proof.header.parent != committee.parent_id:
        raise Refused("BAD_VIEW_CHANGE", "the prepared block is of another height")
    if proof.header.id(committee.chain) != message.prepared_block:
        raise Refused("BAD_VIEW_CHANGE", "the header is not that of the prepared block")
    if merkle_root(proof.transaction_hashes) != proof.header.transactions_root:
        raise Refused("BAD_VIEW_CHANGE", "the hashes are not those of the header")
    check_prepares(committee, message.prepared_view, message.prepared_block, proof.prepares)


def check_prepares(
    committee: Committee, view: int, block_id: bytes, prepares: Sequence[Prepare]
) -> None:
    """Raise `Refused` `BAD_PREPARES` unless these are a quorum's PREPAREs for (view, block)."""
    signers = [prepare.signer for prepare in prepares]
    if len(set(signers)) != len(signers) or not set(signers) <= set(committee.members):
        raise Refused("BAD_PREPARES", "PREPAREs of strangers or of one member twice")
    if len(signers) < committee.quorum:
        raise Refused("BAD_PREPARES", f"{len(signers)} PREPAREs, {committee.quorum} needed")
    for prepare in prepares:
        if (prepare.height, prepare.view, prepare.block_id) != (committee.height, view, block_id):
            raise Refused("BAD_PREPARES", "a PREPARE is for something else")
        if not has_valid_signature(committee.chain, prepare):
            raise Refused("BAD_PREPARES", "a PREPARE's signature does not match")


def required_block(committee: Committee, proposal: PrePrepare) -> bytes | None:
    """The id of the block that view `proposal.view` ≥ 1 must re-propose, or None: a fresh one.

    Recomputed from the justification; raises `Refused` if that is not a quorum's, or is not
    proved, with the code of what is wrong.
    """
    view_changes = proposal.view_changes
    signers = [view_change.signer for view_change in view_changes]
    if len(set(signers)) != len(signers):
        raise Refused("BAD_JUSTIFICATION", "a member's VIEW-CHANGE is listed twice")
    if len(signers) < committee.quorum:
        raise Refused(
            "BAD_JUSTIFICATION", f"{len(signers)} VIEW-CHANGEs, {committee.quorum} needed"
        )
    for view_change in view_changes:
        if view_change.view != proposal.view or view_change.proof is not None:
            raise Refused("BAD_JUSTIFICATION", "a VIEW-CHANGE is for something else")
        _check_claim(committee, view_change)
        if not has_valid_signature(committee.chain, view_change):
            raise Refused("BAD_JUSTIFICATION", "a VIEW-CHANGE's signature does not match")
    highest = highest_prepared(view_changes)
    if highest is None:
        if proposal.prepares:
            raise Refused("BAD_JUSTIFICATION", "PREPAREs although nothing is prepared")
        return None
    rivals = {vc.prepared_block for vc in view_changes if vc.prepared_view == highest.prepared_view}
    if len(rivals) > 1:
        raise Refused("BAD_JUSTIFICATION", "two blocks are claimed as prepared in one view")
    check_prepares(committee, highest.prepared_view, highest.prepared_block, proposal.prepares)
    return highest.prepared_block


def highest_prepared(view_changes: Iterable[ViewChange]) -> ViewChange | None:
    """The VIEW-CHANGE with the highest prepared view, or None if nothing is prepared."""
    prepared = [vc for vc in view_changes if vc.prepared_view != NOTHING_PREPARED]
    return max(prepared, key=lambda vc: vc.prepared_view, default=None)


def supported_view(committee: Committee, views: Iterable[int]) -> int:
    """The highest view that at least one honest member has reached: the (f+1)-th largest."""
    ranked = sorted(views, reverse=True)
    if len(ranked) < committee.some_honest:
        return 0
    return ranked[committee.some_honest - 1]


def _check_claim(committee: Committee, message: ViewChange) -> None:
    if message.height != committee.height or message.signer not in committee:
        raise Refused("BAD_VIEW_CHANGE", "it is of another height or of a stranger")
    if message.view < 1 or not NOTHING_PREPARED <= message.prepared_view < message.view:
        raise Refused("BAD_VIEW_CHANGE", "prepared in a view that was not before")
    if (message.prepared_view == NOTHING_PREPARED) != (message.prepared_block == b""):
        raise Refused("BAD_VIEW_CHANGE", "prepared view and block do not agree")
