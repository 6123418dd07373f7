"""The exchange beyond its requirements: quotes, rounding, lots, bonuses, dry runs, clearing."""

from __future__ import annotations

import json

from contracts.exchange.wallets import POOL, SPREAD, pool_account
from contracts.kernel.ledger import account_key
from tests.contracts.exchange_world import YEAR_MS, ExchangeWorld, bought, swapped
from tests.contracts.world import DAY_MS, id_of, key_of


def test_b1_1_a_quote_cannot_be_taken_back_and_expires() -> None:
    world = ExchangeWorld()
    order = world.quoted("ann", "upgrade")
    world.offer("desk", "upgrade", "AIR", 9_000)
    assert world.rate("AIR", 1, 99) == "OK"
    assert world.act("ann", "quote", order=order) == "OK"
    assert (world.details["cost"], world.details["replayed"]) == (30_000, True)
    world.advance(120_000)
    assert world.act("ann", "execute", order=order, quote=1) == "QUOTE_EXPIRED"
    assert world.act("ann", "quote", order=order) == "OK"
    assert (world.details["quote"], world.details["cost"]) == (2, 891_000)


def test_b1_2_rounding_is_for_the_pool_and_the_spread_apart() -> None:
    world = ExchangeWorld()
    assert world.rate("SP", 3, 1, spread_bps=200) == "OK"
    world.executed("ann", "coffee")
    assert world.details["state"] == "EXCHANGING"
    order = world.confirmed("ann", "coffee")
    assert world.fulfil("machine", order) == "OK"
    # 1,000 SP are worth 333.33 GP: 334 are paid, 326 of them (98 %, rounded down) go to the pool.
    assert world.balance_of(pool_account("GP", "SP", POOL)) == 326
    assert world.balance_of(pool_account("GP", "SP", SPREAD)) == 8


def test_b1_3_minimum_lots_and_increments_leave_change_in_a_lot() -> None:
    world = ExchangeWorld()
    world.offer("desk", "lounge", "AIR", 600)
    order = world.quoted("ann", "lounge")
    figures = {name: world.details[name] for name in ("need", "obtained", "cost", "change")}
    assert figures == {"need": 600, "obtained": 1_000, "cost": 12_000, "change": 400}
    assert world.act("ann", "execute", order=order, quote=1) == "OK"
    assert world.confirm("airline", order) == "OK"
    # In the balance, but not to be spent before the product has come.
    assert (world.holding("ann", "AIR", "balance"), world.holding("ann", "AIR")) == (400, 0)
    assert world.fulfil("desk", order) == "OK"
    assert world.holding("ann", "AIR") == 400
    # The change pays the next one in part: 200 are short, 500 the least.
    world.confirmed("ann", bought("lounge", own="400"))
    assert world.holding("ann", "GP") == 50_000 - 12_000 - 6_000


def test_b1_4_wallets_have_lots_with_expiry_and_limits() -> None:
    world = ExchangeWorld()
    world.register("AIR", "airline", min_lot=500, step=500, lot_ttl_ms=YEAR_MS, wallet_max=1_000)
    assert world.issue("ben", 300, "AIR") == "OK"
    world.advance(30 * DAY_MS)
    assert world.issue("ben", 500, "AIR") == "OK"
    assert world.issue("ben", 201, "AIR") == "OVERFLOW"
    lots = world.holding("ben", "AIR", "lots")
    assert [lot["amt"] for lot in lots] == [300, 500]
    assert lots[1]["expires_ms"] - lots[0]["expires_ms"] == 30 * DAY_MS + 1
    world.advance(YEAR_MS - 30 * DAY_MS)
    assert (world.holding("ben", "AIR"), world.holding("ben", "AIR", "expired")) == (500, 300)
    assert world.act("ann", "expire_lots") == "OK"
    assert world.details == {"expired": 1, "done": True}
    assert (world.holding("ben", "AIR", "balance"), world.book("AIR")["burned"]) == (500, 300)


def test_b1_5_volume_bonuses_are_rule_rows() -> None:
    world = ExchangeWorld(points=130_000)
    rows = [{"per": 60_000, "extra": 5_000}]
    assert world.rate("AIR", 1, 3, bonuses=rows) == "OK"
    world.confirmed("ann", swapped("GP", "AIR", 121_500))
    # 40,500 miles for 121,500 GP, and 5,000 for each full 60,000 of these.
    assert world.holding("ann", "AIR") == 40_500 + 10_000
    assert world.view(None, "platform", asset="AIR")["buy"]["bonuses"] == rows


def test_b1_6_a_dry_run_tells_all_and_changes_nothing() -> None:
    world = ExchangeWorld()
    before = world.records()
    dry = world.view("ann", "price", raw=json.dumps(bought("coffee")))
    assert (dry["need"], dry["obtained"], dry["cost"], dry["spread"]) == (1_000, 1_000, 334, 1)
    assert world.records() == before
    world.quoted("ann", "coffee")
    assert {**dry, "quote": 1, "expires_ms": world.details["expires_ms"]} == world.details


def test_b1_7_statements_are_compared_and_nets_settled() -> None:
    world = ExchangeWorld()
    assert world.rate("AIR", 10, 1, side="SELL") == "OK"
    order = world.executed("ann", swapped("GP", "AIR", 30_000))
    assert world.confirm("airline", order, "A1") == "OK"
    order = world.executed("ann", swapped("AIR", "GP", 1_000))
    assert world.confirm("airline", order, "A2") == "OK"
    lines = [
        {"ext_ref": "A1", "amt": 2_500},
        {"ext_ref": "A2", "amt": 999},
        {"ext_ref": "A3", "amt": 5},
    ]
    args = {"statement": id_of("statement"), "asset": "AIR", "lines": lines}
    assert world.act("operator", "reconcile", **args) == "OK"
    counts = {"matched": 1, "due_back": 0, "reversed": 0, "unknown": 1, "differs": 1}
    assert world.details == counts
    assert world.act("operator", "reconcile", **args) == "OK"
    assert world.details == {**counts, "replayed": True}
    findings = [one["finding"] for one in world.view("airline", "bookings", asset="AIR")["items"]]
    assert findings == ["matched", "differs", "unknown"]
    # 2,500 provided, 1,000 taken back: the bank owes the airline 1,500 miles.
    assert world.act("operator", "settle", period="q1") == "OK"
    (net,) = world.view("issuer", "settlements", asset="AIR")["items"]
    assert net["amt"] == 7_500
    currency = account_key(key_of("airline"), "CNY", "exchange.settlement")
    assert world.balance_of(currency) == 7_500
    assert world.act("operator", "settle", period="q1") == "OK"
    assert world.details == {"settlements": 1, "replayed": True}
    assert world.act("operator", "settle", period="q2") == "OK"
    assert world.details == {"settlements": 0}


def test_b1_8_a_late_success_is_due_back_and_never_a_credit() -> None:
    world = ExchangeWorld()
    order = world.executed("ann", "upgrade")
    world.advance(600_000)
    assert world.confirm("airline", order, "A1") == "OK"
    assert world.details == {"state": "REFUNDED", "late": True}
    assert (world.holding("ann", "GP"), world.holding("ann", "AIR")) == (50_000, 0)
    (booking,) = world.view("airline", "bookings", asset="AIR")["items"]
    assert (booking["ext_ref"], booking["finding"], booking["units"]) == ("A1", "due_back", 2_500)
    for kind, finding in (
        ("SUCCESS", "due_back"),
        ("REVERSAL", "reversed"),
        ("SUCCESS", "reversed"),
    ):
        lines = [{"ext_ref": "A1", "amt": 2_500, "kind": kind}]
        args = {"statement": world.new_id(), "asset": "AIR", "lines": lines}
        assert world.act("airline", "reconcile", **args) == "OK"
        assert world.details[finding] == 1
    assert world.violations() == []


def test_peripherals_redeem_what_they_earned_for_money() -> None:
    world = ExchangeWorld()
    for _ in range(3):
        assert world.fulfil("machine", world.confirmed("ann", "coffee")) == "OK"
    args = {"supply": id_of("r"), "asset": "SP", "amt": 2_990}
    assert world.act("machine", "redeem", **args) == "OK"
    # 14 fen for 100: 418.6, rounded down.
    assert world.details == {"amt": 418, "currency": "CNY"}
    assert world.act("machine", "redeem", **args) == "OK"
    assert world.details == {"replayed": True}
    assert world.book("SP")["burned"] == 2_990
    for who, amount in (("machine", 418), ("shop", -418)):
        account = account_key(key_of(who), "CNY", "exchange.settlement")
        assert world.balance_of(account) == amount
    args = {"supply": id_of("s"), "asset": "SP"}
    assert world.act("machine", "redeem", **args, amt=7) == "LOT_TOO_SMALL"
    assert world.act("machine", "redeem", **args, amt=11) == "INSUFFICIENT"
    assert world.act("desk", "redeem", **args, amt=10) == "INSUFFICIENT"
    assert world.act("shop", "redeem", **args, amt=10) == "UNAUTHORIZED"
    assert world.violations() == []
