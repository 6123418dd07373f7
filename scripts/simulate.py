"""The cluster simulator: `python3 scripts/simulate.py --seeds 0:1000`, or `--seed N --trace`.

`--planted` plants one classic fault after the other and says how many seeds it takes to catch it.

Runs whole clusters of real node engines under virtual time, with faulty networks and disks,
byzantine members and crashes in between, and checks what must hold. Seeds that found something
once are run first. The summary goes to stdout; the exit code is 1 if any promise was broken, and
the last line is then the command that plays the first such run again.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from typing import TYPE_CHECKING

import _environment

if TYPE_CHECKING:
    from tests.sim.campaign import Summary

FAILURES_SHOWN_MAX = 10
SEEDS_DEFAULT = "0:100"


def main() -> int:
    """Run the seeds asked for; 0 if every promise was kept."""
    parser = _parser()
    options = parser.parse_args()
    if options.trace and options.seed is None:
        parser.error("--trace needs --seed N")
    _environment.enter("dev")
    sys.path.insert(0, str(_environment.ROOT))
    if options.planted:
        return _run_planted()
    if options.seed is not None:
        return _run_one(options.seed, options.trace)
    return _run_many(options.seeds, options.jobs)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=_range, default=_range(SEEDS_DEFAULT), metavar="A:B")
    parser.add_argument("--seed", type=int, metavar="N", help="run this seed alone")
    parser.add_argument("--trace", action="store_true", help="with --seed: print what happens")
    parser.add_argument("--planted", action="store_true", help="catch classic faults")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1, metavar="N")
    return parser


def _range(text: str) -> range:
    first, _, stop = text.partition(":")
    try:
        seeds = range(int(first), int(stop))
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is not of the form A:B") from None
    if not seeds:
        raise argparse.ArgumentTypeError(f"{text!r} is empty")
    return seeds


def _run_one(seed: int, trace: bool) -> int:
    from tests.sim.campaign import Summary
    from tests.sim.run import run_seed

    started = time.monotonic()
    result = run_seed(seed, print if trace else None)
    summary = Summary()
    summary.add(result)
    _report(summary, time.monotonic() - started)
    print(f"digest {result.digest}")
    return 1 if summary.failures else 0


def _run_planted() -> int:
    from rich.console import Console
    from rich.table import Table

    from tests.sim.plants import PLANTS, SEEDS_MAX, hunt

    table = Table("planted fault", "seeds to catch it", "what broke", box=None)
    missed = 0
    for plant in PLANTS:
        catch = hunt(plant, range(SEEDS_MAX))
        missed += not (catch.seeds and catch.expected)
        table.add_row(catch.plant, str(catch.seeds or f"none of {SEEDS_MAX}"), catch.kind)
    Console(soft_wrap=True).print(table)
    return 1 if missed else 0


def _run_many(seeds: range, jobs: int) -> int:
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

    from tests.sim.campaign import Summary, regression_seeds, run_seeds

    wanted = list(dict.fromkeys([*regression_seeds(), *seeds]))
    summary = Summary()
    started = time.monotonic()
    columns = (TextColumn("seeds"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=Console(stderr=True)) as progress:
        bar = progress.add_task("seeds", total=len(wanted))
        for result in run_seeds(wanted, max(1, min(jobs, len(wanted)))):
            summary.add(result)
            progress.advance(bar)
            if result.violation:
                progress.console.print(f"seed {result.seed}: {result.kind}", markup=False)
    _report(summary, time.monotonic() - started)
    return 1 if summary.failures else 0


def _report(summary: Summary, seconds: float) -> None:
    from rich.console import Console
    from rich.table import Table

    table = Table(show_header=False, box=None)
    table.add_column()
    table.add_column(justify="right", no_wrap=True)
    for name, value in summary.rows(seconds):
        table.add_row(name, value)
    Console(soft_wrap=True).print(table)
    for failure in summary.failures[:FAILURES_SHOWN_MAX]:
        print(f"\nseed {failure.seed}, {failure.size} nodes: {failure.violation}")
    if summary.failures:
        print(f"\n{len(summary.failures)} of {summary.seeds} seeds broke a promise; play it again:")
        print(f"python3 scripts/simulate.py --seed {summary.failures[0].seed} --trace")


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        sys.exit(130)
