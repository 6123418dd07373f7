"""Caps, stops and roles of the exchange."""

from __future__ import annotations

import json

from tests.contracts.exchange_world import YEAR_MS, ExchangeWorld, swapped
from tests.contracts.world import DAY_MS, id_of


def test_a_cap_is_per_day_and_a_refund_gives_its_room_back() -> None:
    world = ExchangeWorld()
    world.register("AIR", "airline", min_lot=500, step=500, daily_cap=2_500)
    order = world.executed("ann", "upgrade")
    again = world.ask_for("ann", swapped("GP", "AIR", 6_000))
    assert world.act("ann", "quote", order=again) == "DAILY_CAP"
    assert world.act("airline", "platform_reject", order=order, reason="no") == "OK"
    assert world.act("ann", "quote", order=again) == "OK"
    assert world.act("ann", "execute", order=again, quote=1) == "OK"
    world.advance(DAY_MS)
    assert world.confirmed("ann", swapped("GP", "AIR", 30_000))


def test_a_stop_does_not_keep_anybody_from_the_way_back() -> None:
    world = ExchangeWorld()
    order = world.confirmed("ann", "upgrade")
    for asset in ("GP", "AIR"):
        stop = {"asset": asset, "scope": "ALL", "reason": "audit"}
        assert world.act("regulator", "freeze", **stop) == "OK"
    assert world.act("second regulator", "ratify", asset="AIR", scope="ALL") == "OK"
    world.advance(60_000)
    assert world.act("ben", "timeout", order=order) == "OK"
    assert world.holding("ann", "GP") == 50_000
    world.advance(DAY_MS)
    frozen = [world.view(None, "platform", asset=one)["frozen"] for one in ("GP", "AIR")]
    assert frozen == [[], ["ALL"]]


def test_a_product_priced_in_the_general_asset_needs_no_exchange() -> None:
    world = ExchangeWorld()
    world.offer("machine", "tea", "GP", 70)
    order = world.executed("ann", "tea")
    assert world.state_of(order) == "RESERVED"
    assert world.act("machine", "fail", order=order, reason="cold") == "OK"
    assert world.holding("ann", "GP") == 50_000
    order = world.executed("ann", "tea")
    assert world.fulfil("machine", order) == "OK"
    assert world.holding("ann", "GP") == 49_930
    assert json.loads(world.view("ann", "request", order=order)["raw"]) == {"product": "tea"}
    assert world.violations() == []


def test_one_key_in_all_roles_and_one_transaction_gains_nothing() -> None:
    world = ExchangeWorld()
    world.register("ALL", "all", settle_price=1)
    args = {"asset": "ALL", "num": 1, "den": 2, "ttl_ms": YEAR_MS}
    assert world.two("all", "operator", "set_rate", **args) == "OK"
    world.offer("all", "anything", "ALL", 3)
    supply = {"asset": "ALL", "pool": "ALL", "amt": 100}
    assert world.act("all", "provide", supply=id_of("p"), **supply) == "OK"
    assert world.issue("all", 100) == "OK"
    order = id_of("all")
    calls: list[tuple[str, dict[str, object]]] = [
        ("submit_request", {"order": order, "raw": '{"product": "anything"}'}),
        ("quote", {"order": order}),
        ("execute", {"order": order, "quote": 1}),
        ("platform_confirm", {"order": order, "ext_ref": "mine"}),
        ("fulfil", {"order": order, "receipt_hash": bytes(32), "sealed_product": b"x"}),
    ]
    assert world.send("all", *calls, contract="exchange").code == "OK"
    assert (world.holding("all", "GP"), world.state_of(order)) == (94, "FULFILLED")
    assert world.act("operator", "settle", period="all") == "OK"
    assert world.violations() == []
