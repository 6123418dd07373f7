"""Votes: bounded tallies of PREPAREs and COMMITs, certificates, and evidence of equivocation.

A vote counts for one (view, block); only votes of the same view add up. Each member has its own few
slots, so that a byzantine one can displace nothing but its own votes. Signatures are checked by
whoever hands a vote in; what follows from a quorum is decided in `replica`.
"""

from __future__ import annotations

from typing import Generic, TypeVar

import msgspec

from node.consensus.committee import Committee
from node.protocol.block import CommitCertificate, CommitSeal
from node.protocol.domain import Chain
from node.protocol.errors import Refused
from node.protocol.messages import (
    Commit,
    ConsensusMessage,
    Dissent,
    Prepare,
    PrePrepare,
    ViewChange,
    has_valid_signature,
    message_digest,
)

VIEWS_PER_MEMBER_MAX = 8
"""How many views of one member's votes are kept: the highest."""

V = TypeVar("V", Prepare, Commit)

SignedVote = Prepare | Commit | ViewChange | PrePrepare | Dissent


class Tally(Generic[V]):
    """One kind of votes for one height, the first vote of each member in each view."""

    def __init__(self) -> None:
        self._votes: dict[bytes, dict[int, V]] = {}

    def of(self, signer: bytes, view: int) -> V | None:
        """What `signer` voted in `view`, as far as it is kept."""
        return self._votes.get(signer, {}).get(view)

    def add(self, vote: V) -> None:
        """Keep a vote with a checked signature; a later one for the same view changes nothing."""
        slots = self._votes.setdefault(vote.signer, {})
        slots.setdefault(vote.view, vote)
        if len(slots) > VIEWS_PER_MEMBER_MAX:
            del slots[min(slots)]

    def matching(self, view: int, block_id: bytes) -> tuple[V, ...]:
        """The votes for this block in this view, ascending by signer."""
        votes = (self.of(signer, view) for signer in sorted(self._votes))
        return tuple(vote for vote in votes if vote is not None and vote.block_id == block_id)


def certificate_of(committee: Committee, commits: tuple[Commit, ...]) -> CommitCertificate | None:
    """The certificate that COMMITs for one (view, block) make, once they are a quorum."""
    if len(commits) < committee.quorum:
        return None
    first = commits[0]
    seals = tuple(CommitSeal(commit.signer, commit.signature) for commit in commits)
    return CommitCertificate(first.height, first.view, first.block_id, seals)


def bare(message: SignedVote) -> SignedVote:
    """The message without what its signature does not cover."""
    if isinstance(message, PrePrepare):
        return msgspec.structs.replace(message, transaction_hashes=(), view_changes=(), prepares=())
    if isinstance(message, ViewChange):
        return msgspec.structs.replace(message, proof=None)
    return message


def says_the_same(chain: Chain, first: SignedVote, second: SignedVote) -> bool:
    """Whether what the two signatures cover is the same."""
    return message_digest(chain, first) == message_digest(chain, second)


def contradicts(chain: Chain, first: SignedVote, second: SignedVote) -> bool:
    """Whether one signer said two things in the same (type, height, view).

    A DISSENT is a report and not a vote: it is not persisted, and an honest member that restarts
    before two proposals of an equivocating leader may dissent from both.
    """
    return (
        type(first) is type(second)
        and not isinstance(first, Dissent)
        and (first.signer, first.height, first.view) == (second.signer, second.height, second.view)
        and not says_the_same(chain, first, second)
    )


def check_evidence(chain: Chain, first: ConsensusMessage, second: ConsensusMessage) -> bytes:
    """The public key of whoever signed both contradicting messages.

    Raises `Refused` `BAD_EVIDENCE`. Anybody can check evidence with the genesis file alone.
    """
    if not isinstance(first, SignedVote) or not isinstance(second, SignedVote):
        raise Refused("BAD_EVIDENCE", "only votes can contradict each other")
    if not contradicts(chain, first, second):
        raise Refused("BAD_EVIDENCE", "the messages do not contradict each other")
    if not (has_valid_signature(chain, first) and has_valid_signature(chain, second)):
        raise Refused("BAD_EVIDENCE", "a signature does not match")
    return first.signer
