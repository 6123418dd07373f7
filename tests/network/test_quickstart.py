"""The first README command, whole: its story ends well, and its network ends with it."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

from tests.network.ports import free_ports

ROOT = Path(__file__).parent.parent.parent
SECONDS_MAX = 300
PORTS = 8


def test_the_story_of_the_gym_card(tmp_path: Path) -> None:
    directory = tmp_path / "network"
    command = [sys.executable, "scripts/quickstart.py", "--exit", "--dir", str(directory)]
    done = subprocess.run(
        [*command, "--ports-from", str(free_ports(PORTS))],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=SECONDS_MAX,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-2_000:] + done.stderr[-2_000:]
    for figure in (
        "left on the card, proved from genesis: ¥2,800.00",
        "the gym has received: ¥900.00",
        "still in escrow for the customer: ¥2,100.00",
        "and held back: ¥75.00",
        "back to Alice: ¥2,025.00",
        "left in escrow: ¥0.00",
    ):
        assert figure in done.stdout
    roots = [line.split()[-1] for line in done.stdout.splitlines() if "state root" in line]
    assert len(roots) == 8  # twice four nodes
    assert len(set(roots[:4])) == len(set(roots[4:])) == 1
    groat = Path(sys.executable).with_name("groat")
    status = subprocess.run(
        [groat, "--dir", directory, "-o", "json", "net", "status"],
        capture_output=True,
        text=True,
        check=True,
    )
    assert {one["state"] for one in json.loads(status.stdout)} == {"stopped"}
