"""The witness: whoever hears both sides of a contradiction must hold evidence of it.

It follows the votes that honest engines are fed. Where one of them hears two votes of a traitor for
one place in the height that is open there, the contradiction must be in its book at once.
"""

from __future__ import annotations

from node import outputs as io
from node.consensus.votes import VIEWS_PER_MEMBER_MAX, SignedVote
from node.evidence import EVIDENCE_PER_MEMBER_MAX
from node.protocol.domain import Chain
from node.protocol.messages import Commit, Prepare, decode_message, has_valid_signature
from tests.sim.node import SimNode

Place = tuple[int, int, type[Prepare | Commit], int, bytes]
"""Node, its incarnation, kind of vote, height, and who signed."""


class Witness:
    """`traitors` are public keys."""

    def __init__(self, chain: Chain, traitors: frozenset[bytes]) -> None:
        self._chain = chain
        self._traitors = traitors
        self._views: dict[Place, set[int]] = {}
        self._heard: dict[tuple[object, ...], bytes] = {}
        self._due: Prepare | Commit | None = None
        self.contradictions = 0

    def on_input(self, node: SimNode, event: io.Input) -> None:
        """An honest engine is about to be fed."""
        self._due = None
        if not isinstance(event, io.PeerMessage):
            return
        vote = event.message
        if not isinstance(vote, Prepare | Commit) or vote.signer not in self._traitors:
            return
        opened = node.running.engine._replica._open
        ahead = vote.height - opened.height
        if opened.committing or ahead not in (0, 1):
            return
        if not has_valid_signature(self._chain, vote):
            return
        place = (node.number, node.incarnation, type(vote), vote.height, vote.signer)
        views = self._views.setdefault(place, set())
        views.add(vote.view)
        if ahead or vote.signer not in opened.committee:
            return  # It may count once its height is open, as far as there is room for it.
        said = self._heard.setdefault((*place, vote.view), vote.block_id)
        # Whoever votes in more views than are kept displaces its own votes.
        if said != vote.block_id and len(views) <= VIEWS_PER_MEMBER_MAX:
            self._due = vote

    def missing(self, node: SimNode) -> str:
        """What the engine, having taken the input, ought to have reported; empty if it has."""
        vote, self._due = self._due, None
        if vote is None or node.running.engine.halted:
            return ""
        self.contradictions += 1
        of_member = [
            kept
            for item in node.running.engine.evidence.items
            if (kept := decode_message(item.first)) and _signer(kept) == vote.signer
        ]
        found = any(type(kept) is type(vote) and kept.height == vote.height for kept in of_member)
        if found or len(of_member) >= EVIDENCE_PER_MEMBER_MAX:
            return ""
        return f"{node.name} heard two {type(vote).__name__}s at height {vote.height}"


def _signer(message: object) -> bytes:
    return message.signer if isinstance(message, SignedVote) else b""
