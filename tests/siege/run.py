"""One siege from the founding to the verdict. The same seed besieges the same network the same way;
what the processes make of it depends on the machine."""

from __future__ import annotations

import asyncio
import resource
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from client.local import NodeFailure
from client.node_api import NodeApi
from tests.network.shop import Shop
from tests.siege.customers import CARD_CLASS, FACE, Customer, Desk
from tests.siege.faults import Faults
from tests.siege.field import Field
from tests.siege.history import History
from tests.siege.topology import Topology, draw
from tests.siege.verdict import judge

# Measured in a siege of minutes; a leak would soon be beyond it.
RESIDENT_KIB_MAX = 1_200_000
SAMPLE_S = 2.0


class Result(NamedTuple):
    """What came of a siege; `violations` is empty if every promise was kept."""

    topology: Topology
    violations: tuple[str, ...]
    faults: Counter[str]
    told: Counter[str]
    cards: int
    height: int
    votes: int
    readings_of_votes: int
    resident_mib_max: int
    healed_seconds: float
    seconds: float


class Progress(NamedTuple):
    """Whom to tell: how far the siege is (0 to 1), and what is being done now."""

    advance: Callable[[float], None]
    say: Callable[[str], None]


async def besiege(seed: int, minutes: float, directory: Path, progress: Progress) -> Result:
    """Found a network in `directory`, besiege it for so long, and judge it.

    The folder is removed unless something was wrong.
    """
    began, topology = time.monotonic(), draw(seed)
    progress.say(topology.line)
    field = await Field.found(topology, directory)
    history = History(directory / "history.jsonl")
    keep = True
    try:
        async with NodeApi(field.folder.genesis, field.urls) as api:
            desk = Desk(_shop(field, api), history, topology.cards)
            await desk.open()
            faults, peak = await _storm(field, topology, desk, history, minutes, progress)
            height, healed, violations = await _end(field, faults, desk, history, api, progress)
        if peak > RESIDENT_KIB_MAX:
            violations.append(f"a node held {peak >> 10} MiB")
        keep = bool(violations)
        return Result(
            topology,
            tuple(dict.fromkeys(violations)),
            faults.counts,
            history.counts,
            len(history.cards),
            height,
            len(field.votes),
            field.votes.readings,
            peak >> 10,
            healed,
            time.monotonic() - began,
        )
    finally:
        history.close()
        await field.close(keep=keep)


async def _end(
    field: Field, faults: Faults, desk: Desk, history: History, api: NodeApi, progress: Progress
) -> tuple[int, float, list[str]]:
    """Healing and verdict: the height, the seconds until all was settled, and what is wrong."""
    progress.say("healing")
    began = time.monotonic()
    try:
        await faults.heal()
        await desk.settle()
    except NodeFailure as failure:
        return 0, time.monotonic() - began, [*field.deserters, f"it does not heal: {failure}"]
    healed = time.monotonic() - began
    height = int((await api.status())["height"])
    return height, healed, await judge(field, history, progress.say)


async def _storm(
    field: Field,
    topology: Topology,
    desk: Desk,
    history: History,
    minutes: float,
    progress: Progress,
) -> tuple[Faults, int]:
    """Customers and faults together; the faults, and the most memory (KiB) that a node held."""
    loop, stopping, peak = asyncio.get_running_loop(), asyncio.Event(), 0
    began = loop.time()
    faults = Faults(field, topology, lambda text: history.note(loop.time() - began, text))
    customers = [
        Customer(field, desk, history, f"{topology.seed}/{number}", began)
        for number in range(topology.customers)
    ]
    tasks = [asyncio.create_task(customer.live(stopping)) for customer in customers]
    tasks.append(asyncio.create_task(faults.rage(stopping)))
    try:
        while (passed := loop.time() - began) < 60 * minutes:
            for task in tasks:
                if task.done():
                    task.result()  # a customer or a fault failed: that is our own bug
            peak = max(peak, _resident_kib(field))
            progress.advance(passed / (60 * minutes))
            await asyncio.sleep(min(SAMPLE_S, 60 * minutes - passed))
        stopping.set()
        await asyncio.gather(*tasks)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
    return faults, peak


def _shop(field: Field, api: NodeApi) -> Shop:
    wallet = field.folder.wallet
    keys = wallet.open("bank"), wallet.open("cdnow"), wallet.open("regulator")
    return Shop(api, *keys, card_class=CARD_CLASS, paid=FACE, bonus=0)


def _resident_kib(field: Field) -> int:
    """Of the largest node, without its worker."""
    largest = 0
    for node in field.network.nodes:
        process = node.process
        try:
            fields = Path(f"/proc/{process.pid if process else 0}/statm").read_text().split()
        except OSError:
            continue
        largest = max(largest, int(fields[1]) * resource.getpagesize() >> 10)
    return largest
