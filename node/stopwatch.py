"""How much time has passed, by a clock that people and programs may set.

Whoever waits for something must not wait for hours because a clock was put back, or give up because
it was put forward. So only small steps of the clock count; of a large one, none or a bounded part.
"""

from __future__ import annotations

STEP_MS_MAX = 5_000
"""Inputs come about once a second at least; more than this is a clock that was set."""


class Stopwatch:
    """Reads a clock now and then; its time never goes back and never leaps."""

    def __init__(self) -> None:
        self._clock_ms: int | None = None
        self.elapsed_ms = 0

    def read(self, clock_ms: int) -> int:
        """What has elapsed since the first reading, in milliseconds."""
        if self._clock_ms is not None:
            self.elapsed_ms += min(max(clock_ms - self._clock_ms, 0), STEP_MS_MAX)
        self._clock_ms = clock_ms
        return self.elapsed_ms
