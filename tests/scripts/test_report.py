"""Reconciling: whatever differs between log and chain is seen."""

from __future__ import annotations

from typing import Any

import pytest

from _load.cards import CardState
from _replay.log import Purchase, Truth
from _replay.plan import Fault
from _replay.report import Chain, Course, compare, summary

TRUTH = Truth(rows=4, customers=2, cents=600, zero_rows=1, zero_customers=0, repeated=0, extra=0)
PURCHASES_OF = {"1": 2, "2": 1}
CARDS = {"1": CardState(2, 300, 300, 0), "2": CardState(1, 300, 300, 0)}
MERCHANT = {"escrow": 0, "earnings": 600, "face": 0}
CHAIN = Chain(CARDS, MERCHANT, 9, {"a": "00", "b": "00"})
COURSE = Course(2.0, 1, 2, [Purchase(3, "1", 0)], [], {"1": 2}, {"SEQ_GAP": 1}, ["node1 killed"])


def wrong(chain: Chain = CHAIN, course: Course = COURSE) -> list[str]:
    """The comparisons that fail."""
    lines = compare(TRUTH, PURCHASES_OF, chain, course)
    return [line.name for line in lines if not line.agrees]


def test_what_agrees_is_reconciled() -> None:
    assert wrong() == []


@pytest.mark.parametrize(
    ("chain", "word"),
    [
        ({"cards": {**CARDS, "1": CardState(1, 300, 150, 150)}}, "remaining"),
        ({"cards": {**CARDS, "1": CardState(1, 300, 300, 0)}}, "purchases booked"),
        ({"cards": {"1": CARDS["1"]}}, "cards"),
        ({"merchant": {**MERCHANT, "escrow": 1}}, "escrow"),
        ({"merchant": {**MERCHANT, "earnings": 599}}, "merchant holds"),
        ({"roots": {"a": "00", "b": "01"}}, "state roots"),
    ],
)
def test_a_difference_on_the_chain_is_seen(chain: dict[str, Any], word: str) -> None:
    assert any(word in name for name in wrong(chain=CHAIN._replace(**chain)))


@pytest.mark.parametrize(
    ("course", "word"),
    [
        ({"refused": []}, "refused"),
        ({"acknowledged": {"2": 2}}, "lost"),
        ({"faults": [Fault(Purchase(2, "1", 5), "FROZEN")]}, "outcome"),
    ],
)
def test_a_difference_on_the_way_is_seen(course: dict[str, Any], word: str) -> None:
    assert any(word in name for name in wrong(course=COURSE._replace(**course)))


def test_swapped_purchases_are_seen_although_all_sums_agree() -> None:
    cards = {"1": CardState(1, 300, 300, 0), "2": CardState(2, 300, 300, 0)}
    assert wrong(chain=CHAIN._replace(cards=cards)) == [
        "cards with another number of purchases than the log",
        "acknowledged purchases that were lost",
    ]


def test_the_summary_counts_only_what_was_settled_now() -> None:
    lines = compare(TRUTH, PURCHASES_OF, CHAIN, COURSE)
    report = summary({"calls": "sealed"}, TRUTH, lines, CHAIN, COURSE)
    assert report["reconciled"] is True
    assert report["rows_settled_now"] == 3
    assert report["transactions_per_second"] == 2
    assert report["refused"] == [{"line": 3, "customer": "1", "cents": 0}]
    assert report["state_roots"] == {"a": "00", "b": "00"}
