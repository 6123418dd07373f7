"""The arithmetic of a benchmark: rates from blocks, percentiles from latencies. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

# Of all transactions of a run, these fractions at its two ends are not steady: filling up and
# running dry.
HEAD_FRACTION = 0.15
TAIL_FRACTION = 0.10


class SettledBlock(NamedTuple):
    """A final block: its height, its header's time (ms), and how many transactions it holds."""

    height: int
    time_ms: int
    transactions: int


class SteadyRate(NamedTuple):
    """Settled transactions a second over `seconds`, in `blocks` blocks."""

    per_second: float
    seconds: float
    blocks: int
    transactions: int


def steady_rate(blocks: Sequence[SettledBlock]) -> SteadyRate:
    """The rate over the middle of a run, from the times in the blocks' own headers.

    A block's transactions count for the time since the block before it.
    """
    total = sum(block.transactions for block in blocks)
    counted = seen = 0
    first: SettledBlock | None = None
    last: SettledBlock | None = None
    inside = 0
    for block in blocks:
        seen += block.transactions
        if seen <= total * HEAD_FRACTION or first is None:
            first = last = block
        elif seen <= total * (1 - TAIL_FRACTION):
            last = block
            counted += block.transactions
            inside += 1
    if first is None or last is None or last.time_ms <= first.time_ms:
        return SteadyRate(0.0, 0.0, 0, 0)
    seconds = (last.time_ms - first.time_ms) / 1000
    return SteadyRate(counted / seconds, seconds, inside, counted)


def percentile(values: Sequence[float], percent: float) -> float:
    """The smallest value that `percent` % of the values do not exceed; 0.0 of none."""
    if not values:
        return 0.0
    ordered = sorted(values)
    rank = -(-len(ordered) * percent // 100)
    return ordered[max(int(rank) - 1, 0)]
