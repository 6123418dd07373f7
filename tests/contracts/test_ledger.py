"""The double-entry ledger: legs, reservations, deadlines, limits."""

from __future__ import annotations

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from contracts.kernel.invariants import audit
from contracts.kernel.ledger import (
    ACCOUNTS,
    ASSETS,
    LEG_AMOUNT_MAX,
    PENDING,
    Account,
    Asset,
    Ledger,
    Leg,
    account_key,
    ledger_violations,
)
from contracts.kernel.state import Overlay, State
from contracts.kernel.types import AMOUNT_MAX, Rejected
from tests.contracts.world import Memory, id_of

DEADLINE_MS = 1_000
HOLD = id_of("hold")


class Books:
    """A ledger with a mint that may go negative and two purses."""

    def __init__(self, time_ms: int = 0) -> None:
        self.state = State(Memory(), ordered=False)
        for code in ("CNY", "USD"):
            self.state.put(ASSETS, code.encode(), Asset(code, 2))
        self.ledger = Ledger(self.state, time_ms)
        self.mint = self.ledger.open(b"mint", "CNY", "mint", (), may_go_negative=True)
        self.alice = self.ledger.open(b"alice", "CNY", "purse", ())
        self.bob = self.ledger.open(b"bob", "CNY", "purse", ())
        self.dollars = self.ledger.open(b"bob", "USD", "purse", ())
        self.ledger.transfer(Leg(self.mint, self.alice, 100))

    def later(self, time_ms: int) -> Ledger:
        """The same books at another time."""
        return Ledger(self.state, time_ms)

    def account(self, key: bytes) -> Account:
        """An account's record."""
        return self.state.need(ACCOUNTS, key)

    def code_of(self, *legs: Leg) -> str:
        """The code that a transfer is rejected with."""
        with pytest.raises(Rejected) as caught:
            self.ledger.transfer(*legs)
        return caught.value.code


def test_a_transfer_moves_money() -> None:
    books = Books()
    books.ledger.transfer(Leg(books.alice, books.bob, 30))
    assert [books.ledger.balance(key) for key in (books.mint, books.alice, books.bob)] == [
        -100,
        70,
        30,
    ]
    assert ledger_violations(books.state.changes()) == []


def test_an_account_may_not_go_negative() -> None:
    books = Books()
    assert books.code_of(Leg(books.alice, books.bob, 101)) == "INSUFFICIENT"


def test_an_account_may_not_overflow() -> None:
    books = Books()
    for _ in range((AMOUNT_MAX - 100) // LEG_AMOUNT_MAX):
        books.ledger.transfer(Leg(books.mint, books.alice, LEG_AMOUNT_MAX))
    assert books.code_of(Leg(books.mint, books.alice, LEG_AMOUNT_MAX)) == "OVERFLOW"
    books.ledger.transfer(Leg(books.mint, books.bob, 1))


def test_no_leg_moves_so_much_that_few_would_fill_an_account() -> None:
    books = Books()
    for amount in (LEG_AMOUNT_MAX + 1, AMOUNT_MAX):
        assert books.code_of(Leg(books.mint, books.alice, amount)) == "OVERFLOW"
    books.ledger.transfer(Leg(books.mint, books.alice, LEG_AMOUNT_MAX))
    assert AMOUNT_MAX // LEG_AMOUNT_MAX > 30_000


def test_a_leg_stays_in_one_asset() -> None:
    books = Books()
    with pytest.raises(AssertionError):
        books.ledger.transfer(Leg(books.alice, books.dollars, 1))


@pytest.mark.parametrize("amount", [0, -1, AMOUNT_MAX + 1])
def test_a_leg_moves_an_amount(amount: int) -> None:
    books = Books()
    with pytest.raises(AssertionError):
        books.ledger.transfer(Leg(books.alice, books.bob, amount))


def test_unknown_accounts_and_assets_are_rejected() -> None:
    books = Books()
    assert books.code_of(Leg(books.alice, id_of("nobody"), 1)) == "NOT_FOUND"
    with pytest.raises(Rejected) as caught:
        books.ledger.open(b"alice", "XXX", "purse", ())
    assert caught.value.details == {"what": "kernel/assets"}


def test_reserved_money_cannot_be_spent_twice() -> None:
    books = Books()
    books.ledger.reserve(HOLD, (Leg(books.alice, books.bob, 80),), DEADLINE_MS, ())
    assert books.account(books.alice).available == 20
    assert books.account(books.bob).balance == 0
    assert books.code_of(Leg(books.alice, books.bob, 21)) == "INSUFFICIENT"
    books.ledger.transfer(Leg(books.alice, books.bob, 20))
    books.ledger.post_pending(HOLD)
    assert books.account(books.alice).balance == 0
    assert books.account(books.bob).balance == 100
    assert books.state.get(PENDING, HOLD) is None
    assert audit(books.state).violations == []


def test_a_part_can_be_posted_and_the_rest_comes_back() -> None:
    books = Books()
    books.ledger.reserve(HOLD, (Leg(books.alice, books.bob, 80),), DEADLINE_MS, ())
    books.ledger.post_pending(HOLD, 30)
    assert books.account(books.alice).available == 70
    assert books.account(books.bob).balance == 30


@pytest.mark.parametrize("amount", [0, 81])
def test_no_more_than_reserved_can_be_posted(amount: int) -> None:
    books = Books()
    books.ledger.reserve(HOLD, (Leg(books.alice, books.bob, 80),), DEADLINE_MS, ())
    with pytest.raises(Rejected) as caught:
        books.ledger.post_pending(HOLD, amount)
    assert caught.value.code == "BAD_ARG"


def test_at_its_deadline_a_reservation_has_expired() -> None:
    books = Books()
    books.ledger.reserve(HOLD, (Leg(books.alice, books.bob, 80),), DEADLINE_MS, ())
    with pytest.raises(Rejected) as caught:
        books.later(DEADLINE_MS).post_pending(HOLD)
    assert caught.value.code == "EXPIRED"
    books.later(DEADLINE_MS).void_pending(HOLD)
    assert books.account(books.alice).available == 100
    assert books.account(books.bob).credits_pending == 0


def test_one_moment_earlier_it_has_not() -> None:
    books = Books()
    books.ledger.reserve(HOLD, (Leg(books.alice, books.bob, 80),), DEADLINE_MS, ())
    books.later(DEADLINE_MS - 1).post_pending(HOLD)
    assert books.account(books.bob).balance == 80


def test_a_reservation_is_posted_or_voided_once() -> None:
    books = Books()
    books.ledger.reserve(HOLD, (Leg(books.alice, books.bob, 80),), DEADLINE_MS, ())
    with pytest.raises(Rejected) as caught:
        books.ledger.reserve(HOLD, (Leg(books.alice, books.bob, 1),), DEADLINE_MS, ())
    assert caught.value.code == "BAD_STATE"
    books.ledger.void_pending(HOLD)
    with pytest.raises(Rejected) as caught:
        books.ledger.void_pending(HOLD)
    assert caught.value.code == "NOT_FOUND"


def test_the_sweep_voids_what_has_expired_and_nothing_else() -> None:
    books = Books()
    for number in range(4):
        leg = Leg(books.alice, books.bob, 10)
        books.ledger.reserve(id_of(f"hold {number}"), (leg,), DEADLINE_MS + number, ())
    assert books.later(DEADLINE_MS - 1).void_expired(10) == 0
    assert books.later(DEADLINE_MS + 2).void_expired(2) == 2
    assert books.later(DEADLINE_MS + 2).void_expired(2) == 1
    assert books.account(books.alice).available == 90
    assert books.state.get(PENDING, id_of("hold 3")) is not None
    assert audit(books.state).violations == []


def test_money_from_nowhere_is_a_violation() -> None:
    books = Books()
    forged = Account(b"alice", "CNY", "purse", 0, 0, 0, 500, False, ())
    books.state.put(ACCOUNTS, books.alice, forged)
    assert ledger_violations(books.state.changes()) == ["400 of CNY came from nowhere"]
    assert audit(books.state).violations == ["CNY sums to 400"]


def test_an_overdrawn_account_is_a_violation() -> None:
    books = Books()
    forged = Account(b"alice", "CNY", "purse", 0, 1, 0, 0, False, ())
    books.state.put(ACCOUNTS, books.alice, forged)
    assert any("overdrawn" in text for text in ledger_violations(books.state.changes()))


def test_account_keys_do_not_collide_by_concatenation() -> None:
    assert account_key(b"ab", "c", "d") != account_key(b"a", "bc", "d")
    assert account_key(b"a", "bc", "d") != account_key(b"a", "b", "cd")
    assert len(account_key(b"a", "b", "c")) == 16


STEPS = st.lists(
    st.tuples(
        st.sampled_from(["transfer", "reserve", "post", "void"]),
        st.integers(0, 2),
        st.integers(0, 2),
        st.integers(1, 150),
        st.integers(0, 3),
    ),
    max_size=40,
)


@given(STEPS)
def test_whatever_happens_the_books_balance(steps: list[tuple[str, int, int, int, int]]) -> None:
    books, memory = Books(), Memory()
    keep(books.state, memory)
    accounts = (books.mint, books.alice, books.bob)
    for step, source, target, amount, number in steps:
        state = State(memory)
        ledger = Ledger(state, number)
        hold = id_of(f"hold {number}")
        legs = (Leg(accounts[source], accounts[target], amount),)
        if source == target:
            continue
        try:
            match step:
                case "transfer":
                    ledger.transfer(*legs)
                case "reserve":
                    ledger.reserve(hold, legs, 2, ())
                case "post":
                    ledger.post_pending(hold)
                case "void":
                    ledger.void_pending(hold)
        except Rejected:
            continue
        assert ledger_violations(state.changes()) == []
        keep(state, memory)
        assert audit(State(memory, ordered=False)).violations == []


def test_what_is_reserved_keeps_its_room_in_the_counters() -> None:
    books = Books()
    full = books.account(books.bob)
    near = AMOUNT_MAX - 10
    spent = msgspec.structs.replace(full, credits_posted=near, debits_posted=near)
    books.state.put(ACCOUNTS, books.bob, spent)
    books.ledger.reserve(HOLD, (Leg(books.mint, books.bob, 6),), DEADLINE_MS, ())
    assert books.code_of(Leg(books.mint, books.bob, 5)) == "OVERFLOW"
    books.ledger.transfer(Leg(books.mint, books.bob, 4))
    books.ledger.post_pending(HOLD)
    assert books.account(books.bob).credits_posted == AMOUNT_MAX


def keep(state: State, memory: Memory) -> None:
    """Store what a transaction wrote."""
    overlay = Overlay(memory)
    state.commit_to(overlay)
    memory.apply(overlay.writes)
