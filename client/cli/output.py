"""What commands print: data on stdout as text, JSON or JSON lines; everything else on stderr.

Text is for people: tables, with colours on a terminal only. JSON is for programs: one value, or in
`jsonl` one object a line. Nothing here knows what the data mean.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Mapping, Sequence
from enum import StrEnum
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rich.console import Console

PIPE_WIDTH = 240
Row = Mapping[str, Any]


class Format(StrEnum):
    """How data are printed."""

    TEXT = "text"
    JSON = "json"
    JSONL = "jsonl"


class Output:
    """One command's way to stdout and stderr."""

    def __init__(self, form: Format = Format.TEXT) -> None:
        self.form = form

    @property
    def for_people(self) -> bool:
        """Whether text is wanted."""
        return self.form is Format.TEXT

    def record(self, row: Row, title: str = "") -> None:
        """One object; as text a table of names and values."""
        if not self.for_people:
            self.json(row)
            return
        table = _table(title, None)
        table.add_column(style="bold")
        table.add_column(overflow="fold")
        for name, value in _flat(row):
            table.add_row(name, _text(value))
        _console(sys.stdout).print(table)

    def table(self, rows: Sequence[Row], columns: Sequence[str], title: str = "") -> None:
        """Several objects; as text the named columns only."""
        if self.form is Format.JSON:
            self.json(list(rows))
            return
        if self.form is Format.JSONL:
            for row in rows:
                self.json(row)
            return
        table = _table(title, columns)
        for row in rows:
            table.add_row(*(_text(row.get(column)) for column in columns))
        _console(sys.stdout).print(table)

    def line(self, row: Row, text: str) -> None:
        """One event of a stream: `text` for people, the object for programs."""
        if self.for_people:
            print(_plain(text), flush=True)
        else:
            print(_dump(row), flush=True)

    def json(self, value: Any) -> None:
        """A value for programs: indented in `json`, one line in `jsonl`."""
        print(_dump(value, indent=2 if self.form is Format.JSON else None))

    def note(self, text: str) -> None:
        """A remark for people, on stderr."""
        _console(sys.stderr).print(_plain(text), markup=False, soft_wrap=True, style="dim")

    def error(self, code: str, message: str, hint: str = "") -> None:
        """One line on stderr: the code, what happened, what to try next."""
        if self.for_people:
            line = _plain(f"{code}: {message}" + (f" → {hint}" if hint else ""))
            _console(sys.stderr).print(line, markup=False, soft_wrap=True, style="red")
        else:
            error = {"code": code, "message": message, **({"hint": hint} if hint else {})}
            print(_dump({"error": error}), file=sys.stderr)

    def progress(self, title: str, total: int) -> tuple[Callable[[int], None], Callable[[], None]]:
        """A progress bar on stderr, on a terminal only: (advance by n, end)."""
        from rich.progress import Progress

        bar = Progress(console=_console(sys.stderr), transient=True, disable=not _is_tty())
        bar.start()
        task = bar.add_task(title, total=total)
        return (lambda count: bar.advance(task, count)), bar.stop


def log_to_stderr() -> None:
    """Send what running parts of the client log to stderr: stdout is for data."""
    import structlog

    structlog.configure(logger_factory=structlog.PrintLoggerFactory(sys.stderr))


def _is_tty() -> bool:
    return sys.stderr.isatty()


def _console(stream: Any) -> Console:
    from rich.console import Console

    terminal = stream.isatty()
    # In a pipe nothing may be cut or wrapped to the width of a terminal that is not there.
    width = None if terminal else PIPE_WIDTH
    return Console(file=stream, width=width, highlight=False, no_color=not terminal, emoji=False)


def _table(title: str, columns: Sequence[str] | None) -> Any:
    from rich import box
    from rich.table import Table

    table = Table(
        title=title or None,
        title_justify="left",
        box=box.SIMPLE_HEAD,
        show_header=columns is not None,
        pad_edge=False,
    )
    for column in columns or ():
        table.add_column(column.replace("_", " "), overflow="fold")
    return table


def _flat(row: Row, prefix: str = "") -> list[tuple[str, Any]]:
    """Name and value pairs, with nested objects opened up as `outer.inner`."""
    pairs: list[tuple[str, Any]] = []
    for name, value in row.items():
        if isinstance(value, Mapping) and value:
            pairs += _flat(value, f"{prefix}{name}.")
        else:
            pairs.append((prefix + name, value))
    return pairs


def _text(value: Any) -> Any:
    from rich.text import Text

    if value is None:
        return "–"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, list | tuple | dict):
        if not value:
            return "–"
        if isinstance(value, list | tuple) and all(isinstance(item, str) for item in value):
            return Text(_plain(", ".join(value)))
        return Text(_plain(_dump(value)))
    return Text(_plain(str(value)))


def _plain(text: str) -> str:
    """Text without control characters: what others wrote must not steer our terminal."""
    if text.isprintable():
        return text
    return "".join(
        one if one.isprintable() else one.encode("unicode_escape").decode() for one in text
    )


def _dump(value: Any, indent: int | None = None) -> str:
    return json.dumps(value, indent=indent, ensure_ascii=False, default=str)
