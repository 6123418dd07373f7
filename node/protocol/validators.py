"""The validator set and its quorum arithmetic, shared by the replica and by light clients.

n members tolerate f = ⌊(n-1)/3⌋ traitors; a quorum is q = max(⌈(n+f+1)/2⌉, P+1), where P is the
preset number that confirmations must exceed (R3.9), so any two quorums share an honest member.
"""

from __future__ import annotations

from node.protocol.encoding import Record, encode, sha256
from node.protocol.errors import Refused
from node.protocol.keys import check_public_key

VALIDATORS_MIN = 1
VALIDATORS_MAX = 64


class ValidatorSet(Record, frozen=True):
    """Ordered distinct public keys of the validators of one height, and the preset number P."""

    members: tuple[bytes, ...]
    confirmations_more_than: int

    @property
    def size(self) -> int:
        """n."""
        return len(self.members)

    @property
    def faulty_max(self) -> int:
        """f, how many members may be byzantine."""
        return (self.size - 1) // 3

    @property
    def quorum(self) -> int:
        """q, how many distinct members decide."""
        byzantine = -(-(self.size + self.faulty_max + 1) // 2)
        return max(byzantine, self.confirmations_more_than + 1)

    @property
    def dead_max(self) -> int:
        """How many silent members the network survives."""
        return self.size - self.quorum

    @property
    def hash(self) -> bytes:
        """What headers commit to, 32 bytes."""
        return sha256(b"groat/validators/1" + encode(self))

    def check(self) -> None:
        """Raise `Refused` `BAD_VALIDATORS` unless the set can form a quorum."""
        if not VALIDATORS_MIN <= self.size <= VALIDATORS_MAX:
            raise Refused("BAD_VALIDATORS", f"between {VALIDATORS_MIN} and {VALIDATORS_MAX}")
        if len(set(self.members)) != self.size:
            raise Refused("BAD_VALIDATORS", "a validator is listed twice")
        if not 0 <= self.confirmations_more_than < self.size:
            raise Refused("BAD_VALIDATORS", "confirmations_more_than must be below the set's size")
        for member in self.members:
            check_public_key(member)
