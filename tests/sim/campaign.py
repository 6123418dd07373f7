"""Many runs: seeds spread over processes, and what they came to in sum."""

from __future__ import annotations

import multiprocessing
import signal
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

from tests.sim.run import Result, run_seed

REGRESSIONS = Path(__file__).with_name("seeds.txt")
SEEDS_PER_TASK = 4
FIGURES = (
    "blocks",
    "blocks of later views",
    "view changes asked for",
    "transactions sent",
    "transactions sent again",
    "transactions booked",
    "transactions acknowledged",
    "starts",
    "crashes",
    "crashes in a write",
    "starts cut short",
    "unsynced writes lost",
    "synced writes torn",
    "writes refused by a full disk",
    "messages",
    "messages lost",
    "messages cut off",
    "messages doubled",
    "messages late",
    "messages overtaken",
    "connections broken",
    "settled with nodes down",
    "resent to everybody",
    "contradictions heard",
    "items of evidence",
    "byzantine members cut off",
)


@dataclass
class Summary:
    """The sum of many runs; `failures` has those in which a promise was broken."""

    seeds: int = 0
    virtual_ms: int = 0
    settle_ms_max: int = 0
    views_max: int = 0
    sizes: Counter[int] = field(default_factory=Counter)
    byzantine: Counter[int] = field(default_factory=Counter)
    changing: int = 0
    counts: Counter[str] = field(default_factory=Counter)
    failures: list[Result] = field(default_factory=list)

    def add(self, result: Result) -> None:
        """Take one run into account."""
        self.seeds += 1
        self.virtual_ms += result.virtual_ms
        self.settle_ms_max = max(self.settle_ms_max, result.settle_ms)
        self.views_max = max(self.views_max, result.views_max)
        self.sizes[result.size] += 1
        self.byzantine[result.byzantine] += 1
        self.changing += result.newcomers > 0
        self.counts.update(result.counts)
        if result.violation:
            self.failures.append(result)

    def rows(self, seconds: float) -> list[tuple[str, str]]:
        """What was run and what happened, as names and figures; it took `seconds`."""
        counts = self.counts
        rows = [
            ("seeds", f"{self.seeds:,}"),
            ("seeds by number of nodes", _by_number(self.sizes)),
            ("seeds by byzantine members", _by_number(self.byzantine)),
            ("seeds in which validators change", f"{self.changing:,}"),
            ("violations", str(len(self.failures))),
            ("virtual time", f"{self.virtual_ms / 3_600_000:.1f} h"),
            ("longest time to settle", f"{self.settle_ms_max / 1_000:.1f} s"),
            ("most views given up at a height after healing", str(self.views_max)),
            (
                "time taken",
                f"{seconds:.1f} s ({self.seeds / max(seconds, 0.001):.1f} seeds a second)",
            ),
        ]
        rows += [(name, f"{counts[name]:,}") for name in FIGURES]
        for prefix in (
            "faults ",
            "deeds ",
            "sets changed: ",
            "cut off ",
            "receipts ",
            "answers ",
            "alarms ",
        ):
            rows += [(n, f"{counts[n]:,}") for n in sorted(counts) if n.startswith(prefix)]
        return rows


def _by_number(seeds: Counter[int]) -> str:
    return ", ".join(f"{number}: {count:,}" for number, count in sorted(seeds.items()))


def run_seeds(seeds: Sequence[int], jobs: int) -> Iterator[Result]:
    """The results in the order of `seeds`, computed by `jobs` processes."""
    if jobs == 1 or len(seeds) == 1:
        yield from map(run_seed, seeds)
        return
    # Spawned, not forked: the caller may have threads, and a worker then starts from nothing.
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(jobs, context, _leave_interrupts_to_the_parent) as pool:
        yield from pool.map(run_seed, seeds, chunksize=SEEDS_PER_TASK)


def _leave_interrupts_to_the_parent() -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)


def regression_seeds() -> list[int]:
    """The seeds that once found something, in the order in which they did."""
    lines = REGRESSIONS.read_text("utf-8").splitlines()
    numbers = [line.partition("#")[0].strip() for line in lines]
    return [int(number) for number in numbers if number]
