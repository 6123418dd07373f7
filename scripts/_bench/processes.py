"""What node processes use, as the kernel counts it: CPU seconds, memory, bytes on disk."""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from client.local import LocalNode

TICKS_PER_SECOND = os.sysconf("SC_CLK_TCK")
BLOCK_BYTES = 512
KIB = 1024


class Use(NamedTuple):
    """One node with its worker process: CPU seconds so far, resident bytes, bytes on disk."""

    cpu_seconds: float
    resident_bytes: int
    disk_bytes: int


def use_of(node: LocalNode) -> Use:
    """What a running node has used so far; zeros for CPU and memory if it does not run."""
    process = node.process
    pids = [] if process is None else [process.pid, *_children(process.pid)]
    disk = sum(_disk_bytes(node.folder / name) for name in ("data", "votes"))
    return Use(sum(map(_cpu_seconds, pids)), sum(map(_resident_bytes, pids)), disk)


def uses(nodes: Sequence[LocalNode]) -> dict[str, Use]:
    """`use_of` each, by name."""
    return {node.name: use_of(node) for node in nodes}


class Machine(NamedTuple):
    """CPU seconds that the whole machine has used so far, all cores together, and when."""

    busy_seconds: float
    at: float


def machine() -> Machine:
    """The machine's counters now."""
    fields = Path("/proc/stat").read_text().partition("\n")[0].split()[1:]
    user, nice, system, _, _, irq, softirq, steal = (int(field) for field in fields[:8])
    busy = user + nice + system + irq + softirq + steal
    return Machine(busy / TICKS_PER_SECOND, time.monotonic())


def own_cpu_seconds() -> float:
    """What this process has used so far; the nodes are processes of their own."""
    return _cpu_seconds(os.getpid())


def _children(pid: int) -> list[int]:
    found = []
    for path in Path(f"/proc/{pid}/task").glob("*/children"):
        try:
            found += [int(word) for word in path.read_text().split()]
        except OSError:
            continue
    return found


def _cpu_seconds(pid: int) -> float:
    try:
        # The second field, the command, may hold spaces and brackets: count from the last one.
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return 0.0
    return (int(fields[11]) + int(fields[12])) / TICKS_PER_SECOND


def _resident_bytes(pid: int) -> int:
    try:
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    except OSError:
        return 0
    return sum(int(line.split()[1]) * KIB for line in lines if line.startswith("VmRSS:"))


def _disk_bytes(folder: Path) -> int:
    total = 0
    for path in folder.rglob("*"):
        try:
            total += path.stat().st_blocks * BLOCK_BYTES
        except OSError:
            continue  # compaction removed it meanwhile
    return total
