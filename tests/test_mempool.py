"""The mempool: order, bounds, lifetimes and quarantine."""

from __future__ import annotations

import itertools

import pytest

from node import mempool as rules
from node.admission import Candidate
from node.mempool import Mempool
from node.protocol.domain import Chain
from node.protocol.errors import Refused
from node.protocol.keys import PrivateKey
from node.protocol.transaction import VALID_FOR_MS_MAX, Call, sign_transaction

CHAIN = Chain("test", bytes(32))
NOW_MS = 1_000_000
KEYS = [PrivateKey.derive(bytes(32), f"sender {index}") for index in range(3)]
_numbers = itertools.count()


def candidate(sender: int = 0, valid_until: int = NOW_MS + 1, rejection: str = "") -> Candidate:
    nonce = next(_numbers).to_bytes(16, "big")
    call = Call("prepaid", "consume", {})
    transaction = sign_transaction(CHAIN, KEYS[sender], nonce, valid_until, (call,))
    return Candidate(transaction, (), rejection, {})


def refusal(pool: Mempool, item: Candidate) -> str:
    with pytest.raises(Refused) as caught:
        pool.add(item, NOW_MS)
    return caught.value.code


def test_batches_go_round_the_senders_and_keep_each_ones_order() -> None:
    pool = Mempool()
    items = [candidate(sender) for sender in (0, 0, 0, 1, 2, 2)]
    for item in items:
        pool.add(item, NOW_MS)
    first, second, third, fourth, fifth, sixth = items
    assert list(pool.round_robin()) == [first, fourth, fifth, second, sixth, third]
    assert pool.oldest(2) == [first, second]


def test_a_served_sender_goes_to_the_end_of_the_round() -> None:
    pool = Mempool()
    items = [candidate(sender) for sender in (0, 0, 1)]
    for item in items:
        pool.add(item, NOW_MS)
    pool.remove(items[0].transaction.id)
    assert list(pool.round_robin()) == [items[2], items[1]]


def test_the_same_id_is_known_and_not_taken_twice() -> None:
    pool = Mempool()
    item = candidate()
    assert pool.add(item, NOW_MS)
    assert not pool.add(item, NOW_MS)
    assert len(pool) == 1
    assert pool.bytes == len(item.transaction.raw)
    pool.remove(item.transaction.id)
    assert (len(pool), pool.bytes, list(pool.round_robin())) == (0, 0, [])


@pytest.mark.parametrize(
    ("item", "code"),
    [
        (candidate(valid_until=NOW_MS - 1), "TX_EXPIRED"),
        (candidate(valid_until=NOW_MS + 2 * VALID_FOR_MS_MAX), "TX_TOO_DISTANT"),
        (candidate(rejection="BAD_ENVELOPE"), "BAD_ENVELOPE"),
        (candidate(rejection="WRONG_EPOCH"), "WRONG_EPOCH"),
    ],
)
def test_what_no_block_may_hold_is_refused_with_its_code(item: Candidate, code: str) -> None:
    assert refusal(Mempool(), item) == code


def test_a_bad_argument_is_taken_since_its_receipt_is_the_answer() -> None:
    assert Mempool().add(candidate(rejection="BAD_ARG"), NOW_MS)


def test_overload_is_refused_and_one_sender_cannot_fill_the_pool(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(rules, "SENDER_TRANSACTIONS_MAX", 2)
    monkeypatch.setattr(rules, "POOL_TRANSACTIONS_MAX", 3)
    pool = Mempool()
    pool.add(candidate(0), NOW_MS)
    pool.add(candidate(0), NOW_MS)
    assert refusal(pool, candidate(0)) == "SENDER_LIMIT"
    pool.add(candidate(1), NOW_MS)
    assert refusal(pool, candidate(2)) == "MEMPOOL_FULL"


def test_one_sender_cannot_fill_the_pool_with_few_large_ones(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    first, second, third = candidate(0), candidate(0), candidate(0)
    size = max(len(item.transaction.raw) for item in (first, second, third))
    monkeypatch.setattr(rules, "SENDER_BYTES_MAX", 2 * size - 9)
    pool = Mempool()
    pool.add(first, NOW_MS)
    pool.add(second, NOW_MS)
    assert refusal(pool, third) == "SENDER_LIMIT"
    assert pool.add(candidate(1), NOW_MS)
    pool.remove(first.transaction.id)
    assert pool.add(third, NOW_MS)


def test_one_sender_cannot_fill_the_blocks_with_many_calls(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(rules, "SENDER_CALLS_MAX", 2)
    pool = Mempool()
    first = candidate(0)
    sender = first.transaction.body.sender
    pool.add(first, NOW_MS)
    assert not pool.is_at_limit(sender)
    pool.add(candidate(0), NOW_MS)
    assert pool.is_at_limit(sender)
    assert refusal(pool, candidate(0)) == "SENDER_LIMIT"
    pool.remove(first.transaction.id)
    assert not pool.is_at_limit(sender)


def test_bytes_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    item = candidate()
    monkeypatch.setattr(rules, "POOL_BYTES_MAX", len(item.transaction.raw))
    pool = Mempool()
    pool.add(item, NOW_MS)
    assert refusal(pool, candidate(1)) == "MEMPOOL_FULL"


def test_poison_is_dropped_and_not_taken_again() -> None:
    pool = Mempool()
    item = candidate()
    pool.add(item, NOW_MS)
    pool.quarantine(item)
    assert len(pool) == 0
    assert refusal(pool, item) == "QUARANTINED"


def test_the_quarantine_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rules, "QUARANTINE_MAX", 1)
    pool = Mempool()
    first, second = candidate(), candidate()
    pool.quarantine(first)
    pool.quarantine(second)
    assert pool.add(first, NOW_MS)


def test_the_expired_leave_in_order() -> None:
    pool = Mempool()
    items = [candidate(valid_until=NOW_MS + after) for after in (5, 1, 3)]
    for item in items:
        pool.add(item, NOW_MS)
    gone = pool.drop_expired(NOW_MS + 4)
    assert gone == [items[1].transaction.id, items[2].transaction.id]
    assert list(pool.round_robin()) == [items[0]]
