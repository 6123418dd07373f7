"""Voids, transfers, merges, losses and expiry: one row for each way in which they are rejected."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from contracts.prepaid.models import LOTS_MAX
from tests.contracts.prepaid_scenes import (
    CARD,
    GYM,
    NEW,
    frozen,
    lose,
    merge,
    prepared,
    refunded,
    replace,
    transfer,
    void,
    void_payment,
    winding_up,
)
from tests.contracts.world import World, id_of, key_of


def two_cards(world: World) -> World:
    assert world.open_card("two", "ann", 100) == "OK"
    return world


def full_of_lots(world: World) -> World:
    """Ann's second card has so many lots that one more is too many."""
    two_cards(world)
    for number in range(LOTS_MAX - 1):
        assert world.top_up("two", "ann", 1, order=f"lot {number}") == "OK"
    return world


def lost(world: World) -> World:
    assert lose(world) == "OK"
    return world


def open_gift(world: World) -> str:
    assert world.do("regulator", "approve", merchant=GYM, class_="gift") == "OK"
    return world.open_card("gift", "ann", 5, class_="gift")


def with_gift(world: World) -> World:
    assert open_gift(world) == "OK"
    return world


Case = Callable[[World], str]
CASES: list[tuple[str, str, Case]] = [
    ("UNAUTHORIZED", "visit voided by the bank", lambda w: void(w, 2, "bank")),
    ("UNAUTHORIZED", "visit voided by its holder", lambda w: void(w, 2, "ann")),
    ("UNAUTHORIZED", "visit voided by another merchant", lambda w: void(w, 2, "other merchant")),
    ("UNAUTHORIZED", "payment voided by the merchant", lambda w: void(w, 1)),
    ("NOT_FOUND", "void of no line", lambda w: void(w, 9, "bank")),
    ("NOT_FOUND", "void on no card", lambda w: void(w, 1, name="nothing")),
    ("FROZEN", "void, all frozen", lambda w: void(frozen(w, "ALL"), 2)),
    ("BAD_STATE", "void in a winding-up", lambda w: void(winding_up(w), 2)),
    ("BAD_STATE", "void after a refund", lambda w: void(refunded(w), 2)),
    ("BAD_STATE", "payment of which something was used", lambda w: void_payment(w, 1)),
    ("BAD_STATE", "void of a void", lambda w: void(w, 2) and void(w, 3, "bank")),
    (
        "BAD_TICKET",
        "payment voided by the bank alone",
        lambda w: void(two_cards(w), 1, "bank", "two"),
    ),
    (
        "BAD_TICKET",
        "consent to void another line",
        lambda w: (
            w.send(
                "bank",
                (
                    "void",
                    {
                        **w.ticket("ann", "void", card=id_of("two"), line=2),
                        "line": 1,
                        "card": id_of("two"),
                    },
                ),
            ).code
            if two_cards(w)
            else ""
        ),
    ),
    ("UNAUTHORIZED", "transfer by the merchant", lambda w: transfer(w, "merchant")),
    ("UNAUTHORIZED", "transfer by its receiver", lambda w: transfer(w, "bank")),
    (
        "IDEM_CONFLICT",
        "transfer to a card that is there",
        lambda w: transfer(two_cards(w), new="two"),
    ),
    (
        "IDEM_CONFLICT",
        "transferred elsewhere",
        lambda w: transfer(w) and transfer(w, new="elsewhere"),
    ),
    ("FROZEN", "transfer, all frozen", lambda w: transfer(frozen(w, "ALL"))),
    ("BAD_STATE", "transfer in a winding-up", lambda w: transfer(winding_up(w))),
    ("BAD_STATE", "transfer of a lost card", lambda w: transfer(lost(w))),
    (
        "BAD_TICKET",
        "transfer to somebody who did not agree",
        lambda w: (
            w.send(
                "ann",
                (
                    "transfer_card",
                    w.ticket(
                        "ann", "transfer_card", card=CARD, new_card=NEW, holder_pub=key_of("bob")
                    ),
                ),
            ).code
        ),
    ),
    ("NOT_FOUND", "merge into nothing", lambda w: merge(w, "nothing")),
    (
        "NOT_FOUND",
        "merge into a stranger's card",
        lambda w: merge(w, "bobs") if w.open_card("bobs", "bob", 5) == "OK" else "",
    ),
    ("UNAUTHORIZED", "merge by the bank", lambda w: merge(two_cards(w), "two", "bank")),
    ("BAD_TICKET", "merge by the merchant alone", lambda w: merge(two_cards(w), "two", "merchant")),
    ("BAD_STATE", "merge with itself", lambda w: merge(w, "card")),
    ("BAD_STATE", "merge of two classes", lambda w: merge(with_gift(w), "gift")),
    ("CARD_LIMIT", "merge to too many lots", lambda w: merge(full_of_lots(w), "two")),
    (
        "CARD_LIMIT",
        "merge beyond the class",
        lambda w: merge(w, "big") if w.open_card("big", "ann", 499_000) == "OK" else "",
    ),
    ("UNAUTHORIZED", "loss reported by the merchant", lambda w: lose(w, "merchant")),
    ("BAD_STATE", "loss of a closed card", lambda w: lose(refunded(w))),
    (
        "BAD_STATE",
        "loss of an anonymous card",
        lambda w: with_gift(w).do("ann", "report_loss", card=id_of("gift"), reason="r"),
    ),
    ("UNAUTHORIZED", "replaced by another bank", lambda w: replace(lost(w), sender="other bank")),
    ("UNAUTHORIZED", "replaced by the holder", lambda w: replace(lost(w), sender="ann")),
    ("BAD_STATE", "replacement of a good card", lambda w: replace(w)),
    ("BAD_TICKET", "replaced for somebody else", lambda w: replace(lost(w), "bob")),
    ("FROZEN", "replaced, all frozen", lambda w: replace(frozen(lost(w), "ALL"))),
    ("BAD_STATE", "reactivation of a good card", lambda w: w.do("ann", "reactivate", card=CARD)),
    (
        "BAD_STATE",
        "reactivation of a closed card",
        lambda w: refunded(w).do("ann", "reactivate", card=CARD),
    ),
    ("NOT_FOUND", "reactivation of nothing", lambda w: w.do("ann", "reactivate", card=NEW)),
    (
        "BAD_STATE",
        "refund of a lost card",
        lambda w: lost(w).do("ann", "refund", card=CARD, reason="ORDINARY"),
    ),
]


@pytest.mark.parametrize(
    ("code", "case"), [(code, case) for code, _, case in CASES], ids=[name for _, name, _ in CASES]
)
def test_rejection(code: str, case: Case) -> None:
    world = prepared()
    assert case(world) == code, world.last
    assert world.last.events == ()
    assert world.violations() == []
