"""`groat net code`: which versions of the contracts run, are to come, and are in this program."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Annotated, Any

import typer

from client import local
from client.cli.session import Session, command
from client.errors import Unproven
from node.protocol.genesis import interface_hash

if TYPE_CHECKING:
    from client.node_api import NodeApi

Json = dict[str, Any]


def register(group: typer.Typer) -> None:
    """Add this command to `groat net`."""
    command(group, "code")(code)


async def code(
    session: Session,
    fetch: Annotated[
        bool, typer.Option("--fetch", help="Keep the schema of what was upgraded, proved.")
    ] = False,
) -> None:
    """Show each contract's versions on chain, and whether this program holds them."""
    held = local.bundled_code()
    async with session.api() as api:
        if fetch:
            await _fetch(session, api)
        answer = await api.query("kernel", "code", {})
    rows = _on_chain(answer["result"]["items"], int(answer["height"]) + 1, held)
    known = {row["source_hash"] for row in rows}
    rows += [_row(one, "not on chain", "yes") for one in held if one["source_hash"] not in known]
    session.out.table(
        rows, ("contract", "state", "first_height", "here", "source_hash", "interface_hash")
    )


def _on_chain(items: list[Json], height: int, held: list[Json]) -> list[Json]:
    """The versions that the chain names, oldest first, each with its state at `height`."""
    here = {one["source_hash"]: one for one in held}
    rows = []
    for item, following in zip(items, [*items[1:], None], strict=True):
        replaced = (
            following is not None
            and following["contract"] == item["contract"]
            and int(following["first_height"]) <= height
        )
        state = "to come" if int(item["first_height"]) > height else "runs"
        found = here.get(item["source_hash"])
        shown = {**item, **(found or {})}
        rows.append(_row(shown, "ran" if replaced else state, "yes" if found else "NO"))
    return rows


def _row(one: Json, state: str, here: str) -> Json:
    return {**one, "first_height": one.get("first_height", ""), "state": state, "here": here}


async def _fetch(session: Session, api: NodeApi) -> None:
    """Keep the interface of each upgraded contract that runs now, if the chain proves it."""
    from client.connection import Request
    from client.upgrades import running_interface

    served = (await api.connection.ask(Request("GET", "/v1/contracts"))).body
    kept: Json = {}
    for name in session.folder.interface:
        wanted = await running_interface(api.verified, session.folder.founding_interface, name)
        if wanted is None:
            continue
        if interface_hash({name: served.get(name)}).hex() != wanted:
            raise Unproven("WRONG_INTERFACE", f"the node's interface of {name} is not the chain's")
        kept[name] = served[name]
    session.folder.upgraded_path.write_text(json.dumps(kept, indent=1) + "\n")
    session.out.note(f"upgraded: {', '.join(kept) or 'nothing yet'}")
