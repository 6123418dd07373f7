"""`groat demo …`: the stories of the business areas, played on the running network.

Each shows the commands that a person would type, and ends by checking its own figures.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING

import typer

from client.cli.output import log_to_stderr
from client.cli.session import Session, command

if TYPE_CHECKING:
    from client.demo.stage import Stage


def register(app: typer.Typer) -> None:
    """Add these commands."""
    group = typer.Typer(
        help="Stories, played on the running network with every command shown.",
        no_args_is_help=True,
    )
    app.add_typer(group, name="demo")
    command(group, "prepaid")(prepaid)
    command(group, "exchange")(exchange)
    command(group, "payments")(payments)
    command(group, "licensing")(licensing)
    command(group, "deposits")(deposits)


async def prepaid(session: Session) -> None:
    """A gym card is used, its gym stopped and wound up; two buyers think better of it."""
    from client.demo.prepaid import play

    await _play(session, play)


async def exchange(session: Session) -> None:
    """Bank points become miles and an upgrade, and a coffee that never came is paid back."""
    from client.demo.exchange import play

    await _play(session, play)


async def payments(session: Session) -> None:
    """A film for ¥25.00, paid on a headset: approved on a phone, and with a password."""
    from client.demo.payments import play

    await _play(session, play)


async def licensing(session: Session) -> None:
    """A book in three degrees, bought with its seller away; a ticket and a small program."""
    from client.demo.licensing import play

    await _play(session, play)


async def deposits(session: Session) -> None:
    """Steel is sold, and what the sale tells a bank becomes a deposit; five other profiles."""
    from client.demo.deposits import play

    await _play(session, play)


async def _play(session: Session, play: Callable[[Stage], Awaitable[None]]) -> None:
    from client.demo.stage import Stage

    log_to_stderr()
    async with session.api() as network:
        await play(Stage(session.folder, network, lambda line: print(line, flush=True)))
    session.out.note("every figure is as it should be")
