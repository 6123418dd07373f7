"""The net catches fish: with one classic fault planted, some early seed breaks a promise."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.sim.plants import PLANTS, SEEDS_MAX, hunt


@pytest.mark.parametrize("plant", PLANTS, ids=lambda plant: plant.__name__)
def test_a_planted_fault_is_found(plant: Callable[[pytest.MonkeyPatch], None]) -> None:
    catch = hunt(plant, range(SEEDS_MAX))
    assert catch.seeds, f"{SEEDS_MAX} seeds did not find it"
    assert catch.expected, catch.violation
    print(f"{catch.plant}: {catch.kind} at seed {catch.seeds}")
