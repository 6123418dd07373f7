"""What strangers, broken peers and dead lines can do: cost a bounded amount, then nothing."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import os
import resource
import socket
from collections.abc import Iterator

import pytest
import structlog

from node.net import frames
from node.net.arrivals import ADDRESSES_MAX, Arrivals
from node.protocol.encoding import encode
from node.protocol.messages import VOTE_BYTES_MAX, Head, encode_message
from tests.net.support import (
    KEYS,
    LOOPBACK,
    QUICK,
    Intruder,
    Network,
    Node,
    address_of,
    all_connected,
    credential,
    introduction,
    until,
)

HASTY = dataclasses.replace(QUICK, handshake_s=0.15, redial_min_s=60.0, redial_max_s=60.0)


async def plain(node: Node) -> Intruder:
    """A bare TCP connection."""
    return Intruder(*await asyncio.open_connection(LOOPBACK, node.transport.port))


def refusals(node: Node) -> int:
    return sum(node.transport.refused_guests.values())


async def test_garbage_is_counted_and_logged_once_without_a_traceback(
    network: Network, caplog: pytest.LogCaptureFixture
) -> None:
    a, b = await network.pair()
    with structlog.testing.capture_logs() as logs:
        for _ in range(20):
            intruder = await plain(a)
            intruder.writer.write(b"\x00\xffgarbage" * 50)
            assert await intruder.is_cut_off()
        await until(lambda: refusals(a) == 20)
    lines = [line for line in logs if line["event"] == "guest_refused"]
    assert {line["log_level"] for line in lines} == {"info"}
    assert len(lines) == len(a.transport.refused_guests)  # one for each code
    assert not caplog.records  # nothing from asyncio itself
    b.transport.send(a.public_key, Head(1))
    await until(lambda: a.recorder.received() == [Head(1)])


@pytest.mark.parametrize("sent", [b"", b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03"])
async def test_slow_loris_before_tls(network: Network, sent: bytes) -> None:
    node = await network.node(0, limits=HASTY)
    started = asyncio.get_running_loop().time()
    intruders = [await plain(node) for _ in range(5)]
    for intruder in intruders:
        intruder.writer.write(sent)
    for intruder in intruders:
        assert await intruder.is_cut_off()
    assert HASTY.handshake_s <= asyncio.get_running_loop().time() - started < 1.0
    await until(lambda: dict(node.transport.refused_guests) == {"TOO_SLOW": 5})


async def test_slow_loris_inside_tls(network: Network) -> None:
    node = await network.node(0, limits=HASTY)
    node.transport.set_peers({KEYS[1].public_key: address_of(credential("node1"), 1)})
    intruder = await network.intrude(node, credential("node1"))
    hello = frames.frame(frames.INTRODUCTION, encode(introduction(KEYS[1].public_key)))
    with contextlib.suppress(OSError):
        for byte in hello[:10]:
            intruder.writer.write(bytes([byte]))
            await asyncio.sleep(0.03)
    assert await intruder.is_cut_off()
    await until(lambda: dict(node.transport.refused_guests) == {"TOO_SLOW": 1})


async def test_guests_are_limited_and_the_limit_lifts_again(network: Network) -> None:
    limits = dataclasses.replace(HASTY, handshake_s=0.4, guests_per_address_max=3)
    node = await network.node(0, limits=limits)
    waiting = [await plain(node) for _ in range(3)]
    refused = [await plain(node) for _ in range(4)]
    for intruder in refused:
        assert await intruder.is_cut_off()
    assert dict(node.transport.refused_guests) == {"TOO_MANY": 4}
    for intruder in waiting:
        assert await intruder.is_cut_off()
    true = await network.node(1)
    node.transport.set_peers({true.public_key: true.address})
    true.transport.set_peers({node.public_key: node.address})
    await all_connected(node, true)


async def test_guests_of_all_addresses_are_limited(network: Network) -> None:
    node = await network.node(0, limits=dataclasses.replace(HASTY, guests_max=2))
    waiting = [await plain(node) for _ in range(2)]
    assert await (await plain(node)).is_cut_off()
    assert dict(node.transport.refused_guests) == {"TOO_MANY": 1}
    for intruder in waiting:
        assert await intruder.is_cut_off()


async def test_strangers_keep_no_peer_out(network: Network) -> None:
    """A guest from where a peer listens does not count among the strangers."""
    node = await network.node(0, limits=dataclasses.replace(HASTY, handshake_s=2.0, guests_max=0))
    assert await (await plain(node)).is_cut_off()
    peer = await network.node(1)
    node.transport.set_peers({peer.public_key: peer.address})
    peer.transport.set_peers({node.public_key: node.address})
    await all_connected(node, peer)


async def test_who_knocks_too_often_is_not_even_heard(network: Network) -> None:
    limits = dataclasses.replace(QUICK, guests_per_address_rate=5.0, guests_per_address_burst=3)
    node = await network.node(0, limits=limits)
    for _ in range(6):
        intruder = await plain(node)
        with contextlib.suppress(OSError):
            intruder.writer.write(b"garbage" * 50)
        assert await intruder.is_cut_off()
    await until(lambda: refusals(node) == 6)
    assert dict(node.transport.refused_guests)["TOO_MANY"] >= 2
    await asyncio.sleep(0.5)
    heard = refusals(node) - node.transport.refused_guests["TOO_MANY"]
    intruder = await plain(node)
    intruder.writer.write(b"garbage" * 50)
    assert await intruder.is_cut_off()
    await until(lambda: refusals(node) - node.transport.refused_guests["TOO_MANY"] == heard + 1)


def test_arrivals_are_bounded_in_addresses() -> None:
    arrivals = Arrivals(0.001, 1)
    assert [arrivals.admits("first", 0.0) for _ in range(2)] == [True, False]
    assert all(arrivals.admits(str(number), 0.0) for number in range(ADDRESSES_MAX))
    assert arrivals.admits("first", 0.0), "its bucket was dropped to make room"


async def test_established_connections_take_no_guest_slot(network: Network) -> None:
    limits = dataclasses.replace(QUICK, guests_max=1)
    nodes = [await network.node(index, limits=limits) for index in range(4)]
    peers = {node.public_key: node.address for node in nodes}
    for node in nodes:
        node.transport.set_peers(peers)
    await all_connected(*nodes)


async def test_out_of_descriptors_the_door_pauses_and_opens_again(network: Network) -> None:
    node = await network.node(0)
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    with socket.socket() as guest, structlog.testing.capture_logs() as logs:
        lowest_free = os.dup(guest.fileno())
        os.close(lowest_free)
        resource.setrlimit(resource.RLIMIT_NOFILE, (lowest_free, hard))
        try:
            guest.connect((LOOPBACK, node.transport.port))
            await asyncio.sleep(0.05)
        finally:
            resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
        assert [line["event"] for line in logs] == ["accept_failed"]
        guest.sendall(b"garbage")
        await until(lambda: refusals(node) == 1)


@contextlib.contextmanager
def speaking_raw(a: Node, b: Node) -> Iterator[asyncio.StreamWriter]:
    """The writer under a's connection to b."""
    link = a.transport._peers[b.public_key].connection
    assert link is not None
    yield link._writer


@pytest.mark.parametrize(
    ("sent", "code"),
    [
        (b"\xff\xff\xff\xff\x14", "TOO_LARGE"),
        (frames.frame(20, bytes(VOTE_BYTES_MAX + 1)), "TOO_LARGE"),
        (frames.frame(99, b""), "BAD_FRAME"),
        (frames.frame(frames.INTRODUCTION, b""), "BAD_FRAME"),
        (frames.frame(frames.PING, bytes(9)), "TOO_LARGE"),
        (frames.frame(frames.PONG, b"\xff" * 8), "BAD_PONG"),
        (frames.frame(frames.PONG, b""), "BAD_PONG"),
        (frames.frame(20, b"\x92\x14"), "BAD_MESSAGE"),
        (frames.frame(1, encode_message(Head(1))), "BAD_FRAME"),
    ],
)
async def test_a_peer_that_breaks_the_protocol(network: Network, sent: bytes, code: str) -> None:
    a, b = await network.pair()
    with speaking_raw(a, b) as writer:
        writer.write(sent)
    await until(lambda: b.recorder.events[-1] == ("down", a.public_key))
    assert b.about(a).last_ending == code
    assert b.recorder.messages == []


async def test_a_flood_of_pings_is_not_answered_one_by_one(network: Network) -> None:
    limits = dataclasses.replace(QUICK, ping_interval_s=60.0)
    a, b = await network.pair(limits)
    with speaking_raw(a, b) as writer:
        writer.write(frames.frame(frames.PING, bytes(8)) * 20_000)
    a.transport.send(b.public_key, Head(1))
    await until(lambda: b.recorder.received() == [Head(1)])
    assert b.about(a).bytes_in > 20_000 * 13
    assert b.about(a).bytes_out < 2_000 * 13


class DeadLine:
    """A TCP relay that at some moment stops relaying, without closing anything."""

    def __init__(self) -> None:
        self.dead = asyncio.Event()
        self.server: asyncio.Server | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self._writers: list[asyncio.StreamWriter] = []

    async def __aenter__(self) -> DeadLine:
        return self

    async def __aexit__(self, *_: object) -> None:
        for task in self._tasks:
            task.cancel()
        for writer in self._writers:
            writer.transport.abort()
        if self.server is not None:
            self.server.close()

    async def start(self, target: int) -> int:
        async def relay(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            far_reader, far_writer = await asyncio.open_connection(LOOPBACK, target)
            self._writers += [writer, far_writer]
            for source, sink in ((reader, far_writer), (far_reader, writer)):
                task = asyncio.create_task(self._pump(source, sink))
                self._tasks.add(task)

        self.server = await asyncio.start_server(relay, LOOPBACK, 0)
        return int(self.server.sockets[0].getsockname()[1])

    async def _pump(self, source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError):
            while (data := await source.read(65_536)) and not self.dead.is_set():
                sink.write(data)


async def test_a_dead_line_is_noticed_by_both_ends(network: Network) -> None:
    limits = dataclasses.replace(QUICK, silence_max_s=0.3, redial_min_s=60.0, redial_max_s=60.0)
    a, b = await network.node(0, limits=limits), await network.node(1, limits=limits)
    async with DeadLine() as line:
        port = await line.start(b.transport.port)
        b.transport.set_peers({a.public_key: address_of(a.shown, 1)})
        a.transport.set_peers({b.public_key: dataclasses.replace(b.address, port=port)})
        await all_connected(a, b)
        await asyncio.sleep(0.5)  # idle, but alive: the pings are enough
        assert a.transport.connected
        assert b.transport.connected
        line.dead.set()
        await until(lambda: {a.about(b).connected, b.about(a).connected} == {False}, 1.5)
        assert "SILENT" in {a.about(b).last_ending, b.about(a).last_ending} <= {"SILENT", "LOST"}
