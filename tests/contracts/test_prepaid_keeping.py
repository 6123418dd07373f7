"""What else becomes of cards: voids, transfers, merges, losses, expiry; and what is refused."""

from __future__ import annotations

from typing import Any

import pytest

from tests.contracts.prepaid_scenes import (
    CARD,
    GYM,
    NEW,
    frozen,
    lose,
    merge,
    prepared,
    replace,
    transfer,
    void,
    void_payment,
)
from tests.contracts.world import DAY_MS, World, id_of, key_of

YEARS_3_MS = 1_096 * DAY_MS


def gift_world(**policy: Any) -> World:
    """A gym that sells anonymous cards, good for three years; Ann has one of ¥500 + ¥100."""
    world = World(policy=policy)
    world.open_shop("gift")
    assert world.open_card("card", "ann", 50_000, 10_000, class_="gift") == "OK"
    return world


def card(world: World, name: str = "card") -> dict[str, Any]:
    found: dict[str, Any] = world.ask("regulator", "card", card=id_of(name))
    return found


def gym(world: World) -> dict[str, Any]:
    found: dict[str, Any] = world.ask("regulator", "merchant", merchant=GYM)
    return found


# ---- voids


def test_b3_6_a_void_undoes_just_its_slices_whatever_came_after() -> None:
    """Two lots of other prices; the visit that is undone used up the first, part of the second."""
    world = World()
    world.open_shop()
    assert world.open_card("card", "ann", 1_000, 0) == "OK"
    assert world.top_up("card", "ann", 500, 500) == "OK"
    assert world.consume("ann", "card", 700, 1) == "OK"
    assert world.consume("ann", "card", 500, 2) == "OK"
    assert world.consume("ann", "card", 300, 3) == "OK"
    assert (card(world)["earned"], card(world)["remaining"]) == (1_250, 500)
    assert void(world, 4) == "OK"
    assert world.last.details == {"remaining": 1_000}
    found = card(world)
    lots = [(one["number"], one["left"], one["earned"]) for one in found["lots"]]
    assert lots == [(1, 300, 700), (2, 700, 150)]
    assert (found["earned"], found["seq"], found["consumed"]) == (850, 3, 1_000)
    assert gym(world)["earnings"] == 850
    assert void(world, 4) == "OK"
    assert world.last.details == {"remaining": 1_000, "replayed": True}
    assert world.consume("ann", "card", 1_000, 4) == "OK"
    assert card(world)["earned"] == 1_500
    assert world.violations() == []


def test_a_void_takes_held_earnings_first() -> None:
    world = prepared()
    frozen(world, "PAYOUT")
    assert world.consume("ann", "card", 120, 2) == "OK"
    assert gym(world)["held"] == 100
    assert void(world, 3) == "OK"
    assert (gym(world)["held"], gym(world)["earnings"]) == (0, 83)
    assert world.violations() == []


def test_a_void_is_not_a_refund_and_gives_a_payment_back() -> None:
    world = prepared()
    assert world.top_up("card", "ann", 300, 50) == "OK"
    assert void_payment(world, 3) == "OK"
    assert world.last.details == {"remaining": 1_100}
    lines = world.ask("ann", "statement", card=CARD)["items"]
    assert [line["kind"] for line in lines] == ["OPEN", "CONSUME", "TOP_UP", "VOID_PAYMENT"]
    assert (lines[-1]["amount"], lines[-1]["money"], lines[-1]["reason"]) == (350, 300, "line 3")
    assert card(world)["state"] == "ACTIVE"
    assert world.violations() == []


def test_a_void_ends_after_a_day() -> None:
    world = prepared()
    line_ms = world.time_ms
    world.advance(DAY_MS - 2)
    assert void(world, 2) == "OK"
    assert world.time_ms == line_ms + DAY_MS - 1
    world = prepared()
    world.advance(DAY_MS - 1)
    assert void(world, 2) == "EXPIRED"


def test_a_merchant_that_has_nothing_left_cannot_void() -> None:
    world = prepared()
    order: dict[str, Any] = {"merchant": GYM, "order": id_of("o"), "amt": 83}
    assert world.do("merchant", "cash_out", **order) == "OK"
    assert void(world, 2) == "INSUFFICIENT"


# ---- moving a balance


def test_a_transfer_shows_neither_side_the_others_statement() -> None:
    world = prepared()
    assert transfer(world) == "OK"
    assert world.last.details == {"remaining": 1_100}
    assert transfer(world) == "OK"
    assert world.last.details == {"replayed": True}
    found = card(world, "new")
    assert (found["remaining"], found["paid"], found["owed"], found["earned"]) == (
        1_100,
        917,
        917,
        0,
    )
    assert [one["kind"] for one in world.ask("bob", "statement", card=NEW)["items"]] == ["MOVE_IN"]
    for viewer, name in (("bob", "card"), ("ann", "new")):
        with pytest.raises(Exception, match="NOT_FOUND"):
            world.ask(viewer, "statement", card=id_of(name))
    assert world.consume("ann", "card", 1, 2) == "BAD_STATE"
    assert world.consume("bob", "new", 1_100, 1) == "OK"
    # Both cards together have earned what one would have: the lot kept its price.
    assert card(world)["earned"] + card(world, "new")["earned"] == 1_000
    assert world.violations() == []


def test_b3_6_balances_are_merged() -> None:
    world = prepared()
    assert world.open_card("two", "ann", 500, 500) == "OK"
    assert merge(world, "two") == "OK"
    assert world.last.details == {"remaining": 2_100}
    assert merge(world, "two") == "OK"
    assert world.last.details == {"replayed": True}
    assert card(world)["state"] == "CLOSED"
    lots = card(world, "two")["lots"]
    assert [(one["number"], one["paid"], one["used"]) for one in lots] == [
        (1, 500, 0),
        (2, 1_000, 100),
    ]
    assert void(world, 2) == "BAD_STATE"
    assert world.violations() == []


def test_a_merchant_merges_with_the_holders_ticket() -> None:
    world = prepared()
    assert world.open_card("two", "ann", 5) == "OK"
    args = world.ticket("ann", "merge", card=CARD, into=id_of("two"))
    assert world.send("merchant", ("merge", args)).code == "OK"


def test_moved_lots_cool_off_by_their_own_dates() -> None:
    world = prepared()
    world.advance(20 * DAY_MS)
    assert world.open_card("two", "ann", 500) == "OK"
    assert merge(world, "two") == "OK"
    assert world.do("ann", "refund", card=id_of("two"), reason="COOLING_OFF") == "OK"
    assert world.last.details == {"refunded": 500}
    assert card(world, "two")["remaining"] == 1_100


# ---- loss


def test_b3_2_a_lost_card_is_stopped_and_replaced() -> None:
    world = prepared()
    assert lose(world, "bank") == "OK"
    assert lose(world) == "OK"
    assert world.last.details == {"replayed": True}
    assert world.consume("ann", "card", 50, 2) == "BAD_STATE"
    assert replace(world) == "OK"
    assert (card(world, "new")["remaining"], card(world, "new")["holder"]) == (1_100, key_of("ann"))
    assert world.consume("ann", "new", 50, 1) == "OK"
    assert world.violations() == []


def test_a_lost_key_is_replaced_by_two_persons_first() -> None:
    """The thief has Ann's old key; neither it nor the bank alone gets at the balance."""
    world = prepared()
    assert lose(world, "bank") == "OK"
    assert replace(world, signer="bank") == "BAD_TICKET"
    recovery: dict[str, Any] = {
        "proposal": id_of("recovery"),
        "public_key": key_of("ann"),
        "new_key": key_of("ann's new key"),
        "reason": "lost",
    }
    assert world.do("bank", "recover_key", contract="kernel", **recovery) == "OK"
    proposal = id_of("recovery")
    assert world.do("operator", "approve", contract="kernel", proposal=proposal) == "OK"
    assert world.do("ann", "reactivate", card=CARD) == "UNAUTHORIZED"
    assert replace(world) == "BAD_TICKET"
    args = world.ticket("ann's new key", "replace", card=CARD, new_card=NEW)
    assert world.send("bank", ("replace", args)).code == "OK"
    assert world.consume("ann's new key", "new", 100, 1) == "OK"
    assert card(world, "new")["holder"] == key_of("ann")
    assert world.violations() == []


def test_a_found_card_is_good_again_for_its_holder_alone() -> None:
    world = prepared()
    assert lose(world) == "OK"
    for other in ("bank", "merchant", "bob"):
        assert world.do(other, "reactivate", card=CARD) == "UNAUTHORIZED"
    assert world.do("ann", "reactivate", card=CARD) == "OK"
    assert world.consume("ann", "card", 50, 2) == "OK"


# ---- expiry


def test_b3_2_an_expired_balance_is_reactivated() -> None:
    world = gift_world()
    assert card(world)["due_ms"] == world.time_ms + YEARS_3_MS
    world.advance(YEARS_3_MS)
    assert world.consume("ann", "card", 100, 1) == "EXPIRED"
    assert world.top_up("card", "ann", 5) == "EXPIRED"
    assert world.do("ann", "refund", card=CARD, reason="ORDINARY") == "EXPIRED"
    assert world.do("bookkeeper", "expire") == "OK"
    assert world.last.details == {"expired": 1, "lapsed": 0, "next": 1, "done": True}
    assert (card(world)["state"], card(world)["remaining"]) == ("EXPIRED", 60_000)
    assert world.do("bank", "reactivate", card=CARD) == "OK"
    assert world.consume("ann", "card", 100, 1) == "OK"
    assert world.violations() == []


def test_b3_2_an_expired_balance_is_exchanged() -> None:
    world = gift_world()
    world.advance(YEARS_3_MS)
    assert replace(world) == "OK"
    assert card(world, "new")["due_ms"] == world.time_ms + YEARS_3_MS
    assert world.consume("ann", "new", 100, 1) == "OK"
    assert world.violations() == []


def test_at_its_deadline_a_card_has_expired() -> None:
    world = gift_world()
    due_ms = card(world)["due_ms"]
    world.advance(due_ms - world.time_ms - 2)
    assert world.consume("ann", "card", 100, 1) == "OK"
    assert world.time_ms == due_ms - 1
    assert world.consume("ann", "card", 100, 2) == "EXPIRED"


def test_a_payment_makes_the_whole_card_good_for_longer() -> None:
    world = gift_world()
    world.advance(1_000 * DAY_MS)
    assert world.top_up("card", "ann", 100) == "OK"
    world.advance(500 * DAY_MS)
    assert world.consume("ann", "card", 50_000, 1) == "OK"


def test_a_card_may_be_good_for_longer_than_its_class_says() -> None:
    world = gift_world()
    terms = {
        "card": NEW,
        "merchant": GYM,
        "holder_pub": key_of("bob"),
        "class_": "gift",
        "paid": 5,
        "bonus": 0,
        "validity_ms": 5_000 * DAY_MS,
    }
    args = world.ticket("bob", "open_card", **terms)
    assert world.send("bank", ("open_card", args)).code == "OK"
    assert card(world, "new")["due_ms"] == world.time_ms + 5_000 * DAY_MS
    terms["validity_ms"] = 6_000 * DAY_MS
    other = world.ticket("bob", "open_card", **terms)
    assert world.send("bank", ("open_card", other)).code == "IDEM_CONFLICT"


def test_expiry_is_swept_in_pages_and_spares_who_is_stopped() -> None:
    world = gift_world()
    for number in range(4):
        assert world.open_card(f"c{number}", "bob", 5, class_="gift") == "OK"
    world.advance(YEARS_3_MS)
    frozen(world, "ALL")
    assert world.do("bob", "expire", limit=2) == "OK"
    assert world.last.details == {"expired": 0, "lapsed": 0, "next": 1, "done": True}
    assert world.by_two("unfreeze", merchant=GYM, scope="ALL") == "OK"
    counts = []
    done = False
    while not done:
        assert world.do("bob", "expire", limit=2) == "OK"
        counts.append(world.last.details["expired"])
        done = world.last.details["done"]
    assert counts == [2, 2, 1]
    assert world.violations() == []


@pytest.mark.parametrize(
    ("breakage", "earned", "refunded", "liability"),
    [("KEPT", 0, 0, 0), ("EARNED", 50_000, 0, 0), ("ESCHEAT", 0, 50_000, 50_000)],
)
def test_b3_7_what_becomes_of_an_unclaimed_balance_is_policy(
    breakage: str, earned: int, refunded: int, liability: int
) -> None:
    world = gift_world(breakage=breakage, breakage_after_ms=10 * DAY_MS)
    world.advance(YEARS_3_MS)
    assert world.do("bob", "expire") == "UNAUTHORIZED"  # a stranger
    assert world.do("bookkeeper", "expire") == "OK"
    world.advance(10 * DAY_MS)
    assert world.do("bookkeeper", "expire") == "OK"
    assert world.last.details["lapsed"] == (0 if breakage == "KEPT" else 1)
    found = card(world)
    assert (found["earned"], found["refunded"]) == (earned, refunded)
    assert found["state"] == ("EXPIRED" if breakage == "KEPT" else "CLOSED")
    asked = {"owner": key_of("bank"), "asset": "CNY", "purpose": "prepaid.escheat"}
    assert world.ask("bank", "balance", contract="kernel", **asked)["balance"] == liability
    assert world.violations() == []


def test_b3_7_expected_breakage_accrues_as_balances_are_used() -> None:
    """5 % of ¥3,000 is expected never to be claimed; half of what will be used is used."""
    world = World(policy={"breakage_bps": 500})
    world.open_shop()
    assert world.open_card("card", "ann", 300_000) == "OK"
    assert gym(world)["expected_breakage"] == 0
    assert world.consume("ann", "card", 142_500, 1) == "OK"
    assert gym(world)["expected_breakage"] == 7_500
    assert world.consume("ann", "card", 157_500, 2) == "OK"
    assert gym(world)["expected_breakage"] == 15_000
    assert gym(world)["escrow"] == 0


def test_a_void_restores_no_lot_that_was_given_back_since() -> None:
    world = prepared()
    world.advance(30 * DAY_MS)
    assert world.top_up("card", "ann", 1_000) == "OK"
    assert world.consume("ann", "card", 1_200, 2) == "OK"
    assert world.do("ann", "refund", card=CARD, reason="COOLING_OFF") == "OK"
    assert world.last.details == {"refunded": 900}
    assert card(world)["state"] == "CLOSED"
    assert void(world, 4) == "BAD_STATE"
    assert world.violations() == []
