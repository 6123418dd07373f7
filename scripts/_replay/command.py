"""The replay from beginning to end: network, merchant, cards, purchases, reconciliation.

Every step looks at the chain first and does what is missing, so that a replay that was interrupted
anywhere, in any way, is continued by starting it again. It keeps no file of its own but the seed.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

from rich.console import Console

from _load.cards import (
    CardState,
    House,
    admit_merchant,
    open_cards,
    open_house,
    read_cards,
    read_merchant,
)
from _load.cast import Cast
from _load.network import ensure_running, open_seed
from _load.signing import Opening, Signer, SigningProcess
from _replay.log import Log, load_log
from _replay.outage import Outage
from _replay.plan import Plan
from _replay.report import Chain, Course, Line, compare, summary
from _replay.runner import Runner
from _replay.screen import Bar, print_report
from client.errors import ClientError, NoQuorum
from client.folder import NetworkFolder
from client.local import LocalNetwork
from client.node_api import NodeApi

SEED_NAME = "replay"
MERCHANT = "cdnow"
CARD_CLASS = "usd-replay"
EQUAL_SECONDS_MAX = 180.0
EQUAL_POLL_SECONDS = 0.5
SCOPE_DIGITS = 16


class Options(NamedTuple):
    """What was asked for on the command line."""

    directory: Path
    cache: Path
    file: Path | None
    rows: int | None
    sealed: bool
    keep: bool
    kill: str | None
    down_at: float
    up_at: float


class Scene(NamedTuple):
    """What all steps share."""

    network: NodeApi
    house: House
    cast: Cast
    signing: SigningProcess
    console: Console


def replay(options: Options, console: Console) -> dict[str, Any]:
    """Run it all; the report as a JSON object, printed as well. Raises `GroatError`."""
    log = load_log(options.file, options.cache, options.rows)
    console.print(f"{log.truth.rows:,} rows of {log.truth.customers:,} customers: {log.name}")
    folder, started = ensure_running(options.directory)
    if started:
        console.print(f"started {', '.join(started)} in {folder.path}")
    try:
        return _replay_on(folder, log, options, console)
    finally:
        if started and not options.keep:
            LocalNetwork(folder).stop(started)
            console.print(f"stopped {', '.join(started)}; the state is kept in {folder.path}")


def _replay_on(
    folder: NetworkFolder, log: Log, options: Options, console: Console
) -> dict[str, Any]:
    mode = "sealed" if options.sealed else "clear"
    # Another log, another part of it, or another mode is another load, with cards of its own.
    scope = f"{log.sha256[:SCOPE_DIGITS]}/{log.truth.rows}/{mode}"
    cast = Cast(open_seed(folder.wallet, SEED_NAME), scope)
    house = open_house(folder.wallet, MERCHANT)
    genesis = folder.genesis
    signer = Signer(genesis.chain, genesis.epoch_key, cast, CARD_CLASS, options.sealed)
    outage = None
    if options.kill is not None:
        local = LocalNetwork(folder)
        (victim,) = local.select([options.kill])
        outage = Outage(local, victim.name, options.down_at, options.up_at)
    signing = SigningProcess(signer)
    try:
        urls = [endpoint.http_url for endpoint in folder.endpoints]
        setting = {"calls": mode, "nodes": len(urls), "log": log.sha256, "killed": options.kill}

        async def main() -> dict[str, Any]:
            async with NodeApi(genesis, urls, trust=folder.trust_path) as network:
                scene = Scene(network, house, cast, signing, console)
                return await _play(scene, log, options.sealed, outage, setting)

        return asyncio.run(main())
    finally:
        signing.close()


async def _play(
    scene: Scene, log: Log, sealed: bool, outage: Outage | None, setting: dict[str, Any]
) -> dict[str, Any]:
    opened = await _prepare_cards(scene, log, sealed)
    cards = _by_customer(scene, log, await read_cards(scene.network, scene.house, scene.cast))
    plan = Plan(log, {name: card.seq for name, card in cards.items()})
    if plan.found_booked:
        scene.console.print(f"{plan.found_booked:,} rows are booked already; going on")
    started = time.monotonic()
    runner = await _book(scene, plan, outage)
    seconds = time.monotonic() - started
    url = None if outage is None else _url_of(scene.network, outage.name)
    chain = await _read_chain(scene, log, url)
    incidents = [] if outage is None else outage.incidents
    course = Course(
        seconds,
        plan.found_booked,
        opened,
        sorted(plan.refused),
        plan.faults,
        runner.acknowledged,
        runner.retries,
        incidents,
    )
    lines: list[Line] = compare(log.truth, plan.purchases_of, chain, course)
    report = summary(setting, log.truth, lines, chain, course)
    print_report(report)
    return report


async def _prepare_cards(scene: Scene, log: Log, sealed: bool) -> int:
    """Admit the merchant and open the cards that are missing; how many those were."""
    await admit_merchant(scene.network, scene.house, scene.cast, MERCHANT, CARD_CLASS, sealed)
    totals: dict[str, int] = {}
    for purchase in log.purchases:
        totals[purchase.customer] = totals.get(purchase.customer, 0) + purchase.cents
    there = await read_cards(scene.network, scene.house, scene.cast)
    wanted = [
        Opening(customer, cents)
        for customer, cents in totals.items()
        if scene.cast.card(customer) not in there
    ]
    if wanted:
        with Bar(scene.console, "opening cards", len(totals), len(there)) as bar:
            await open_cards(scene.network, scene.signing, scene.house, wanted, bar.advance)
    return len(wanted)


async def _book(scene: Scene, plan: Plan, outage: Outage | None) -> Runner:
    """Carry all rows to their books, with a power cut in between if one is wanted."""
    total = len(plan.rows)
    with Bar(scene.console, "purchases", total, plan.settled) as bar:
        runner = Runner(scene.network, scene.signing, plan, lambda: bar.reach(plan.settled))
        watch = None
        if outage is not None:
            watch = asyncio.create_task(outage.watch(lambda: plan.settled / total))
        try:
            await runner.run()
        finally:
            if watch is not None and outage is not None:
                await _end_outage(watch, outage, plan.settled / total)
    return runner


async def _end_outage(watch: asyncio.Task[None], outage: Outage, fraction: float) -> None:
    """Let a running kill or start come to its end, then see that the node is up."""
    if fraction < 1:
        watch.cancel()
    try:
        await watch
    except asyncio.CancelledError:
        if not watch.cancelled():
            raise
    await outage.end(fraction)


async def _read_chain(scene: Scene, log: Log, url: str | None) -> Chain:
    """What the chain says in the end; cards and sums as the node at `url` has them."""
    height, roots = await _equal_heads(scene.network)
    cards = await read_cards(scene.network, scene.house, scene.cast, url)
    merchant = await read_merchant(scene.network, scene.house, scene.cast, url)
    return Chain(_by_customer(scene, log, cards), merchant, height, roots)


async def _equal_heads(network: NodeApi) -> tuple[int, dict[str, str]]:
    """One height at which all nodes that answer stand, and their state roots by address."""
    deadline = time.monotonic() + EQUAL_SECONDS_MAX
    while True:
        answers = await network.statuses()
        alive = {url: one for url, one in answers.items() if not isinstance(one, ClientError)}
        heights = {int(one["height"]) for one in alive.values()}
        roots = {url: str(one["state_root"]) for url, one in alive.items()}
        if len(heights) == 1:
            return heights.pop(), roots
        if time.monotonic() > deadline:
            raise NoQuorum(
                "NOT_EQUAL",
                f"the nodes do not reach one height within {EQUAL_SECONDS_MAX:.0f} s: "
                + ", ".join(f"{url} {one['height']}" for url, one in alive.items()),
            )
        await asyncio.sleep(EQUAL_POLL_SECONDS)


def _by_customer(scene: Scene, log: Log, cards: dict[bytes, CardState]) -> dict[str, CardState]:
    card_of: Callable[[str], bytes] = scene.cast.card
    customers = dict.fromkeys(purchase.customer for purchase in log.purchases)
    return {name: cards[card] for name in customers if (card := card_of(name)) in cards}


def _url_of(network: NodeApi, name: str) -> str:
    """The address of a node by its name in genesis: addresses are in the same order."""
    names = [entry.name for entry in network.genesis.validators]
    return network.connection.urls[names.index(name)]
