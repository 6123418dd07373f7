"""The benchmark's arithmetic."""

from __future__ import annotations

import pytest

from _bench.figures import SettledBlock, percentile, steady_rate
from _bench.stage import free_ports


def test_a_steady_stream_has_its_rate() -> None:
    blocks = [SettledBlock(height, 1_000 * height, 500) for height in range(1, 41)]
    rate = steady_rate(blocks)
    assert rate.per_second == 500
    assert rate.transactions == 500 * rate.blocks


def test_the_ends_of_a_run_do_not_count() -> None:
    slow_start = [SettledBlock(1, 0, 10), SettledBlock(2, 60_000, 10)]
    steady = [SettledBlock(h, 60_000 + 100 * h, 100) for h in range(3, 43)]
    slow_end = [SettledBlock(43, 200_000, 10)]
    assert steady_rate(slow_start + steady + slow_end).per_second == 1_000


@pytest.mark.parametrize("blocks", [[], [SettledBlock(1, 5, 100)]])
def test_too_few_blocks_have_no_rate(blocks: list[SettledBlock]) -> None:
    assert steady_rate(blocks).per_second == 0


def test_percentiles_are_values_that_occurred() -> None:
    values = [float(value) for value in range(100, 0, -1)]
    assert percentile(values, 50) == 50
    assert percentile(values, 99) == 99
    assert percentile(values, 100) == 100
    assert percentile([7.0], 50) == 7
    assert percentile([1.0, 2.0, 3.0], 50) == 2
    assert percentile([], 50) == 0


def test_free_ports_are_in_a_row_and_leave_out_busy_ones() -> None:
    first = free_ports(4)
    assert first >= 41_000
    assert free_ports(4) == first
