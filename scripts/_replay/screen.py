"""What people see of a replay: a bar with a rate, and the report as tables."""

from __future__ import annotations

import sys
from types import TracebackType
from typing import Any, Self

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    Task,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.table import Table
from rich.text import Text

PIPE_WIDTH = 120


class _Rate(ProgressColumn):
    """Things done a second, lately."""

    def render(self, task: Task) -> Text:
        """The rate, or nothing while it is unknown."""
        speed = task.finished_speed or task.speed
        return Text("" if speed is None else f"{speed:,.0f}/s")


class Bar:
    """A progress bar on stderr."""

    def __init__(self, console: Console, title: str, total: int, done: int) -> None:
        self._progress = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            _Rate(),
            TimeElapsedColumn(),
            TimeRemainingColumn(),
            console=console,
        )
        self._task = self._progress.add_task(title, total=total, completed=done)

    def __enter__(self) -> Self:
        self._progress.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._progress.stop()

    def advance(self, count: int) -> None:
        """So many more are done."""
        self._progress.advance(self._task, count)

    def reach(self, count: int) -> None:
        """So many are done in all."""
        self._progress.update(self._task, completed=count)


def print_report(report: dict[str, Any]) -> None:
    """The report on stdout."""
    console = Console(width=None if sys.stdout.isatty() else PIPE_WIDTH, highlight=False)
    table = Table("", "the log says", "the chain says", "", title=_title(report))
    for column in (1, 2):
        table.columns[column].justify = "right"
    for line in report["figures"]:
        verdict = Text("✓", "green") if line["agrees"] else Text("✗", "bold red")
        table.add_row(line["name"], f"{line['expected']:,}", f"{line['found']:,}", verdict)
    console.print(table)
    _print_refused(console, report["refused"])
    for fault in report["faults"]:
        console.print(f"line {fault['line']}: {fault['code']} for {fault['cents']} cents")
    for url, root in report["state_roots"].items():
        console.print(f"state root of {url} at {report['height']:,}: {root}")
    for incident in report["incidents"]:
        console.print(incident)
    if report["retries"]:
        told = ", ".join(f"{code} {count:,}" for code, count in report["retries"].items())
        console.print(f"tried again: {told}")
    console.print(
        f"{report['rows_settled_now']:,} rows in {report['seconds']:,} s: "
        f"{report['transactions_per_second']:,} a second"
    )
    verdict = Text("reconciled to the cent", "green")
    console.print(verdict if report["reconciled"] else Text("DOES NOT RECONCILE", "bold red"))


def _title(report: dict[str, Any]) -> str:
    setting = report["setting"]
    return f"Replay with {setting['calls']} calls over {setting['nodes']} nodes"


def _print_refused(console: Console, refused: list[dict[str, Any]]) -> None:
    if refused:
        places = ", ".join(f"{row['line']} ({row['customer']})" for row in refused)
        console.print(f"refused with BAD_ARG, lines (customers): {places}")
