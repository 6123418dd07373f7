"""The exchange as its requirements tell it: one test for each R, and the demo with its figures."""

from __future__ import annotations

import json

from contracts.exchange.wallets import ESCROW, pool_account
from contracts.kernel.ledger import account_key
from tests.contracts.exchange_world import ExchangeWorld, bought, swapped
from tests.contracts.world import id_of, key_of


def names_of(world: ExchangeWorld, order: bytes) -> list[str]:
    """The names of the last transaction's events that tell of an order."""
    return [one.name for one in world.last.events if one.data.get("order") == order]


def test_demo_the_upgrade_and_the_coffee() -> None:
    world = ExchangeWorld()
    upgrade = world.quoted("ann", "upgrade")
    assert world.details["cost"] == 30_000
    assert (world.details["need"], world.details["obtained"]) == (2_500, 2_500)
    assert world.rate("AIR", 1, 15) == "OK"
    assert world.act("ann", "execute", order=upgrade, quote=1) == "OK"
    assert world.act("ann", "execute", order=upgrade, quote=1) == "QUOTE_USED"
    assert world.holding("ann", "GP", "reserved") == 30_000
    assert world.confirm("airline", upgrade) == "OK"
    assert world.state_of(upgrade) == "RESERVED"
    assert world.book("AIR")["escrow"] == 2_500
    assert world.fulfil("desk", upgrade) == "OK"
    assert world.holding("ann", "GP") == 20_000

    late = world.quoted("ann", "upgrade")
    assert world.details["cost"] == 37_500
    world.advance(120_000)
    assert world.act("ann", "execute", order=late, quote=1) == "QUOTE_EXPIRED"

    coffee = world.confirmed("ann", "coffee")
    assert world.holding("ann", "GP") == 20_000 - 334
    world.advance(60_000)
    assert world.act("ben", "timeout", order=coffee) == "OK"
    assert world.state_of(coffee) == "REFUNDED"
    assert world.holding("ann", "GP") == 20_000
    assert world.holding("ann", "SP") == world.holding("ann", "AIR") == 0

    assert world.act("operator", "settle", period="2027-01") == "OK"
    assert world.details == {"settlements": 1}
    (settled,) = world.view("airline", "settlements", asset="AIR")["items"]
    assert settled["amt"] == 12_500
    assert (settled["debtor"], settled["creditor"]) == (key_of("issuer"), key_of("airline"))
    assert world.violations() == []


def test_r1_01_one_platform_between_people_and_several_asset_platforms() -> None:
    world = ExchangeWorld()
    items = world.view(None, "platforms")["items"]
    assert [one["asset"] for one in items] == ["AIR", "GP", "SP"]
    assert {one["platform"] for one in items} == {
        key_of("airline"),
        key_of("issuer"),
        key_of("shop"),
    }
    # Ann deals with both of them through her orders alone.
    assert world.confirmed("ann", swapped("GP", "AIR", 6_000))
    assert world.confirmed("ann", swapped("GP", "SP", 100))
    assert (world.holding("ann", "AIR"), world.holding("ann", "SP")) == (500, 300)


def test_r1_02_a_request_has_an_order_id_then_its_result_by_query_and_event() -> None:
    world = ExchangeWorld()
    order = world.ask_for("ann", "upgrade")
    assert names_of(world, order) == ["Requested", "Parsed"]
    assert world.view("ann", "order", order=order)["state"] == "REQUESTED"
    assert world.act("ann", "quote", order=order) == "OK"
    assert world.act("ann", "execute", order=order, quote=1) == "OK"
    assert world.confirm("airline", order) == "OK"
    assert world.fulfil("desk", order) == "OK"
    assert names_of(world, order) == ["Delivered"]
    assert world.view("ann", "order", order=order)["state"] == "FULFILLED"
    (listed,) = world.view("ann", "orders")["items"]
    assert (listed["order"], listed["state"]) == (order, "FULFILLED")


def test_r1_03_the_general_asset_for_different_platforms_assets_both_legs_on_the_ledger() -> None:
    world = ExchangeWorld()
    for target, amount, obtained in (("AIR", 6_000, 500), ("SP", 200, 600)):
        pool = world.balance_of(pool_account(target, target))
        general = world.balance_of(pool_account("GP", target))
        own = world.holding("ann", "GP")
        world.confirmed("ann", swapped("GP", target, amount))
        assert world.holding("ann", "GP") == own - amount
        assert world.balance_of(pool_account("GP", target)) == general + amount
        assert world.holding("ann", target) == obtained
        assert world.balance_of(pool_account(target, target)) == pool - obtained


def test_r1_04_the_exchanged_asset_completes_the_trade() -> None:
    world = ExchangeWorld()
    order = world.confirmed("ann", "upgrade")
    assert world.balance_of(pool_account("AIR", "AIR", ESCROW)) == 2_500
    assert world.fulfil("desk", order) == "OK"
    assert world.balance_of(pool_account("AIR", "AIR", ESCROW)) == 0
    earned = account_key(key_of("desk"), "AIR", "exchange.earned")
    assert world.balance_of(earned) == 2_500
    assert world.view("ann", "delivery", order=order)["sealed_product"] == b"sealed"


def test_r1_05_products_are_priced_in_different_assets() -> None:
    items = ExchangeWorld().view(None, "catalogue")["items"]
    assert [(one["product"], one["asset"], one["price"]) for one in items] == [
        ("coffee", "SP", 1_000),
        ("upgrade", "AIR", 2_500),
    ]


def test_r1_06_parsing_extracts_product_and_user_information() -> None:
    world = ExchangeWorld()
    user = {"reader": key_of("phone").hex(), "details": "seat 14C"}
    order = world.ask_for("ann", bought("upgrade", quantity="1", user=user))
    parsed = world.last.events[1].data
    assert (parsed["kind"], parsed["product"], parsed["quantity"]) == ("PURCHASE", "upgrade", 1)
    request = world.view("desk", "request", order=order)
    assert (request["reader"], request["details"]) == (key_of("phone"), "seat 14C")
    assert json.loads(request["raw"])["user"] == user
    args = {"order": world.new_id(), "raw": '{"product": "upgrade", "product": "coffee"}'}
    assert world.act("ann", "submit_request", **args) == "BAD_REQUEST"


def test_r1_07_the_balance_of_the_general_asset_is_kept_per_person() -> None:
    world = ExchangeWorld()
    assert world.issue("ben", 7) == "OK"
    assert (world.holding("ann", "GP"), world.holding("ben", "GP")) == (50_000, 7)
    # Its account is what /v1/balances tells the history of.
    (item,) = world.view("ben", "holdings")["items"]
    assert item["account"] == account_key(key_of("ben"), "GP", "exchange.balance")
    assert world.balance_of(item["account"]) == 7


def test_r1_08_a_product_requires_an_asset_and_amount_always_the_same() -> None:
    world = ExchangeWorld()
    first = world.view(None, "price", raw=json.dumps(bought("upgrade")))
    assert (first["to"], first["need"], first["cost"]) == ("AIR", 2_500, 30_000)
    for _ in range(3):
        world.quoted("ann", "upgrade")
        assert (world.details["to"], world.details["need"]) == ("AIR", 2_500)
    assert world.view("ben", "price", raw=json.dumps(bought("upgrade"))) == first


def test_r1_09_the_corresponding_platform_takes_part_and_a_short_balance_changes_nothing() -> None:
    world = ExchangeWorld(points=29_999)
    order = world.quoted("ann", "upgrade")
    before = world.records()
    assert world.act("ann", "execute", order=order, quote=1) == "INSUFFICIENT"
    assert world.records() == before
    assert world.issue("ann", 1) == "OK"
    assert world.act("ann", "execute", order=order, quote=1) == "OK"
    (part,) = world.view("airline", "order", order=order)["parts"]
    assert (part["platform"], part["units"]) == (key_of("airline"), 2_500)
    assert world.confirm("shop", order) == "UNAUTHORIZED"
    assert world.state_of(order) == "EXCHANGING"
    assert world.confirm("airline", order) == "OK"
    assert world.state_of(order) == "RESERVED"


def test_r1_10_the_peripheral_delivers_sealed_with_a_hash_in_its_signed_receipt() -> None:
    world = ExchangeWorld()
    order = world.confirmed("ann", bought("upgrade", user={"details": "seat 14C"}))
    handed = next(one for one in world.last.events if one.name == "HandedOver")
    assert handed.data["details"] == "seat 14C"
    assert handed.data["reader"] == key_of("ann")
    assert (handed.data["asset"], handed.data["amt"]) == ("AIR", 2_500)
    assert key_of("desk").hex() in handed.readers
    assert world.fulfil("desk", order) == "OK"
    found = world.view("ann", "delivery", order=order)
    assert found["receipt_hash"] == id_of("receipt") * 2
    assert found["peripheral"] == key_of("desk")
    assert world.refused("airline", "delivery", order=order) == "NOT_FOUND"


def test_r1_11_the_product_table_has_versioned_rows_with_a_matching_rule() -> None:
    world = ExchangeWorld()
    world.offer("desk", "upgrade", "AIR", 3_000, quantity_max=2)
    rows = world.view(None, "product_versions", product="upgrade")["items"]
    assert [(one["version"], one["price"], one["quantity_max"]) for one in rows] == [
        (1, 2_500, 1),
        (2, 3_000, 2),
    ]
    two = json.dumps(bought("upgrade", quantity="2"))
    assert world.view(None, "price", raw=two)["need"] == 6_000
    three = json.dumps(bought("upgrade", quantity="3"))
    assert world.refused(None, "price", raw=three) == "BAD_REQUEST"


def test_r1_12_the_table_of_rates_is_versioned() -> None:
    world = ExchangeWorld()
    assert world.rate("AIR", 1, 15, spread_bps=50) == "OK"
    rows = world.view(None, "rates", asset="AIR")["items"]
    assert [(one["version"], one["num"], one["den"], one["spread_bps"]) for one in rows] == [
        (1, 1, 12, 0),
        (2, 1, 15, 50),
    ]
    assert world.view(None, "platform", asset="AIR")["buy"]["version"] == 2


def test_r1_13_the_steps_of_an_order_in_their_order() -> None:
    world = ExchangeWorld()
    order = world.new_id()
    told: list[str] = []
    for sender, action, args in (
        ("ann", "submit_request", {"raw": json.dumps(bought("upgrade"))}),
        ("ann", "quote", {}),
        ("ann", "execute", {"quote": 1}),
        ("airline", "platform_confirm", {"ext_ref": "A1"}),
        ("desk", "fulfil", {"receipt_hash": bytes(32), "sealed_product": b"x"}),
    ):
        assert world.act(sender, action, order=order, **args) == "OK"
        told += names_of(world, order)
    assert told == [
        "Requested",
        "Parsed",
        "Quoted",
        "Exchanging",
        "Confirmed",
        "Exchanged",
        "HandedOver",
        "Delivered",
    ]


def test_r1_14_heterogeneous_assets_in_one_view_and_one_set_of_acts() -> None:
    world = ExchangeWorld()
    world.confirmed("ann", swapped("GP", "AIR", 6_000))
    world.confirmed("ann", swapped("GP", "SP", 100))
    items = world.view("ann", "holdings")["items"]
    assert [(one["asset"], one["available"]) for one in items] == [
        ("AIR", 500),
        ("GP", 43_900),
        ("SP", 300),
    ]
    for asset in ("AIR", "SP"):
        owner = {"AIR": "airline", "SP": "shop"}[asset]
        assert world.issue("ben", 100, asset) == "OK"
        assert world.rate(asset, 1, 20) == "OK"
        stop = {"asset": asset, "scope": "ALL"}
        assert world.act("regulator", "freeze", reason="audit", **stop) == "OK"
        assert world.issue("ben", 100, asset) == "FROZEN"
        assert world.two("regulator", "second regulator", "unfreeze", **stop) == "OK"
        lines = [{"ext_ref": "x", "amt": 1}]
        args = {"statement": world.new_id(), "asset": asset, "lines": lines}
        assert world.act(owner, "reconcile", **args) == "OK"
    assert world.act("ben", "expire_lots") == "OK"


def test_r1_15_one_asset_for_another_in_one_linked_exchange_and_no_gain_on_the_way_back() -> None:
    world = ExchangeWorld()
    assert world.rate("AIR", 11, 1, side="SELL") == "OK"
    assert world.rate("SP", 1, 3, side="SELL") == "OK"
    world.confirmed("ann", swapped("GP", "AIR", 30_000))
    assert (world.holding("ann", "AIR"), world.holding("ann", "GP")) == (2_500, 20_000)
    there = world.executed("ann", swapped("AIR", "SP", 1_000))
    assert world.holding("ann", "AIR", "reserved") == 1_000
    assert world.confirm("airline", there) == "OK"
    # Both legs or neither: with one platform's part nothing has moved.
    assert (world.holding("ann", "SP"), world.state_of(there)) == (0, "EXCHANGING")
    assert world.confirm("shop", there) == "OK"
    assert world.state_of(there) == "EXCHANGED"
    assert (world.holding("ann", "AIR"), world.holding("ann", "SP")) == (1_500, 33_000)
    # The snapshot of the rates wins over what they became.
    back = world.quoted("ann", swapped("SP", "AIR", 33_000))
    assert world.rate("AIR", 1, 20) == "OK"
    assert world.act("ann", "execute", order=back, quote=1) == "OK"
    assert world.confirm("shop", back) == world.confirm("airline", back) == "OK"
    # 11,000 GP buy 500 miles for 6,000 and leave 5,000: no more than the 1,000 miles were.
    assert (world.holding("ann", "AIR"), world.holding("ann", "SP")) == (2_000, 0)
    assert world.holding("ann", "GP") == 25_000
    assert world.violations() == []
