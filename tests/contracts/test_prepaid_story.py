"""Prepaid supervision as a story: the gym card, and the requirements as far as a contract goes."""

from __future__ import annotations

from typing import Any

import pytest

from contracts.kernel.context import Rejected
from tests.contracts.world import DAY_MS, START_MS, World, id_of, key_of

GYM = id_of("gym")
CARD = id_of("card")


def gym(visits: int = 12) -> World:
    """Ann paid ¥3,000 and got a bonus of ¥1,000; each visit costs ¥100."""
    world = World()
    world.open_shop()
    assert world.open_card("card", "ann", 300_000, 100_000) == "OK"
    for seq in range(1, visits + 1):
        assert world.consume("ann", "card", 10_000, seq) == "OK"
    return world


def card(world: World, name: str = "card", viewer: str = "regulator") -> dict[str, Any]:
    found: dict[str, Any] = world.ask(viewer, "card", card=id_of(name))
    return found


def merchant(world: World) -> dict[str, Any]:
    found: dict[str, Any] = world.ask("regulator", "merchant", merchant=GYM)
    return found


def freeze(world: World, scope: str) -> None:
    assert world.do("regulator", "freeze", merchant=GYM, scope=scope, reason="no filing") == "OK"


def wind_up(world: World) -> None:
    assert world.do("regulator", "wind_up", merchant=GYM, reason="closed its doors") == "OK"
    assert world.do("regulator", "settle_wind_up", merchant=GYM) == "OK"
    assert world.last.details["done"]


def test_twelve_visits() -> None:
    world = gym()
    assert card(world)["remaining"] == 280_000
    assert merchant(world)["earnings"] == 90_000
    assert merchant(world)["escrow"] == 210_000
    assert merchant(world)["outstanding"] == 210_000
    assert merchant(world)["custody_ratio_bps"] == 10_000


def test_visit_thirteen_is_held() -> None:
    world = gym()
    freeze(world, "PAYOUT")
    assert world.consume("ann", "card", 10_000, 13) == "OK"
    found = card(world)
    assert (found["earned"], found["paid_out"], found["held"]) == (97_500, 90_000, 7_500)
    assert merchant(world)["held"] == 7_500
    assert merchant(world)["escrow"] == 202_500
    assert merchant(world)["freezes"][0]["reason"] == "no filing"


def test_the_winding_up_pays_both_sides() -> None:
    world = gym()
    freeze(world, "PAYOUT")
    assert world.consume("ann", "card", 10_000, 13) == "OK"
    wind_up(world)
    assert world.last.details == {"refunded": 202_500, "released": 7_500, "done": True}
    found = card(world)
    assert (found["state"], found["refunded"], found["remaining"]) == ("CLOSED", 202_500, 0)
    end = merchant(world)
    assert (end["escrow"], end["held"], end["earnings"]) == (0, 0, 97_500)
    assert end["state"] == "WOUND_UP"
    assert world.violations() == []


def test_day_six_and_day_eight() -> None:
    world = gym(visits=0)
    assert world.open_card("second", "bob", 300_000, 100_000) == "OK"
    world.advance(6 * DAY_MS)
    assert world.do("ann", "refund", card=CARD, reason="COOLING_OFF") == "OK"
    assert world.last.details == {"refunded": 300_000}
    world.advance(2 * DAY_MS)
    refused = world.do("bob", "refund", card=id_of("second"), reason="COOLING_OFF")
    assert refused == "COOLING_OFF_PASSED"
    assert world.violations() == []


def test_cooling_off_ends_with_the_seventh_day() -> None:
    """Days are those of UTC+8, whatever the hour of payment."""
    last_moment_ms = ((START_MS + 28_800_000) // DAY_MS + 8) * DAY_MS - 28_800_000 - 1
    for late_ms, code in ((0, "OK"), (1, "COOLING_OFF_PASSED")):
        world = gym(visits=0)
        world.advance(last_moment_ms + late_ms - world.time_ms - 1)
        assert world.do("ann", "refund", card=CARD, reason="COOLING_OFF") == code
        assert world.time_ms == last_moment_ms + late_ms


def test_an_accelerated_network_has_shorter_days() -> None:
    world = World(time_scale=1_000)
    world.open_shop()
    assert world.open_card("card", "ann", 1_000) == "OK"
    world.advance(9 * DAY_MS // 1_000)
    assert world.do("ann", "refund", card=CARD, reason="COOLING_OFF") == "COOLING_OFF_PASSED"


def test_a_top_up_cools_off_by_itself() -> None:
    world = gym(visits=0)
    world.advance(20 * DAY_MS)
    top_up(world, 50_000, 0)
    assert world.do("ann", "refund", card=CARD, reason="COOLING_OFF") == "OK"
    assert world.last.details == {"refunded": 50_000}
    found = card(world)
    assert (found["state"], found["remaining"]) == ("ACTIVE", 400_000)
    assert world.do("ann", "refund", card=CARD, reason="COOLING_OFF") == "OK"
    assert world.last.details == {"refunded": 50_000, "replayed": True}
    assert world.violations() == []


def test_ordinary_refund_counts_visits_in_full() -> None:
    world = gym(visits=13)
    assert world.do("ann", "refund", card=CARD, reason="ORDINARY") == "OK"
    assert world.last.details == {"refunded": 170_000}
    assert merchant(world)["earnings"] == 130_000
    assert world.violations() == []


def test_a_merchant_at_fault_pays_pro_rata() -> None:
    world = gym(visits=13)
    assert world.do("merchant", "refund", card=CARD, reason="MERCHANT_FAULT") == "OK"
    assert world.last.details == {"refunded": 202_500}


def test_a_merchant_refunds_with_the_holders_ticket() -> None:
    world = gym(visits=1)
    args = world.ticket("ann", "refund", card=CARD, reason="ORDINARY", line=3, amt=290_000)
    assert world.send("merchant", ("refund", args)).details == {"refunded": 290_000}
    assert world.send("merchant", ("refund", args)).details["replayed"]


def test_held_money_is_paid_when_the_freeze_ends() -> None:
    world = gym()
    freeze(world, "PAYOUT")
    assert world.open_card("other", "bob", 1_000) == "OK"
    assert world.consume("ann", "card", 10_000, 13) == "OK"
    assert world.consume("bob", "other", 400, 1) == "OK"
    assert world.by_two("unfreeze", merchant=GYM, scope="PAYOUT") == "OK"
    assert world.do("merchant", "payout", merchant=GYM, limit=1) == "OK"
    first = world.last.details["released"]
    assert not world.last.details["done"]
    assert world.do("merchant", "payout", merchant=GYM, limit=2) == "OK"
    assert first + world.last.details["released"] == 7_900
    assert (merchant(world)["held"], merchant(world)["earnings"]) == (0, 97_900)
    assert world.violations() == []


def test_the_next_visit_pays_what_was_held() -> None:
    world = gym()
    freeze(world, "ALL")
    assert world.consume("ann", "card", 10_000, 13) == "FROZEN"
    assert world.by_two("unfreeze", merchant=GYM, scope="ALL") == "OK"
    freeze(world, "PAYOUT")
    assert world.consume("ann", "card", 10_000, 13) == "OK"
    assert world.by_two("unfreeze", merchant=GYM, scope="PAYOUT") == "OK"
    assert world.consume("ann", "card", 10_000, 14) == "OK"
    assert card(world)["paid_out"] == card(world)["earned"] == 105_000
    assert world.violations() == []


def test_a_winding_up_is_paged() -> None:
    world = gym(visits=3)
    for number in range(5):
        assert world.open_card(f"c{number}", f"h{number}", 100 + number, number) == "OK"
    assert world.do("regulator", "wind_up", merchant=GYM, reason="closed") == "OK"
    refunded = pages = 0
    while True:
        assert world.do("bank", "settle_wind_up", merchant=GYM, limit=2) == "OK"
        assert world.violations() == []
        refunded += world.last.details["refunded"]
        pages += 1
        if world.last.details["done"]:
            break
    assert (pages, refunded) == (4, 300_000 - 22_500 + 510)
    assert merchant(world)["escrow"] == 0
    assert world.do("bank", "settle_wind_up", merchant=GYM) == "OK"
    assert world.last.details["replayed"]


def top_up(world: World, paid: int, bonus: int, order: str = "order") -> None:
    args = world.ticket("ann", "top_up", card=CARD, order=id_of(order), paid=paid, bonus=bonus)
    assert world.send("bank", ("top_up", args)).code == "OK"


def test_a_top_up_does_not_reprice_what_was_used() -> None:
    world = gym(visits=20)
    earned = card(world)["earned"]
    top_up(world, 10_000, 0)
    assert card(world)["earned"] == earned == 150_000
    for seq in range(21, 41):
        assert world.consume("ann", "card", 10_000, seq) == "OK"
    assert card(world)["earned"] == 300_000
    assert world.consume("ann", "card", 10_000, 41) == "OK"
    assert card(world)["earned"] == 310_000
    assert card(world)["lots"] == []


def test_rounding_never_drifts() -> None:
    world = World()
    world.open_shop()
    assert world.open_card("card", "ann", 1_000, 333) == "OK"
    for seq in range(1, 1_334):
        assert world.consume("ann", "card", 1, seq) == "OK"
    found = card(world)
    assert (found["earned"], found["remaining"]) == (1_000, 0)
    assert world.violations() == []


def test_an_opening_of_nothing() -> None:
    world = World()
    world.open_shop()
    assert world.open_card("card", "ann", 0) == "OK"
    assert card(world)["remaining"] == 0
    assert world.consume("ann", "card", 1, 1) == "INSUFFICIENT"
    top_up(world, 500, 0)
    assert world.consume("ann", "card", 500, 1) == "OK"
    assert world.violations() == []


def test_r3_4_state_changes_only_through_contract_calls() -> None:
    world = gym(visits=1)
    before = dict(world.memory.records)
    world.ask("ann", "card", card=CARD)
    world.ask("ann", "statement", card=CARD)
    assert world.memory.records == before


def test_r3_5_a_bookkeeper_books_with_the_holders_ticket() -> None:
    world = gym(visits=0)
    args = world.ticket("ann", "consume", card=CARD, amt=25_000, seq=1)
    assert world.send("bookkeeper", ("consume", args)).code == "OK"
    opening, line = world.ask("ann", "statement", card=CARD)["items"]
    assert opening["kind"] == "OPEN"
    assert line["booked_by"] == key_of("bookkeeper")
    assert (line["initial"], line["amount"], line["remaining"]) == (400_000, 25_000, 375_000)
    assert len(line["transaction"]) == 32


def test_r3_6_remaining_is_computed_and_stored() -> None:
    world = World()
    world.open_shop()
    assert world.open_card("card", "ann", 1_000) == "OK"
    assert world.consume("ann", "card", 300, 1) == "OK"
    assert world.consume("ann", "card", 250, 2) == "OK"
    assert card(world)["remaining"] == 450
    lines = world.ask("ann", "statement", card=CARD)["items"]
    assert [(one["initial"], one["amount"], one["remaining"]) for one in lines] == [
        (1_000, 1_000, 1_000),
        (1_000, 300, 700),
        (1_000, 250, 450),
    ]


def test_r3_11_the_regulator_sees_every_merchant_and_card() -> None:
    world = gym()
    page = world.ask("regulator", "cards", merchant=GYM)
    assert [one["card"] for one in page["items"]] == [CARD]
    assert page["next"] is None
    assert len(world.ask("regulator", "statement", card=CARD)["items"]) == 13


def test_statements_and_card_lists_are_paged() -> None:
    world = gym(visits=5)
    seen: list[int] = []
    cursor = 0
    while cursor is not None:
        page = world.ask("ann", "statement", card=CARD, cursor=cursor, limit=4)
        seen += [one["number"] for one in page["items"]]
        cursor = page["next"]
    assert seen == [1, 2, 3, 4, 5, 6]
    for number in range(4):
        assert world.open_card(f"c{number}", "bob", 5) == "OK"
    first = world.ask("merchant", "cards", merchant=GYM, limit=3)
    second = world.ask("merchant", "cards", merchant=GYM, limit=3, cursor=first["next"])
    cards = first["items"] + second["items"]
    assert [one["number"] for one in cards] == [1, 2, 3, 4, 5]
    assert [one["card"] for one in cards] == [CARD, *[id_of(f"c{number}") for number in range(4)]]
    assert second["next"] is None


def test_classes_and_policy_are_public() -> None:
    world = World(allow_clear=False)
    names = [one["name"] for one in world.ask(None, "classes")["items"]]
    assert names == ["gift", "named", "open", "plain", "usd"]
    page = world.ask(None, "classes", limit=3)
    assert [one["name"] for one in world.ask(None, "classes", cursor=page["next"])["items"]] == [
        "plain",
        "usd",
    ]
    policy = world.ask(None, "policy")
    assert policy["allow_clear"] is False
    assert policy["custody_kinds"] == {"brand": 4_000, "group": 3_000, "scale": 2_000}


@pytest.mark.parametrize(
    ("query", "allowed"),
    [
        ("card", {"ann", "merchant", "bank", "regulator"}),
        ("statement", {"ann", "merchant", "regulator"}),
        ("merchant", {"merchant", "bank", "regulator"}),
        ("cards", {"merchant", "bank", "regulator"}),
    ],
)
def test_private_reads_are_for_those_concerned(query: str, allowed: set[str]) -> None:
    world = gym(visits=1)
    world.open_card("bob's", "bob", 100)
    asked: dict[str, Any] = {"card": CARD} if query in ("card", "statement") else {"merchant": GYM}
    everyone = ["ann", "bob", "bank", "other bank", "merchant", "other merchant", "regulator"]
    for viewer in [*everyone, "bookkeeper", "operator", "administrator", "stranger", None]:
        if viewer in allowed:
            assert world.ask(viewer, query, **asked)
            continue
        with pytest.raises(Rejected) as caught:
            world.ask(viewer, query, **asked)
        assert caught.value.code == "NOT_FOUND"


def test_absent_and_forbidden_look_the_same() -> None:
    world = gym(visits=1)
    answers = []
    for name in ("card", "nothing"):
        with pytest.raises(Rejected) as caught:
            world.ask("bob", "card", card=id_of(name))
        answers.append((caught.value.code, caught.value.details))
    assert answers[0] == answers[1]


def test_balances_are_for_those_who_own_them() -> None:
    world = gym()
    asked: dict[str, Any] = {"owner": GYM, "asset": "CNY", "purpose": "prepaid.escrow"}
    found = world.ask("bank", "balance", contract="kernel", **asked)
    assert (found["balance"], found["available"]) == (210_000, 210_000)
    again = world.ask("merchant", "account", contract="kernel", account=found["account"])
    assert again == found
    with pytest.raises(Rejected):
        world.ask("ann", "balance", contract="kernel", **asked)
