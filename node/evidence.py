"""What members did that others should know: contradictions and dissents, kept and shown.

Two signed messages of one member that contradict each other are evidence, which anybody can check
with the genesis file alone; a dissent says that a member's own result differs from a proposal's.
Nothing is punished automatically. The book is bounded and lives as long as the process.
"""

from __future__ import annotations

from collections.abc import Collection

from node.consensus.votes import SignedVote, bare, check_evidence
from node.protocol.domain import Chain
from node.protocol.encoding import encode, sha256
from node.protocol.errors import PeerFault, Refused
from node.protocol.messages import Dissent, Evidence, decode_message
from node.protocol.validators import VALIDATORS_MAX

EVIDENCE_PER_MEMBER_MAX = 15
EVIDENCE_MAX = EVIDENCE_PER_MEMBER_MAX * VALIDATORS_MAX
DISSENT_HEIGHTS_MAX = 1_000


class EvidenceBook:
    """Checked items, oldest first, one for each pair of messages."""

    def __init__(self, chain: Chain) -> None:
        self._chain = chain
        self._items: dict[bytes, Evidence] = {}
        self._per_member: dict[bytes, int] = {}
        self._dissents: dict[int, dict[bytes, Dissent]] = {}

    def dissents(self, height: int) -> tuple[Dissent, ...]:
        """Who dissented at a height, as far as it is remembered."""
        return tuple(self._dissents.get(height, {}).values())

    def note_dissent(self, dissent: Dissent) -> None:
        """Remember a dissent whose signature was checked."""
        self._dissents.setdefault(dissent.height, {})[dissent.signer] = dissent
        while len(self._dissents) > DISSENT_HEIGHTS_MAX:
            del self._dissents[next(iter(self._dissents))]

    @property
    def items(self) -> tuple[Evidence, ...]:
        """All items."""
        return tuple(self._items.values())

    @property
    def suspects(self) -> int:
        """How many members have evidence against them."""
        return len(self._per_member)

    def offer(self, item: Evidence, members: Collection[bytes]) -> bool:
        """Keep an item that is new, true and about one of `members`; whether it was.

        Anybody may sign contradictions with keys of its own: those would crowd out the true ones.
        What the signatures do not cover is left out, or one contradiction would make many items.
        """
        if len(self._items) >= EVIDENCE_MAX:
            return False
        try:
            first, second = decode_message(item.first), decode_message(item.second)
            if not isinstance(first, SignedVote) or not isinstance(second, SignedVote):
                return False
            if first.signer not in members:
                return False
            kept = Evidence(*sorted((encode(bare(first)), encode(bare(second)))))
            key = sha256(encode(kept))
            if key in self._items:
                return False
            member = check_evidence(self._chain, first, second)
        except (Refused, PeerFault):
            return False
        count = self._per_member.get(member, 0)
        if count >= EVIDENCE_PER_MEMBER_MAX:
            return False
        self._per_member[member] = count + 1
        self._items[key] = kept
        return True
