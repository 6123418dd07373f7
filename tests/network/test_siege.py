"""A short siege of a real network; `scripts/siege.py` does the long ones."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.siege.run import Progress, besiege

SECONDS = 20


@pytest.mark.parametrize("seed", [1])
async def test_a_siege_breaks_no_promise(tmp_path: Path, seed: int) -> None:
    quiet = Progress(lambda share: None, lambda text: None)
    result = await besiege(seed, SECONDS / 60, tmp_path / "siege", quiet)
    assert result.violations == ()
    assert result.told["ok"] > 0
    assert result.faults["nodes killed"] > 0
    assert result.votes > 0
