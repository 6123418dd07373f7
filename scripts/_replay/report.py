"""Does the chain agree with the log, to the cent? Figures, comparison, and how to show them. Pure.

What the report believes comes from the chain alone: the cards' own counters and sums, the
merchant's accounts, and the nodes' state roots, never what the replay itself counted.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from _load.cards import CardState
from _replay.log import Purchase, Truth
from _replay.plan import Fault

LISTED_MAX = 20


class Chain(NamedTuple):
    """What the nodes say in the end. Cards by customer; roots by node, at one height."""

    cards: Mapping[str, CardState]
    merchant: Mapping[str, int]
    height: int
    roots: Mapping[str, str]


class Course(NamedTuple):
    """How the run went. `acknowledged` has the highest number seen final of each card."""

    seconds: float
    rows_before: int
    opened: int
    refused: Sequence[Purchase]
    faults: Sequence[Fault]
    acknowledged: Mapping[str, int]
    retries: Mapping[str, int]
    incidents: Sequence[str]


class Line(NamedTuple):
    """One comparison: what it should be and what it is."""

    name: str
    expected: int
    found: int

    @property
    def agrees(self) -> bool:
        """Whether it is what it should be."""
        return self.expected == self.found


def compare(
    truth: Truth, purchases_of: Mapping[str, int], chain: Chain, course: Course
) -> list[Line]:
    """Every sum that must agree. `purchases_of`: numbers that each customer's card must have."""
    cards = chain.cards
    booked = {name: cards[name].seq for name in purchases_of if name in cards}
    wrong = sum(booked.get(name, 0) != due for name, due in purchases_of.items())
    lost = sum(booked.get(name, 0) < seen for name, seen in course.acknowledged.items())
    merchant = chain.merchant
    return [
        Line("rows: booked + refused", truth.rows, sum(booked.values()) + len(course.refused)),
        Line("purchases booked", truth.rows - truth.zero_rows, sum(booked.values())),
        Line("rows of zero, refused with BAD_ARG", truth.zero_rows, len(course.refused)),
        Line("cards", truth.customers, len(cards)),
        Line("cards with another number of purchases than the log", 0, wrong),
        Line("cents consumed", truth.cents, sum(card.consumed for card in cards.values())),
        Line("cents remaining on all cards", 0, sum(card.remaining for card in cards.values())),
        Line("cards with something remaining", 0, sum(c.remaining != 0 for c in cards.values())),
        Line("cents in escrow", 0, merchant.get("escrow", 0)),
        Line("cents that the merchant holds", truth.cents, merchant.get("earnings", 0)),
        Line("cents that the merchant still owes in visits", 0, merchant.get("face", 0)),
        Line("acknowledged purchases that were lost", 0, lost),
        Line("rows with an outcome that they should not have", 0, len(course.faults)),
        Line("different state roots beyond one", 0, len(set(chain.roots.values())) - 1),
    ]


def summary(
    setting: Mapping[str, Any],
    truth: Truth,
    lines: Sequence[Line],
    chain: Chain,
    course: Course,
) -> dict[str, Any]:
    """The whole report as a JSON object."""
    settled = truth.rows - course.rows_before
    return {
        "setting": dict(setting),
        "reconciled": all(line.agrees for line in lines),
        "truth": truth._asdict(),
        "figures": [{**line._asdict(), "agrees": line.agrees} for line in lines],
        "rows_booked_before": course.rows_before,
        "cards_opened_now": course.opened,
        "rows_settled_now": settled,
        "seconds": round(course.seconds, 2),
        "transactions_per_second": round(settled / course.seconds) if course.seconds else 0,
        "refused": [purchase._asdict() for purchase in course.refused],
        "faults": [
            {**fault.purchase._asdict(), "code": fault.code} for fault in course.faults[:LISTED_MAX]
        ],
        "retries": dict(sorted(course.retries.items())),
        "incidents": list(course.incidents),
        "height": chain.height,
        "state_roots": dict(chain.roots),
    }
