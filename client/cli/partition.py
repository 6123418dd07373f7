"""`groat net partition` and `heal`: a local network is split, and made whole again."""

from __future__ import annotations

import asyncio
import time
from typing import Annotated

import typer

from client.cli.session import Session, command
from client.local import LocalNetwork, NodeFailure, State
from client.partition import cut_lines, heal, partition, sides_of, tell

APPLY_SECONDS_MAX = 5.0
POLL_SECONDS = 0.05

Sides = Annotated[
    str,
    typer.Argument(
        metavar="'A,B|C,D'",
        help="Names or numbers of the nodes on each side; those left out are one more side.",
    ),
]


def register(group: typer.Typer) -> None:
    """Add these commands to `groat net`."""
    command(group, "partition")(split)
    command(group, "heal")(mend)


async def split(session: Session, sides: Sides) -> None:
    """Cut all lines between the sides of a dev network, until `groat net heal`.

    Quote the argument, for | means something to the shell: groat net partition '1,2|3,4'.
    """
    network = LocalNetwork(session.folder)
    chosen = sides_of(network, sides)
    partition(network, chosen)
    await _applied(session, network)
    session.out.note("split: " + " | ".join(", ".join(side) for side in chosen))


async def mend(session: Session) -> None:
    """Make a split network whole again."""
    network = LocalNetwork(session.folder)
    heal(network)
    await _applied(session, network)


async def _applied(session: Session, network: LocalNetwork) -> None:
    """Wait until every running node says what it was told, and show it."""
    wanted = cut_lines(network)
    urls = {one.http_url: one.name for one in network.nodes if one.state is State.RUNNING}
    deadline = time.monotonic() + APPLY_SECONDS_MAX
    async with session.api() as api:
        while True:
            statuses = {
                urls[url]: one for url, one in (await api.statuses()).items() if url in urls
            }
            late = [
                name
                for name, status in statuses.items()
                if not isinstance(status, dict) or status.get("cut") != list(wanted[name])
            ]
            if not late:
                break
            if time.monotonic() > deadline:
                raise NodeFailure("NODE_SILENT", f"{', '.join(late)} did not follow; see its log")
            await asyncio.sleep(POLL_SECONDS)
            tell(network.select(late))
    rows = [
        {"node": one.name, "state": str(one.state), "cut_from": list(wanted[one.name])}
        for one in network.nodes
    ]
    session.out.table(rows, ("node", "state", "cut_from"))
