"""Heads: what the peers say is final with them, when they said it, and so where we stand.

A node is known to be caught up only while as many validators as decide have told their heads of
late and more of them than may lie have nothing that it lacks. What a silent or distant peer once
said tells nothing. Whom to ask for blocks is `net.catch_up`'s question.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import NamedTuple

from node.protocol.validators import ValidatorSet

# Every node tells its head once a second.
FRESH_MS = 5_000
# How every round of consensus ends for somebody.
BEHIND_NORMAL = 1


class Claim(NamedTuple):
    """A height that a peer says is final, and when it said so (ms since 1970)."""

    height: int
    at_ms: int


class Standing(NamedTuple):
    """Where a node stands among the validators.

    `reachable` of them can take part as seen from here, itself included, and `quorum` must;
    `behind` is how many final blocks it lacks by the word of more of them than may lie.
    """

    reachable: int
    quorum: int
    behind: int

    @property
    def caught_up(self) -> bool:
        """Whether it is known to lack nothing."""
        return self.reachable >= self.quorum and self.behind <= BEHIND_NORMAL


class Heads:
    """The latest claim of each connected peer."""

    def __init__(self) -> None:
        self._claims: dict[bytes, Claim] = {}

    def note(self, peer: bytes, height: int, now_ms: int) -> None:
        """A peer tells its head."""
        self._claims[peer] = Claim(height, now_ms)

    def forget(self, peer: bytes) -> None:
        """It is gone."""
        self._claims.pop(peer, None)

    def of(self, peer: bytes) -> Claim | None:
        """What a peer said last, however long ago."""
        return self._claims.get(peer)

    def fresh(self, members: Collection[bytes], now_ms: int) -> list[int]:
        """What `members` said of late, greatest first."""
        claims = [self._claims[one] for one in members if one in self._claims]
        heights = [claim.height for claim in claims if now_ms - claim.at_ms <= FRESH_MS]
        return sorted(heights, reverse=True)

    def standing(
        self, own_key: bytes, own_height: int, validators: ValidatorSet, now_ms: int
    ) -> Standing:
        """Where the node with this key and height stands among those who decide the next one."""
        others = [member for member in validators.members if member != own_key]
        heights = self.fresh(others, now_ms)
        reachable = len(heights) + (len(others) < validators.size)
        # With one more than may lie, one at least is honest; of fewer, all must say so.
        supporters = min(validators.faulty_max + 1, len(heights))
        behind = max(0, heights[supporters - 1] - own_height) if supporters else 0
        return Standing(reachable, validators.quorum, behind)
