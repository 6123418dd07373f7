"""`groat key …`: the encrypted keys of the network's folder."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Annotated

import typer

from client.cli.session import Session, command
from client.wallet import KeyEntry, Wallet, check_private
from node.protocol.errors import Misconfigured
from node.protocol.json_view import to_json
from node.protocol.keys import PrivateKey
from node.protocol.keystore import KEYSTORE_BYTES_MAX, write_private_file

Name = Annotated[str, typer.Argument(help="The key's name: a-z 0-9 . _ -")]
PemOption = Annotated[
    Path, typer.Option("--pem", help="An unencrypted EC private key in PEM, mode 0600.")
]


def register(app: typer.Typer) -> None:
    """Add these commands."""
    group = typer.Typer(help="Keys, encrypted at rest.", no_args_is_help=True)
    app.add_typer(group, name="key")
    command(group, "new")(new)
    command(group, "list")(list_keys)
    command(group, "show")(show)
    command(group, "import")(import_key)
    command(group, "export")(export_key)
    command(group, "epoch")(epoch)


def new(session: Session, name: Name) -> None:
    """Make a key and encrypt it under a password."""
    _print(session, session.folder.wallet.store(name, PrivateKey.generate()))


def list_keys(session: Session) -> None:
    """All keys, with the roles that genesis gives them."""
    roles = _genesis_roles(session)
    rows = [
        {
            "name": entry.name,
            "kind": entry.kind,
            "public_key": entry.public_key or None,
            "roles": roles.get(entry.public_key, []),
        }
        for entry in session.folder.wallet.entries()
    ]
    session.out.table(rows, ("name", "public_key", "roles"))


def show(session: Session, name: Name) -> None:
    """A key's public half; no password needed."""
    _print(session, session.folder.wallet.entry(name))


def import_key(session: Session, name: Name, pem: PemOption) -> None:
    """Encrypt a key that another program made (OpenSSL: ecparam -name secp256k1 -genkey)."""
    _print(session, session.folder.wallet.store(name, PrivateKey.from_pem(_read_pem(pem))))


def export_key(
    session: Session,
    name: Name,
    pem: Annotated[
        Path | None, typer.Option("--pem", help="Where to write the key, UNENCRYPTED; guard it.")
    ] = None,
    public: Annotated[
        bool, typer.Option("--public", help="Print the line for [identities] of network.toml.")
    ] = False,
) -> None:
    """Give a key to another program as PEM, or its public half to the founder of a network."""
    wallet: Wallet = session.folder.wallet
    if public == (pem is not None):
        raise Misconfigured("USAGE", "give either --public, or --pem FILE for the private key")
    if pem is None:
        public_key = wallet.entry(name).public_key
        if not public_key:
            raise Misconfigured("BAD_KEYSTORE", f"{name} is a seed and has no public half")
        # A bare TOML key may not hold a dot.
        quoted = f'"{name}"' if "." in name else name
        session.out.line({"name": name, "public_key": public_key}, f'{quoted} = "{public_key}"')
        return
    key = wallet.open(name)
    write_private_file(pem, key.to_pem())
    session.out.note(f"{pem} holds the key unencrypted; move it to a safe place")
    _print(session, wallet.entry(name))


async def epoch(
    session: Session,
    without: Annotated[
        str, typer.Option("--without", help="A node that shall not get it: its name or number.")
    ] = "",
) -> None:
    """Make the committee's next key, sealed to each node, for `groat call kernel rotate_epoch`.

    Or for `remove_validator` and `replace_validator`, --without the node that goes.
    """
    from client.epochs import prepare_epoch

    gone = session.folder.endpoint(without).public_key if without else ""
    async with session.api() as api:
        made = to_json((await prepare_epoch(api, gone)).arguments)
    words = f"--epoch {made['epoch']} --epoch-key {made['epoch_key']}"
    session.out.line(made, f"{words} --wraps '{json.dumps(made['wraps'])}'")


def _print(session: Session, entry: KeyEntry) -> None:
    session.out.record(
        {
            "name": entry.name,
            "kind": entry.kind,
            "public_key": entry.public_key or None,
            "roles": _genesis_roles(session).get(entry.public_key, []),
            "file": str(entry.path),
        }
    )


def _genesis_roles(session: Session) -> dict[str, list[str]]:
    if not session.folder.exists:
        return {}
    return {entry.public_key: list(entry.roles) for entry in session.folder.genesis.identities}


def _read_pem(path: Path) -> str:
    try:
        check_private(path)
        with path.open("rb") as file:
            content = file.read(KEYSTORE_BYTES_MAX + 1)
    except OSError as error:
        raise Misconfigured("NO_FILE", f"{path}: {os.strerror(error.errno or 0)}") from None
    if len(content) > KEYSTORE_BYTES_MAX:
        raise Misconfigured("BAD_KEY", f"{path} is too large for a key in PEM")
    try:
        return content.decode("ascii")
    except UnicodeDecodeError:
        raise Misconfigured("BAD_KEY", f"{path} is not PEM") from None
