"""The wall clock: the one place where the node reads it. The pure core gets the time as a value."""

from __future__ import annotations

import time


def now_ms() -> int:
    """Milliseconds since 1970, UTC."""
    return time.time_ns() // 1_000_000
