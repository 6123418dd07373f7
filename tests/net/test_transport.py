"""Transports on real sockets: sending, duplicates, reconnecting, changing peers, failing."""

from __future__ import annotations

import asyncio
import dataclasses
import datetime

import pytest
import structlog

from node.net import tls
from node.net.outbox import Lane
from node.net.peers import PeerAddress
from node.net.transport import Transport
from node.protocol.errors import Misconfigured, PeerFault
from node.protocol.messages import Head, Message, TransactionRequest, Transactions
from tests.net.support import (
    KEYS,
    LOOPBACK,
    NOW,
    QUICK,
    Network,
    Node,
    all_connected,
    introduce,
    introduce_one_way,
    until,
)


async def test_messages_arrive_in_order_both_ways(network: Network) -> None:
    a, b = await network.pair()
    sent = [Head(height) for height in range(500)]
    for message in sent:
        assert a.transport.send(b.public_key, message)
        assert b.transport.send(a.public_key, message)
    await until(lambda: len(a.recorder.messages) == len(b.recorder.messages) == 500)
    assert a.recorder.messages == [(b.public_key, message) for message in sent]
    assert b.recorder.messages == [(a.public_key, message) for message in sent]


async def test_four_nodes_dialing_at_once_keep_one_connection_each(network: Network) -> None:
    nodes = [await network.node(index) for index in range(4)]
    introduce(*nodes)
    await all_connected(*nodes)
    await asyncio.sleep(0.1)
    for node in nodes:
        for other in nodes:
            if node is not other:
                stats = node.about(other)
                assert stats.connected
                assert stats.dialed_by_us is not other.about(node).dialed_by_us
        ups = [peer for event, peer in node.recorder.events if event == "up"]
        downs = [peer for event, peer in node.recorder.events if event == "down"]
        assert len(ups) - len(downs) == len(set(ups)) == 3
    assert nodes[0].transport.broadcast(Head(1)) == 3
    await until(lambda: all(node.recorder.messages for node in nodes[1:]))


@pytest.mark.parametrize("larger_first", [True, False])
async def test_of_two_simultaneous_connections_the_smaller_key_dialed_one_stays(
    network: Network, larger_first: bool
) -> None:
    a, b = await network.node(0), await network.node(1)
    first, second = (b, a) if larger_first else (a, b)
    await _dial_directly(first, second)
    await until(lambda: a.transport.connected and b.transport.connected)
    await _dial_directly(second, first)
    await asyncio.sleep(0.1)
    assert a.about(b).dialed_by_us is True
    assert b.about(a).dialed_by_us is False
    a.transport.send(b.public_key, Head(7))
    await until(lambda: b.recorder.messages)


async def _dial_directly(node: Node, other: Node) -> None:
    """One dial, whether or not a connection stands; neither node's own dialing takes part."""
    peers = {node.public_key: node.address, other.public_key: other.address}
    for end in (node, other):
        end.transport.set_peers(peers)
        for peer in end.transport._peers.values():
            assert peer.dialing is not None
            peer.dialing.cancel()
    await node.transport._dial(node.transport._peers[other.public_key])


async def test_a_later_connection_of_the_same_peer_replaces_the_old_one(network: Network) -> None:
    a, b = await network.pair()
    await _dial_directly(a, b)  # as after a crash that b has not noticed
    await until(lambda: b.recorder.events.count(("up", a.public_key)) == 2)
    assert b.recorder.events[-2:] == [("down", a.public_key), ("up", a.public_key)]
    a.transport.send(b.public_key, Head(7))
    await until(lambda: b.recorder.received() == [Head(7)])


async def test_reconnects_after_a_restart(network: Network) -> None:
    a, b = await network.pair()
    port = b.transport.port
    await b.transport.stop()
    await until(lambda: a.recorder.events[-1] == ("down", b.public_key))
    assert not a.transport.send(b.public_key, Head(1))
    await until(lambda: a.about(b).last_ending == "UNREACHABLE")
    again = await network.node(1, port=port)
    again.transport.set_peers({a.public_key: a.address})
    await all_connected(a, again)
    a.transport.send(b.public_key, Head(2))
    await until(lambda: again.recorder.received() == [Head(2)])


async def test_peers_change_at_run_time(network: Network) -> None:
    a, b, c = [await network.node(index) for index in range(3)]
    introduce_one_way(a, b)
    await all_connected(a, b)
    introduce_one_way(a, b, c)
    await all_connected(a, b, c)
    assert ("down", b.public_key) not in a.recorder.events
    up = a.about(c).since_ms
    a.transport.set_peers({c.public_key: c.address})
    assert a.transport.connected == (c.public_key,)
    assert a.recorder.events[-1] == ("down", b.public_key)
    await until(lambda: b.transport.connected == (c.public_key,))
    assert a.about(c).since_ms == up
    assert not a.transport.send(b.public_key, Head(1))


async def test_peers_changed_while_handling_a_message(network: Network) -> None:
    a, b = await network.pair()
    b.recorder.on_each = lambda *_: b.transport.set_peers({})
    a.transport.send(b.public_key, Head(1))
    a.transport.send(b.public_key, Head(2))
    await until(lambda: b.recorder.events[-1] == ("down", a.public_key))
    assert b.recorder.received() == [Head(1)]


async def test_a_fault_ends_the_connection_and_is_remembered_for_a_while(network: Network) -> None:
    a, b = await network.pair()

    def lie(_: bytes, message: Message) -> None:
        raise PeerFault("LIE", "a test")

    b.recorder.on_each = lie
    a.transport.send(b.public_key, Head(1))
    await until(lambda: b.about(a).last_ending == "LIE")
    started = asyncio.get_running_loop().time()
    await until(lambda: b.transport.connected)
    assert asyncio.get_running_loop().time() - started > QUICK.fault_delay_s / 2
    assert b.transport.refused_guests["BACKED_OFF"] > 0


async def test_disconnect_blames_only_that_peer(network: Network) -> None:
    a, b, c = await network.mesh(3)
    before = list(c.recorder.events)
    a.transport.disconnect(b.public_key, PeerFault("LIE", "a test"))
    assert a.transport.connected == (c.public_key,)
    await until(lambda: a.recorder.events[-1] == ("down", b.public_key))
    a.transport.send(c.public_key, Head(3))
    b.transport.send(c.public_key, Head(4))
    await until(lambda: len(c.recorder.messages) == 2)
    assert set(c.recorder.received()) == {Head(3), Head(4)}
    assert c.recorder.events == before


async def test_a_slow_handler_makes_its_peer_wait_and_nobody_else(network: Network) -> None:
    a, b, c = await network.mesh(3)
    b.recorder.gate = asyncio.Event()
    batch = Transactions((bytes(60_000),) * 16)
    for _ in range(16):
        a.transport.send(b.public_key, batch)
        a.transport.send(c.public_key, batch)
    await until(lambda: len(c.recorder.messages) == 16)
    assert not b.recorder.messages
    assert a.about(b).bulk_queued_bytes > 0
    b.recorder.gate.set()
    await until(lambda: len(b.recorder.messages) == 16)


async def test_a_connection_that_ends_does_not_cancel_the_handler(network: Network) -> None:
    a, b = await network.pair()
    b.recorder.gate = asyncio.Event()
    a.transport.send(b.public_key, Head(1))
    a.transport.send(b.public_key, Head(2))
    await asyncio.sleep(0.05)
    b.transport.disconnect(a.public_key, PeerFault("LIE", "a test"))
    assert b.transport.connected == ()
    b.recorder.gate.set()
    await until(lambda: b.recorder.events[-1] == ("down", a.public_key))
    assert b.recorder.received() == [Head(1)]


async def test_a_bug_of_ours_is_reported_and_not_swallowed(network: Network) -> None:
    a, b = await network.pair()

    def bug(_: bytes, message: Message) -> None:
        raise AssertionError("broken invariant")

    b.recorder.on_each = bug
    a.transport.send(b.public_key, Head(1))
    async with asyncio.timeout(3):
        failure = await b.transport.failure()
    assert isinstance(failure, AssertionError)
    assert network.failures() == [failure]
    network.forgive()


async def test_statistics(network: Network) -> None:
    a, b = await network.pair()
    request = TransactionRequest((bytes(32),) * 10)
    for _ in range(20):
        a.transport.send(b.public_key, request, Lane.BULK)
    await until(lambda: len(b.recorder.messages) == 20 and a.about(b).rtt_ms is not None)
    here, there = a.about(b), b.about(a)
    assert here.messages_out == there.messages_in == 20
    assert here.bytes_out > 20 * 320 < there.bytes_in
    assert here.connections == there.connections == 1
    assert here.dialed_by_us is True
    assert there.dialed_by_us is False
    assert here.since_ms is not None
    assert (here.consensus_queued, here.bulk_queued_bytes, here.bulk_dropped) == (0, 0, 0)
    assert here.last_ending is None


async def test_a_message_beyond_its_limit_is_our_own_error(network: Network) -> None:
    a, b = await network.pair()
    with pytest.raises(ValueError, match="exceeds its limit"):
        a.transport.send(b.public_key, Transactions((bytes(64_000),) * 100))


async def test_a_port_in_use_is_one_clear_error(network: Network) -> None:
    a = await network.node(0)
    with pytest.raises(Misconfigured, match=f"cannot listen on {LOOPBACK}:{a.transport.port}"):
        await network.node(1, port=a.transport.port)


@pytest.mark.parametrize(
    ("host", "port"),
    [("a..b", 1), ("x" * 70, 1), ("", 1), (".a", 1), ("b\0c", 1), (LOOPBACK, 70_000)],
)
async def test_an_unusable_address_is_the_misfortune_of_that_peer(
    network: Network, host: str, port: int
) -> None:
    a, b = await network.pair()
    peers = {b.public_key: b.address, KEYS[2].public_key: PeerAddress(host, port, bytes(32))}
    a.transport.set_peers(peers)
    await until(lambda: a.transport.stats()[-1].last_ending == "UNREACHABLE")
    a.transport.send(b.public_key, Head(1))
    await until(lambda: b.recorder.messages)


async def test_a_certificate_that_expires_soon_is_announced(network: Network) -> None:
    issued = NOW - tls.AUTHORITY_VALID_FOR + datetime.timedelta(days=9)
    shown = tls.make_node_certificate(tls.make_authority("old", issued), "n", (), NOW)
    with structlog.testing.capture_logs() as logs:
        await network.node(0)
        await network.node(1, shown=shown)
    assert [line["event"] for line in logs] == ["certificate_expires"]
    assert logs[0]["log_level"] == "warning"


async def test_throughput(network: Network) -> None:
    """25,000 transactions of 200 bytes, in far less than a second where nothing else runs."""
    limits = dataclasses.replace(QUICK, bulk_bytes_max=64 << 20)
    a, b = await network.pair(limits)
    batch = Transactions((bytes(200),) * 250)
    for _ in range(100):
        a.transport.send(b.public_key, batch)
    started = asyncio.get_running_loop().time()
    await until(lambda: len(b.recorder.messages) == 100)
    assert asyncio.get_running_loop().time() - started < 2.5


async def test_keys_are_in_no_repr(network: Network) -> None:
    a = await network.node(0)
    shown = repr(vars(a.transport)) + repr(a.shown)
    assert KEYS[0].secret.hex() not in shown
    assert str(KEYS[0].secret) not in shown
    assert "PRIVATE KEY" not in shown
    assert isinstance(a.transport, Transport)
