"""The benchmark from beginning to end: for each mode a network of its own, then the table."""

from __future__ import annotations

import asyncio
import os
import platform
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from rich.console import Console
from rich.table import Table

from _bench.measure import (
    Figures,
    catch_up,
    idle_latency,
    latency,
    saturation,
    signature_checks,
)
from _bench.stage import NODES, Stage, temporary_network
from client.local import LocalNetwork, LocalNode
from client.node_api import NodeApi

HALF = 0.5
EQUAL_SECONDS_MAX = 60.0
PIPE_WIDTH = 100
ROOT = Path(__file__).resolve().parent.parent.parent


class Size(NamedTuple):
    """How much is measured: per saturation run, per latency run, single ones, and cards."""

    transactions: int
    latency_seconds: float
    singles: int
    holders: int


QUICK = Size(8_000, 4.0, 50, 2_000)
FULL = Size(40_000, 15.0, 100, 4_000)


def bench(modes: Sequence[str], size: Size, work: Path | None, console: Console) -> Figures:
    """Run it all; the figures with their setting. Raises `GroatError`."""
    report: Figures = {"setting": _setting(size, work), "signature_checks": signature_checks()}
    for mode in modes:
        with tempfile.TemporaryDirectory(prefix="groat-bench-", dir=work) as folder:
            console.print(f"{mode} calls: making a network of {NODES} nodes")
            with temporary_network(Path(folder) / "net") as local:
                report[mode] = _run_mode(local, mode == "sealed", size, console)
    if {"clear", "sealed"} <= report.keys():
        sealed, clear = (
            report[mode]["saturation"]["settled_per_second"] for mode in ("sealed", "clear")
        )
        report["sealed_to_clear"] = round(sealed / clear, 3) if clear else 0.0
    print_table(report)
    return report


def _run_mode(local: LocalNetwork, sealed: bool, size: Size, console: Console) -> Figures:
    stage = Stage(local, size.holders, sealed)
    try:

        async def main() -> Figures:
            async with stage.api() as network:
                return await _measure(stage, network, size, console)

        return asyncio.run(main())
    finally:
        stage.signing.close()


async def _measure(stage: Stage, network: NodeApi, size: Size, console: Console) -> Figures:
    nodes = list(stage.local.nodes)
    console.print(f"  opening {size.holders:,} cards")
    await stage.open(network)
    console.print(f"  single transactions on the idle network: {size.singles}")
    idle = await idle_latency(stage, network, size.singles)
    console.print(f"  saturation: {size.transactions:,} transactions, {len(nodes)} nodes")
    full = await saturation(stage, network, nodes, size.transactions)
    half = full["settled_per_second"] * HALF
    console.print(f"  latency at {half:,.0f} a second for {size.latency_seconds:.0f} s")
    loaded = await latency(stage, network, nodes, half, size.latency_seconds)
    victim = await _follower(stage, network)
    console.print(f"  saturation: {size.transactions:,} transactions, {victim.name} killed")
    await asyncio.to_thread(stage.local.kill, [victim.name])
    alive = [node for node in nodes if node is not victim]
    dead = await saturation(stage, network, alive, size.transactions)
    dead["dead"] = victim.name
    console.print(f"  {victim.name} catches up")
    caught = await catch_up(stage, network, victim)
    share = dead["settled_per_second"] / full["settled_per_second"] if half else 0.0
    return {
        "saturation": full,
        "half_load": loaded,
        "idle": idle,
        "one_dead": dead,
        "one_dead_to_full": round(share, 3),
        "catch_up": caught,
    }


async def _follower(stage: Stage, network: NodeApi) -> LocalNode:
    """The last node that does not lead just now."""
    leader = str((await network.status()).get("leader"))
    keys = {endpoint.name: endpoint.public_key for endpoint in stage.local.folder.endpoints}
    return [node for node in stage.local.nodes if keys[node.name] != leader][-1]


def _setting(size: Size, work: Path | None) -> Figures:
    folder = Path(work or tempfile.gettempdir())
    return {
        "machine": _cpu_model(),
        "cores": len(os.sched_getaffinity(0)),
        "load_average_at_start": round(os.getloadavg()[0], 2),
        "python": platform.python_version(),
        "kernel": platform.release(),
        "commit": _git_commit(),
        "nodes": NODES,
        "holders": size.holders,
        "tls": "mutual TLS 1.3 between the nodes",
        "sync": f"every vote and block is synced to disk ({_file_system(folder)})",
        "signatures": "every node checks every signature",
        "client": "load and measurement run on the same cores",
    }


def _cpu_model() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.machine()


def _file_system(folder: Path) -> str:
    """The type of the file system that holds `folder`."""
    best = ("", "unknown")
    for line in Path("/proc/mounts").read_text().splitlines():
        _, point, kind, *_ = line.split()
        if folder.resolve().is_relative_to(point) and len(point) >= len(best[0]):
            best = (point, kind)
    return best[1]


def _git_commit() -> str:
    try:
        done = subprocess.run(
            ["git", "-C", str(ROOT), "describe", "--always", "--dirty"],
            capture_output=True,
            text=True,
            check=True,
        )
    except (OSError, subprocess.CalledProcessError):
        return "unknown"
    return done.stdout.strip()


def print_table(report: Figures) -> None:
    """The figures on stdout, clear beside sealed."""
    console = Console(width=None if sys.stdout.isatty() else PIPE_WIDTH, highlight=False)
    modes = [mode for mode in ("clear", "sealed") if mode in report]
    table = Table("", *modes, title="Four node processes, one client, the same cores")
    for column in table.columns[1:]:
        column.justify = "right"
    for name, path in ROWS:
        table.add_row(name, *(_cell(report[mode], path) for mode in modes))
    console.print(table)
    if "sealed_to_clear" in report:
        console.print(f"sealed to clear: {report['sealed_to_clear']:.0%}")
    checks = report["signature_checks"]
    console.print(
        f"one core checks {checks['per_cpu_second']:,} signatures a second "
        f"({checks['us_per_check']} µs each)"
    )
    for name, value in report["setting"].items():
        console.print(f"{name.replace('_', ' ')}: {value}", style="dim")


ROWS: tuple[tuple[str, tuple[str, ...]], ...] = (
    ("settled transactions a second, four nodes", ("saturation", "settled_per_second")),
    ("… one node dead", ("one_dead", "settled_per_second")),
    ("… as a share of the full number", ("one_dead_to_full",)),
    ("catching up, transactions a second", ("catch_up", "transactions_per_second")),
    ("… blocks a second", ("catch_up", "blocks_per_second")),
    ("transactions a block at saturation", ("saturation", "transactions_per_block")),
    ("commit latency at half load, p50 ms", ("half_load", "latency_p50_ms")),
    ("commit latency at half load, p99 ms", ("half_load", "latency_p99_ms")),
    ("single transaction, idle network, p50 ms", ("idle", "latency_p50_ms")),
    ("single transaction, idle network, p99 ms", ("idle", "latency_p99_ms")),
    ("CPU µs per transaction and node", ("saturation", "cpu_us_per_transaction_and_node")),
    ("… one node dead", ("one_dead", "cpu_us_per_transaction_and_node")),
    ("client CPU µs per transaction", ("saturation", "client_cpu_us_per_transaction")),
    ("cores used by other programs meanwhile", ("saturation", "cores_used_by_others")),
    ("disk bytes per transaction and node", ("saturation", "disk_bytes_per_transaction_and_node")),
    ("resident MiB per node, worker included", ("saturation", "resident_mib_per_node")),
)


def _cell(figures: Any, path: Sequence[str]) -> str:
    for name in path:
        figures = figures[name]
    if isinstance(figures, dict):
        return " ".join(f"{value:,}" for value in figures.values())
    return f"{figures:,}"
