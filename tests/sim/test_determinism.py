"""A run is a function of its seed: no clock, no chance of its own, no order of hashing."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from tests.sim.run import run_seed

ROOT = Path(__file__).parent.parent.parent
SEED = 1_019
PROGRAM = f"from tests.sim.run import run_seed; print(run_seed({SEED}).digest)"


def digest_in_another_process(hash_seed: str) -> str:
    """The digest of `SEED` in a process that hashes strings its own way."""
    environment = {**os.environ, "PYTHONHASHSEED": hash_seed, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM], env=environment, capture_output=True, text=True, check=True
    )
    return done.stdout.strip()


def test_the_same_run_under_two_hash_seeds() -> None:
    lines: list[str] = []
    here = run_seed(SEED, lines.append)
    assert len(lines) > 500
    assert digest_in_another_process("0") == here.digest
    assert digest_in_another_process("4711") == here.digest


def test_another_seed_is_another_run() -> None:
    digests = {run_seed(seed).digest for seed in (SEED, SEED, SEED + 1)}
    assert len(digests) == 2


def test_the_seeds_of_the_gate_have_networks_of_many_sizes_and_traitors() -> None:
    from tests.sim.run import Simulation
    from tests.sim.test_seeds import SEEDS

    results = [Simulation(seed).result for seed in SEEDS]
    assert {1, 4, 5, 7, 10} <= {result.size for result in results}
    assert {0, 1, 2, 3} <= {result.byzantine for result in results}
