"""The stopwatch: time passes whatever becomes of the clock."""

from __future__ import annotations

from node.stopwatch import STEP_MS_MAX, Stopwatch

START_MS = 1_800_000_000_000
HOUR_MS = 3_600_000


def test_it_follows_a_clock_that_runs() -> None:
    watch = Stopwatch()
    assert [watch.read(START_MS + ms) for ms in (0, 1, 500, 500, 1_700)] == [0, 1, 500, 500, 1_700]


def test_a_clock_that_is_put_back_costs_no_time_and_wins_none() -> None:
    watch = Stopwatch()
    watch.read(START_MS)
    assert watch.read(START_MS + 900) == 900
    assert watch.read(START_MS - HOUR_MS) == 900
    assert watch.read(START_MS - HOUR_MS + 100) == 1_000


def test_a_clock_that_is_put_forward_does_not_make_it_leap() -> None:
    watch = Stopwatch()
    watch.read(START_MS)
    assert watch.read(START_MS + HOUR_MS) == STEP_MS_MAX
    assert watch.read(START_MS + HOUR_MS + 1) == STEP_MS_MAX + 1
