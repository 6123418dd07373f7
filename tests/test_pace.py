"""How fast a node catches up: counted over the run that is under way, and only that."""

from __future__ import annotations

from node.pace import IDLE_MS, RUN_MS_MIN, Pace, Run


def test_a_run_is_counted_from_its_first_block_to_its_last() -> None:
    pace = Pace()
    assert pace.run is None
    for number in range(11):
        pace.note(100, 5_000 + 50 * number)
    assert pace.run == Run(11, 1_100, 500)
    assert Run(11, 1_100, 500).blocks_per_second == 22
    assert Run(11, 1_100, 500).transactions_per_second == 2_200
    assert not pace.is_over(5_500 + IDLE_MS)
    assert pace.is_over(5_501 + IDLE_MS)


def test_after_a_pause_another_run_begins() -> None:
    pace = Pace()
    for now_ms in (1_000, 1_600):
        pace.note(9, now_ms)
    assert pace.run == Run(2, 18, 600)
    start_ms = 1_601 + IDLE_MS
    pace.note(1, start_ms)
    assert pace.run is None  # one block alone says nothing of a speed
    pace.note(1, start_ms + RUN_MS_MIN)
    assert pace.run == Run(2, 2, RUN_MS_MIN)
