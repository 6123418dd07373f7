"""The outgoing lanes: bounded, consensus first, and a slow peer slows only itself."""

from __future__ import annotations

import asyncio
import dataclasses

import pytest

from node.net.limits import WRITE_BYTES_MAX
from node.net.outbox import Lane, Outbox, lane_of
from node.protocol.encoding import sha256
from node.protocol.messages import (
    BlockRange,
    BlockRequest,
    Commit,
    Evidence,
    Head,
    Message,
    Prepare,
    TransactionRequest,
    Transactions,
)
from tests.net.support import KEYS, QUICK, Network, all_connected, until

SMALL = dataclasses.replace(
    QUICK, consensus_frames_max=100, consensus_bytes_max=50_000, bulk_bytes_max=1_000
)
FAR_MORE_THAN_SOCKETS_HOLD = 30


def vote(height: int) -> Prepare:
    return Prepare(height, 0, sha256(b""), KEYS[0].public_key, bytes(64))


async def test_consensus_leaves_before_bulk_and_each_lane_in_order() -> None:
    outbox = Outbox(SMALL)
    outbox.put(Lane.BULK, b"b1 ")
    outbox.put(Lane.CONSENSUS, b"c1 ")
    outbox.put(Lane.BULK, b"b2 ")
    outbox.put(Lane.CONSENSUS, b"c2 ")
    outbox.put_control(1, b"ping ")
    assert await outbox.take() == b"ping c1 c2 b1 b2 "
    assert (outbox.consensus_bytes, outbox.bulk_bytes) == (0, 0)


async def test_bulk_drops_its_oldest() -> None:
    outbox = Outbox(SMALL)
    for number in range(15):
        assert outbox.put(Lane.BULK, bytes([number]) * 100)
    assert (outbox.bulk_frames, outbox.bulk_bytes, outbox.bulk_dropped) == (10, 1_000, 5)
    assert (await outbox.take())[0] == 5


async def test_consensus_is_bounded_in_frames_and_in_bytes() -> None:
    outbox = Outbox(SMALL)
    assert all(outbox.put(Lane.CONSENSUS, b"x") for _ in range(100))
    assert not outbox.put(Lane.CONSENSUS, b"x")
    outbox = Outbox(SMALL)
    assert outbox.put(Lane.CONSENSUS, bytes(50_000))
    assert not outbox.put(Lane.CONSENSUS, b"x")
    assert outbox.bulk_dropped == 0


async def test_bulk_never_pushes_consensus_out() -> None:
    outbox = Outbox(SMALL)
    outbox.put(Lane.CONSENSUS, b"vote")
    for _ in range(1_000):
        outbox.put(Lane.BULK, bytes(500))
    assert (await outbox.take()).startswith(b"vote")


async def test_one_take_is_one_write_of_limited_size() -> None:
    outbox = Outbox(QUICK)
    for _ in range(100):
        outbox.put(Lane.BULK, bytes(10_000))
    first = await outbox.take()
    assert WRITE_BYTES_MAX <= len(first) < WRITE_BYTES_MAX + 10_000
    rest = 0
    while outbox.bulk_frames:
        rest += len(await outbox.take())
    assert len(first) + rest == 1_000_000


async def test_only_the_latest_ping_waits() -> None:
    outbox = Outbox(QUICK)
    outbox.put_control(1, b"old")
    outbox.put_control(2, b"pong")
    outbox.put_control(1, b"new")
    assert await outbox.take() == b"newpong"


async def test_a_closed_outbox_wakes_the_writer_and_takes_no_more() -> None:
    outbox = Outbox(QUICK)
    taking = asyncio.create_task(outbox.take())
    await asyncio.sleep(0)
    outbox.close()
    assert await taking == b""
    assert outbox.put(Lane.CONSENSUS, b"late")
    assert outbox.consensus_frames == 0


@pytest.mark.parametrize(
    ("message", "lane"),
    [
        (vote(1), Lane.CONSENSUS),
        (Commit(1, 0, sha256(b""), KEYS[0].public_key, bytes(64)), Lane.CONSENSUS),
        (Head(1), Lane.CONSENSUS),
        (Evidence(b"", b""), Lane.CONSENSUS),
        (TransactionRequest(()), Lane.CONSENSUS),
        (BlockRequest(1, 1), Lane.CONSENSUS),
        (Transactions(()), Lane.BULK),
        (BlockRange((), 0), Lane.BULK),
    ],
)
def test_lanes(message: Message, lane: Lane) -> None:
    assert lane_of(message) is lane


async def test_votes_overtake_queued_transactions_on_the_wire(network: Network) -> None:
    a, b = await network.pair()
    b.recorder.gate = asyncio.Event()
    batch = Transactions((bytes(50_000),) * 10)
    for _ in range(FAR_MORE_THAN_SOCKETS_HOLD):
        a.transport.send(b.public_key, batch)
    await until(lambda: a.about(b).bytes_out > 1_000_000)
    await asyncio.sleep(0.1)
    waiting = a.about(b).bulk_queued_bytes // 500_000
    assert waiting > 5
    a.transport.send(b.public_key, vote(7))
    b.recorder.gate.set()
    await until(lambda: len(b.recorder.messages) == FAR_MORE_THAN_SOCKETS_HOLD + 1)
    assert b.recorder.received().index(vote(7)) <= FAR_MORE_THAN_SOCKETS_HOLD - waiting


async def test_a_peer_that_does_not_read_loses_bulk_and_slows_only_itself(
    network: Network,
) -> None:
    limits = dataclasses.replace(QUICK, bulk_bytes_max=1 << 20)
    a, b, c = await network.mesh(3, limits)
    b.recorder.gate = asyncio.Event()
    batch = Transactions((bytes(50_000),) * 10)
    for number in range(FAR_MORE_THAN_SOCKETS_HOLD):
        a.transport.broadcast(batch)
        await until(lambda number=number: len(c.recorder.messages) == number + 1)  # type: ignore[misc]
    about = a.about(b)
    assert about.connected
    assert about.bulk_dropped > 0
    assert about.bulk_queued_bytes <= 1 << 20
    assert a.about(c).bulk_dropped == 0
    b.recorder.gate.set()
    await until(lambda: len(b.recorder.messages) + about.bulk_dropped == FAR_MORE_THAN_SOCKETS_HOLD)


async def test_a_peer_that_does_not_read_its_votes_is_cut_off(network: Network) -> None:
    limits = dataclasses.replace(QUICK, consensus_frames_max=1_000)
    a, b, c = await network.mesh(3, limits)
    b.recorder.gate = asyncio.Event()
    for height in range(1_001):  # before the writer gets a turn
        a.transport.send(b.public_key, vote(height))
    assert a.transport.connected == (c.public_key,)
    a.transport.send(c.public_key, Head(1))
    await until(lambda: c.recorder.received() == [Head(1)])
    await until(lambda: a.about(b).last_ending == "SLOW_PEER")
    b.recorder.gate.set()
    await all_connected(a, b, c)  # slow is no fault: it may come back at once
