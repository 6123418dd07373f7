"""`groat headset …`: what a headset would show, in a terminal.

Orders are made here; approvals are given on a trusted terminal, or by password under a mandate.
Results come by themselves.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from client.cli.session import Session, command
from node.protocol.errors import Refused
from node.protocol.json_view import bytes_from_json

if TYPE_CHECKING:
    from client.payments.headset import Headset, Ordered

ID_BYTES = 16
WAIT_SECONDS = 900.0
WAIT_SECONDS_MAX = 86_400.0

Key = Annotated[str, typer.Option("--key", help="The user's key, by name.")]
Service = Annotated[str, typer.Option("--passwords", help="The pay service's URL.")]
Pages = Annotated[str, typer.Option("--pages", help="The page server's URL.")]


def register(app: typer.Typer) -> None:
    """Add these commands."""
    group = typer.Typer(help="A headset in a terminal.", no_args_is_help=True)
    app.add_typer(group, name="headset")
    command(group, "trust")(trust)
    command(group, "password")(password)
    command(group, "pay")(pay)


async def trust(session: Session, key: Key, pages: Pages) -> None:
    """Trust a phone: show an address as QR, compare two numbers, confirm."""
    import segno

    from client.payments.headset import Headset
    from client.payments.pages import pairing_code

    async with session.api() as network:
        headset = Headset(network, session.folder.wallet.open(key))
        pairing = await headset.pairing(pages)
        segno.make(pairing.address, error="l").terminal(compact=True)
        session.out.note(f"open on the phone: {pairing.address}")
        consent = await headset.consent(pages, pairing)
        code = pairing_code(str(consent.get("terminal_pub")), pairing.challenge.hex())
        if not typer.confirm(f"Does the phone show {code}?"):
            raise Refused("NOT_CONFIRMED", "nothing was trusted; start again")
        await headset.bind(pairing, consent)
    session.out.record({"terminal": consent["terminal_pub"], "kind": consent["kind"]})


async def password(
    session: Session,
    key: Key,
    service: Service,
    change: Annotated[bool, typer.Option("--change", help="There is one already.")] = False,
) -> None:
    """Set the payment password at the pay service; it is asked for, never an argument."""
    from client.payments.headset import Headset

    old = typer.prompt("old password", hide_input=True) if change else ""
    new = typer.prompt("new password, six digits", hide_input=True, confirmation_prompt=True)
    async with session.api() as network:
        await Headset(network, session.folder.wallet.open(key)).set_password(service, old, new)
    session.out.note("the password is set")


async def pay(
    session: Session,
    key: Key,
    title: Annotated[str, typer.Option("--title", help="What is ordered.")],
    amt: Annotated[int, typer.Option("--amt", min=1, help="In minor units.")],
    payee: Annotated[str, typer.Option("--payee", help="Who is paid: a name or a key in hex.")],
    cur: Annotated[str, typer.Option("--cur", help="The currency.")] = "CNY",
    channel: Annotated[
        str | None, typer.Option("--channel", help="Without one the routing rules choose.")
    ] = None,
    mandate: Annotated[
        str | None, typer.Option("--mandate", help="Pay by password under this mandate.")
    ] = None,
    service: Annotated[
        str | None, typer.Option("--passwords", help="The pay service's URL, with --mandate.")
    ] = None,
    wait_seconds: Annotated[
        float, typer.Option("--timeout", min=1, max=WAIT_SECONDS_MAX, help="Seconds to wait.")
    ] = WAIT_SECONDS,
) -> None:
    """Order something, wait for the approval elsewhere, and go on as soon as it is paid."""
    import asyncio

    from client.errors import Pending
    from client.payments.headset import Headset

    if (mandate is None) != (service is None):
        raise Refused("BAD_ARG", "--mandate and --passwords go together", field="mandate")
    public_key = payee if len(payee) == 66 else session.folder.public_key(payee.removeprefix("@"))
    async with session.api() as network:
        headset = Headset(network, session.folder.wallet.open(key))
        to = bytes_from_json(public_key, "payee")
        ordered = await headset.order(title, amt, cur, to, channel)
        session.out.note(
            f"{title}: {amt} {cur} (minor units) by {ordered.channel}; {ordered.intent}"
        )
        if mandate is not None and service is not None:
            typed = typer.prompt("password", hide_input=True)
            granted = bytes_from_json(mandate, "mandate", ID_BYTES)
            await headset.charge(service, ordered.intent, granted, typed)
        try:
            async with asyncio.timeout(wait_seconds):
                state = await _follow(session, headset, ordered)
        except TimeoutError:
            raise Pending("PENDING", f"{ordered.intent} is not decided yet") from None
        await headset.acknowledge(ordered.intent)
    session.out.record({"intent": ordered.intent, "state": state})


async def _follow(session: Session, headset: Headset, ordered: Ordered) -> str:
    """Show what is pushed, until it is decided; the last state."""
    state = ""
    async for name, now in headset.events(ordered):
        session.out.note(f"{name}: {now}" if now else name)
        state = now or state
    return state
