"""`groat net add-node`, `remove-node`, `rotate-epoch`: changes of the committee while it runs."""

from __future__ import annotations

from typing import Annotated

import typer

from client.cli.session import Session, command

NewName = Annotated[str, typer.Argument(metavar="NAME", help="A name that no node has yet.")]
OldName = Annotated[str, typer.Argument(metavar="NAME", help="The node's name or number.")]
ReasonOption = Annotated[str, typer.Option("--reason", help="What is recorded on chain as why.")]
AddressOption = Annotated[
    str, typer.Option(help="HOST:PORT for other nodes.  [default: the next free port]")
]
HttpOption = Annotated[str, typer.Option(help="HOST:PORT for people.  [default: the port after]")]


def register(group: typer.Typer) -> None:
    """Add these commands to `groat net`."""
    command(group, "add-node")(add_node)
    command(group, "remove-node")(remove_node)
    command(group, "rotate-epoch")(rotate_epoch)


async def add_node(
    session: Session,
    name: NewName,
    address: AddressOption = "",
    http: HttpOption = "",
    reason: ReasonOption = "a further node",
    observe: Annotated[
        bool, typer.Option("--observe", help="Only follow the chain, do not vote.")
    ] = False,
) -> None:
    """Add a validator to a running local network: it catches up first, then votes.

    This acts as two administrators, whose keys must be in the network's folder.
    """
    from client import membership

    note = session.out.note
    done = await membership.add_node(
        session.folder, name, address, http, reason, note, observe=observe
    )
    session.out.record(done)


async def remove_node(
    session: Session, name: OldName, reason: ReasonOption = "no longer needed"
) -> None:
    """Remove a node from a running local network and stop it; its folder is kept."""
    from client import membership

    session.out.record(await membership.remove_node(session.folder, name, reason, session.out.note))


async def rotate_epoch(
    session: Session,
    reason: ReasonOption = "routine",
    timeout_seconds: Annotated[
        float, typer.Option("--timeout", min=0, help="Seconds to wait for acknowledgements.")
    ] = 30.0,
) -> None:
    """Give a running local network's committee a new key, to which calls are sealed from then on.

    This acts as two administrators and waits until every validator has acknowledged.
    """
    from client import epochs, governance

    folder, note = session.folder, session.out.note
    keys = governance.administrator_keys(folder.genesis, folder.wallet)
    async with session.api() as api:
        boss = governance.Administrators(api, *keys)
        shown = await epochs.rotate_epoch(api, boss, reason, note, timeout_seconds)
    fields = ("epoch", "epoch_key", "first_height", "previous", "previous_until_ms")
    session.out.record({name: shown[name] for name in fields})
