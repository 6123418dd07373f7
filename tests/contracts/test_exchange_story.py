"""The exchange as its requirements tell it: one test for each R, and the demo with its figures."""

from __future__ import annotations

from tests.contracts.exchange_world import ExchangeWorld
from tests.contracts.world import key_of


def events_of(world: ExchangeWorld, order: bytes) -> list[str]:
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
