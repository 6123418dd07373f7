"""Supervision: freezes that lapse, policy by two, the view of every merchant, notice, the queue."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from contracts.kernel.freezing import LAPSE_MS
from contracts.kernel.types import Rejected
from tests.contracts.prepaid_scenes import CARD, GYM, frozen, prepared, winding_up
from tests.contracts.world import DAY_MS, World, id_of, key_of


def gym(world: World, viewer: str = "regulator") -> dict[str, Any]:
    found: dict[str, Any] = world.ask(viewer, "merchant", merchant=GYM)
    return found


def lift(world: World, scope: str = "PAYOUT") -> str:
    return world.by_two("unfreeze", merchant=GYM, scope=scope)


# ---- freezes


def test_one_regulators_freeze_lapses_within_a_day_unless_a_second_ratifies() -> None:
    for ratified, earnings in ((False, 125), (True, 83)):
        world = frozen(prepared(), "PAYOUT")
        assert gym(world)["alerts"] == ["UNRATIFIED"]
        if ratified:
            stop: dict[str, Any] = {"merchant": GYM, "scope": "PAYOUT"}
            assert world.do("regulator", "ratify_freeze", **stop) == "UNAUTHORIZED"
            assert world.do("second regulator", "ratify_freeze", **stop) == "OK"
            assert gym(world)["alerts"] == []
        world.advance(LAPSE_MS)
        assert world.consume("ann", "card", 50, 2) == "OK"
        assert gym(world)["earnings"] == earnings
        assert gym(world)["freezes"][0]["in_force"] is ratified
        assert world.violations() == []


def test_unfreezing_takes_two() -> None:
    world = frozen(prepared(), "ALL")
    proposal: dict[str, Any] = {
        "proposal": id_of("p"),
        "reason": "filed",
        "merchant": GYM,
        "scope": "ALL",
    }
    assert world.do("regulator", "unfreeze", **proposal) == "OK"
    assert world.consume("ann", "card", 50, 2) == "FROZEN"
    approval: dict[str, Any] = {"contract": "kernel", "proposal": id_of("p")}
    for sender in ("regulator", "merchant", "bank", "administrator"):
        assert world.do(sender, "approve", **approval) == "UNAUTHORIZED"
    assert world.do("second regulator", "approve", **approval) == "OK"
    assert "Unfrozen" in [one.name for one in world.last.events]
    assert world.consume("ann", "card", 50, 2) == "OK"


def test_only_the_merchants_house_sees_that_it_is_to_be_unfrozen() -> None:
    world = frozen(prepared(), "ALL")
    proposal: dict[str, Any] = {
        "proposal": id_of("p"),
        "reason": "filed",
        "merchant": GYM,
        "scope": "ALL",
    }
    assert world.do("regulator", "unfreeze", **proposal) == "OK"
    for insider in ("merchant", "bank", "second regulator"):
        assert world.ask(insider, "proposal", contract="kernel", proposal=id_of("p"))
    for viewer in ("ann", "other merchant", None):
        with pytest.raises(Rejected):
            world.ask(viewer, "proposal", contract="kernel", proposal=id_of("p"))


# ---- policy and classes


def test_two_regulators_change_the_policy() -> None:
    world = prepared()
    assert world.by_two("set_policy", cooling_off_days=14) == "OK"
    assert world.last.details == {"version": 2}
    policy = world.ask(None, "policy")
    assert (policy["version"], policy["cooling_off_days"], policy["void_ms"]) == (2, 14, DAY_MS)
    world.advance(14 * DAY_MS)
    assert world.do("ann", "refund", card=CARD, reason="COOLING_OFF") == "OK"
    assert world.by_two("set_policy", cooling_off_days=14) == "BAD_STATE"
    assert world.by_two("set_policy") == "BAD_STATE"


def test_b3_2_two_regulators_set_the_limits_of_a_class() -> None:
    world = prepared()
    assert world.open_card("two", "bob", 500_001) == "CARD_LIMIT"
    limits: dict[str, Any] = {"name": "named", "asset": "CNY", "named": True}
    assert world.by_two("set_class", **limits, face_max=600_000) == "OK"
    assert world.open_card("two", "bob", 500_001) == "OK"
    new: dict[str, Any] = {"name": "spa", "asset": "CNY", "named": False, "face_max": 10}
    assert world.by_two("set_class", **new, min_validity_ms=DAY_MS) == "OK"
    assert world.do("regulator", "approve", merchant=GYM, class_="spa") == "OK"
    assert world.open_card("day", "bob", 10, class_="spa") == "OK"
    world.advance(DAY_MS)
    assert world.consume("bob", "day", 1, 1) == "EXPIRED"


def test_b3_2_the_shipped_limits() -> None:
    world = World()
    world.open_shop()
    assert world.do("regulator", "approve", merchant=GYM, class_="gift") == "OK"
    assert world.open_card("a", "ann", 500_000) == "OK"
    assert world.open_card("b", "ann", 500_001) == "CARD_LIMIT"
    assert world.open_card("c", "ann", 100_000, class_="gift") == "OK"
    assert world.open_card("d", "ann", 100_001, class_="gift") == "CARD_LIMIT"
    assert world.ask("ann", "card", card=id_of("a"))["due_ms"] == 0
    assert world.ask("ann", "card", card=id_of("c"))["due_ms"] - world.time_ms > 3 * 365 * DAY_MS


# ---- refunds


@pytest.mark.parametrize(
    ("day", "code"), [(0, "OK"), (6, "OK"), (7, "OK"), (8, "COOLING_OFF_PASSED")]
)
def test_b3_3_seven_days_without_a_reason(day: int, code: str) -> None:
    world = World()
    world.open_shop()
    assert world.open_card("card", "ann", 300_000, 100_000) == "OK"
    world.advance(day * DAY_MS)
    assert world.do("ann", "refund", card=CARD, reason="COOLING_OFF") == code
    assert code != "OK" or world.last.details == {"refunded": 300_000}


def test_b3_4_a_bonus_is_refunded_pro_rata_where_the_consumer_is_not_at_fault() -> None:
    """Half of 1,000 + 1,000 is used: if the merchant is at fault 500 go back, else nothing."""
    for reason, sender, money in (("MERCHANT_FAULT", "regulator", 500), ("ORDINARY", "ann", 0)):
        world = World()
        world.open_shop()
        assert world.open_card("card", "ann", 1_000, 1_000) == "OK"
        assert world.consume("ann", "card", 1_000, 1) == "OK"
        assert world.do(sender, "refund", card=CARD, reason=reason) == "OK"
        assert world.last.details == {"refunded": money}
        assert gym(world)["earnings"] == 1_000 - money
        assert world.violations() == []


def test_a_refund_names_its_line_and_its_sum() -> None:
    world = prepared()
    refund: dict[str, Any] = {"card": CARD, "reason": "COOLING_OFF"}
    assert world.do("ann", "refund", **refund, line=4) == "SEQ_GAP"
    assert world.do("ann", "refund", **refund, line=2) == "IDEM_CONFLICT"
    assert world.do("ann", "refund", **refund, line=3, amt=918) == "BAD_STATE"
    assert world.last.details == {"why": "another sum is due", "due": 917}
    assert world.do("ann", "refund", **refund, line=3, amt=917) == "OK"
    assert world.do("ann", "refund", **refund, line=3, amt=917) == "OK"
    assert world.last.details == {"refunded": 917, "replayed": True}
    assert world.do("ann", "refund", **refund, line=3, amt=916) == "IDEM_CONFLICT"


# ---- the regulator's view


def test_r3_11_the_regulator_sees_every_merchant() -> None:
    world = prepared()
    for number in range(4):
        filing: dict[str, Any] = {"merchant": id_of(f"m{number}"), "name": f"shop {number}"}
        sender = "merchant" if number % 2 else "other merchant"
        assert world.do(sender, "file_merchant", **filing, custodian=key_of("bank")) == "OK"
    names: list[tuple[int, str]] = []
    cursor = 0
    while cursor is not None:
        page = world.ask("regulator", "merchants", cursor=cursor, limit=2)
        names += [(one["number"], one["name"]) for one in page["items"]]
        cursor = page["next"]
    shops = [(number + 2, f"shop {number}") for number in range(4)]
    assert names == [(1, "gym"), *shops]
    first = world.ask("regulator", "merchants", limit=1)["items"][0]
    assert (first["outstanding"], first["escrow"], first["custody_ratio_bps"]) == (917, 917, 10_000)
    assert (first["paid_in_week"], first["consumed_in_week"], first["alerts"]) == (1_000, 100, [])
    # Others see their own, whatever page they look at.
    seen: dict[str | None, list[int]] = {"other merchant": [2, 4], "ann": [], None: []}
    for viewer, mine in seen.items():
        page = world.ask(viewer, "merchants")
        assert [one["number"] for one in page["items"]] == mine


def test_velocity_counts_the_last_days() -> None:
    world = World()
    world.open_shop()
    assert world.open_card("a", "ann", 1_000) == "OK"
    assert gym(world)["velocity"]["day"] == {
        "cards": 1,
        "paid": 1_000,
        "consumed": 0,
        "earned": 0,
        "refunded": 0,
    }
    world.advance(6 * DAY_MS)
    assert world.consume("ann", "a", 300, 1) == "OK"
    found = gym(world)["velocity"]
    assert [found[name]["paid"] for name in ("day", "week", "month")] == [0, 1_000, 1_000]
    assert [found[name]["consumed"] for name in ("day", "week", "month")] == [300, 300, 300]
    world.advance(7 * DAY_MS)
    found = gym(world)["velocity"]
    assert [found[name]["consumed"] for name in ("day", "week", "month")] == [0, 0, 300]


def alerts(world: World) -> list[str]:
    found: list[str] = gym(world)["alerts"]
    return found


def test_alerts_go_by_the_policys_thresholds() -> None:
    world = World(policy={"alert_issue_bps": 5_000, "alert_refund_bps": 2_000})
    world.open_shop()
    assert world.open_card("a", "ann", 10_000) == "OK"
    world.advance(DAY_MS)
    assert world.open_card("b", "bob", 4_999) == "OK"
    assert alerts(world) == []
    assert world.open_card("c", "bob", 1) == "OK"
    assert alerts(world) == ["ISSUE_SPIKE"]
    world.advance(DAY_MS)
    assert alerts(world) == []
    assert world.do("bob", "refund", card=id_of("b"), reason="COOLING_OFF") == "OK"
    assert alerts(world) == ["REFUND_SPIKE"]
    world.advance(30 * DAY_MS)
    assert alerts(world) == ["DORMANT"]
    assert world.consume("ann", "a", 1, 1) == "OK"
    assert alerts(world) == []
    assert world.by_two("set_policy", alert_outstanding=10_000) == "OK"
    assert alerts(world) == ["LARGE"]
    assert world.by_two("set_policy", alert_outstanding=0, alert_dormant_days=0) == "OK"
    world.advance(90 * DAY_MS)
    assert alerts(world) == []


# ---- the end


def test_b3_1_a_merchant_gives_thirty_days_notice() -> None:
    world = prepared()
    notice: dict[str, Any] = {"merchant": GYM, "reason": "lease ends"}
    assert world.do("merchant", "wind_up", **notice) == "UNAUTHORIZED"
    assert world.do("merchant", "give_notice", **notice) == "OK"
    closes_ms = world.last.details["closes_ms"]
    assert closes_ms == world.time_ms + 30 * DAY_MS
    assert world.do("merchant", "give_notice", **notice) == "OK"
    assert world.last.details == {"closes_ms": closes_ms, "replayed": True}
    assert world.open_card("two", "bob", 5) == "BAD_STATE"
    assert world.consume("ann", "card", 50, 2) == "OK"
    assert world.do("merchant", "wind_up", **notice) == "BAD_STATE"
    world.advance(30 * DAY_MS)
    assert world.do("bank", "wind_up", **notice) == "OK"
    assert world.do("merchant", "settle_wind_up", merchant=GYM) == "OK"
    assert world.last.details == {"refunded": 875, "released": 0, "done": True}
    assert world.violations() == []


def test_the_refund_queue_is_visible_in_its_order() -> None:
    world = prepared()
    for number in range(4):
        assert world.open_card(f"c{number}", "bob", 100 + number) == "OK"
    asked: dict[str, Any] = {"merchant": GYM}
    assert world.ask("regulator", "refund_queue", **asked)["items"] == []
    winding_up(world)
    first = world.ask("regulator", "refund_queue", **asked, limit=3)
    second = world.ask("regulator", "refund_queue", **asked, cursor=first["next"], limit=3)
    queue = [(one["place"], one["refund"]) for one in first["items"] + second["items"]]
    assert queue == [(1, 917), (2, 100), (3, 101), (4, 102), (5, 103)]
    assert second["next"] is None
    assert world.ask("bob", "card", card=id_of("c2"))["refund_queue_place"] == 4
    assert world.do("bank", "settle_wind_up", **asked, limit=3) == "OK"
    assert world.ask("bob", "card", card=id_of("c2"))["refund_queue_place"] == 1
    rest = world.ask("merchant", "refund_queue", **asked)["items"]
    assert [(one["place"], one["number"], one["refund"]) for one in rest] == [
        (1, 4, 102),
        (2, 5, 103),
    ]
    for viewer in ("bob", "other merchant", None):
        with pytest.raises(Rejected):
            world.ask(viewer, "refund_queue", **asked)


def test_lost_and_expired_cards_are_in_the_queue_too() -> None:
    world = prepared()
    assert world.do("regulator", "approve", merchant=GYM, class_="gift") == "OK"
    assert world.open_card("gift", "bob", 500, class_="gift") == "OK"
    assert world.do("ann", "report_loss", card=CARD, reason="gone") == "OK"
    world.advance(2_000 * DAY_MS)
    winding_up(world)
    assert world.do("bank", "settle_wind_up", merchant=GYM) == "OK"
    assert world.last.details == {"refunded": 917 + 500, "released": 0, "done": True}
    assert world.violations() == []


def propose(world: World, action: str, sender: str = "regulator", **args: Any) -> str:
    return world.do(sender, action, proposal=id_of("p"), reason="r", **args)


LIMITS: dict[str, Any] = {"name": "named", "asset": "CNY", "named": True}
Case = Callable[[World], str]
CASES: list[tuple[str, str, Case]] = [
    (
        "BAD_ARG",
        "custody beyond the whole",
        lambda w: propose(w, "set_policy", custody_kinds={"a": 10_001}),
    ),
    ("BAD_ARG", "no such breakage", lambda w: propose(w, "set_policy", breakage="LOST")),
    (
        "UNAUTHORIZED",
        "policy by a bank",
        lambda w: propose(w, "set_policy", "bank", cooling_off_days=0),
    ),
    (
        "UNAUTHORIZED",
        "a class by an administrator",
        lambda w: propose(w, "set_class", "administrator", **LIMITS),
    ),
    (
        "UNAUTHORIZED",
        "unfreezing by the merchant",
        lambda w: propose(frozen(w, "ALL"), "unfreeze", "merchant", merchant=GYM, scope="ALL"),
    ),
    (
        "UNAUTHORIZED",
        "ratified by the bank",
        lambda w: frozen(w, "ALL").do("bank", "ratify_freeze", merchant=GYM, scope="ALL"),
    ),
    (
        "NOT_FOUND",
        "ratified where nothing is frozen",
        lambda w: w.do("second regulator", "ratify_freeze", merchant=GYM, scope="ALL"),
    ),
    (
        "NOT_FOUND",
        "a class of no asset",
        lambda w: propose(w, "set_class", **{**LIMITS, "name": "n", "asset": "XXX"}),
    ),
    (
        "BAD_STATE",
        "a class of another asset",
        lambda w: propose(w, "set_class", **{**LIMITS, "asset": "USD"}),
    ),
    (
        "BAD_STATE",
        "a named class made anonymous",
        lambda w: propose(w, "set_class", **{**LIMITS, "named": False}),
    ),
    (
        "UNAUTHORIZED",
        "notice by another merchant",
        lambda w: w.do("other merchant", "give_notice", merchant=GYM, reason="r"),
    ),
    (
        "UNAUTHORIZED",
        "wound up by a holder",
        lambda w: w.do("ann", "wind_up", merchant=GYM, reason="r"),
    ),
    (
        "BAD_STATE",
        "notice in a winding-up",
        lambda w: winding_up(w).do("merchant", "give_notice", merchant=GYM, reason="r"),
    ),
    (
        "NOT_FOUND",
        "custody of nobody",
        lambda w: propose(w, "set_custody", merchant=id_of("m"), custody_bps=10_000),
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


def test_what_changed_in_between_is_judged_again_when_the_second_approves() -> None:
    world = frozen(prepared(), "ALL")
    assert propose(world, "unfreeze", merchant=GYM, scope="ALL") == "OK"
    assert lift(world, "ALL") == "OK"
    again = world.do("second regulator", "approve", contract="kernel", proposal=id_of("p"))
    assert again == "BAD_STATE"
