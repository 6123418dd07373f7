"""`groat block`, `balance` and `tx …`: what the network agreed on."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from client.cli.calls import TIMEOUT_DEFAULT, TimeoutOption, print_outcome
from client.cli.session import Session, command
from client.errors import NotFound
from node.protocol.errors import Misconfigured, Refused
from node.protocol.json_view import bytes_from_json, time_to_json, to_json

if TYPE_CHECKING:
    from client.node_api import NodeApi
    from node.protocol.keys import PrivateKey
    from node.protocol.transaction import Call, SealedCall, Transaction

ID_BYTES = 32
ACCOUNT_BYTES = 16
RAW_FILE_BYTES_MAX = 1 << 20
TRANSACTIONS_SHOWN_MAX = 100

Identity = Annotated[str, typer.Argument(metavar="ID", help="The transaction's id in hex.")]
KeyOption = Annotated[str | None, typer.Option("--key", help="Who asks: a key's name.")]
HeightArgument = Annotated[
    str, typer.Argument(metavar="HEIGHT", help="A height, a block id in hex, or `latest`.")
]


def register(app: typer.Typer) -> None:
    """Add these commands."""
    command(app, "block")(block)
    command(app, "balance")(balance)
    group = typer.Typer(help="Single transactions.", no_args_is_help=True)
    app.add_typer(group, name="tx")
    command(group, "get")(get)
    command(group, "wait")(wait)
    command(group, "decode")(decode)


async def block(
    session: Session,
    height: HeightArgument = "latest",
    transactions: Annotated[
        bool, typer.Option("--transactions", help="List its transactions too.")
    ] = False,
    key: KeyOption = None,
) -> None:
    """A final block, its certificate verified against genesis."""
    _check_reference(height)
    async with session.api() as api:
        certified = await api.verified.block(height)
        header = certified.header
        items: list[Any] = []
        if transactions:
            path = f"/v1/blocks/{header.height}/transactions"
            items = await _pages(api, path, session.key(key))
    names = {entry.public_key: entry.name for entry in session.folder.genesis.validators}
    names |= {one.public_key: one.name for one in session.folder.endpoints}
    seals = [seal.signer.hex() for seal in certified.certificate.seals]
    view: dict[str, Any] = {
        "id": header.id(session.folder.genesis.chain).hex(),
        **to_json(header),
        "time": time_to_json(header.time_ms),
        "proposer": names.get(header.proposer.hex(), header.proposer.hex()),
        "view": str(certified.certificate.view),
        "sealed_by": [names.get(signer, signer) for signer in seals],
        "verified": True,
    }
    if not session.out.for_people:
        session.out.json({**view, **({"transactions": items} if transactions else {})})
        return
    session.out.record(view)
    if transactions:
        rows = [{**item, "code": item.get("receipt", {}).get("code")} for item in items]
        session.out.table(rows, ("index", "id", "status", "code"))


async def balance(
    session: Session,
    account: Annotated[str, typer.Argument(metavar="ACCOUNT", help="The account's key in hex.")],
    height: Annotated[
        int | None, typer.Option("--height", min=0, help="After that block; left out: now.")
    ] = None,
    key: KeyOption = None,
) -> None:
    """An account's balances, now or after a past block, as one node says."""
    from client.connection import Request

    bytes_from_json(account, "account", ACCOUNT_BYTES)
    query = None if height is None else {"height": str(height)}
    async with session.api() as api:
        request = Request("GET", f"/v1/balances/{account}", query)
        session.out.record((await api.ask(request, session.key(key))).body)


async def get(
    session: Session,
    identity: Identity,
    key: KeyOption = None,
    verify: Annotated[
        bool, typer.Option("--verify", help="Check its receipt against genesis by a proof.")
    ] = False,
) -> None:
    """A transaction's state; its details need the --key of a party to it."""
    transaction_id = _identity(identity)
    viewer = session.key(key)
    async with session.api() as api:
        outcome = await api.outcome(transaction_id, viewer=viewer)
        if outcome.status == "unknown":
            raise NotFound("NOT_FOUND", f"no node knows {identity}")
        if verify:
            from client.verified import proven_outcome

            proven = await api.verified.receipt(transaction_id, viewer)
            outcome = proven_outcome(transaction_id, proven)
            session.out.note(f"verified against genesis: block {outcome.height}")
    print_outcome(session, outcome)


async def wait(
    session: Session,
    identity: Identity,
    key: KeyOption = None,
    timeout_seconds: TimeoutOption = TIMEOUT_DEFAULT,
) -> None:
    """Stay until a transaction is final."""
    transaction_id = _identity(identity)
    viewer = session.key(key)
    async with session.api() as api:
        outcome = await api.wait(transaction_id, timeout_seconds)
        if outcome.final and viewer is not None:
            outcome = await api.verified.outcome(transaction_id, viewer=viewer)
        print_outcome(session, outcome)
        if not outcome.final:
            await api.require_quorum()
    outcome.require()


async def decode(
    session: Session,
    source: Annotated[
        str, typer.Argument(metavar="ID", help="An id, a transaction's bytes in hex, or a file.")
    ],
    key: KeyOption = None,
) -> None:
    """What a transaction says; sealed calls open for --key, its sender or a named reader."""
    viewer = session.key(key)
    if len(source) != 2 * ID_BYTES:
        transaction = _parse_raw(session, source)
        session.out.record(_decoded(session, transaction, viewer))
        return
    async with session.api() as api:
        outcome = await api.outcome(_identity(source), viewer=viewer)
    if not outcome.final:
        raise NotFound("NOT_FOUND", f"{source} is not final, and only its sender has its bytes")
    view = outcome.view
    if session.out.for_people:
        view = {**view, "calls": [_readable(one) for one in view.get("calls", [])]}
    session.out.record(view)


def _readable(call: dict[str, Any]) -> dict[str, Any]:
    """A call without the ciphertext around it."""
    shown = ("kind", "epoch", "contract", "action", "args", "hidden")
    return {name: call[name] for name in shown if name in call}


def _identity(text: str) -> bytes:
    try:
        return bytes_from_json(text, "the id", ID_BYTES)
    except Refused as refusal:
        raise Misconfigured("BAD_ID", refusal.message) from None


def _check_reference(text: str) -> None:
    if text != "latest" and not (text.isascii() and text.isdecimal()):
        _identity(text)


async def _pages(api: NodeApi, path: str, viewer: PrivateKey | None) -> list[Any]:
    from client.connection import Request

    items: list[Any] = []
    after: str | None = None
    while True:
        query = {"limit": str(TRANSACTIONS_SHOWN_MAX), **({"after": after} if after else {})}
        body = (await api.ask(Request("GET", path, query), viewer)).body
        items += body.get("items", [])
        after = body.get("next")
        if after is None:
            return items


def _parse_raw(session: Session, source: str) -> Transaction:
    from node.protocol.transaction import parse_transaction

    path = Path(source)
    raw: bytes
    if len(source) < 256 and path.is_file():
        if path.stat().st_size > RAW_FILE_BYTES_MAX:
            raise Misconfigured("TOO_LARGE", f"{source} is larger than any transaction")
        raw = path.read_bytes()
    else:
        try:
            raw = bytes_from_json(source, "it")
        except Refused:
            raise Misconfigured("BAD_ID", "give an id, bytes in hex, or a file's name") from None
    return parse_transaction(session.folder.genesis.chain, raw)


def _decoded(
    session: Session, transaction: Transaction, viewer: PrivateKey | None
) -> dict[str, Any]:
    from node.protocol.transaction import verify_signature

    verify_signature(transaction)
    body = transaction.body
    return {
        "id": transaction.id.hex(),
        "content_hash": transaction.content_hash.hex(),
        "sender": body.sender.hex(),
        "nonce": body.nonce.hex(),
        "valid_until": time_to_json(body.valid_until),
        "calls": [
            _opened(session, transaction, index, call, viewer)
            for index, call in enumerate(body.calls)
        ],
        "signature": "valid",
    }


def _opened(
    session: Session,
    transaction: Transaction,
    index: int,
    call: Call | SealedCall,
    viewer: PrivateKey | None,
) -> dict[str, Any]:
    from node.protocol.sealing import open_as_reader
    from node.protocol.transaction import Call

    if isinstance(call, Call):
        return {"kind": "clear", **to_json(call)}
    shown: dict[str, Any] = {"kind": "sealed", "epoch": str(call.epoch)}
    shown["readers"] = [wrap.recipient.hex() for wrap in call.wraps]
    if viewer is None or viewer.public_key.hex() not in shown["readers"]:
        return shown
    body, chain = transaction.body, session.folder.genesis.chain
    place = (body.sender, body.nonce, body.valid_until, index)
    return {**shown, **to_json(open_as_reader(chain, viewer, call, *place))}
