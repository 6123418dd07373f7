"""`groat node …`: the upkeep of single nodes on this machine."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Any

import typer

from client import upkeep
from client.cli.session import Session, command
from client.errors import ClientError
from client.local import LocalNetwork

OK, DAMAGED = "ok", "DAMAGED"

Name = Annotated[str, typer.Argument(metavar="NODE", help="Name or number of a stopped node.")]


class Damaged(ClientError):
    """A node's database is not what the certified blocks say; the table says where."""


def register(app: typer.Typer) -> None:
    """Add these commands."""
    group = typer.Typer(help="The upkeep of one stopped node.", no_args_is_help=True)
    app.add_typer(group, name="node")
    command(group, "check")(check)
    command(group, "repair")(repair)


def check(session: Session, name: Name) -> None:
    """Verify a stopped node's whole database: chain, certificates, receipts, state and votes."""
    (one,) = LocalNetwork(session.folder).select([name])
    bars = _Bars(session)
    try:
        report = upkeep.check(one, bars.show)
    finally:
        bars.end()
    rows = [_row(finding) for finding in report["findings"]]
    session.out.table(rows, ("check", "result", "detail"))
    if not report["ok"]:
        failed = sum(row["result"] == DAMAGED for row in rows)
        raise Damaged("DATABASE_DAMAGED", f"{one.name} fails {failed} of {len(rows)} checks")


def repair(session: Session, name: Name) -> None:
    """Put a stopped node's state aside; when it starts it fetches the chain from its peers."""
    (one,) = LocalNetwork(session.folder).select([name])
    report = upkeep.repair(one)
    session.out.record({"node": one.name, **report})
    session.out.note(f"its votes are kept and nothing is deleted; now: groat net start {one.name}")


class _Bars:
    """One progress bar after the other, each from the first word of its check to the next's."""

    def __init__(self, session: Session) -> None:
        self._session = session
        self._name = ""
        self._done = 0
        self._advance: Callable[[int], None] = lambda count: None
        self.end: Callable[[], None] = lambda: None

    def show(self, name: str, done: int, total: int) -> None:
        """The check `name` is at `done` of `total`."""
        if name != self._name:
            self.end()
            self._name, self._done = name, 0
            self._advance, self.end = self._session.out.progress(name, total)
        self._advance(done - self._done)
        self._done = done


def _row(finding: dict[str, Any]) -> dict[str, Any]:
    faults, count = finding["faults"], finding["fault_count"]
    more = f"; and {count - len(faults)} more" if count > len(faults) else ""
    return {
        "check": finding["check"],
        "result": OK if finding["ok"] else DAMAGED,
        "detail": "; ".join(faults) + more or finding["seen"],
        "faults": faults,
        "fault_count": count,
    }
