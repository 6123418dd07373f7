"""Proposals: whether a PRE-PREPARE may be accepted, before anything is executed.

Two rules stand apart. A fresh proposal must come from the leader named in its header and be near
the receiver's clock; a re-proposed prepared block keeps its old header and is exempt from that,
or it could never be proposed again. The result of execution is judged in `replica`.
"""

from __future__ import annotations

from node.consensus.committee import Committee
from node.consensus.view_change import required_block
from node.protocol.errors import Refused
from node.protocol.messages import PrePrepare
from node.protocol.proofs import merkle_root

CLOCK_SKEW_MS_MAX = 2_000


def check_proposal(committee: Committee, proposal: PrePrepare, received_ms: int) -> None:
    """Raise `Refused` unless `proposal`, signed by its view's leader, may be voted on.

    `CLOCK_SKEW` is nobody's provable fault; every other code is the leader's.
    """
    header = proposal.header
    if header.height != committee.height or header.parent != committee.parent_id:
        raise Refused("BAD_PROPOSAL", "the block does not follow the last one")
    if header.time_ms <= committee.parent_time_ms:
        raise Refused("BAD_PROPOSAL", "the block is not later than the last one")
    if merkle_root(proposal.transaction_hashes) != header.transactions_root:
        raise Refused("BAD_PROPOSAL", "the transactions are not those of the header")
    required = None
    if proposal.view > 0:
        required = required_block(committee, proposal)
    elif proposal.view_changes or proposal.prepares:
        raise Refused("BAD_JUSTIFICATION", "view 0 needs none")
    if required is None:
        _check_fresh(proposal, received_ms)
    elif required != header.id(committee.chain):
        raise Refused("BAD_JUSTIFICATION", "the prepared block was not proposed again")


def _check_fresh(proposal: PrePrepare, received_ms: int) -> None:
    if proposal.header.proposer != proposal.signer:
        raise Refused("BAD_PROPOSAL", "the header names another proposer")
    if proposal.view == 0 and not proposal.transaction_hashes:
        raise Refused("BAD_PROPOSAL", "an empty block in view 0")
    skew_ms = proposal.header.time_ms - received_ms
    if abs(skew_ms) > CLOCK_SKEW_MS_MAX:
        raise Refused("CLOCK_SKEW", f"its time is {skew_ms} ms from ours", skew_ms=skew_ms)
