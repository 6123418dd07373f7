"""Besiege a real network: `python3 scripts/siege.py --minutes 10 --seed 7`.

The seed draws a network (4 to 7 validators, observers, a preset number) and what is done to it
while customers pay: kill -9 of one, of several and of all, frozen processes, partitions, slow, dead
and one-way lines, full disks. In the end everything heals, and must be as if nothing had happened:
every answer fits one order of events (linearizability), every acknowledged payment is on every
node, all roots are equal, nobody voted twice, and every database and audit is sound. Exit code 0 or
1; what is wrong is listed, and the folder kept.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import _environment

if TYPE_CHECKING:
    from tests.siege.run import Result

SHOWN_MAX = 20
MINUTES_DEFAULT = 2.0


def main() -> int:
    """Run one siege; 0 if every promise was kept."""
    options = _parser().parse_args()
    _environment.enter("dev")
    sys.path.insert(0, str(_environment.ROOT))
    directory = options.dir or Path(tempfile.mkdtemp(prefix=f"groat-siege-{options.seed}-"))
    result = _run(options.seed, options.minutes, directory)
    _report(result)
    for violation in result.violations[:SHOWN_MAX]:
        print(f"BROKEN: {violation}")
    if result.violations:
        print(f"{len(result.violations)} promises broken; {directory} is kept. Play it again:")
        print(f"python3 scripts/siege.py --minutes {options.minutes:g} --seed {options.seed}")
    return 1 if result.violations else 0


def _run(seed: int, minutes: float, directory: Path) -> Result:
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

    from tests.siege import run

    columns = (TextColumn("{task.description}"), BarColumn(), TimeElapsedColumn())
    with Progress(*columns, console=Console(stderr=True)) as screen:
        bar = screen.add_task(f"siege {seed}", total=1.0)

        def say(text: str) -> None:
            screen.console.print(text, markup=False, highlight=False)

        progress = run.Progress(lambda share: screen.update(bar, completed=share), say)
        return asyncio.run(run.besiege(seed, minutes, directory, progress))


def _report(result: Result) -> None:
    from rich.console import Console
    from rich.table import Table

    table = Table(show_header=False, box=None)
    table.add_column()
    table.add_column(justify="right", no_wrap=True)
    told = result.told
    rows = {
        "seed": result.topology.seed,
        "validators and observers": f"{result.topology.validators} + {result.topology.observers}",
        "height": result.height,
        "acknowledged outcomes": told["acknowledged"],
        "of these paid": told["ok"],
        "without an answer": told["unknown"],
        "readings at one node": told["read"],
        "cards, each history checked": result.cards,
        "votes compared": f"{result.votes} in {result.readings_of_votes} readings",
        **{name.replace("_", " "): count for name, count in sorted(result.faults.items())},
        "MiB of the largest node": result.resident_mib_max,
        "seconds from healing to settled": f"{result.healed_seconds:.1f}",
        "seconds in all": f"{result.seconds:.0f}",
    }
    for name, value in rows.items():
        table.add_row(name, str(value))
    Console(soft_wrap=True).print(table)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--minutes", type=float, default=MINUTES_DEFAULT, metavar="N")
    parser.add_argument("--seed", type=int, default=1, metavar="S", help="what is drawn")
    parser.add_argument("--dir", type=Path, help="a folder of its own; removed if all is well")
    return parser


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        sys.exit(130)
