"""Virtual time: a heap of actions, performed in order of time, then in order of scheduling.

Nothing in the simulator waits or reads a clock. Times are whole milliseconds since 1970, as in the
node, so that a run is a function of its seed alone.
"""

from __future__ import annotations

from collections.abc import Callable
from heapq import heappop, heappush

EVENTS_MAX = 400_000
"""A run that needs more is a message storm, not a test."""


class Storm(Exception):
    """The cluster keeps itself busy for ever."""


class Scheduler:
    """The one clock of a run, and everything that is still to happen."""

    def __init__(self, start_ms: int) -> None:
        self.now_ms = start_ms
        self.events = 0
        self._heap: list[tuple[int, int, Callable[[], None]]] = []
        self._sequence = 0

    def after(self, delay_ms: int, action: Callable[[], None]) -> None:
        """Perform `action` in `delay_ms`, after whatever was scheduled for that time before."""
        self._sequence += 1
        heappush(self._heap, (self.now_ms + max(delay_ms, 0), self._sequence, action))

    def run_until(self, time_ms: int, stop: Callable[[], bool] = lambda: False) -> bool:
        """Perform all that is due until `time_ms`, or until `stop` holds; whether it held.

        `stop` is asked after each action. Raises `Storm` after `EVENTS_MAX` actions in all.
        """
        while self._heap and self._heap[0][0] <= time_ms:
            self.now_ms, _, action = heappop(self._heap)
            self.events += 1
            if self.events > EVENTS_MAX:
                raise Storm(f"{EVENTS_MAX} events by {self.now_ms}")
            action()
            if stop():
                return True
        self.now_ms = max(self.now_ms, time_ms)
        return stop()
