"""Progress: once everything works again, how often may the honest wait for a leader in vain?

A view can fail because its leader is byzantine or away, or because not all have met in it yet. So
at each height an honest node runs out of patience at most once for each member that may fail, and
a few times more. Views that it enters because others have are no new ones.
"""

from __future__ import annotations

from node import outputs as io
from node.protocol.messages import ViewChange
from tests.sim.node import SimNode

VIEWS_UNTIL_MET = 3


class Progress:
    """Counts the views that honest nodes give up after the healing; `most` is the worst case."""

    def __init__(self) -> None:
        self._bound: int | None = None
        self._impatient: set[int] = set()
        self._given_up: dict[tuple[int, int], set[int]] = {}
        self.most = 0

    def on_healed(self, failing: int) -> None:
        """From now on at most `failing` members say nothing or lie."""
        self._bound = failing + VIEWS_UNTIL_MET

    def on_input(self, node: SimNode, event: io.Input) -> None:
        """An honest engine is about to be fed; what it then sends is its answer to this."""
        if isinstance(event, io.TimerElapsed):
            self._impatient.add(node.number)
        else:
            self._impatient.discard(node.number)

    def on_view_change(self, node: SimNode, message: ViewChange) -> str:
        """An honest node asks for a view: what is wrong with that, in words; empty if nothing."""
        if self._bound is None or node.number not in self._impatient:
            return ""
        views = self._given_up.setdefault((node.number, message.height), set())
        views.add(message.view)
        self.most = max(self.most, len(views))
        if len(views) <= self._bound:
            return ""
        return (
            f"{node.name} gave up {len(views)} views at height {message.height} after all faults "
            f"were over, {self._bound} allowed; it went to {sorted(views)}"
        )
