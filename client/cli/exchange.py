"""`groat exchange …`: what the exchange asks of a program beside its calls, sealing and opening.

A peripheral delivers a file, a person opens what was delivered. All else is `groat call exchange`.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from client.cli.calls import print_outcome
from client.cli.session import Session, command
from client.delivery import PRODUCT_BYTES_MAX, delivery_of, receive
from client.folder import read_given
from node.protocol.errors import Misconfigured
from node.protocol.json_view import bytes_from_json

ORDER_BYTES = 16

Order = Annotated[str, typer.Argument(metavar="ORDER", help="The order's id.")]


def register(app: typer.Typer) -> None:
    """Add these commands."""
    group = typer.Typer(help="Deliver products and open them.", no_args_is_help=True)
    app.add_typer(group, name="exchange")
    command(group, "deliver")(deliver)
    command(group, "product")(product)


async def deliver(
    session: Session,
    order: Order,
    file: Annotated[Path, typer.Argument(metavar="FILE", help="The product; `-` reads it.")],
    key: Annotated[str, typer.Option("--key", help="Who delivers: the peripheral's key.")],
) -> None:
    """Seal a product to whoever ordered it and book the delivery."""
    identity = bytes_from_json(order, "order", ORDER_BYTES)
    piped = str(file) == "-"
    content = sys.stdin.buffer.read(PRODUCT_BYTES_MAX + 1) if piped else read_given(file)
    signer = session.folder.wallet.open(key)
    async with session.api() as api:
        outcome = await api.transact(
            signer,
            [await delivery_of(api, signer, identity, content)],
            on_signed=lambda transaction: session.out.note(f"transaction {transaction.id.hex()}"),
        )
        print_outcome(session, outcome)
        outcome.require()


async def product(
    session: Session,
    order: Order,
    key: Annotated[str, typer.Option("--key", help="Who opens it: the reading key's name.")],
    viewer: Annotated[
        str | None, typer.Option("--as", help="Who ordered it, where another key reads.")
    ] = None,
    to: Annotated[Path | None, typer.Option("--to", help="Write it to this file.")] = None,
) -> None:
    """Open a delivered product, and check it against the receipt, proved from genesis."""
    identity = bytes_from_json(order, "order", ORDER_BYTES)
    reader = session.folder.wallet.open(key)
    person = reader if viewer is None else session.folder.wallet.open(viewer)
    async with session.api() as api:
        found = await receive(api, session.folder.interface, identity, person, reader)
    content = found.product
    session.out.note(
        f"{len(content)} bytes, as the receipt of {found.peripheral[:16]}… says, "
        f"verified at block {found.height}"
    )
    if to is not None:
        _write(to, content)
    text = _text_of(content)
    if not session.out.for_people:
        shown = {"text": text} if text is not None else {"hex": content.hex()}
        session.out.json({"order": order, **shown, "transaction": found.transaction})
    elif to is None:
        for line in (content.hex() if text is None else text).splitlines():
            session.out.line({}, line)


def _write(path: Path, content: bytes) -> None:
    try:
        path.write_bytes(content)
    except OSError as error:
        raise Misconfigured("NO_FILE", f"{path}: {error.strerror}") from None


def _text_of(content: bytes) -> str | None:
    try:
        return content.decode()
    except UnicodeDecodeError:
        return None
