"""`groat node …`: the upkeep of single nodes on this machine."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import typer

from client import upkeep
from client.cli.session import Session, command
from client.errors import ClientError, NoQuorum, NotFound, Unreachable
from client.local import LocalNetwork
from node.protocol.anchors import AnchorRecord

OK, DAMAGED = "ok", "DAMAGED"
VOTES_AHEAD_MAX = 2

Name = Annotated[str, typer.Argument(metavar="NODE", help="Name or number of a stopped node.")]
VotesLost = Annotated[
    bool, typer.Option("--votes-lost", help="Be silent below what the others have now.")
]
AnyName = Annotated[str, typer.Argument(metavar="NODE", help="Name or number of a node.")]


class Damaged(ClientError):
    """A node's database is not what the certified blocks say; the table says where."""


def register(app: typer.Typer) -> None:
    """Add these commands."""
    group = typer.Typer(help="The upkeep of one node of this host.", no_args_is_help=True)
    app.add_typer(group, name="node")
    command(group, "check")(check)
    command(group, "repair")(repair)
    command(group, "backup")(backup)
    command(group, "restore")(restore)
    command(group, "reads")(reads)


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


def repair(session: Session, name: Name, votes_lost: VotesLost = False) -> None:
    """Put a stopped node's state aside; when it starts it fetches the chain from its peers."""
    (one,) = LocalNetwork(session.folder).select([name])
    vote_from = asyncio.run(_safe_height(session, one.name)) if votes_lost else None
    report = upkeep.repair(one, vote_from)
    session.out.record({"node": one.name, **report})
    session.out.note(f"nothing is deleted; now: groat net start {one.name}")


def backup(
    session: Session,
    name: AnyName,
    to: Annotated[Path, typer.Option("--to", help="A folder that does not exist yet.")],
) -> None:
    """Copy a snapshot of a node, running or not, and verify the copy against the state root."""
    (one,) = LocalNetwork(session.folder).select([name])
    bars = _Bars(session)
    try:
        report = upkeep.backup(one, to, bars.show)
    finally:
        bars.end()
    session.out.record({"node": one.name, **report})
    session.out.note(
        "it is sealed; whoever has it and the node's password can read it: keep them apart"
    )


def restore(
    session: Session,
    name: Name,
    source: Annotated[Path, typer.Option("--from", help="What `groat node backup` made.")],
    votes_lost: VotesLost = False,
    all_restored: Annotated[
        bool,
        typer.Option("--all-restored", help="No node of the network has anything newer: vote."),
    ] = False,
    password_file: Annotated[
        Path | None,
        typer.Option(help="Password of the node that made the backup, if it is another."),
    ] = None,
) -> None:
    """Give a stopped node the state of a backup; it then fetches what has happened since."""
    (one,) = LocalNetwork(session.folder).select([name])
    vote_from = None
    if all_restored:
        vote_from = 0
    elif votes_lost:
        vote_from = asyncio.run(_safe_height(session, one.name))
    bars = _Bars(session)
    try:
        report = upkeep.restore(one, source, vote_from, bars.show, password_file)
    finally:
        bars.end()
    session.out.record({"node": one.name, **report})
    session.out.note(f"now: groat net start {one.name}")


def reads(
    session: Session,
    name: AnyName,
    last: Annotated[int, typer.Option("--last", min=1, help="So many of the newest.")] = 20,
) -> None:
    """What regulators read at a node because they are regulators, held against its anchors."""
    from client.reads import compare

    (one,) = LocalNetwork(session.folder).select([name])
    node = bytes.fromhex(session.folder.endpoint(one.name).public_key)
    report, fault = compare(one, asyncio.run(_anchors(session, node)), last)
    session.out.table(report["entries"], ("number", "time", "height", "reader", "what"))
    session.out.note(f"{report['count']} reads noted; what a regulator's own node decrypts is not")
    if fault:
        raise Damaged("READ_LOG_ALTERED", f"{one.name}: {fault}")


async def _anchors(session: Session, node: bytes) -> list[AnchorRecord]:
    from client.reads import proven_anchors

    async with session.api() as api:
        return await proven_anchors(api, node)


async def _safe_height(session: Session, restored: str) -> int:
    """A height above all that a restored validator can have voted on.

    Its highest vote was for the child of a block that a quorum has sealed. Enough other members
    asked, at least one honest member of that quorum is among them; it had sealed that block, so it
    has its parent. Two heights more than it says are therefore the most that can have been voted
    on.
    """
    heads: dict[str, int] = {}
    async with session.api() as api:
        for endpoint in session.folder.endpoints:
            if endpoint.name == restored:
                continue
            try:
                head = await api.verified.header("latest", endpoint.http_url)
                heads[endpoint.public_key] = head.height
            except NotFound:
                heads[endpoint.public_key] = 0
            except Unreachable:
                continue
        validators = api.light.validators_at(api.light.head.height + 1)
    heights = [heads[key.hex()] for key in validators.members if key.hex() in heads]
    needed = validators.size - validators.quorum + validators.faulty_max + 1
    if len(heights) < min(needed, validators.size - 1):
        raise NoQuorum(
            "NO_QUORUM",
            f"{len(heights)} other validators answer, {needed} must, to know what this one may "
            "have signed; start them, or --all-restored if none has anything newer than this",
        )
    return max(heights) + VOTES_AHEAD_MAX + 1


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
