"""How fast a node catches up: blocks and transactions a second of the run that is under way.

A pure counter; times are in milliseconds and come in as arguments.
"""

from __future__ import annotations

from typing import NamedTuple

# A run is over when no block has been imported for so long.
IDLE_MS = 2_000
# A shorter one says nothing of a speed.
RUN_MS_MIN = 500


class Run(NamedTuple):
    """Blocks imported one after the other, and how long it took."""

    blocks: int
    transactions: int
    milliseconds: int

    @property
    def blocks_per_second(self) -> int:
        """On the average of the run."""
        return self.blocks * 1_000 // max(1, self.milliseconds)

    @property
    def transactions_per_second(self) -> int:
        """On the average of the run."""
        return self.transactions * 1_000 // max(1, self.milliseconds)


class Pace:
    """Counts imported blocks."""

    def __init__(self) -> None:
        self._blocks = self._transactions = 0
        self._began = self._last = 0

    def note(self, transactions: int, now_ms: int) -> None:
        """A block with so many transactions was imported."""
        if not self._blocks or self.is_over(now_ms):
            self._blocks = self._transactions = 0
            self._began = now_ms
        self._blocks += 1
        self._transactions += transactions
        self._last = now_ms

    def is_over(self, now_ms: int) -> bool:
        """Whether the last run has ended."""
        return now_ms > self._last + IDLE_MS

    @property
    def run(self) -> Run | None:
        """The last run, if there was any that was long enough to be counted."""
        if self._last - self._began < RUN_MS_MIN:
            return None
        return Run(self._blocks, self._transactions, self._last - self._began)
