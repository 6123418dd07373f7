"""The parts of a siege on their own: topologies, lines, votes, and a verdict that can be bad."""

from __future__ import annotations

import asyncio
import math
import os
import time
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from node.config import NetworkConfig
from node.consensus.recovery import CommitRecord, PrepareRecord, ViewChangeRecord
from node.protocol.block import BlockHeader
from node.protocol.messages import Commit, Prepare, ViewChange
from tests.siege.cards import Visit
from tests.siege.field import DESCRIPTION
from tests.siege.history import CardHistory, Deed, Fate, History, Reading
from tests.siege.linear import Operation
from tests.siege.links import LOOPBACK, Links
from tests.siege.topology import described, draw
from tests.siege.verdict import linearizable, readings, told_and_true
from tests.siege.votes import VoteBook

SEEDS = range(60)
KEY, ROOT = b"\x02" * 33, bytes(32)
HEADER = BlockHeader(1, 5, 1, ROOT, ROOT, ROOT, ROOT, ROOT, KEY)


# ---- topologies


def test_a_seed_draws_the_same_again_and_others_differ() -> None:
    drawn = [draw(seed) for seed in SEEDS]
    assert drawn == [draw(seed) for seed in SEEDS]
    assert {one.validators for one in drawn} == {4, 5, 6, 7}
    assert {one.observers for one in drawn} == {0, 1, 2}
    assert all(any(one.weights) and one.weights[0] for one in drawn)


def test_every_topology_is_a_network(tmp_path: Path) -> None:
    for seed in SEEDS:
        topology, path = draw(seed), tmp_path / "network.toml"
        ports = [(21_000 + i, 22_000 + i) for i in range(topology.validators)]
        path.write_text(described(topology, DESCRIPTION.read_text(), ports))
        config = NetworkConfig.load(path)
        assert len(config.validators) == topology.validators
        assert config.confirmations_more_than == topology.confirmations_more_than
        assert config.timeouts.base_ms == topology.base_ms
        assert config.limits.block_transactions == topology.block_transactions


# ---- lines


class Echo:
    """A door that sends back what comes, behind a relay."""

    def __init__(self) -> None:
        self.links = Links(lambda name: os.getpid())
        self.front = 0

    async def __aenter__(self) -> Echo:
        async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            while data := await reader.read(1_000):
                writer.write(data)
            writer.close()

        self.server = await asyncio.start_server(echo, LOOPBACK, 0)
        back = self.server.sockets[0].getsockname()[1]
        probe = await asyncio.start_server(echo, LOOPBACK, 0)
        self.front = probe.sockets[0].getsockname()[1]
        probe.close()
        await probe.wait_closed()
        await self.links.start({"a": (self.front, back)})
        self.reader, self.writer = await asyncio.open_connection(LOOPBACK, self.front)
        return self

    async def __aexit__(self, *_: object) -> None:
        self.writer.close()
        await self.links.stop()
        self.server.close()

    async def trip(self, seconds: float = 5.0) -> float:
        """How long a byte takes there and back."""
        started = time.monotonic()
        self.writer.write(b"x")
        async with asyncio.timeout(seconds):
            assert await self.reader.read(100) == b"x"
        return time.monotonic() - started


@pytest.fixture
async def echo() -> AsyncIterator[Echo]:
    async with Echo() as one:
        yield one


async def test_a_line_is_slow_narrow_dead_and_whole_again(echo: Echo) -> None:
    line = echo.links.line("a", "a")  # this process stands for all nodes
    assert await echo.trip() < 0.2
    line.seconds = 0.2
    assert await echo.trip() >= 0.4  # both ways
    line.clear()
    line.rate = 10.0
    assert await echo.trip() >= 0.2
    line.clear()
    line.flows.clear()
    with pytest.raises(TimeoutError):
        await echo.trip(0.3)
    line.clear()
    assert await asyncio.wait_for(echo.reader.read(100), 5) == b"x"
    assert await echo.trip() < 0.2


async def test_a_broken_line_ends_the_connection(echo: Echo) -> None:
    await echo.trip()
    echo.links.break_off("a", "a")
    async with asyncio.timeout(5):
        assert await echo.reader.read(100) == b""


# ---- votes


def prepare(block: bytes, view: int = 0) -> PrepareRecord:
    return PrepareRecord(Prepare(5, view, block * 32, KEY, bytes(64)), HEADER, ())


def commit(block: bytes, view: int = 0) -> CommitRecord:
    return CommitRecord(Commit(5, view, block * 32, KEY, bytes(64)), ())


def left(view: int) -> ViewChangeRecord:
    return ViewChangeRecord(ViewChange(5, view, -1, b"", KEY, bytes(64), None))


def test_a_vote_that_contradicts_an_earlier_reading_is_found() -> None:
    book = VoteBook()
    book.note("node1", [prepare(b"a"), commit(b"a")])
    book.note("node1", [prepare(b"a"), commit(b"a"), left(1), prepare(b"b", 1)])
    book.note("node2", [prepare(b"b")])
    assert (book.faults, len(book)) == ([], 5)
    book.note("node1", [prepare(b"c")])
    assert book.faults == ["node1 contradicts its Prepare of 5/0"]


def test_a_vote_in_a_view_that_was_left_is_found() -> None:
    book = VoteBook()
    book.note("node1", [prepare(b"a"), left(2), commit(b"a")])
    assert [fault.split(" after ")[0] for fault in book.faults] == ["node1: Commit in view 0"]


# ---- verdicts


def deed(number: int, visit: Visit, told: tuple[int, str] | None, at: float) -> Deed:
    returned = at + 0.5 if told else math.inf
    return Deed(bytes([number]) * 32, Operation(visit, at, returned), told)


@pytest.fixture
def card(tmp_path: Path) -> CardHistory:
    """Two payments that were told, and one that came true without an answer."""
    history = History(tmp_path / "history.jsonl")
    one = history.add_card(b"card", 100)
    history.add_deed(one, deed(1, Visit(1, 10, "OK", 90), (3, "OK"), 1.0))
    history.add_deed(one, deed(2, Visit(2, 20), None, 2.0))
    history.add_deed(one, deed(3, Visit(3, 30, "OK", 40), (7, "OK"), 8.0))
    history.close()
    return one


FATES = {
    bytes([1]) * 32: Fate(3, 0, "OK"),
    bytes([2]) * 32: Fate(5, 0, "OK"),
    bytes([3]) * 32: Fate(7, 1, "OK"),
}


def test_a_good_history_is_good(card: CardHistory) -> None:
    card.readings += [
        Reading("node1", 2, 0, 100, 0.0, 0.1),
        Reading("node1", 6, 2, 70, 5.0, 5.1),
        Reading("node2", 7, 3, 40, 9.0, 9.1),
    ]
    assert list(linearizable(card)) == list(readings(card, FATES)) == []
    assert list(told_and_true([card], FATES)) == []


def test_an_acknowledged_payment_that_is_lost_or_elsewhere_is_found(card: CardHistory) -> None:
    lost = {identity: fate for identity, fate in FATES.items() if fate.height != 3}
    assert len(list(told_and_true([card], lost))) == 1
    moved = {**FATES, bytes([1]) * 32: Fate(4, 0, "OK")}
    assert len(list(told_and_true([card], moved))) == 1
    failed = {**FATES, bytes([1]) * 32: Fate(3, 0, "SEQ_GAP")}
    assert len(list(told_and_true([card], failed))) == 1


def test_an_answer_that_fits_no_order_is_found(card: CardHistory) -> None:
    card.deeds.append(deed(4, Visit(3, 31, "OK"), (8, "OK"), 12.0))
    (fault,) = linearizable(card)
    assert "not linearizable" in fault


@pytest.mark.parametrize(
    ("reading", "fault"),
    [
        (Reading("node1", 6, 1, 90, 5.0, 5.1), "the chain says"),
        (Reading("node1", 7, 3, 41, 9.0, 9.1), "the chain says"),
        (Reading("node1", 2, 0, 100, 9.0, 9.1), "went back"),
    ],
)
def test_a_node_that_shows_another_past_is_found(
    card: CardHistory, reading: Reading, fault: str
) -> None:
    card.readings += [Reading("node1", 3, 1, 90, 4.0, 4.1), reading]
    (found,) = readings(card, FATES)
    assert fault in found
