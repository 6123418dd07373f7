"""What traitors can sign and what they can only forge: the craft behind every lie.

What is well signed is signed with keys of traitors only. A forged signature is one of theirs under
somebody else's name.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from random import Random
from typing import TypeVar

from msgspec.structs import replace

from node.consensus.height import OpenHeight
from node.consensus.view_change import NOTHING_PREPARED
from node.consensus.votes import SignedVote
from node.protocol.messages import Commit, Message, Prepare, ViewChange, message_digest
from tests.sim.cast import Cast
from tests.sim.node import SimNode

Seen = Sequence[Message]

V = TypeVar("V", bound=SignedVote)


class Forger:
    """All secrets of the byzantine of one run, and who the honest are."""

    def __init__(self, cast: Cast, chance: Random) -> None:
        self._chain = cast.genesis.chain
        self._secrets = {cast.keys[n].public_key: cast.keys[n] for n in cast.styles}
        keys = [key.public_key for key in cast.keys]
        self._honest = [key for key in keys if key not in self._secrets]
        self._chance = chance

    def _signed(self, unsigned: V) -> V:
        secret = self._secrets[unsigned.signer]
        return replace(unsigned, signature=secret.sign(message_digest(self._chain, unsigned)))

    def _forged(self, unsigned: V) -> V:
        """Signed by a traitor in somebody else's name."""
        secret = next(iter(self._secrets.values()))
        return replace(unsigned, signature=secret.sign(message_digest(self._chain, unsigned)))

    def _ignorant(self, height: int, view: int, signer: bytes) -> ViewChange:
        """A traitor's VIEW-CHANGE that has prepared nothing."""
        unsigned = ViewChange(height, view, NOTHING_PREPARED, b"", signer, b"", None)
        return self._signed(unsigned)

    def _some_vote(self, seen: Seen) -> Prepare | Commit | None:
        votes = [m for m in seen if isinstance(m, Prepare | Commit) and m.signer in self._honest]
        return self._chance.choice(votes[-40:]) if votes else None


def is_open(node: SimNode, height: int) -> bool:
    """Whether this is the height that a node decides now."""
    return node.up and node.height == height - 1


def opened_at(node: SimNode) -> OpenHeight:
    """What the engine of a traitor knows of the height that is open at it."""
    return node.running.engine._replica._open


def quorum_at(node: SimNode) -> int:
    """How many decide the height that is open at a node."""
    return opened_at(node).committee.quorum


def view_changes_of(seen: Seen, height: int) -> Iterable[ViewChange]:
    """The VIEW-CHANGEs for a height that traitors heard, without their proofs."""
    heard = [m for m in seen if isinstance(m, ViewChange) and m.height == height]
    return [replace(view_change, proof=None) for view_change in heard]
