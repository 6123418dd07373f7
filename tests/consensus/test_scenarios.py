"""Golden scenarios: what a cluster of replicas does, effect by effect, in stories."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.consensus.scenario import run_scenario

FOLDER = Path(__file__).parent / "scenarios"
REWRITE = os.environ.get("GROAT_REWRITE_SCENARIOS") == "1"


@pytest.mark.parametrize("path", sorted(FOLDER.glob("*.txt")), ids=lambda path: path.stem)
def test_scenario(path: Path) -> None:
    expected, actual = run_scenario(path, REWRITE)
    assert REWRITE or actual == expected


def test_there_are_scenarios() -> None:
    assert len(list(FOLDER.glob("*.txt"))) >= 15
