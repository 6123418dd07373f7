"""Messages for other heights: those for the next are kept, later ones only hint how far others are.

Everything is kept by the authenticated peer that sent it, in that peer's own few slots, so a liar
crowds out nobody. A height that f + 1 members claim is claimed by an honest one. Nothing in here
is verified: kept messages go through the ordinary checks once their height opens.
"""

from __future__ import annotations

from node.consensus.committee import Committee
from node.consensus.votes import SignedVote
from node.protocol.messages import Commit, Prepare

SENDERS_MAX = 128
MESSAGES_PER_SENDER_MAX = 8


class Backlog:
    """Unverified messages for the height after the open one, and claims of higher ones."""

    def __init__(self) -> None:
        self._messages: dict[bytes, dict[tuple[type[SignedVote], int], tuple[SignedVote, int]]] = {}
        self._claims: dict[bytes, int] = {}

    def keep(self, sender: bytes, message: SignedVote, received_ms: int) -> None:
        """Keep a message for the next height, with the time at which it came."""
        slots = self._messages.get(sender)
        if slots is None:
            if len(self._messages) >= SENDERS_MAX:
                return
            slots = self._messages[sender] = {}
        # Proposals and view changes are large: one of each, the latest.
        view = message.view if isinstance(message, Prepare | Commit) else 0
        kind = (type(message), view)
        if kind in slots or len(slots) < MESSAGES_PER_SENDER_MAX:
            slots[kind] = (message, received_ms)

    def take(self, height: int, committee: Committee) -> list[tuple[bytes, SignedVote, int]]:
        """The kept messages of `height`, now open to `committee`, with sender and time.

        All others are dropped, and so are the claims of who is no member any more.
        """
        kept = [
            (sender, message, received_ms)
            for sender, slots in self._messages.items()
            for message, received_ms in slots.values()
            if message.height == height
        ]
        self._messages = {}
        self._claims = {
            peer: claim
            for peer, claim in self._claims.items()
            if claim > height and peer in committee
        }
        return kept

    def claim(self, member: bytes, height: int) -> None:
        """Note that `member` takes part in `height`, hence holds all blocks below it."""
        self._claims[member] = max(height, self._claims.get(member, 0))

    def supported(self, committee: Committee) -> tuple[bytes, int] | None:
        """The height in which at least one honest member takes part, and a member that does."""
        claims = {peer: claim for peer, claim in self._claims.items() if peer in committee}
        ranked = sorted(claims.values(), reverse=True)
        if len(ranked) < committee.some_honest:
            return None
        height = ranked[committee.some_honest - 1]
        return min(peer for peer, claim in claims.items() if claim >= height), height
