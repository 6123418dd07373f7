"""Evidence of misbehaviour: two signed messages of one member that contradict each other.

It is kept, passed on and shown, never punished automatically. Anybody can check an item with
the genesis file alone. The book is bounded; it is filled by what this node sees and by what peers
can prove.
"""

from __future__ import annotations

from node.consensus.votes import check_evidence
from node.protocol.domain import Chain
from node.protocol.encoding import encode
from node.protocol.errors import PeerFault, Refused
from node.protocol.messages import ConsensusMessage, Evidence, decode_message

EVIDENCE_MAX = 1_000
EVIDENCE_PER_MEMBER_MAX = 100


class EvidenceBook:
    """Checked items, oldest first, one for each pair of messages."""

    def __init__(self, chain: Chain) -> None:
        self._chain = chain
        self._items: dict[bytes, Evidence] = {}
        self._per_member: dict[bytes, int] = {}

    @property
    def items(self) -> tuple[Evidence, ...]:
        """All items."""
        return tuple(self._items.values())

    def offer(self, item: Evidence) -> bool:
        """Keep an item that is new and true; whether it was."""
        key = encode(sorted((item.first, item.second)))
        if key in self._items or len(self._items) >= EVIDENCE_MAX:
            return False
        try:
            first, second = decode_message(item.first), decode_message(item.second)
            if not isinstance(first, ConsensusMessage) or not isinstance(second, ConsensusMessage):
                return False
            member = check_evidence(self._chain, first, second)
        except (Refused, PeerFault):
            return False
        count = self._per_member.get(member, 0)
        if count >= EVIDENCE_PER_MEMBER_MAX:
            return False
        self._per_member[member] = count + 1
        self._items[key] = item
        return True
