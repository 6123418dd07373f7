"""A full disk: nothing is sent before it is written, nothing is lost, work goes on by itself."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import Any, cast

import pytest

from contracts.catalog import CONTRACTS
from node import disk
from node.admission import Verdict, examine
from node.core import Core, open_core
from node.disk import FULL_BYTES, LOW_BYTES, Disk
from node.driver import Driver
from node.net.gossip import TransactionGossip
from node.net.transport import Transport
from node.protocol.errors import Refused, StoreFailure
from node.protocol.messages import Commit, Message, Prepare, PrePrepare
from node.protocol.transaction import Call, Transaction, sign_transaction
from node.state.keyvalue import MemoryKeyValue, Put
from node.verifier import Verifier
from tests.sim.world import SECRET, Shape, found, key_of, vault_of

GENESIS = found(Shape(size=1, more_than=0, base_ms=1_000, cap_ms=8_000))
PLENTY = 1 << 40
PATIENCE_S = 10.0


class FullDisk(MemoryKeyValue):
    """Refuses every write while `full`; a refused one may be there nevertheless (`torn`)."""

    def __init__(self, name: str, events: list[str]) -> None:
        super().__init__()
        self.full = self.torn = False
        self.refused = self.reopened = 0
        self._name, self._events = name, events

    def write(self, puts: Sequence[Put], sync: bool) -> None:
        if self.full:
            self.refused += 1
            if self.torn:
                super().write(puts, sync)
            raise StoreFailure("DISK_FAILED", "no space left")
        assert not self.refused or self.reopened, "written again without opening again"
        super().write(puts, sync)
        self._events.append(self._name)

    def reopen(self) -> None:
        self.reopened += 1


class Station:
    """One validator alone behind a real driver; `events` has writes and sent votes in order."""

    def __init__(self) -> None:
        self.events: list[str] = []
        self.state = FullDisk("block", self.events)
        self.votes = FullDisk("vote", self.events)
        self.free = PLENTY
        self.core: Core = open_core(
            GENESIS, CONTRACTS, key_of("node0"), SECRET, vault_of("node0"), self.state, self.votes
        )
        self.events.clear()
        self.driver = Driver(self.core, cast(Verifier, self), lambda: self.free)
        self.driver.attach(cast(Transport, self), cast(TransactionGossip, self))

    # what the driver needs of verifier, transport and gossip

    async def examine(self, raws: Sequence[bytes]) -> list[Verdict]:
        return [examine(GENESIS.chain, self.core.opener, raw) for raw in raws]

    async def failure(self) -> None:
        await asyncio.Event().wait()

    def broadcast(self, message: Message) -> None:
        if isinstance(message, PrePrepare | Prepare | Commit):
            self.events.append(f"send {type(message).__name__}")

    def __getattr__(self, name: str) -> Callable[..., Any]:
        return lambda *given: None

    @property
    def height(self) -> int:
        return self.core.store.head.height

    async def submit(self, sent: Transaction) -> str:
        try:
            (result,) = await self.driver.submit([sent.raw])
        except Refused as refusal:
            return refusal.code
        return result.code


def filing(number: int) -> Transaction:
    bank = key_of("bank").public_key
    args: dict[str, Any] = {"merchant": number.to_bytes(16, "big"), "name": "Gym"}
    call = Call("prepaid", "file_merchant", {**args, "custodian": bank})
    until = _now_ms() + 300_000
    return sign_transaction(
        GENESIS.chain, key_of("gym"), number.to_bytes(16, "big"), until, (call,)
    )


def _now_ms() -> int:
    from node.clock import now_ms

    return now_ms()


async def until(condition: Callable[[], bool]) -> None:
    """Wait for something that happens by itself."""
    async with asyncio.timeout(PATIENCE_S):
        while not condition():  # noqa: ASYNC110
            await asyncio.sleep(0.005)


@pytest.fixture(autouse=True)
def _impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(disk, "RETRY_S", 0.02)
    monkeypatch.setattr(Disk.__init__, "__defaults__", (lambda: None, 0.02))


async def running(work: Callable[[Station], Awaitable[None]]) -> Station:
    """Run a station while `work` goes on, then stop it in good order."""
    station = Station()
    task = asyncio.create_task(station.driver.run())
    try:
        await work(station)
    finally:
        station.driver.stop()
        async with asyncio.timeout(PATIENCE_S):
            await task
    return station


WHOLE = ["vote", "send PrePrepare", "vote", "send Prepare", "vote", "send Commit", "block"]


@pytest.mark.parametrize("which", ["votes", "state"])
@pytest.mark.parametrize("torn", [False, True])
async def test_work_goes_on_where_it_stopped_once_there_is_room(which: str, torn: bool) -> None:
    async def work(station: Station) -> None:
        full: FullDisk = getattr(station, which)
        assert await station.submit(filing(1)) == "PENDING"
        await until(lambda: station.height == 1)
        full.full, full.torn = True, torn
        sent = asyncio.create_task(station.submit(filing(2)))
        await until(lambda: full.refused > 2)
        assert station.height == 1
        assert station.driver.disk.failing
        assert "no space left" in station.driver.disk.shortage
        before = list(station.events)
        await asyncio.sleep(0.1)
        assert station.events == before, "nothing may be sent while its record is not there"
        full.full = False
        await until(lambda: station.height == 2)
        assert not station.driver.disk.failing
        assert station.driver.disk.shortage == ""
        assert await sent in ("PENDING", "DISK_FULL")
        assert full.reopened == full.refused

    station = await running(work)
    sends = [event for event in station.events if event != "trim"]
    assert [event for event in sends if event.startswith("send")] == [
        event for event in WHOLE * 2 if event.startswith("send")
    ]
    # Before each vote stands a write of its own.
    written = 0
    for event in station.events:
        written += 1 if event == "vote" else -1 if event.startswith("send") else 0
        assert written >= 0
    # What was written twice is there once: a restart finds the chain and its votes sound.
    disks = station.state, station.votes
    again = open_core(GENESIS, CONTRACTS, key_of("node0"), SECRET, vault_of("node0"), *disks)
    assert again.store.head.height == 2
    assert again.store.head.transactions == 2


async def test_who_waits_for_an_answer_is_told_at_once() -> None:
    async def work(station: Station) -> None:
        station.votes.full = True
        assert await station.submit(filing(1)) == "PENDING"
        await until(lambda: station.driver.disk.failing)
        assert await station.submit(filing(2)) == "DISK_FULL"

    await running(work)


async def test_a_node_that_waits_for_its_disk_can_be_stopped() -> None:
    async def work(station: Station) -> None:
        station.state.full = True
        await station.submit(filing(1))
        await until(lambda: station.driver.disk.failing)

    station = await running(work)
    assert station.height == 0


async def test_the_last_room_is_not_used_up() -> None:
    async def work(station: Station) -> None:
        station.free = FULL_BYTES - 1
        await station.submit(filing(1))
        await until(lambda: station.driver.disk.failing)
        assert station.events == []
        assert station.votes.refused == station.votes.reopened == 0
        station.free = LOW_BYTES - 1
        await until(lambda: station.height == 1)
        assert station.driver.disk.shortage == "less than 256 MiB free; make room"
        station.free = LOW_BYTES
        assert station.driver.disk.shortage == ""

    await running(work)


async def test_damage_ends_the_node_with_its_one_line() -> None:
    for told_by_reader in (True, False):
        station = Station()
        damage = StoreFailure("DATABASE_DAMAGED", "block 3 cannot be read")

        def fail(puts: Sequence[Put], sync: bool, damage: StoreFailure = damage) -> None:
            raise damage

        task = asyncio.create_task(station.driver.run())
        await asyncio.sleep(0)
        if told_by_reader:
            station.driver.fail(damage)
        else:
            station.votes.write = fail  # type: ignore[method-assign]
            submitted = asyncio.create_task(station.submit(filing(1)))
        with pytest.raises(StoreFailure, match="DATABASE_DAMAGED"):
            await asyncio.wait_for(task, PATIENCE_S)
        if not told_by_reader:
            submitted.cancel()


LEVEL_UNDER_A_LIMIT = """
import resource, sys
from pathlib import Path
from node.protocol.errors import StoreFailure
from node.state.level import open_level

folder, reopens = Path(sys.argv[1]), sys.argv[2] == "reopen"
level = open_level(folder)
level.write([(b"first", b"1" * 1000)], sync=True)
soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
resource.setrlimit(resource.RLIMIT_FSIZE, (40_000, hard))
failures = 0
try:
    for number in range(100):
        level.write([(b"fill %d" % number, b"x" * 1000)], sync=True)
        acknowledged = number
except StoreFailure as failure:
    assert failure.code == "DISK_FAILED", failure
    failures += 1
assert failures == 1
resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
if reopens:
    level.reopen()
try:
    level.write([(b"last", b"2" * 1000)], sync=True)
    said = True
except StoreFailure:
    said = False
level.close()
again = open_level(folder)
assert again.get(b"first") == b"1" * 1000
assert all(again.get(b"fill %d" % number) for number in range(acknowledged + 1))
kept = again.get(b"last") == b"2" * 1000
print(said, kept)
"""


def test_a_real_database_writes_again_after_it_was_opened_again(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", LEVEL_UNDER_A_LIMIT, str(tmp_path / "data"), "reopen"],
        cwd=Path(__file__).parents[1],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout == "True True\n"
