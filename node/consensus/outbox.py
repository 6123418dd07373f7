"""The effects of one step, and what is said only once between two ticks.

`Stop` leaves a step at once: the replica must not sign or decide anything any more.
"""

from __future__ import annotations

from node.consensus.events import Effect, Persist, RequestCatchUp, Send
from node.protocol.messages import CertifiedHeader

ANSWERED_PER_TICK_MAX = 128
ASKED_PER_TICK_MAX = 128


class Stop(Exception):
    """Going on could contradict our own signature, or adopt what we know to be wrong."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(f"{code}: {message}")
        self.code = code
        self.message = message


class Outbox:
    """Collects effects. Requests and answers are throttled: one lost is made again after a tick."""

    def __init__(self) -> None:
        self._effects: list[Effect] = []
        self._answered: set[bytes] = set()
        self._asked: dict[bytes, int] = {}

    def emit(self, *effects: Effect) -> None:
        """Add effects, in order."""
        self._effects += effects

    def take(self) -> list[Effect]:
        """All effects since the last call, `Persist`s first: the caller may sync them together."""
        effects, self._effects = self._effects, []
        effects.sort(key=lambda effect: not isinstance(effect, Persist))
        return effects

    def request_catch_up(self, peer: bytes, height: int) -> None:
        """Ask for blocks up to `height`, unless that peer was asked since the last tick.

        For each peer apart: whoever claims more than there is must not silence what others show.
        """
        is_known = peer in self._asked or len(self._asked) < ASKED_PER_TICK_MAX
        if is_known and height > self._asked.get(peer, 0):
            self._asked[peer] = height
            self.emit(RequestCatchUp(peer, height))

    def answer(self, peer: bytes, final: CertifiedHeader) -> None:
        """Tell a peer that is behind what is final, unless it was told since the last tick."""
        if peer not in self._answered and len(self._answered) < ANSWERED_PER_TICK_MAX:
            self._answered.add(peer)
            self.emit(Send(peer, final))

    def tick(self) -> None:
        """From now on everything may be said again."""
        self._answered.clear()
        self._asked.clear()
