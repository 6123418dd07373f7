"""The history of validator sets, from the founders on, each proved by the one before it.

A header names the set of the next height, and a quorum of its own set seals it. So the last header
of each set proves the set that follows: whoever knows the founders needs nothing else to know who
decides any height. Where handovers come from, and who keeps them, is for others to know.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from node.protocol.block import BlockHeader, CommitCertificate, check_certificate
from node.protocol.domain import Chain
from node.protocol.encoding import Codec, Record
from node.protocol.errors import Refused
from node.protocol.validators import ValidatorSet

HANDOVER_BYTES_MAX = 32 << 10


class Handover(Record, frozen=True):
    """The last header that one set decided, sealed by it, and the set that decides from there."""

    header: BlockHeader
    certificate: CommitCertificate
    validators: ValidatorSet

    @property
    def first_height(self) -> int:
        """The first height that `validators` decide."""
        return self.header.height + 1


handover_codec: Codec[Handover] = Codec(Handover, HANDOVER_BYTES_MAX)


class SetHistory:
    """Who decides which height, as far as it is proved."""

    def __init__(self, founders: ValidatorSet) -> None:
        self._eras: list[tuple[int, ValidatorSet]] = [(1, founders)]

    @classmethod
    def proved(
        cls, chain: Chain, founders: ValidatorSet, handovers: Iterable[Handover]
    ) -> SetHistory:
        """The history that these handovers, in order, prove; raises `Refused` `BAD_HISTORY`."""
        history = cls(founders)
        for handover in handovers:
            history.follow(chain, handover)
        return history

    @property
    def eras(self) -> Sequence[tuple[int, ValidatorSet]]:
        """Every set with the first height that it decides, ascending."""
        return self._eras

    def at(self, height: int) -> ValidatorSet:
        """The set that decides `height`."""
        return next(known for first, known in reversed(self._eras) if first <= max(height, 1))

    def follow(self, chain: Chain, handover: Handover) -> None:
        """Take the next set; raises `Refused` `BAD_HISTORY` unless the newest vouches for it."""
        first, newest = self._eras[-1]
        header, follower = handover.header, handover.validators
        if header.height < first:
            raise _bad(header.height, "it is older than the set before it")
        if header.next_validators_hash != follower.hash or follower == newest:
            raise _bad(header.height, "it does not name this set")
        try:
            follower.check()
            check_certificate(chain, header, handover.certificate, newest)
        except Refused as refusal:
            raise _bad(header.height, refusal.message) from None
        self._eras.append((handover.first_height, follower))


def _bad(height: int, reason: str) -> Refused:
    return Refused("BAD_HISTORY", f"the change of validators after block {height}: {reason}")
