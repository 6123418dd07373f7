"""What waits for the verifier: bounded in number and in bytes, clients and peers half and half."""

from __future__ import annotations

import pytest

from node import examination
from node.examination import ExaminationQueue, Lane, Unexamined

A, B, C = b"A", b"B", b"C"


def filled(lane: Lane, *raws: bytes, origin: bytes | None = None) -> Lane:
    """The lane with these transactions in it."""
    for raw in raws:
        lane.add(Unexamined(raw, origin, 1))
    return lane


def raws(items: list[Unexamined]) -> list[bytes]:
    """What was taken."""
    return [item.raw for item in items]


def test_the_oldest_leave_first_and_free_their_room() -> None:
    lane = filled(Lane(), b"a", b"bb", b"ccc")
    assert (len(lane), lane.bytes) == (3, 6)
    assert raws(lane.take(2)) == [b"a", b"bb"]
    assert (len(lane), lane.bytes) == (1, 3)


def test_few_large_transactions_fill_it_as_many_small_ones_do() -> None:
    assert filled(Lane(3, 10), b"a", b"b").has_room((b"c",))
    assert not filled(Lane(3, 10), b"a", b"b").has_room((b"c", b"d"))
    assert filled(Lane(3, 10), b"a" * 9).has_room((b"b",))
    assert not filled(Lane(3, 10), b"a" * 9).has_room((b"bb",))


def test_a_batch_is_bounded_in_bytes_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(examination, "BATCH_BYTES_MAX", 10)
    queue = ExaminationQueue()
    filled(queue.clients, b"c" * 6, b"d" * 6, b"e" * 6)
    filled(queue.peers.of(A), b"p" * 60, b"q" * 60)
    assert raws(queue.take(250)) == [b"p" * 60, b"c" * 6, b"d" * 6]
    assert raws(queue.take(250)) == [b"q" * 60, b"e" * 6]
    assert (queue.peers.bytes, queue.clients.bytes) == (0, 0)


def test_a_flood_of_clients_leaves_half_of_each_batch_to_peers() -> None:
    queue = ExaminationQueue()
    filled(queue.clients, *[b"c"] * 9)
    filled(queue.peers.of(A), *[b"p"] * 3)
    assert raws(queue.take(4)) == [b"p", b"p", b"c", b"c"]
    assert raws(queue.take(4)) == [b"p", b"c", b"c", b"c"]
    filled(queue.peers.of(A), *[b"p"] * 9)
    assert raws(queue.take(8)) == [b"p"] * 4 + [b"c"] * 4
    assert raws(queue.take(8)) == [b"p"] * 5
    assert queue.take(8) == []


def test_what_a_proposal_lacks_goes_first() -> None:
    queue = ExaminationQueue()
    filled(queue.clients, *[b"c"] * 3)
    filled(queue.peers.of(A), *[b"p"] * 3)
    filled(queue.wanted, b"w", b"w")
    assert raws(queue.take(4)) == [b"w", b"w", b"p", b"c"]
    assert raws(queue.take(4)) == [b"p", b"p", b"c", b"c"]


def test_the_flood_of_one_peer_delays_nobody_elses() -> None:
    queue = ExaminationQueue()
    filled(queue.peers.of(A), *[b"a"] * 1_000)
    assert queue.take(4) == [Unexamined(b"a", None, 1)] * 4
    filled(queue.peers.of(B), b"b", b"b")
    filled(queue.peers.of(C), b"c")
    assert raws(queue.take(6)) == [b"a", b"a", b"b", b"b", b"c", b"a"]
    assert len(queue.peers) == 1_000 - 4 - 3


def test_a_full_lane_is_full_for_one_peer_only() -> None:
    queue = ExaminationQueue()
    filled(queue.peers.of(A), *[b"a"] * examination.PEER_TRANSACTIONS_MAX)
    assert not queue.peers.of(A).has_room((b"a",))
    assert queue.peers.of(B).has_room((b"b",))
    assert (len(queue.peers), queue.peers.bytes) == (examination.PEER_TRANSACTIONS_MAX,) * 2


def test_peers_take_turns_when_each_fills_a_batch() -> None:
    queue = ExaminationQueue()
    filled(queue.peers.of(A), *[b"a"] * 9)
    filled(queue.peers.of(B), *[b"b"] * 9)
    assert raws(queue.take(1)) == [b"a"]
    assert raws(queue.take(1)) == [b"b"]
    assert raws(queue.take(1)) == [b"a"]
