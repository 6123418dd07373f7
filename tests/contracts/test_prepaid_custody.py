"""Custody in two modes: what a merchant may have before it is earned, and what comes of it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from contracts.kernel.types import DAY_MS
from contracts.prepaid.policy import quarter_start
from tests.contracts.world import World, id_of, key_of

GYM = id_of("gym")
CARD = id_of("card")


def ratio_shop(bps: int = 3_000, kind: str = "group", **policy: Any) -> World:
    """A gym that must keep a part only; Ann paid ¥10,000 without a bonus."""
    world = World(policy=policy)
    world.open_shop("open", kind=kind, custody_bps=bps)
    assert world.open_card("card", "ann", 1_000_000, class_="open") == "OK"
    return world


def move(world: World, action: str, amt: int, order: str = "", sender: str = "merchant") -> str:
    order_id = id_of(order or f"{action} {world.height}")
    return world.do(sender, action, merchant=GYM, order=order_id, amt=amt)


def gym(world: World) -> dict[str, Any]:
    found: dict[str, Any] = world.ask("regulator", "merchant", merchant=GYM)
    return found


def wind_up(world: World) -> dict[str, Any]:
    assert world.do("regulator", "wind_up", merchant=GYM, reason="fled") == "OK"
    assert world.do("regulator", "settle_wind_up", merchant=GYM) == "OK"
    return world.last.details


def test_b3_1_the_bank_refuses_what_would_fall_short() -> None:
    world = ratio_shop()
    assert move(world, "draw", 700_001) == "CUSTODY_SHORT"
    assert world.last.details == {"available": 700_000}
    assert move(world, "draw", 700_000) == "OK"
    assert move(world, "draw", 1) == "CUSTODY_SHORT"
    found = gym(world)
    assert (found["escrow"], found["required_custody"], found["advanced"]) == (
        300_000,
        300_000,
        700_000,
    )
    assert (found["custody_ratio_bps"], found["custody_short"]) == (3_000, 0)
    assert world.violations() == []


@pytest.mark.parametrize(("kind", "bps"), [("scale", 2_000), ("group", 3_000), ("brand", 4_000)])
def test_b3_1_each_kind_of_merchant_keeps_its_part(kind: str, bps: int) -> None:
    world = ratio_shop(bps, kind)
    free = 1_000_000 * (10_000 - bps) // 10_000
    assert move(world, "draw", free + 1) == "CUSTODY_SHORT"
    assert move(world, "draw", free) == "OK"


def test_b3_1_full_custody_is_the_default_and_allows_nothing() -> None:
    world = World()
    world.open_shop()
    assert world.open_card("card", "ann", 10_000) == "OK"
    assert gym(world)["custody_bps"] == 10_000
    assert move(world, "draw", 1) == "CUSTODY_SHORT"


def test_b3_1_the_base_may_be_the_previous_quarter() -> None:
    """Admitted in one quarter, ¥10,000 at its end; later sales do not raise the base until then."""
    world = ratio_shop(custody_base="PREVIOUS_QUARTER")
    # In its first quarter a merchant has no other measure than what is outstanding.
    assert gym(world)["required_custody"] == 300_000
    world.advance(100 * DAY_MS)
    assert world.open_card("two", "bob", 500_000, class_="open") == "OK"
    assert gym(world)["required_custody"] == 300_000
    assert move(world, "draw", 1_200_000) == "OK"
    world.advance(100 * DAY_MS)
    assert gym(world)["required_custody"] == 450_000
    assert gym(world)["alerts"] == ["CUSTODY_SHORT", "DORMANT"]
    assert move(world, "draw", 1) == "CUSTODY_SHORT"
    assert world.violations() == []


@pytest.mark.parametrize(
    ("day", "start"),
    [(0, 0), (89, 0), (90, 90), (181, 181), (272, 181), (273, 273), (364, 273), (365, 365)],
)
def test_calendar_quarters(day: int, start: int) -> None:
    assert quarter_start(day) == start
    assert quarter_start(19_782) == 19_723  # 29 February 2024 belongs to January 2024
    assert quarter_start(19_814) == 19_814  # 1 April 2024


def test_visits_settle_what_was_drawn_before_anything_is_paid() -> None:
    world = ratio_shop()
    assert move(world, "draw", 700_000) == "OK"
    assert world.consume("ann", "card", 600_000, 1) == "OK"
    found = gym(world)
    assert (found["escrow"], found["advanced"], found["earnings"]) == (300_000, 100_000, 700_000)
    assert world.consume("ann", "card", 300_000, 2) == "OK"
    found = gym(world)
    assert (found["escrow"], found["advanced"], found["earnings"]) == (100_000, 0, 900_000)
    assert found["paid_out"] == found["earned"] == 900_000
    assert world.violations() == []


def test_a_freeze_holds_only_what_was_not_drawn() -> None:
    world = ratio_shop()
    assert move(world, "draw", 100_000) == "OK"
    assert world.do("regulator", "freeze", merchant=GYM, scope="PAYOUT", reason="late") == "OK"
    assert world.consume("ann", "card", 150_000, 1) == "OK"
    assert (gym(world)["held"], gym(world)["advanced"]) == (50_000, 0)
    for action in ("draw", "cash_out"):
        assert move(world, action, 1) == "FROZEN"
    assert world.by_two("unfreeze", merchant=GYM, scope="PAYOUT") == "OK"
    assert move(world, "draw", 1) == "BAD_STATE"  # what is held comes first
    assert world.do("merchant", "payout", merchant=GYM) == "OK"
    assert move(world, "draw", 1) == "OK"
    assert world.violations() == []


def test_a_refund_calls_back_what_was_drawn() -> None:
    world = ratio_shop()
    assert world.open_card("two", "bob", 200_000, class_="open") == "OK"
    assert move(world, "draw", 840_000) == "OK"
    assert world.do("bob", "refund", card=id_of("two"), reason="COOLING_OFF") == "OK"
    found = gym(world)
    assert (found["escrow"], found["advanced"], found["earnings"]) == (360_000, 640_000, 640_000)
    assert world.violations() == []


def test_a_run_does_not_empty_the_custody_of_others() -> None:
    """The merchant took its advances away: refunds stop before custody falls short, and say why."""
    world = ratio_shop()
    assert world.open_card("two", "bob", 200_000, class_="open") == "OK"
    assert move(world, "draw", 840_000) == "OK"
    assert move(world, "cash_out", 840_000) == "OK"
    refused = world.do("bob", "refund", card=id_of("two"), reason="COOLING_OFF")
    assert refused == "CUSTODY_SHORT"
    assert world.last.details == {"short": 140_000}
    void = world.ticket("bob", "void", card=id_of("two"), line=1)
    assert world.send("bank", ("void", void)).code == "CUSTODY_SHORT"
    # A visit goes on as ever, and with it the debt falls.
    assert world.consume("bob", "two", 1_000, 1) == "OK"
    assert world.violations() == []


def test_an_estate_that_is_too_small_is_shared_alike() -> None:
    world = ratio_shop()
    assert world.open_card("two", "bob", 333, class_="open") == "OK"
    assert move(world, "draw", 700_000) == "OK"
    assert move(world, "cash_out", 600_000) == "OK"
    assert world.do("regulator", "wind_up", merchant=GYM, reason="fled") == "OK"
    # 1,000,333 is owed; 100,000 came back from the merchant's account to the 300,333 in escrow.
    assert world.last.details == {"estate": 400_333, "owed": 1_000_333, "cards": 2}
    queue = world.ask("regulator", "refund_queue", merchant=GYM)["items"]
    shares = [1_000_000 * 400_333 // 1_000_333, 333 * 400_333 // 1_000_333]
    assert [one["refund"] for one in queue] == shares
    assert world.do("regulator", "settle_wind_up", merchant=GYM) == "OK"
    assert world.last.details["refunded"] == sum(shares)
    found = gym(world)
    assert found["escrow"] == 400_333 - sum(shares) <= 1
    assert world.ask("ann", "card", card=CARD)["owed"] == 1_000_000 - shares[0]
    assert world.violations() == []


def test_b3_5_funds_survive_the_merchants_bankruptcy() -> None:
    world = World()
    world.open_shop()
    assert world.open_card("card", "ann", 300_000, 100_000) == "OK"
    assert world.consume("ann", "card", 10_000, 1) == "OK"
    assert move(world, "cash_out", 7_500) == "OK"
    assert move(world, "cash_out", 1) == "INSUFFICIENT"  # the rest is not the merchant's
    assert wind_up(world) == {"refunded": 292_500, "released": 0, "done": True}
    assert world.violations() == []


def test_custody_short_is_announced_once_and_forgotten_when_made_good() -> None:
    world = ratio_shop()
    assert move(world, "draw", 700_000) == "OK"
    assert world.by_two("set_policy", custody_kinds={"group": 5_000}) == "OK"
    for changed, events in ((1, ["CustodyShort"]), (0, [])):
        assert world.do("bookkeeper", "check_custody") == "OK"
        assert world.last.details["changed"] == changed
        assert [one.name for one in world.last.events] == events
    assert gym(world)["custody_short"] == 200_000
    assert move(world, "repay", 700_001) == "BAD_STATE"
    assert move(world, "repay", 200_000) == "OK"
    assert world.do("bookkeeper", "check_custody") == "OK"
    assert world.last.details == {"changed": 1, "next": 1, "done": True}
    assert "CUSTODY_SHORT" not in gym(world)["alerts"]


def test_two_regulators_change_a_merchants_custody() -> None:
    world = ratio_shop()
    assert move(world, "draw", 700_000) == "OK"
    assert world.by_two("set_custody", merchant=GYM, custody_bps=10_000) == "OK"
    assert "CustodyShort" in [one.name for one in world.last.events]
    assert (gym(world)["required_custody"], gym(world)["custody_short"]) == (1_000_000, 700_000)
    assert world.by_two("set_custody", merchant=GYM, kind="brand", custody_bps=4_000) == "OK"
    assert gym(world)["custody_short"] == 100_000
    assert world.violations() == []


def test_a_movement_is_booked_once() -> None:
    world = ratio_shop()
    for action in ("draw", "repay", "cash_out"):
        assert move(world, action, 1_000, order=action) == "OK"
        assert move(world, action, 1_000, order=action) == "OK"
        assert world.last.details == {"replayed": True}
        if action == "repay":
            assert move(world, "draw", 1_000) == "OK"
    assert gym(world)["earnings"] == 0


Case = Callable[[World], str]
CASES: list[tuple[str, str, Case]] = [
    ("UNAUTHORIZED", "drawn by the bank", lambda w: move(w, "draw", 1, sender="bank")),
    ("UNAUTHORIZED", "drawn by another", lambda w: move(w, "draw", 1, sender="other merchant")),
    (
        "UNAUTHORIZED",
        "cashed by another",
        lambda w: move(w, "cash_out", 1, sender="other merchant"),
    ),
    ("BAD_ARG", "nothing", lambda w: move(w, "draw", 0)),
    (
        "IDEM_CONFLICT",
        "an order for two sums",
        lambda w: move(w, "draw", 1, "o") and move(w, "draw", 2, "o"),
    ),
    (
        "IDEM_CONFLICT",
        "an order for two things",
        lambda w: move(w, "draw", 1, "o") and move(w, "repay", 1, "o"),
    ),
    (
        "NOT_FOUND",
        "no such merchant",
        lambda w: w.do("merchant", "draw", merchant=id_of("x"), order=id_of("o"), amt=1),
    ),
    ("CUSTODY_SHORT", "drawn beyond custody", lambda w: move(w, "draw", 700_001)),
    ("INSUFFICIENT", "cashed what it has not", lambda w: move(w, "cash_out", 1)),
    (
        "BAD_ARG",
        "a kind that policy does not name",
        lambda w: w.by_two("set_custody", merchant=GYM, kind="tiny", custody_bps=1_000),
    ),
    (
        "BAD_ARG",
        "less than its kind must keep",
        lambda w: w.by_two("set_custody", merchant=GYM, kind="brand", custody_bps=3_999),
    ),
    (
        "BAD_STATE",
        "what it keeps already",
        lambda w: w.by_two("set_custody", merchant=GYM, kind="group", custody_bps=3_000),
    ),
    (
        "UNAUTHORIZED",
        "a ratio decided by the bank",
        lambda w: w.do(
            "bank", "set_custody", proposal=id_of("p"), reason="r", merchant=GYM, custody_bps=10_000
        ),
    ),
    (
        "IDEM_CONFLICT",
        "approved again with less custody",
        lambda w: w.do("regulator", "approve", merchant=GYM, class_="open"),
    ),
    (
        "BAD_STATE",
        "another class with less custody",
        lambda w: w.do(
            "regulator", "approve", merchant=GYM, class_="named", kind="scale", custody_bps=2_000
        ),
    ),
]


@pytest.mark.parametrize(
    ("code", "case"), [(code, case) for code, _, case in CASES], ids=[name for _, name, _ in CASES]
)
def test_rejection(code: str, case: Case) -> None:
    world = ratio_shop()
    assert case(world) == code, world.last
    assert world.last.events == ()
    assert world.violations() == []


def test_a_new_merchant_needs_a_kind_for_less_than_all() -> None:
    world = World()
    filing: dict[str, Any] = {"merchant": GYM, "name": "gym", "custodian": key_of("bank")}
    assert world.do("merchant", "file_merchant", **filing) == "OK"
    approval: dict[str, Any] = {"merchant": GYM, "class_": "named", "custody_bps": 3_000}
    assert world.do("regulator", "approve", **approval) == "BAD_ARG"
    assert world.do("regulator", "approve", **approval, kind="brand") == "BAD_ARG"
    assert world.do("regulator", "approve", **approval, kind="scale") == "OK"
