"""What waits for the verifier: bounded in number and in bytes, clients and peers half and half."""

from __future__ import annotations

import pytest

from node import examination
from node.examination import ExaminationQueue, Lane, Unexamined


def filled(lane: Lane, *raws: bytes) -> Lane:
    """The lane with these transactions in it."""
    for raw in raws:
        lane.add(Unexamined(raw, None, 1))
    return lane


def raws(items: list[Unexamined]) -> list[bytes]:
    """What was taken."""
    return [item.raw for item in items]


def test_the_oldest_leave_first_and_free_their_room() -> None:
    lane = filled(Lane(), b"a", b"bb", b"ccc")
    assert (len(lane), lane.bytes) == (3, 6)
    assert raws(lane.take(2)) == [b"a", b"bb"]
    assert (len(lane), lane.bytes) == (1, 3)


def test_few_large_transactions_fill_it_as_many_small_ones_do(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(examination, "LANE_TRANSACTIONS_MAX", 3)
    monkeypatch.setattr(examination, "LANE_BYTES_MAX", 10)
    assert filled(Lane(), b"a", b"b").has_room((b"c",))
    assert not filled(Lane(), b"a", b"b").has_room((b"c", b"d"))
    assert filled(Lane(), b"a" * 9).has_room((b"b",))
    assert not filled(Lane(), b"a" * 9).has_room((b"bb",))


def test_a_batch_is_bounded_in_bytes_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(examination, "BATCH_BYTES_MAX", 10)
    queue = ExaminationQueue()
    filled(queue.clients, b"c" * 6, b"d" * 6, b"e" * 6)
    filled(queue.peers, b"p" * 60, b"q" * 60)
    assert raws(queue.take(250)) == [b"p" * 60, b"c" * 6, b"d" * 6]
    assert raws(queue.take(250)) == [b"q" * 60, b"e" * 6]
    assert (queue.peers.bytes, queue.clients.bytes) == (0, 0)


def test_a_flood_of_clients_leaves_half_of_each_batch_to_peers() -> None:
    queue = ExaminationQueue()
    filled(queue.clients, *[b"c"] * 9)
    filled(queue.peers, *[b"p"] * 3)
    assert raws(queue.take(4)) == [b"p", b"p", b"c", b"c"]
    assert raws(queue.take(4)) == [b"p", b"c", b"c", b"c"]
    filled(queue.peers, *[b"p"] * 9)
    assert raws(queue.take(8)) == [b"p"] * 4 + [b"c"] * 4
    assert raws(queue.take(8)) == [b"p"] * 5
    assert queue.take(8) == []


def test_what_a_proposal_lacks_goes_first() -> None:
    queue = ExaminationQueue()
    filled(queue.clients, *[b"c"] * 3)
    filled(queue.peers, *[b"p"] * 3)
    filled(queue.wanted, b"w", b"w")
    assert raws(queue.take(4)) == [b"w", b"w", b"p", b"c"]
    assert raws(queue.take(4)) == [b"p", b"p", b"c", b"c"]
