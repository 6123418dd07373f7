"""The committee of one height: its members, their quorum, and who leads each view.

The leader of (h, v) is member (i + v) mod n, where i is the place of the proposer of block h-1,
advanced by one when h is a multiple of `ROTATION_HEIGHTS`. So a dead leader costs one time-out and
not one a round, and nobody leads for ever. Pure arithmetic; who voted what is in `votes`.
"""

from __future__ import annotations

from node.protocol.block import BlockHeader
from node.protocol.domain import Chain
from node.protocol.validators import ValidatorSet

ROTATION_HEIGHTS = 16


class Committee:
    """The validators of the height that follows `parent` (None: genesis)."""

    def __init__(
        self,
        chain: Chain,
        validators: ValidatorSet,
        parent: BlockHeader | None,
        genesis_ms: int = 0,
    ) -> None:
        self.chain = chain
        self.validators = validators
        self.parent = parent
        self.height = 1 if parent is None else parent.height + 1
        self.parent_id = chain.genesis_hash if parent is None else parent.id(chain)
        self.parent_time_ms = genesis_ms if parent is None else parent.time_ms
        self.members = validators.members
        self.quorum = validators.quorum
        self.some_honest = validators.faulty_max + 1
        """f + 1: among that many members at least one is honest."""
        self._first = self._first_leader()

    def __contains__(self, public_key: bytes) -> bool:
        return public_key in self.members

    def leader(self, view: int) -> bytes:
        """The public key of the member that proposes in `view`."""
        return self.members[(self._first + view) % len(self.members)]

    def _first_leader(self) -> int:
        """The place of view 0's leader.

        A proposer that is no longer a member is followed by the next key in byte order, which
        every node can tell from this set and the parent alone.
        """
        place = 0
        if self.parent is not None:
            proposer = self.parent.proposer
            if proposer not in self.members:
                later = [member for member in self.members if member > proposer]
                proposer = min(later or self.members)
            place = self.members.index(proposer)
        return place + (self.height % ROTATION_HEIGHTS == 0)
