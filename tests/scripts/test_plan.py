"""The plan of a replay: order within a card, resuming, what follows from each outcome."""

from __future__ import annotations

import random

import pytest

from _replay.log import Log, parse_log
from _replay.plan import Plan, Row
from node.protocol.errors import Misconfigured

HEADER = b" customer_id  date number_of_cds  dollar_value\r\n"


def make_log(*rows: tuple[str, int]) -> Log:
    """A log of (customer, cents)."""
    lines = [f" {name} 19970101  1  {cents // 100}.{cents % 100:02}\r\n" for name, cents in rows]
    return parse_log(HEADER + "".join(lines).encode(), "sample")


LOG = make_log(("1", 100), ("1", 0), ("1", 100), ("2", 0), ("3", 300), ("3", 301), ("3", 0))


def told(rows: list[Row]) -> list[tuple[str, int, int]]:
    """(customer, cents, seq) of each."""
    return [(row.purchase.customer, row.purchase.cents, row.seq) for row in rows]


def test_rows_of_zero_use_no_number() -> None:
    plan = Plan(LOG, {})
    assert told(plan.take(10)) == [
        ("1", 100, 1),
        ("1", 0, 2),
        ("1", 100, 2),
        ("2", 0, 1),
        ("3", 300, 1),
        ("3", 301, 2),
        ("3", 0, 3),
    ]
    assert plan.purchases_of == {"1": 2, "2": 0, "3": 2}


def test_everything_settled_is_done() -> None:
    plan = Plan(LOG, {})
    rows = plan.take(10)
    for row in rows:
        assert not plan.done
        plan.settle(row, "OK" if row.purchase.cents else "BAD_ARG")
    assert plan.done
    assert plan.settled == 7
    assert [purchase.line for purchase in plan.refused] == [3, 5, 8]
    assert plan.faults == []


def test_it_goes_on_where_the_cards_are_and_sends_zeros_again() -> None:
    plan = Plan(LOG, {"1": 1, "3": 2})
    assert plan.found_booked == 3
    assert told(plan.take(10)) == [("1", 0, 2), ("1", 100, 2), ("2", 0, 1), ("3", 0, 3)]


def test_a_finished_replay_has_only_zeros_left() -> None:
    plan = Plan(LOG, {"1": 2, "3": 2})
    for row in plan.take(10):
        assert row.purchase.cents == 0
        plan.settle(row, "BAD_ARG")
    assert plan.done


def test_with_everything_booked_there_is_nothing_to_do() -> None:
    assert Plan(make_log(("1", 100), ("2", 100)), {"1": 1, "2": 1}).done


def test_a_card_that_is_ahead_of_the_log_is_another_logs() -> None:
    with pytest.raises(Misconfigured, match="OTHER_LOG"):
        Plan(LOG, {"1": 3})


def test_a_card_holds_back_beyond_its_share() -> None:
    log = make_log(*[("1", 1)] * 5, ("2", 1))
    plan = Plan(log, {}, per_card_max=2)
    first = plan.take(10)
    assert told(first) == [("1", 1, 1), ("1", 1, 2), ("2", 1, 1)]
    plan.settle(first[0], "OK")
    assert told(plan.take(10)) == [("1", 1, 3)]


def test_after_a_gap_a_card_waits_and_starts_again_in_order() -> None:
    plan = Plan(make_log(*[("1", 1)] * 4), {})
    first, second, third, fourth = plan.take(10)
    plan.settle(second, "SEQ_GAP")
    plan.settle(third, "SEQ_GAP")
    assert plan.take(10) == []
    plan.settle(first, "OK")
    assert plan.take(10) == []
    plan.give_back(fourth)
    assert told(plan.take(10)) == [("1", 1, 2), ("1", 1, 3), ("1", 1, 4)]
    assert plan.gaps == 2


def test_what_was_booked_behind_a_gap_is_not_sent_again() -> None:
    plan = Plan(make_log(*[("1", 1)] * 3), {})
    first, second, third = plan.take(10)
    plan.give_back(first)
    plan.settle(second, "OK")
    plan.settle(third, "SEQ_GAP")
    assert told(plan.take(10)) == [("1", 1, 1), ("1", 1, 3)]


@pytest.mark.parametrize(("cents", "code"), [(100, "INSUFFICIENT"), (100, "BAD_ARG"), (0, "OK")])
def test_an_outcome_that_should_not_be_stops_the_card(cents: int, code: str) -> None:
    plan = Plan(make_log(("1", cents), ("1", 100), ("2", 100)), {}, per_card_max=1)
    first, other = plan.take(10)
    plan.settle(first, code)
    plan.settle(other, "OK")
    assert [(fault.purchase.line, fault.code) for fault in plan.faults] == [(2, code)]
    assert plan.take(10) == []
    assert plan.done


@pytest.mark.parametrize("seed", range(20))
def test_through_any_mishap_each_row_is_booked_once_and_in_order(seed: int) -> None:
    """A card that books by the contract's rules, and a way that loses and reorders."""
    chance = random.Random(seed)
    rows = [(f"{card}", chance.choice((0, 5, 7))) for card in range(8) for _ in range(9)]
    plan = Plan(make_log(*rows), {}, per_card_max=4)
    seqs = dict.fromkeys(plan.purchases_of, 0)
    booked: dict[str, list[int]] = {name: [] for name in seqs}
    under_way: list[Row] = []
    while not plan.done:
        under_way += plan.take(chance.randint(0, 6))
        if not under_way:
            continue
        row = under_way.pop(chance.randrange(len(under_way)))
        name, cents = row.purchase.customer, row.purchase.cents
        if chance.random() < 0.2:
            plan.give_back(row)
        elif not cents:
            plan.settle(row, "BAD_ARG")
        elif row.seq > seqs[name] + 1:
            plan.settle(row, "SEQ_GAP")
        else:
            if row.seq > seqs[name]:
                seqs[name] = row.seq
                booked[name].append(row.purchase.line)
            if chance.random() < 0.2:
                plan.give_back(row)  # booked, but nobody heard of it
            else:
                plan.settle(row, "OK")
    assert seqs == plan.purchases_of
    assert sum(map(len, booked.values())) + len(plan.refused) == len(rows)
    assert all(lines == sorted(lines) for lines in booked.values())
