"""The replay on real processes: killed itself, then started again while a node is killed."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from pathlib import Path

from client.local import LocalNetwork
from tests.network.conftest import REPOSITORY

SCRIPT = REPOSITORY / "scripts" / "replay_purchases.py"
CARDS = 150
ROWS_PER_CARD = 12
RUN_SECONDS_MAX = 120


def write_log(path: Path) -> None:
    """A log whose cards each have one row of zero among their purchases."""
    lines = [
        f" {card:05} 19970101  1  {'0.00' if row == 5 else f'{card + row}.07'}\r\n"
        for card in range(CARDS)
        for row in range(ROWS_PER_CARD)
    ]
    path.write_text("customer_id date number_of_cds dollar_value\r\n" + "".join(lines), newline="")


def test_interrupted_twice_it_still_reconciles(network: LocalNetwork, tmp_path: Path) -> None:
    log, report = tmp_path / "log.txt", tmp_path / "report.json"
    write_log(log)
    command = [sys.executable, str(SCRIPT), "--dir", str(network.folder.path), "--file", str(log)]
    for number in (signal.SIGKILL, signal.SIGINT):
        started = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        time.sleep(2.5)
        started.send_signal(number)
        started.wait(RUN_SECONDS_MAX)
    outage = ["--kill-node", "node2", "--at", "0", "--back-at", "0"]
    done = subprocess.run(
        [*command, *outage, "--json", str(report)],
        capture_output=True,
        text=True,
        timeout=RUN_SECONDS_MAX,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    told = json.loads(report.read_text())
    assert told["reconciled"]
    assert len(told["refused"]) == CARDS
    assert told["truth"]["rows"] == CARDS * ROWS_PER_CARD
    assert len(told["state_roots"]) == 4
    assert len(set(told["state_roots"].values())) == 1
    assert [word for line in told["incidents"] for word in line.split()[:1]] == ["node2", "node2"]
