"""The runner over a network that is dead, busy, forgetful and out of order: each row once."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Sequence
from typing import Any, cast

import pytest

from _load.batches import BatchItem
from _load.signing import Signed, SigningProcess, Visit
from _replay import runner
from _replay.log import Log, parse_log
from _replay.plan import Plan
from _replay.runner import Runner
from client.errors import NoQuorum, Overloaded, Rejected, Unreachable
from client.events import StreamEvent
from client.node_api import NodeApi

URLS = ("a", "b", "c")
FAR_MS = 1 << 50


def make_log(cards: int, rows: int) -> Log:
    """A log of cards with purchases of 1 cent, each card's second one of zero."""
    lines = [
        f" {card} 19970101  1  0.0{int(row != 1)}\r\n"
        for card in range(cards)
        for row in range(rows)
    ]
    header = b"customer_id date number_of_cds dollar_value\r\n"
    return parse_log(header + "".join(lines).encode(), "sample")


class FakeNetwork:
    """Signs, orders and books like the real one, and plays tricks as `chance` has it."""

    def __init__(self, seed: int = 0, mishaps: float = 0.0) -> None:
        self.connection = self
        self.urls = URLS
        self.down: set[str] = set()
        self.booked: dict[str, list[int]] = {}
        self.sent: dict[bytes, Visit] = {}
        self.codes: dict[bytes, str] = {}
        self.forgets_all = False
        self.answer_all: str | None = None
        self._chance = random.Random(seed)
        self._mishaps = mishaps
        self._final: asyncio.Queue[tuple[bytes, str]] = asyncio.Queue()

    async def status(self) -> dict[str, str]:
        return {"height": "3"}

    async def visits(self, wanted: Sequence[Visit]) -> list[Signed]:
        signed = []
        for visit in wanted:
            identity = self._chance.randbytes(32)
            self.sent[identity] = visit
            signed.append(Signed(identity, identity, FAR_MS))
        return signed

    async def events(self, **_: object) -> AsyncIterator[StreamEvent]:
        while True:
            identity, code = await self._final.get()
            if self._chance.random() < self._mishaps / 4:
                raise Rejected("BAD_PARAMETER", "beyond the last final block")
            yield StreamEvent("4.1", "tx", {"id": identity.hex(), "code": code}, "")

    async def post(self, _: object, url: str, raws: Sequence[bytes]) -> list[BatchItem]:
        await asyncio.sleep(0)
        if url in self.down:
            raise Unreachable("UNREACHABLE", "dead")
        if self._chance.random() < self._mishaps / 4:
            raise Overloaded("OVERLOADED", "later", retry_after=0.01)
        return [self._take(raw) for raw in raws]

    def _take(self, raw: bytes) -> BatchItem:
        if raw in self.codes:
            return BatchItem("COMMITTED", "", self.codes[raw])
        if self.answer_all is not None:
            return BatchItem(self.answer_all, "", None)
        trick = self._chance.random()
        if trick < self._mishaps:
            codes = ("MEMPOOL_FULL", "UNAUTHORIZED", "TX_EXPIRED", "PENDING", "KNOWN")
            return BatchItem(self._chance.choice(codes), "", None)  # and forgotten
        if not self.forgets_all:
            code = self.codes[raw] = self._book(self.sent[raw])
            if trick > self._mishaps * 2:
                self._final.put_nowait((raw, code))
        return BatchItem("PENDING", "", None)

    def _book(self, visit: Visit) -> str:
        """The contract's rules."""
        seqs = self.booked.setdefault(visit.holder, [])
        if visit.amount == 0:
            return "BAD_ARG"
        if visit.seq <= len(seqs):
            return "OK"
        if visit.seq > len(seqs) + 1:
            return "SEQ_GAP"
        seqs.append(visit.seq)
        return "OK"


async def run(network: FakeNetwork, plan: Plan) -> Runner:
    """Run the plan to its end on this network."""
    one = Runner(cast(NodeApi, network), cast(SigningProcess, network), plan, lambda: None)
    await one.run()
    return one


@pytest.fixture(autouse=True)
def _hurry(monkeypatch: pytest.MonkeyPatch) -> None:
    def post(connection: Any, url: str, raws: Sequence[bytes]) -> Any:
        return connection.post(connection, url, raws)

    monkeypatch.setattr(runner, "send_batch", post)
    monkeypatch.setattr(runner, "SILENT_SECONDS", 0.1)
    monkeypatch.setattr(runner, "SILENT_TIMES_USUAL", 0.0)
    for name in ("BUSY_SECONDS", "SWEEP_SECONDS", "REST_SECONDS", "STREAM_PAUSE_SECONDS"):
        monkeypatch.setattr(runner, name, 0.01)


async def test_a_faultless_network_needs_no_second_try() -> None:
    network, plan = FakeNetwork(), Plan(make_log(20, 5), {})
    done = await run(network, plan)
    assert {len(seqs) for seqs in network.booked.values()} == {4}
    assert len(plan.refused) == 20
    assert not done.retries
    assert set(done.acknowledged.values()) == {4}


@pytest.mark.parametrize("seed", range(5))
async def test_whatever_goes_wrong_each_row_is_booked_once(seed: int) -> None:
    network, plan = FakeNetwork(seed, mishaps=0.15), Plan(make_log(30, 6), {})
    done = await run(network, plan)
    assert {len(seqs) for seqs in network.booked.values()} == {5}
    assert len(plan.refused) == 30
    assert plan.faults == []
    assert done.retries["SENT_AGAIN"] > 0


async def test_dead_nodes_are_gone_around() -> None:
    network, plan = FakeNetwork(), Plan(make_log(30, 4), {})
    network.down = {"a", "c"}
    done = await run(network, plan)
    assert {len(seqs) for seqs in network.booked.values()} == {3}
    assert done.retries["NODE_DOWN"] > 0


async def test_long_silence_ends_the_run(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(runner, "STALL_SECONDS_MAX", 0.3)
    network = FakeNetwork()
    network.forgets_all = True
    with pytest.raises(ExceptionGroup) as caught:
        await run(network, Plan(make_log(2, 3), {}))
    assert caught.group_contains(NoQuorum)


@pytest.mark.parametrize("code", ["FOREIGN_CHAIN", "UNAUTHORIZED"])
async def test_a_refusal_for_good_ends_the_run(code: str) -> None:
    network = FakeNetwork()
    network.answer_all = code
    with pytest.raises(ExceptionGroup) as caught:
        await run(network, Plan(make_log(2, 3), {}))
    assert caught.group_contains(Rejected, match=code)


async def test_a_finished_plan_sends_nothing() -> None:
    network = FakeNetwork()
    log = parse_log(
        b"customer_id date number_of_cds dollar_value\r\n 1 19970101  1  0.01\r\n", "sample"
    )
    await run(network, Plan(log, {"1": 1}))
    assert network.sent == {}
