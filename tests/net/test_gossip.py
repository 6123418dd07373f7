"""Gossip: batches, deadlines, and what each peer is told."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable

from hypothesis import given
from hypothesis import strategies as st

from node.net.gossip import KnownHashes, Pair, TransactionGossip
from node.protocol.encoding import sha256
from node.protocol.messages import (
    BATCH_BYTES_MAX,
    BATCH_TRANSACTIONS_MAX,
    BYTES_MAX,
    Message,
    Transactions,
    encode_message,
    in_batches,
)
from tests.net.support import Network, until

A, B, C = (bytes([letter]) * 33 for letter in b"ABC")


class Wire:
    """A sender that keeps what each peer was sent, and how often anything was encoded."""

    def __init__(self, *peers: bytes) -> None:
        self.connected = peers
        self.calls = 0
        self.sent: dict[bytes, list[bytes]] = {peer: [] for peer in peers}
        self.batch_sizes: list[int] = []

    def multicast(self, peers: Iterable[bytes], message: Message) -> int:
        assert isinstance(message, Transactions)
        self.calls += 1
        self.batch_sizes.append(len(message.raws))
        told = list(peers)
        for peer in told:
            self.sent[peer] += message.raws
        return len(told)


def pairs(*numbers: int) -> list[Pair]:
    return [(sha256(bytes([n % 256, n // 256])), n.to_bytes(2, "big") * 50) for n in numbers]


def raws(*numbers: int) -> list[bytes]:
    return [raw for _, raw in pairs(*numbers)]


async def test_a_full_batch_leaves_at_once_and_is_encoded_once() -> None:
    wire = Wire(A, B, C)
    gossip = TransactionGossip(wire)
    gossip.offer(pairs(*range(BATCH_TRANSACTIONS_MAX + 1)))
    assert (wire.calls, wire.batch_sizes) == (1, [BATCH_TRANSACTIONS_MAX])
    gossip.flush()
    expected = raws(*range(BATCH_TRANSACTIONS_MAX + 1))
    assert wire.sent == {A: expected, B: expected, C: expected}


async def test_a_partial_batch_leaves_within_milliseconds() -> None:
    wire = Wire(A)
    gossip = TransactionGossip(wire)
    gossip.offer(pairs(1))
    gossip.offer(pairs(2))
    assert wire.calls == 0
    await asyncio.sleep(0.03)
    assert (wire.calls, wire.sent[A]) == (1, raws(1, 2))


async def test_large_transactions_leave_before_the_count_is_reached() -> None:
    wire = Wire(A)
    gossip = TransactionGossip(wire)
    gossip.offer([(sha256(bytes([n])), bytes([n]) * 60_000) for n in range(20)])
    gossip.flush()
    assert len(wire.sent[A]) == 20
    assert max(wire.batch_sizes) * 60_000 < BATCH_BYTES_MAX + 60_000


async def test_nobody_is_told_what_it_told_us_or_was_told_before() -> None:
    wire = Wire(A, B, C)
    gossip = TransactionGossip(wire)
    gossip.offer(pairs(1, 2), origin=A)
    gossip.offer(pairs(3))
    gossip.received(B, [content_hash for content_hash, _ in pairs(2)])
    gossip.flush()
    assert wire.sent == {A: raws(3), B: raws(1, 3), C: raws(1, 2, 3)}
    gossip.offer(pairs(1, 2, 3))
    gossip.flush()
    assert wire.sent == {A: raws(3), B: raws(1, 3), C: raws(1, 2, 3)}


async def test_the_same_transaction_twice_in_a_batch_is_sent_once() -> None:
    wire = Wire(A)
    gossip = TransactionGossip(wire)
    gossip.offer(pairs(1, 1))
    gossip.flush()
    assert wire.sent[A] == raws(1)


async def test_a_peer_that_left_is_told_again() -> None:
    wire = Wire(A)
    gossip = TransactionGossip(wire)
    gossip.offer(pairs(1))
    gossip.flush()
    gossip.forget(A)
    gossip.offer(pairs(1))
    gossip.flush()
    assert wire.sent[A] == raws(1, 1)


def test_known_hashes_are_bounded_and_keep_the_latest() -> None:
    known = KnownHashes(100)
    for number in range(1_000):
        known.add(number.to_bytes(32, "big"))
        assert len(known) <= 100
        assert all(n.to_bytes(32, "big") in known for n in range(max(0, number - 49), number + 1))
    assert bytes(32) not in known


@given(st.lists(st.integers(1, 64 * 1024), max_size=600))
def test_batches_lose_nothing_and_keep_the_limits(sizes: list[int]) -> None:
    given_raws = [bytes(size) for size in sizes]
    messages = list(in_batches(given_raws))
    assert [raw for message in messages for raw in message.raws] == given_raws
    for message in messages:
        assert 0 < len(message.raws) <= BATCH_TRANSACTIONS_MAX
        assert len(encode_message(message)) <= BYTES_MAX[Transactions]


async def test_over_the_real_transport(network: Network) -> None:
    a, b = await network.pair()
    gossip = TransactionGossip(a.transport)
    gossip.offer(pairs(*range(600)))
    await until(lambda: len(b.recorder.messages) == 3)
    received = [m.raws for m in b.recorder.received() if isinstance(m, Transactions)]
    assert [raw for batch in received for raw in batch] == raws(*range(600))
