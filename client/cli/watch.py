"""`groat watch`: what becomes final, as it happens, over every break of the connection."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from client.cli.session import Session, command
from node.protocol.errors import Misconfigured

KINDS = ("block", "tx", "event")


def register(app: typer.Typer) -> None:
    """Add this command."""
    command(app, "watch")(watch)


async def watch(
    session: Session,
    kinds: Annotated[
        str, typer.Option("--type", help="Some of block,tx,event; comma-separated.")
    ] = "block,tx,event",
    after: Annotated[
        str | None, typer.Option("--after", help="Resume behind this event id, such as 812.3.")
    ] = None,
    contract: Annotated[
        str | None, typer.Option("--contract", help="Only events of this contract.")
    ] = None,
    key: Annotated[
        str | None, typer.Option("--key", help="Who watches: see what this key may see.")
    ] = None,
    count: Annotated[
        int | None, typer.Option("--count", min=1, help="End after that many.")
    ] = None,
) -> None:
    """Print blocks, transactions and events as they become final, until Ctrl-C."""
    wanted = [kind for kind in kinds.split(",") if kind]
    if not wanted or not set(wanted) <= set(KINDS):
        raise Misconfigured("USAGE", f"--type takes some of {','.join(KINDS)}")
    viewer = session.key(key)
    seen = 0
    async with session.api() as api:
        async for event in api.events(kinds=wanted, after=after, contract=contract, viewer=viewer):
            row = {"cursor": event.id, "type": event.kind, **event.data}
            session.out.line(row, _line(event.id, event.kind, event.data))
            seen += 1
            if seen == count:
                return


def _line(cursor: str, kind: str, data: dict[str, Any]) -> str:
    match kind:
        case "block":
            return (
                f"{cursor:<10} block  {data.get('time')}  {data.get('transactions')} transactions"
                f"  state {str(data.get('state_root'))[:16]}…"
            )
        case "tx":
            return f"{cursor:<10} tx     {data.get('id')}  {data.get('code')}"
        case _:
            fields = " ".join(f"{name}={value}" for name, value in data.get("data", {}).items())
            return f"{cursor:<10} event  {data.get('contract')}.{data.get('name')}  {fields}"
