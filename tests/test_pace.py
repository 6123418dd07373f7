"""How fast a node catches up: counted over the run that is under way, and only that."""

from __future__ import annotations

from node.pace import IDLE_MS, Pace, Run


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
    pace.note(9, 1_000)
    pace.note(1, 1_001 + IDLE_MS)
    assert pace.run == Run(1, 1, 0)
    assert Run(1, 1, 0).blocks_per_second == 1_000
