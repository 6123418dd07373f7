"""Progress: once everything works again, how often may the honest give up on a leader?

A view can fail because its leader is byzantine, away, or was asked for before the others had come
that far. So at each height an honest node asks for at most one new view for each member that may
fail, and a few more until all have met. What it had asked for before the healing does not count.
"""

from __future__ import annotations

from collections.abc import Sequence

from node.protocol.messages import ViewChange
from tests.sim.node import SimNode

VIEWS_UNTIL_MET = 3


class Progress:
    """Counts the views that honest nodes ask for; `most` is what was seen at worst."""

    def __init__(self) -> None:
        self._bound: int | None = None
        self._before: dict[tuple[int, int], int] = {}
        self._asked: dict[tuple[int, int], set[int]] = {}
        self.most = 0

    @property
    def healed(self) -> bool:
        """Whether the faults are over."""
        return self._bound is not None

    def on_healed(self, nodes: Sequence[SimNode], failing: int) -> None:
        """From now on at most `failing` members say nothing or lie."""
        self._bound = failing + VIEWS_UNTIL_MET
        for node in nodes:
            engine = node.running.engine
            self._before[node.number, node.height + 1] = engine.view

    def on_view_change(self, node: SimNode, message: ViewChange) -> str:
        """An honest node asks for a view: what is wrong with that, in words; empty if nothing."""
        place = (node.number, message.height)
        if self._bound is None or message.view <= self._before.get(place, 0):
            return ""
        asked = self._asked.setdefault(place, set())
        asked.add(message.view)
        self.most = max(self.most, len(asked))
        if len(asked) <= self._bound:
            return ""
        return (
            f"{node.name} asked for {len(asked)} views at height {message.height} after all faults "
            f"were over, {self._bound} allowed: {sorted(asked)}"
        )
