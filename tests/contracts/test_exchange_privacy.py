"""Who learns what of the exchange: those concerned their part, and nobody else anything."""

from __future__ import annotations

import pytest

from tests.contracts.exchange_world import ExchangeWorld, bought
from tests.contracts.world import id_of, key_of


@pytest.mark.parametrize("viewer", [None, "ben", "shop", "machine", "merchant", "bank"])
def test_who_is_not_concerned_learns_nothing(viewer: str | None) -> None:
    world = ExchangeWorld()
    assert world.issue("ann", 5, "SP") == "OK"
    order = world.confirmed("ann", bought("upgrade", user={"details": "seat 14C"}))
    assert world.fulfil("desk", order) == "OK"
    for query in ("order", "request", "delivery", "quotes"):
        assert world.refused(viewer, query, order=order) == "NOT_FOUND"
        assert world.refused(viewer, query, order=id_of("nothing")) == "NOT_FOUND"
    assert world.view(viewer, "orders", party=key_of("ann"))["items"] == []
    seen = [one["asset"] for one in world.view(viewer, "holdings", user=key_of("ann"))["items"]]
    assert seen == (["SP"] if viewer == "shop" else [])
    assert world.refused(viewer, "book", asset="AIR") == "NOT_FOUND"
    assert world.view(viewer, "bookings", asset="AIR")["items"] == []


def test_the_peripheral_does_not_learn_the_price_nor_the_platform_the_request() -> None:
    world = ExchangeWorld()
    told: dict[str, list[str]] = {"desk": [], "airline": []}
    order = world.quoted("ann", bought("upgrade", user={"details": "seat 14C"}))
    events = list(world.last.events)
    assert world.act("ann", "execute", order=order, quote=1) == "OK"
    events += world.last.events
    assert world.confirm("airline", order) == "OK"
    events += world.last.events
    for who, names in told.items():
        names += [one.name for one in events if key_of(who).hex() in one.readers]
    assert told == {"desk": ["HandedOver"], "airline": ["Exchanging", "Confirmed"]}
    assert world.refused("airline", "request", order=order) == "NOT_FOUND"
