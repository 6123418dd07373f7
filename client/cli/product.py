"""`groat product …`: pack a digital product, look at it, sell it, buy and open it.

A code is a file, or pictures of its QR symbols; every command takes either.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from client.cli.output import log_to_stderr
from client.cli.session import Session, command
from client.folder import read_file
from client.journal import Journal
from node.protocol.encoding import Value
from node.protocol.errors import Misconfigured, Refused
from node.protocol.json_view import bytes_from_json, to_json
from node.protocol.keystore import read_private_file, write_private_file
from node.protocol.transaction import Call

if TYPE_CHECKING:
    from client.product.code import Code
    from client.product.packing import AgentShares
    from node.protocol.keys import PrivateKey

CONTRACT = "licensing"
CODE_FILE = "product.code"
PUBLISH_FILE = "publish.json"
SHARES_SUFFIX = ".shares"
SYMBOLS_DRAWN_MAX = 64
OPEN_SECONDS = 30.0

Key = Annotated[str, typer.Option("--key", help="Who signs: a key's name.")]
Files = Annotated[
    list[Path], typer.Argument(metavar="CODE…", help="The code's file, or pictures of its symbols.")
]
Out = Annotated[Path, typer.Option("--out", help="A new folder for what is written.")]


def register(app: typer.Typer) -> None:
    """Add these commands."""
    group = typer.Typer(help="Digital products and their codes.", no_args_is_help=True)
    app.add_typer(group, name="product")
    command(group, "pack")(pack)
    command(group, "inspect")(look)
    command(group, "scan")(look)
    command(group, "publish")(publish)
    command(group, "buy")(buy)
    command(group, "open")(unlock)
    command(group, "agent")(agent)


def pack(
    session: Session,
    terms_file: Annotated[Path, typer.Argument(metavar="TERMS", help="The product's TOML file.")],
    key: Key,
    out: Out,
) -> None:
    """Make the integration code of a product: file, QR symbols, and a share for each agent."""
    from client.product import packing, symbols, terms

    given = terms.load(terms_file)
    wallet = session.folder.wallet
    attributes = terms.attributes_of(
        given, session.folder.genesis.chain, lambda name: wallet.entry(name).public_key
    )
    files = terms.files_of(given, terms_file.parent)
    packed = packing.pack(session.folder.genesis.chain, wallet.open(key), attributes, files)
    needed = -(-len(packed.code.raw) // symbols.PAYLOAD_BYTES_MAX)
    drawn = packing.draw(packed.code) if needed <= SYMBOLS_DRAWN_MAX else []
    _make_folder(out)
    (out / CODE_FILE).write_bytes(packed.code.raw)
    for number, picture in enumerate(drawn, 1):
        (out / f"symbol-{number:02}.png").write_bytes(picture)
    if len(drawn) > 1:
        (out / "symbols.gif").write_bytes(symbols.animate(drawn))
    for public_key, sealed in packed.shares.items():
        write_private_file(out / f"{public_key.hex()}{SHARES_SUFFIX}", sealed)
    call = to_json(terms.publication(given, packed))
    (out / PUBLISH_FILE).write_text(json.dumps(call, indent=1) + "\n")
    row = {
        "folder": str(out),
        "code_hash": packed.code.hash.hex(),
        "bytes": len(packed.code.raw),
        "symbols": len(drawn),
        "agents": len(packed.shares),
    }
    session.out.record(row)
    if not drawn:
        session.out.note(f"{needed} symbols would be too many to show; hand on {CODE_FILE}")
    session.out.note(f"next: groat product publish {out} --key {key}")


def look(session: Session, files: Files) -> None:
    """Read a code, check its seller's signature, and list its three parts."""
    from client.product.terms import shown

    session.out.record(shown(_code(session, files)))


async def publish(
    session: Session,
    folder: Annotated[Path, typer.Argument(metavar="FOLDER", help="What `pack` wrote.")],
    key: Key,
) -> None:
    """Offer a packed product on chain."""
    from client.interface import arguments_of_json, find

    operation = find(session.folder.interface, "actions", CONTRACT, "publish")
    args = arguments_of_json(operation, read_file(folder / PUBLISH_FILE).decode())
    await _send(session, key, "publish", args)
    session.out.note("next: groat product agent FOLDER --key AGENT, for each of the agents")


async def buy(
    session: Session,
    files: Files,
    key: Key,
    degree: Annotated[int, typer.Option("--degree", min=1, max=3, help="Which degree.")] = 1,
    pay: Annotated[
        bool, typer.Option("--pay/--no-pay", help="Pay on chain, out of the buyer's own money.")
    ] = False,
) -> None:
    """Buy what a code sells: checks the seller's signature, and asks for or makes the payment."""
    from client.product.opening import request_call

    code = _code(session, files)
    signer = session.folder.wallet.open(key)
    request, call = request_call(code, degree, signer)
    calls = [call]
    if pay:
        price = code.content.attributes.degrees[degree - 1].price
        args: dict[str, Value] = {"request": request, "payment": request, "amt": price}
        calls.append(Call(CONTRACT, "pay", args))
    async with session.api() as network:
        outcome = (await network.transact(signer, calls)).require()
    details = outcome.details if not pay else outcome.details["calls"][0]
    session.out.record({"request": request.hex(), "paid": pay, **details})
    session.out.note(f"next: groat product open … --request {request.hex()} --key {key} --out DIR")


async def unlock(
    session: Session,
    files: Files,
    key: Key,
    request: Annotated[str, typer.Option("--request", help="The purchase's id.")],
    out: Out,
    wait_seconds: Annotated[
        float, typer.Option("--timeout", min=0, max=3_600, help="Seconds to wait for the agents.")
    ] = OPEN_SECONDS,
) -> None:
    """Open a product that was bought: proves the confirmation and runs the code's program."""
    from client.product.opening import open_product

    code = _code(session, files)
    buyer = session.folder.wallet.open(key)
    confirmed = await _confirmed(session, request, buyer, wait_seconds)
    outputs = open_product(code, confirmed, buyer)
    _make_folder(out)
    for name, content in outputs:
        (out / Path(name).name).write_bytes(content)
    row = {
        "folder": str(out),
        "degree": confirmed.degree,
        "files": [Path(name).name for name, _ in outputs],
        "proved_at_height": str(confirmed.height),
    }
    session.out.record(row)


async def _confirmed(session: Session, request: str, buyer: PrivateKey, wait_seconds: float) -> Any:
    """The proved confirmation, once the agents have opened the degree."""
    import asyncio
    import time

    from client.product.opening import confirmation

    identity = bytes_from_json(request, "request", 16)
    deadline = time.monotonic() + wait_seconds
    async with session.api() as network:
        while True:
            try:
                return await confirmation(network, session.folder.interface, identity, buyer)
            except Refused as refusal:
                if refusal.code != "DEGREE_LOW" or time.monotonic() >= deadline:
                    raise
            await asyncio.sleep(0.5)


async def agent(
    session: Session,
    folders: Annotated[
        list[Path], typer.Argument(metavar="FOLDER…", help="Folders with shares for this key.")
    ],
    key: Key,
    journal: Annotated[Path, typer.Option("--journal", help="Where to keep what was done.")],
) -> None:
    """Be a release agent until Ctrl-C: give buyers their shares once the chain confirms."""
    from client.connector import Connector
    from client.product.agent import CONFIRMED, ReleaseAgent

    log_to_stderr()
    signer = session.folder.wallet.open(key)
    shares = _shares(session, folders, signer)
    if not shares:
        raise Misconfigured("NO_SHARES", f"no shares for {key} in these folders; see `pack`")
    owner = f"{session.folder.genesis.hash.hex()}/{signer.public_key.hex()}"
    async with session.api() as network:
        with Journal(journal, owner) as kept:
            session.out.note(f"{key} releases {', '.join(sorted(shares))}; Ctrl-C ends")
            await Connector(network, signer, kept, [CONFIRMED], ReleaseAgent(shares)).run()


def _shares(session: Session, folders: list[Path], signer: PrivateKey) -> dict[str, AgentShares]:
    """The agent's own shares in these folders, by product."""
    from client.product.packing import open_shares

    found = {}
    for folder in folders:
        path = folder / f"{signer.public_key.hex()}{SHARES_SUFFIX}"
        if path.exists():
            code = _code(session, [folder / CODE_FILE])
            kept = open_shares(signer, code.hash, read_private_file(path))
            found[kept.product] = kept
    return found


def _code(session: Session, files: list[Path]) -> Code:
    from client.product.packing import scan

    return scan(session.folder.genesis.chain, [read_file(path) for path in files])


async def _send(session: Session, key: str, action: str, args: dict[str, Value]) -> None:
    signer = session.folder.wallet.open(key)
    async with session.api() as network:
        outcome = (await network.transact(signer, [Call(CONTRACT, action, args)])).require()
    session.out.record({"id": outcome.id, "height": outcome.height, **outcome.details})


def _make_folder(path: Path) -> None:
    try:
        path.mkdir(parents=True)
    except OSError as error:
        raise Misconfigured("EXISTS", f"{path}: {error.strerror}; name a new folder") from None
