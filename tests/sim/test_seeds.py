"""Seeds of the cluster simulator: those that once found something, and a few dozen more."""

from __future__ import annotations

import pytest

from tests.sim.campaign import regression_seeds
from tests.sim.run import run_seed

SEEDS = range(1_000, 1_032)


def replay(seed: int) -> str:
    """The command that shows what happened."""
    return f"python3 scripts/simulate.py --seed {seed} --trace"


@pytest.mark.parametrize("seed", regression_seeds())
def test_a_seed_that_once_found_something(seed: int) -> None:
    result = run_seed(seed)
    assert not result.violation, f"{result.violation}\n{replay(seed)}"


@pytest.mark.parametrize("seed", SEEDS)
def test_every_promise_is_kept(seed: int) -> None:
    result = run_seed(seed)
    assert not result.violation, f"{result.violation}\n{replay(seed)}"
    assert result.counts["blocks"] > 0
    assert result.counts["transactions acknowledged"] > 0
