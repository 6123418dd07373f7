"""The verdict: what must be true when the siege is over, whatever was done during it.

Everything is checked and every fault is told; none of these checks believes a node's own word that
all is well. `judge` wants the network healed and its nodes running, and leaves them stopped.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from random import Random

from client import upkeep
from client.connection import Request
from client.node_api import NodeApi
from client.outcomes import Outcome
from tests.network.shop import agreed
from tests.siege.cards import State, step
from tests.siege.field import Field
from tests.siege.history import CardHistory, Deed, Fate, History, Reading
from tests.siege.linear import Answer, check

SETTLE_SECONDS_MAX = 180.0
SAMPLE_MAX = 1_000
AT_ONCE = 16
# What a node says when it is well may hold none of these.
NEVER_IN_A_LOG = re.compile(r"Traceback|\bhalt\b|Error\b|EQUIVOCATION|DISSENT|POISON")

Report = Callable[[str], None]


async def judge(field: Field, history: History, say: Report) -> list[str]:
    """All that is wrong, in words; [] if the network kept its promises."""
    faults = [*field.deserters, *field.votes.faults]
    async with NodeApi(field.folder.genesis, field.urls) as api:
        say("equal heads and roots")
        height, _ = await agreed(api, nodes=len(field.names), seconds=SETTLE_SECONDS_MAX)
        faults += await _evidence(field, api)
        say("every acknowledged transaction")
        fates = await _fates(api, history)
        faults += told_and_true(history.cards, fates)
        faults += await _on_every_node(field, api, history, fates)
    say(f"linearizability of {len(history.cards)} cards")
    for card in history.cards:
        faults += linearizable(card)
        faults += readings(card, fates)
    faults += _logs(field)
    say(f"databases and audit at height {height}")
    faults += await _disks(field)
    return faults + field.votes.faults


def linearizable(card: CardHistory) -> Iterator[str]:
    """What was told of a card fits one order of events."""
    verdict = check(card.operations, State(0, card.face), step)
    if verdict.answer is not Answer.LINEARIZABLE:
        yield f"card {card.card.hex()} is {verdict.answer}: {verdict.stuck[:4]}"


async def _fates(api: NodeApi, history: History) -> dict[bytes, Fate]:
    """Where each transaction stands on chain, as one node says, unless it never came there."""
    deeds = [deed for card in history.cards for deed in card.deeds]
    gate = asyncio.Semaphore(AT_ONCE)

    async def find(deed: Deed) -> tuple[bytes, Outcome]:
        async with gate:
            return deed.transaction_id, await api.outcome(deed.transaction_id)

    found = await asyncio.gather(*(find(deed) for deed in deeds))
    return {
        identity: Fate(one.height or 0, int(one.view["index"]), str(one.code))
        for identity, one in found
        if one.final
    }


def told_and_true(cards: Iterable[CardHistory], fates: dict[bytes, Fate]) -> Iterator[str]:
    """Nothing acknowledged is lost, or is elsewhere or otherwise than was said."""
    for card in cards:
        for deed in card.deeds:
            fate = fates.get(deed.transaction_id)
            if deed.told is not None and (fate is None or (fate.height, fate.code) != deed.told):
                yield f"{deed.transaction_id.hex()} was told as {deed.told} and is {fate}"


async def _on_every_node(
    field: Field, api: NodeApi, history: History, fates: dict[bytes, Fate]
) -> list[str]:
    """Each node says the same of acknowledged transactions: all, or many drawn by lot."""
    told = [deed for card in history.cards for deed in card.deeds if deed.told is not None]
    chosen = Random(len(told)).sample(told, min(len(told), SAMPLE_MAX))
    gate = asyncio.Semaphore(AT_ONCE)

    async def differs(name: str, url: str, deed: Deed) -> str:
        path = f"/v1/transactions/{deed.transaction_id.hex()}"
        async with gate:
            body = (await api.ask(Request("GET", path), url=url)).body
        fate = fates.get(deed.transaction_id)
        same = fate is not None and body.get("height") == str(fate.height)
        return "" if same else f"{name} says {body.get('status')} of {deed.transaction_id.hex()}"

    places = list(zip(field.names, field.urls, strict=True))
    answers = await asyncio.gather(
        *(differs(name, url, deed) for name, url in places for deed in chosen)
    )
    return [answer for answer in answers if answer]


def readings(card: CardHistory, fates: dict[bytes, Fate]) -> Iterator[str]:
    """What a node said of a card after a height is just what the chain makes of it there."""
    done = sorted(
        (fates[deed.transaction_id].height, fates[deed.transaction_id].place, deed.operation.action)
        for deed in card.deeds
        if deed.transaction_id in fates and fates[deed.transaction_id].code == "OK"
    )
    for reading in card.readings:
        state = State(0, card.face)
        for height, _, visit in done:
            if height <= reading.height:
                state = State(visit.seq, state.remaining - visit.amount)
        if (reading.seq, reading.remaining) != state:
            yield f"card {card.card.hex()}: {reading}, and the chain says {state}"
    yield from _backwards(card.readings)


def _backwards(readings: Sequence[Reading]) -> Iterator[str]:
    """A node that showed one height shows no lower one later, whatever happened to it."""
    latest: dict[str, Reading] = {}
    for reading in sorted(readings, key=lambda one: one.returned):
        before = latest.get(reading.node)
        if before and before.returned < reading.invoked and before.height > reading.height:
            yield f"{reading.node} went back from height {before.height} to {reading.height}"
        if before is None or reading.height >= before.height:
            latest[reading.node] = reading


async def _evidence(field: Field, api: NodeApi) -> list[str]:
    """Nobody was seen to contradict itself, and no block was disputed."""
    faults = []
    for name, url in zip(field.names, field.urls, strict=True):
        status = await api.status(url)
        bad = {"EQUIVOCATION", "DISSENT", "POISON"} & set(status["alarms"])
        items = (await api.ask(Request("GET", "/v1/evidence"), url=url)).body["items"]
        if items or bad:
            faults.append(f"{name} holds {len(items)} items of evidence, alarms {sorted(bad)}")
    return faults


def _logs(field: Field) -> Iterator[str]:
    for node in field.network.nodes:
        for line in node.log.read_text(errors="replace").splitlines():
            if NEVER_IN_A_LOG.search(line):
                yield f"{node.name} logged: {line[:300]}"


async def _disks(field: Field) -> list[str]:
    """Each stopped node's whole database, its audit, and its last votes."""
    faults = []
    await field.stop(field.names)
    for node in field.network.nodes:
        checked = await asyncio.to_thread(upkeep.check, node, lambda name, done, total: None)
        if not checked["ok"]:
            faults.append(f"{node.name}: groat node check: {checked['findings']}")
        audited = await asyncio.to_thread(node.audit)
        if not audited["ok"]:
            faults.append(f"{node.name}: audit: {audited['violations']}")
        await asyncio.to_thread(field.votes.read, node.name, node.folder)
    return faults
