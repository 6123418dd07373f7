"""Scenes of prepaid cards that several tests begin with."""

from __future__ import annotations

from typing import Any

import msgspec

from contracts.prepaid.tables import TOTALS
from tests.contracts.world import World, id_of, key_of

GYM = id_of("gym")
CARD = id_of("card")
NEW = id_of("new")
MAX = (1 << 63) - 1


def prepared() -> World:
    """A gym with Ann's card of 1,000 + 200, from which she used 100."""
    world = World()
    world.open_shop()
    assert world.open_card("card", "ann", 1_000, 200) == "OK"
    assert world.consume("ann", "card", 100, 1) == "OK"
    return world


def topping(world: World, order: str = "order", paid: int = 1, bonus: int = 0) -> str:
    args = world.ticket("ann", "top_up", card=CARD, order=id_of(order), paid=paid, bonus=bonus)
    return world.send("bank", ("top_up", args)).code


def with_ticket(world: World, signer: str = "ann", **terms: Any) -> dict[str, Any]:
    return world.ticket(signer, "consume", **{"card": CARD, "amt": 50, "seq": 2, **terms})


def frozen(world: World, scope: str) -> World:
    assert world.do("regulator", "freeze", merchant=GYM, scope=scope, reason="late") == "OK"
    return world


def winding_up(world: World) -> World:
    assert world.do("regulator", "wind_up", merchant=GYM, reason="bankrupt") == "OK"
    return world


def refunded(world: World) -> World:
    assert world.do("ann", "refund", card=CARD, reason="ORDINARY") == "OK"
    return world


def nearly_full(world: World) -> World:
    """The gym's sums as after nine quintillion of business; the card rows are left alone."""
    place = (TOTALS.name, GYM)
    totals = TOTALS.decode(world.memory.records[place])
    more = MAX - 5 - totals.paid
    full = msgspec.structs.replace(
        totals,
        paid=totals.paid + more,
        earned=totals.earned + more,
        paid_out=totals.paid_out + more,
    )
    world.memory.records[place] = msgspec.msgpack.encode(full)
    return world


def open_with(world: World, **changed: Any) -> str:
    return world.send("bank", ("open_card", {**world.opening("new", "bob", 5), **changed})).code


CARD_OF_GIFT = {
    "card": id_of("new"),
    "merchant": GYM,
    "holder_pub": key_of("bob"),
    "class": "gift",
    "paid": 5,
    "bonus": 0,
}


def gift(world: World) -> World:
    """The gym may sell a class of cards that expire."""
    assert world.do("regulator", "approve", merchant=GYM, class_="gift") == "OK"
    return world


def beyond(world: World, paid: int) -> str:
    """A card of a class without a limit of its own."""
    assert world.do("regulator", "approve", merchant=GYM, class_="open") == "OK"
    return world.open_card("n", "bob", paid, 1, class_="open")


def void(world: World, line: int, sender: str = "merchant", name: str = "card") -> str:
    return world.do(sender, "void", card=id_of(name), line=line)


def void_payment(world: World, line: int, signer: str = "ann", name: str = "card") -> str:
    args = world.ticket(signer, "void", card=id_of(name), line=line)
    return world.send("bank", ("void", args)).code


def transfer(world: World, sender: str = "ann", to: str = "bob", new: str = "new") -> str:
    terms: dict[str, Any] = {"card": CARD, "new_card": id_of(new), "holder_pub": key_of(to)}
    return world.send(sender, ("transfer_card", world.ticket(to, "transfer_card", **terms))).code


def replace(world: World, signer: str = "ann", sender: str = "bank") -> str:
    args = world.ticket(signer, "replace", card=CARD, new_card=NEW)
    return world.send(sender, ("replace", args)).code


def merge(world: World, into: str, sender: str = "ann", name: str = "card") -> str:
    return world.do(sender, "merge", card=id_of(name), into=id_of(into))


def lose(world: World, sender: str = "ann") -> str:
    return world.do(sender, "report_loss", card=CARD, reason="left in the train")
