"""`groat connector …`: programs that join the outside world to the chain.

A connector's file is TOML: `key` signs the reports, `webhook` is told of the events under `[[on]]`,
`secret_file` holds the webhook's secret and `journal` what was done. The keeper needs no file.
"""

from __future__ import annotations

import secrets
import time
import tomllib
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from pydantic import Field, ValidationError

from client.cli.output import log_to_stderr
from client.cli.session import Session, command
from client.folder import read_file
from client.interface import Schema
from client.journal import Journal
from node.protocol.errors import Misconfigured
from node.protocol.keystore import read_private_file, write_private_file
from node.protocol.settings import Settings, ShortName, misconfigured

if TYPE_CHECKING:
    from client.keeper import Sweep
    from node.protocol.keys import PrivateKey

ENTRIES_DEFAULT = 20
INTERVAL_SECONDS = 60.0
INTERVAL_SECONDS_MIN = 0.1
SECRET_BYTES = 32

File = Annotated[Path, typer.Argument(metavar="FILE", help="The connector's TOML file.")]


class TriggerSettings(Settings):
    """An event to react to."""

    contract: Annotated[str, Field(min_length=1, max_length=64)]
    event: Annotated[str, Field(min_length=1, max_length=64)]


class ConnectorSettings(Settings):
    """See the module; paths are relative to the file."""

    key: ShortName
    webhook: Annotated[str, Field(pattern=r"^https?://\S{1,2000}$")]
    secret_file: str
    journal: str
    on: Annotated[list[TriggerSettings], Field(min_length=1, max_length=64)]
    sealed: bool = True


def register(app: typer.Typer) -> None:
    """Add these commands."""
    group = typer.Typer(
        help="Programs that join the outside world to the chain.", no_args_is_help=True
    )
    app.add_typer(group, name="connector")
    command(group, "run")(run)
    command(group, "log")(show_log)
    command(group, "secret")(make_secret)
    command(group, "keeper")(keep)


async def run(session: Session, file: File) -> None:
    """React to final events until Ctrl-C: tell the webhook, report its answer on chain."""
    from client.connector import Connector, Trigger, webhook_handler
    from client.webhook import Webhook, parse_secret

    log_to_stderr()
    settings = _settings(file)
    key = session.folder.wallet.open(settings.key)
    secret = parse_secret(
        read_private_file(file.parent / settings.secret_file).decode("ascii", "replace")
    )
    interface = session.folder.interface
    triggers = [Trigger(one.contract, one.event) for one in settings.on]
    for trigger in triggers:
        if trigger.event not in interface.get(trigger.contract, {}).get("events", ()):
            raise Misconfigured(
                "BAD_CONFIG", f"{file}: {trigger.contract} has no event {trigger.event}"
            )
    async with session.api() as network, Webhook(settings.webhook, secret) as webhook:
        with _journal(session, file, settings, key) as journal:
            handler = webhook_handler(webhook, interface, lambda: int(time.time()))
            connector = Connector(network, key, journal, triggers, handler, sealed=settings.sealed)
            session.out.note(f"{settings.key} follows from block {journal.height} on; Ctrl-C ends")
            await connector.run()


def show_log(
    session: Session,
    file: File,
    count: Annotated[int, typer.Option("--count", min=1, max=10_000)] = ENTRIES_DEFAULT,
) -> None:
    """What a stopped connector did last, newest first."""
    settings = _settings(file)
    key = session.folder.wallet.open(settings.key)
    with _journal(session, file, settings, key) as journal:
        rows = [
            {"event": one.event, "reported": bool(one.raw), "outcome": one.outcome or "OPEN"}
            for one in journal.entries(count)
        ]
    session.out.table(rows, ("event", "reported", "outcome"))


def make_secret(
    session: Session, path: Annotated[Path, typer.Argument(metavar="FILE", help="A new file.")]
) -> None:
    """Make a webhook's secret, for the connector and for whoever receives."""
    from client.webhook import format_secret

    write_private_file(path, format_secret(secrets.token_bytes(SECRET_BYTES)) + "\n")
    session.out.note(f"wrote {path}; only its owner may read it")


async def keep(
    session: Session,
    key: Annotated[str, typer.Option("--key", help="Who signs: any registered key.")],
    interval: Annotated[
        float, typer.Option("--interval", min=INTERVAL_SECONDS_MIN, help="Seconds between rounds.")
    ] = INTERVAL_SECONDS,
    once: Annotated[bool, typer.Option("--once", help="One round, then end.")] = False,
) -> None:
    """Book what has expired: all sweeps of all contracts, until Ctrl-C."""
    from client.keeper import Keeper

    log_to_stderr()
    signer = session.folder.wallet.open(key)
    sweeps = sweeps_of(session.folder.interface)
    async with session.api() as network:
        keeper = Keeper(network, signer, sweeps, interval)
        if not once:
            await keeper.run()
        rows = [
            {"contract": one.contract, "sweep": one.action, "pages": await keeper.sweep(one)}
            for one in sweeps
        ]
    session.out.table(rows, ("contract", "sweep", "pages"))


def sweeps_of(interface: Schema) -> list[Sweep]:
    """The actions that anybody may send, that need no argument, and that take a `limit`."""
    from client.keeper import Sweep

    return [
        Sweep(contract, name, {})
        for contract, content in interface.items()
        for name, action in content.get("actions", {}).items()
        if not action.get("roles")
        and not action["args"].get("required")
        and "limit" in action["args"].get("properties", {})
    ]


def _journal(session: Session, file: Path, settings: ConnectorSettings, key: PrivateKey) -> Journal:
    owner = f"{session.folder.genesis.hash.hex()}/{key.public_key.hex()}"
    return Journal(file.parent / settings.journal, owner)


def _settings(file: Path) -> ConnectorSettings:
    try:
        content = tomllib.loads(read_file(file).decode())
    except ValueError as error:
        raise Misconfigured("BAD_CONFIG", f"{file}: {error}") from None
    try:
        return ConnectorSettings.model_validate(content)
    except ValidationError as error:
        raise misconfigured(error, str(file)) from None
