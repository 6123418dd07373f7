"""Exchange: one row for each way in which a call is rejected, in the order of precedence.

Longer than most because it is one table.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

from contracts.exchange.contract import EXCHANGE
from contracts.kernel.ledger import LEG_AMOUNT_MAX
from tests.contracts.exchange_world import MAX, ExchangeWorld, bought, swapped
from tests.contracts.world import id_of, key_of

Case = Callable[[ExchangeWorld], str]

ASKED = id_of("asked")
QUOTED = id_of("quoted")
SENT = id_of("sent")
HELD = id_of("held")
DONE = id_of("done")
GONE = id_of("gone")


def prepared() -> ExchangeWorld:
    """Ann's upgrades, one in each state; the miles of `SENT` wait for the airline."""
    world = ExchangeWorld(points=200_000)
    assert world.rate("AIR", 10, 1, side="SELL") == "OK"
    for order in (ASKED, QUOTED, SENT, HELD, DONE, GONE):
        raw = json.dumps(bought("upgrade"))
        assert world.act("ann", "submit_request", order=order, raw=raw) == "OK"
    for order in (QUOTED, SENT, HELD, DONE, GONE):
        assert world.act("ann", "quote", order=order) == "OK"
    for order in (SENT, HELD, DONE, GONE):
        assert world.act("ann", "execute", order=order, quote=1) == "OK"
    for order, ref in ((HELD, "held"), (DONE, "done"), (GONE, "gone")):
        assert world.confirm("airline", order, ref) == "OK"
    assert world.fulfil("desk", DONE) == "OK"
    assert world.act("desk", "fail", order=GONE, reason="sold out") == "OK"
    return world


def registering(world: ExchangeWorld, **changed: Any) -> str:
    args = {"asset": "NEW", "platform": key_of("shop"), **changed}
    return world.two("operator", "administrator", "register_platform", **args)


def rating(world: ExchangeWorld, sender: str = "airline", **changed: Any) -> str:
    args = {"asset": "AIR", "num": 1, "den": 12, "ttl_ms": 1_000, **changed}
    return world.two(sender, "operator", "set_rate", **args)


def offering(world: ExchangeWorld, sender: str = "desk", **changed: Any) -> str:
    args = {"product": "upgrade", "title": "t", "asset": "AIR", "price": 1, "fulfil_ttl_ms": 1}
    return world.two(sender, "operator", "set_product", **{**args, **changed})


def asking(world: ExchangeWorld, raw: Any, order: bytes = b"") -> str:
    text = raw if isinstance(raw, str) else json.dumps(raw)
    return world.act("ann", "submit_request", order=order or world.new_id(), raw=text)


def quoting(world: ExchangeWorld, raw: Any) -> str:
    order = world.new_id()
    code = asking(world, raw, order)
    return code if code != "OK" else world.act("ann", "quote", order=order)


def executing(world: ExchangeWorld, order: bytes, sender: str = "ann", quote: int = 1) -> str:
    return world.act(sender, "execute", order=order, quote=quote)


def frozen(world: ExchangeWorld, asset: str, scope: str) -> ExchangeWorld:
    stop = {"asset": asset, "scope": scope, "reason": "audit"}
    assert world.act("regulator", "freeze", **stop) == "OK"
    return world


def limited(world: ExchangeWorld, **limits: Any) -> ExchangeWorld:
    world.register("AIR", "airline", **{"min_lot": 500, "step": 500, **limits})
    return world


def restocked(world: ExchangeWorld, stock: int) -> ExchangeWorld:
    assert world.act("desk", "restock", product="upgrade", stock=stock) == "OK"
    return world


def supplying(
    world: ExchangeWorld, action: str = "issue", sender: str = "issuer", **args: Any
) -> str:
    where = {"user": key_of("ann")} if action == "issue" else {"pool": "GP"}
    args = {"supply": id_of("supply"), "asset": "GP", "amt": 1, **where, **args}
    return world.act(sender, action, **args)


def then(first: str, second: str) -> str:
    """The code of the second of two acts, the first of which succeeds."""
    assert first == "OK"
    return second


def later(world: ExchangeWorld, duration_ms: int) -> ExchangeWorld:
    """The same after a while."""
    world.advance(duration_ms)
    return world


def lines(world: ExchangeWorld, sender: str, **changed: Any) -> str:
    args = {"statement": id_of("s"), "asset": "AIR", "lines": [{"ext_ref": "x", "amt": 1}]}
    return world.act(sender, "reconcile", **{**args, **changed})


def fulfilled(
    world: ExchangeWorld, order: bytes, sender: str = "desk", product: bytes = b"p"
) -> str:
    args = {"order": order, "receipt_hash": bytes(32), "sealed_product": product}
    return world.act(sender, "fulfil", **args)


CASES: list[tuple[str, str, Case]] = [
    ("BAD_ARG", "an amount of nothing", lambda w: supplying(w, amt=0)),
    ("BAD_ARG", "a negative amount", lambda w: supplying(w, amt=-1)),
    ("BAD_ARG", "a float", lambda w: supplying(w, amt=1.0)),
    ("BAD_ARG", "an amount beyond 63 bits", lambda w: supplying(w, amt=MAX + 1)),
    ("BAD_ARG", "an unknown field", lambda w: supplying(w, note="x")),
    ("BAD_ARG", "a rate of the general asset", lambda w: rating(w, "issuer", asset="GP")),
    (
        "BAD_ARG",
        "a bonus for selling",
        lambda w: rating(w, side="SELL", bonuses=[{"per": 1, "extra": 1}]),
    ),
    ("BAD_ARG", "a rate without a denominator", lambda w: rating(w, den=0)),
    (
        "BAD_ARG",
        "units of another asset for a pool",
        lambda w: supplying(w, "provide", "shop", asset="SP", pool="AIR"),
    ),
    ("BAD_ARG", "a product of 4 kB", lambda w: fulfilled(w, HELD, product=bytes(4_096))),
    # who may
    (
        "UNAUTHORIZED",
        "a platform registered by a platform",
        lambda w: w.act(
            "airline",
            "register_platform",
            proposal=id_of("p"),
            reason="r",
            asset="X",
            platform=key_of("airline"),
        ),
    ),
    (
        "UNAUTHORIZED",
        "a platform approved by its proposer",
        lambda w: w.two(
            "operator", "operator", "register_platform", asset="X", platform=key_of("shop")
        ),
    ),
    ("UNAUTHORIZED", "a rate by another platform", lambda w: rating(w, "shop")),
    (
        "UNAUTHORIZED",
        "a rate approved by its proposer",
        lambda w: w.two("airline", "airline", "set_rate", asset="AIR", num=1, den=12, ttl_ms=9),
    ),
    ("UNAUTHORIZED", "a product of another peripheral", lambda w: offering(w, "machine")),
    (
        "UNAUTHORIZED",
        "stock of another peripheral",
        lambda w: w.act("machine", "restock", product="upgrade", stock=9),
    ),
    ("UNAUTHORIZED", "units made by another issuer", lambda w: supplying(w, sender="airline")),
    (
        "UNAUTHORIZED",
        "a pool filled by another issuer",
        lambda w: supplying(w, "provide", "airline", pool="AIR"),
    ),
    (
        "UNAUTHORIZED",
        "another person's order asked for again",
        lambda w: w.act("ben", "submit_request", order=ASKED, raw="{}"),
    ),
    ("UNAUTHORIZED", "a quote for another's order", lambda w: w.act("ben", "quote", order=ASKED)),
    ("UNAUTHORIZED", "another's quote executed", lambda w: executing(w, QUOTED, "ben")),
    ("UNAUTHORIZED", "confirmed by a person", lambda w: w.confirm("ann", SENT)),
    ("UNAUTHORIZED", "confirmed by another platform", lambda w: w.confirm("shop", SENT)),
    ("UNAUTHORIZED", "confirmed before it was executed", lambda w: w.confirm("airline", QUOTED)),
    (
        "UNAUTHORIZED",
        "rejected by another platform",
        lambda w: w.act("shop", "platform_reject", order=SENT, reason="r"),
    ),
    ("UNAUTHORIZED", "delivered by another peripheral", lambda w: fulfilled(w, HELD, "machine")),
    (
        "UNAUTHORIZED",
        "failed by another peripheral",
        lambda w: w.act("machine", "fail", order=HELD, reason="r"),
    ),
    (
        "UNAUTHORIZED",
        "frozen by an operator",
        lambda w: w.act("operator", "freeze", asset="AIR", scope="ALL", reason="r"),
    ),
    ("UNAUTHORIZED", "settled by a platform", lambda w: w.act("airline", "settle", period="p")),
    ("UNAUTHORIZED", "reconciled by another platform", lambda w: lines(w, "shop")),
    # done before, otherwise
    (
        "IDEM_CONFLICT",
        "another request under the order's id",
        lambda w: asking(w, bought("coffee"), ASKED),
    ),
    ("IDEM_CONFLICT", "another platform for an asset", lambda w: registering(w, asset="AIR")),
    ("IDEM_CONFLICT", "another scale for an asset", lambda w: registering(w, asset="CNY", scale=3)),
    (
        "IDEM_CONFLICT",
        "confirmed under two references",
        lambda w: w.confirm("airline", HELD, "other"),
    ),
    ("IDEM_CONFLICT", "one reference for two orders", lambda w: w.confirm("airline", SENT, "held")),
    ("IDEM_CONFLICT", "delivered twice", lambda w: fulfilled(w, DONE)),
    (
        "IDEM_CONFLICT",
        "another amount under the supply's id",
        lambda w: then(supplying(w), supplying(w, amt=2)),
    ),
    (
        "IDEM_CONFLICT",
        "another statement under the same id",
        lambda w: then(
            lines(w, "airline"), lines(w, "airline", lines=[{"ext_ref": "y", "amt": 1}])
        ),
    ),
    (
        "IDEM_CONFLICT",
        "frozen for another reason",
        lambda w: frozen(w, "AIR", "ALL").act(
            "regulator", "freeze", asset="AIR", scope="ALL", reason="fraud"
        ),
    ),
    # what must exist
    ("NOT_FOUND", "no such product", lambda w: asking(w, bought("yacht"))),
    ("NOT_FOUND", "no such order", lambda w: executing(w, id_of("nothing"))),
    ("NOT_FOUND", "no such quote", lambda w: executing(w, QUOTED, quote=2)),
    ("NOT_FOUND", "no such asset", lambda w: quoting(w, swapped("GP", "XX", 1))),
    ("NOT_FOUND", "no rate to sell", lambda w: quoting(w, swapped("SP", "GP", 1))),
    ("NOT_FOUND", "units for a stranger", lambda w: supplying(w, user=key_of("stranger"))),
    ("NOT_FOUND", "a platform that is none", lambda w: registering(w, platform=key_of("ann"))),
    # freezes
    ("FROZEN", "units", lambda w: supplying(frozen(w, "GP", "ISSUE"))),
    ("FROZEN", "a quote", lambda w: quoting(frozen(w, "AIR", "EXCHANGE"), bought("upgrade"))),
    (
        "FROZEN",
        "a quote, the general asset being stopped",
        lambda w: quoting(frozen(w, "GP", "ALL"), bought("coffee")),
    ),
    ("FROZEN", "an execution", lambda w: executing(frozen(w, "AIR", "EXCHANGE"), QUOTED)),
    ("FROZEN", "a confirmation", lambda w: frozen(w, "AIR", "EXCHANGE").confirm("airline", SENT)),
    ("FROZEN", "a delivery", lambda w: fulfilled(frozen(w, "AIR", "ALL"), HELD)),
    # deadlines
    ("EXPIRED", "a delivery at its deadline", lambda w: fulfilled(later(w, 60_000), HELD)),
    (
        "EXPIRED",
        "a rate past its time",
        lambda w: then(rating(w), quoting(later(w, 1_000), bought("upgrade"))),
    ),
    # states
    ("BAD_STATE", "a quote after the execution", lambda w: w.act("ann", "quote", order=SENT)),
    (
        "BAD_STATE",
        "a rejection after the confirmation",
        lambda w: w.act("airline", "platform_reject", order=HELD, reason="r"),
    ),
    ("BAD_STATE", "a delivery before the exchange", lambda w: fulfilled(w, SENT)),
    ("BAD_STATE", "a delivery after the refund", lambda w: fulfilled(w, GONE)),
    (
        "BAD_STATE",
        "a failure after the delivery",
        lambda w: w.act("desk", "fail", order=DONE, reason="r"),
    ),
    ("BAD_STATE", "a time-out before the deadline", lambda w: w.act("ben", "timeout", order=HELD)),
    ("BAD_STATE", "a time-out after the delivery", lambda w: w.act("ben", "timeout", order=DONE)),
    (
        "BAD_STATE",
        "a stop lifted that is none",
        lambda w: w.two("regulator", "second regulator", "unfreeze", asset="AIR", scope="ALL"),
    ),
    # requests
    ("BAD_REQUEST", "not JSON", lambda w: asking(w, "upgrade")),
    (
        "BAD_REQUEST",
        "more pieces than the row fits",
        lambda w: quoting(w, bought("upgrade", quantity="2")),
    ),
    (
        "BAD_REQUEST",
        "more own units than are needed",
        lambda w: quoting(w, bought("upgrade", own="2501")),
    ),
    # quotes
    ("QUOTE_EXPIRED", "at its expiry", lambda w: executing(later(w, 120_000), QUOTED)),
    ("QUOTE_EXPIRED", "used and expired", lambda w: executing(later(w, 120_000), DONE)),
    ("QUOTE_USED", "used a moment ago", lambda w: executing(w, SENT)),
    ("QUOTE_USED", "used, and refunded since", lambda w: executing(w, GONE)),
    (
        "LOT_TOO_SMALL",
        "fewer than the least lot",
        lambda w: quoting(w, swapped("GP", "AIR", 5_999)),
    ),
    ("LOT_TOO_SMALL", "worth nothing", lambda w: quoting(priced_low(w), swapped("SP", "GP", 3))),
    (
        "DAILY_CAP",
        "a quote beyond the day",
        lambda w: quoting(limited(w, daily_cap=9_999), bought("upgrade")),
    ),
    (
        "DAILY_CAP",
        "an execution beyond the day",
        lambda w: executing(limited(w, daily_cap=9_999), QUOTED),
    ),
    (
        "NO_LIQUIDITY",
        "more than the pool has",
        lambda w: quoting(richer(w), swapped("GP", "AIR", 13_000_000)),
    ),
    (
        "NO_LIQUIDITY",
        "an execution after the pool was emptied",
        lambda w: executing(emptied(w), QUOTED),
    ),
    (
        "NO_LIQUIDITY",
        "more general units than came in",
        lambda w: quoting(w, swapped("AIR", "GP", 100_000)),
    ),
    ("OUT_OF_STOCK", "a quote", lambda w: quoting(restocked(w, 0), bought("upgrade"))),
    ("OUT_OF_STOCK", "an execution", lambda w: executing(restocked(w, 0), QUOTED)),
    ("RATE_ARBITRAGE", "buying too well", lambda w: rating(w, num=2, den=19)),
    ("RATE_ARBITRAGE", "selling too well", lambda w: rating(w, side="SELL", num=25, den=2)),
    (
        "RATE_ARBITRAGE",
        "a bonus that is too good",
        lambda w: rating(w, bonuses=[{"per": 60_000, "extra": 1_001}]),
    ),
    # money
    ("INSUFFICIENT", "an execution", lambda w: executing(w, w.quoted("ben", "upgrade"), "ben")),
    (
        "INSUFFICIENT",
        "own units that are not there",
        lambda w: executing(w, w.quoted("ann", bought("upgrade", own="1"))),
    ),
    ("INSUFFICIENT", "a pool retired beyond what it has", lambda w: supplying(w, "retire")),
    (
        "OVERFLOW",
        "a wallet beyond its limit",
        lambda w: executing(
            limited(w, wallet_max=400), w.quoted("ann", swapped("GP", "AIR", 6_000))
        ),
    ),
    ("OVERFLOW", "one leg beyond 2^48", lambda w: supplying(w, amt=LEG_AMOUNT_MAX + 1)),
    (
        "OVERFLOW",
        "a need beyond 63 bits",
        lambda w: then(
            offering(w, product="moon", price=MAX, quantity_max=2),
            quoting(w, bought("moon", quantity="2")),
        ),
    ),
    ("TOO_HEAVY", "an amount in more than a hundred lots", lambda w: heavy(w)),
]


def priced_low(world: ExchangeWorld) -> ExchangeWorld:
    """3 SP are not worth a GP."""
    assert world.rate("SP", 1, 4, side="SELL") == "OK"
    return world


def richer(world: ExchangeWorld) -> ExchangeWorld:
    """Ann has more than enough."""
    assert world.issue("ann", 13_000_000) == "OK"
    return world


def emptied(world: ExchangeWorld) -> ExchangeWorld:
    """The airline withdrew what its pool had left."""
    left = world.book("AIR")["pool"]
    args = {"supply": world.new_id(), "asset": "AIR", "pool": "AIR", "amt": left}
    assert world.act("airline", "retire", **args) == "OK"
    return world


def heavy(world: ExchangeWorld) -> str:
    """Ben has his 6,000 GP in 101 lots."""
    for amount in [1] * 100 + [5_900]:
        assert world.issue("ben", amount) == "OK"
    return executing(world, world.quoted("ben", swapped("GP", "AIR", 6_000)), "ben")


@pytest.mark.parametrize(
    ("code", "case"), [(code, case) for code, _, case in CASES], ids=[name for _, name, _ in CASES]
)
def test_rejection(code: str, case: Case) -> None:
    world = prepared()
    assert case(world) == code, world.last
    assert world.last.events == ()
    assert world.violations() == []


def test_every_code_has_its_row_in_its_place() -> None:
    covered = list(dict.fromkeys(code for code, _, _ in CASES))
    assert set(EXCHANGE.errors) - set(covered) == {"BAD_ENVELOPE"}  # in test_runtime
    own = [code for code in EXCHANGE.errors if code in covered]
    assert [code for code in covered if code in own] == own


def test_the_general_asset_is_registered_first() -> None:
    assert registering(ExchangeWorld(general=False, offers=False, points=0)) == "BAD_STATE"
