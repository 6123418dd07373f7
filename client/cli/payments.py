"""`groat payments …`: the programs around payments on a headset.

A channel and the sandbox that it charges at, and the pay service. Each listens on this machine
alone; put a TLS proxy in front where others shall reach it.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from client.cli.session import Session, command
from node.protocol.errors import Misconfigured
from node.protocol.keystore import read_private_file

HOST = "127.0.0.1"
PORT_MAX = 65_535

Key = Annotated[str, typer.Option("--key", help="Who signs: a key's name.")]
Port = Annotated[int, typer.Option("--port", min=1, max=PORT_MAX, help="Where to listen.")]
Data = Annotated[Path, typer.Option("--data", help="A folder for what must be remembered.")]
Secret = Annotated[
    Path, typer.Option("--secret", help="What channel and provider share: `connector secret`.")
]


def register(app: typer.Typer) -> None:
    """Add these commands."""
    group = typer.Typer(help="Programs around payments on a headset.", no_args_is_help=True)
    app.add_typer(group, name="payments")
    command(group, "sandbox")(sandbox)
    command(group, "channel")(channel)
    command(group, "passwords")(passwords)
    command(group, "pages")(pages)


async def sandbox(
    session: Session,
    data: Data,
    port: Port,
    secret: Secret,
    notify: Annotated[str, typer.Option("--notify", help="The channel's URL for notices.")],
) -> None:
    """Be a payment provider that charges nobody, until Ctrl-C; POST /control lets it misbehave."""
    from client.payments.sandbox import Sandbox
    from client.payments.web import serving

    _make(data)
    provider = Sandbox(data / "books.sqlite", _secret(secret), notify)
    async with serving(provider.app(), HOST, port) as url:
        session.out.note(f"the sandbox listens at {url}; Ctrl-C ends")
        await _forever()


async def channel(
    session: Session,
    name: Annotated[str, typer.Argument(metavar="NAME", help="The channel's id on chain.")],
    key: Key,
    data: Data,
    port: Port,
    secret: Secret,
    provider: Annotated[str, typer.Option("--provider", help="The provider's URL.")],
    adapter: Annotated[str, typer.Option("--adapter", help="Its dialect: json or form.")] = "json",
    origin: Annotated[
        list[str] | None, typer.Option("--origin", help="Where pages that may call come from.")
    ] = None,
) -> None:
    """Be a payment channel until Ctrl-C: approvals in, charges at the provider, callbacks out."""
    from client.journal import Journal
    from client.payments.channel import Channel
    from client.payments.charges import Charges
    from client.payments.providers import ADAPTERS
    from client.payments.web import serving
    from client.webhook import format_secret

    if adapter not in ADAPTERS:
        raise Misconfigured("BAD_CONFIG", f"--adapter is one of {', '.join(ADAPTERS)}")
    signer, shared = session.folder.wallet.open(key), _secret(secret)
    owner = f"{session.folder.genesis.hash.hex()}/{signer.public_key.hex()}"
    charges = Charges(data / "charges.sqlite")
    async with session.api() as network, ADAPTERS[adapter](provider, format_secret(shared)) as to:
        one = Channel(network, session.folder.interface, name, signer, charges, to, shared)
        with Journal(data / "journal.sqlite", owner) as journal:
            async with serving(one.app(*(origin or [])), HOST, port) as url:
                session.out.note(f"{name} takes approvals at {url}/approvals; Ctrl-C ends")
                await one.run(journal)


async def passwords(
    session: Session,
    key: Key,
    data: Data,
    port: Port,
    pepper: Annotated[
        Path, typer.Option("--pepper", help="The pepper's file, made on first use; keep it apart.")
    ],
) -> None:
    """Be the pay service until Ctrl-C: set and check payment passwords."""
    from client.payments.passwords import PayService
    from client.payments.vault import Vault, pepper_of
    from client.payments.web import serving

    signer = session.folder.wallet.open(key)
    async with session.api() as network:
        with Vault(data / "passwords.sqlite", pepper_of(pepper)) as vault:
            service = PayService(network, session.folder.interface, signer, vault)
            async with serving(service.app(), HOST, port) as url:
                session.out.note(f"the pay service listens at {url}; Ctrl-C ends")
                await _forever()


async def pages(
    session: Session,
    key: Key,
    port: Port,
    origin: Annotated[
        list[str] | None, typer.Option("--origin", help="The page's address behind a proxy.")
    ] = None,
) -> None:
    """Be the page server until Ctrl-C: order pages on trusted terminals, pushed to them."""
    import asyncio

    from client.payments.pages import Pages
    from client.payments.web import serving

    signer = session.folder.wallet.open(key)
    own = [f"http://{HOST}:{port}", f"http://localhost:{port}", *(origin or [])]
    async with session.api() as network:
        server = Pages(network, session.folder.interface, signer)
        async with serving(server.app(*own), HOST, port) as url, asyncio.TaskGroup() as tasks:
            tasks.create_task(server.orders.keep_running())
            session.out.note(f"the order page is at {url}; Ctrl-C ends")


def _secret(path: Path) -> bytes:
    from client.webhook import parse_secret

    return parse_secret(read_private_file(path).decode("ascii", "replace"))


def _make(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    except OSError as error:
        raise Misconfigured("BAD_CONFIG", f"{folder}: {error.strerror}") from None


async def _forever() -> None:
    import asyncio

    await asyncio.Event().wait()
