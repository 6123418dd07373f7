"""`groat prepaid …`: what people do with prepaid cards beside calls and queries.

`book` is `call prepaid consume` for a bookkeeper, with the holder's ticket. `statement` shows a
card's statement, proved, and exports it; `verify` checks an exported one without any network.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from client.cli.calls import FREE_FIELDS, Wait, call
from client.cli.session import Session, command
from client.folder import read_given
from node.protocol.errors import Misconfigured, Refused
from node.protocol.genesis import Genesis
from node.protocol.json_view import bytes_from_json, time_to_json

if TYPE_CHECKING:
    from client.statement import Statement

CARD_BYTES = 16
COLUMNS = ("number", "kind", "seq", "initial", "amount", "money", "remaining", "time_ms", "reason")


def register(app: typer.Typer) -> None:
    """Add these commands."""
    group = typer.Typer(help="Prepaid cards: booking and statements.", no_args_is_help=True)
    app.add_typer(group, name="prepaid")
    usage = "[--card ID --amt N --seq N] [OPTIONS]"
    command(group, "book", options_metavar=usage, context_settings=FREE_FIELDS)(book)
    command(group, "statement")(statement)
    command(group, "verify")(verify)


async def book(
    session: Session,
    key: Annotated[str, typer.Option("--key", help="Who books: the bookkeeper's key.")],
    ticket: Annotated[
        str | None,
        typer.Option("--ticket", help="The holder's ticket, a file of `groat -o json ticket`."),
    ] = None,
    ticket_from: Annotated[
        str | None, typer.Option("--ticket-from", help="Sign the ticket with this key.")
    ] = None,
) -> None:
    """Book a visit: sealed, with the holder's consent, final on every node.

    With `--ticket FILE` (or `-`) it books what the holder signed; otherwise give the fields and
    `--ticket-from`.
    """
    if (ticket is None) == (ticket_from is None):
        raise Misconfigured("USAGE", "give the holder's --ticket, or --ticket-from and the fields")
    args = None
    if ticket is not None:
        args = (
            sys.stdin.read() if ticket == "-" else read_given(Path(ticket)).decode(errors="replace")
        )
    await call(
        session,
        "prepaid",
        "consume",
        key=key,
        args=args,
        seal=True,
        wait=Wait.COMMIT,
        ticket_from=ticket_from,
    )


async def statement(
    session: Session,
    card: Annotated[str, typer.Option("--card", help="The card's id.")],
    key: Annotated[str, typer.Option("--key", help="Who asks: holder, merchant or regulator.")],
    export: Annotated[
        Path | None, typer.Option("--export", help="Write it with its proof to this file.")
    ] = None,
) -> None:
    """A card's statement, every line proved against genesis."""
    from client import statement as statements

    try:
        wanted = bytes_from_json(card, "card", CARD_BYTES)
    except Refused as refusal:
        raise Misconfigured("USAGE", refusal.message) from None
    async with session.api() as api:
        found = await statements.fetch(api, session.folder, wanted, session.key(key))
    if export is not None:
        statements.export(found, session.folder, export)
    _print(session, found)
    if export is not None:
        session.out.note(f"wrote {export}; check it with: groat prepaid verify {export}")


async def verify(
    session: Session,
    file: Annotated[Path, typer.Argument(metavar="FILE", help="An exported statement.")],
    genesis: Annotated[
        Path | None, typer.Option("--genesis", help="The network's genesis file.")
    ] = None,
) -> None:
    """Check an exported statement against the genesis file alone; no node is asked."""
    from client import statement as statements

    founding = session.folder.genesis if genesis is None else Genesis.load(genesis)
    _print(session, await statements.verify(file, founding))


def _print(session: Session, found: Statement) -> None:
    from client.statement import card_rows

    if not session.out.for_people:
        height = str(found.proven.height)
        session.out.json({"height": height, "card": found.card, "lines": found.lines})
        return
    session.out.record(card_rows(found))
    session.out.table(found.lines, COLUMNS)
    when = time_to_json(found.proven.time_ms)
    session.out.note(f"verified against genesis: block {found.proven.height} of {when}")
