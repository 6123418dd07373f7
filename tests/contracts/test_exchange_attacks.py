"""What people might try against the exchange to get something for nothing, and does not work."""

from __future__ import annotations

from fractions import Fraction

import pytest

from contracts.exchange.models import Bonus, Platform, Rate
from contracts.exchange.pricing import terms_of_exchange
from tests.contracts.exchange_world import YEAR_MS, ExchangeWorld, bought, swapped
from tests.contracts.world import DAY_MS, id_of, key_of


def platform(min_lot: int = 1, step: int = 1) -> Platform:
    """A platform without limits but its lots."""
    return Platform("X", b"", min_lot, step, None, None, None, 0, 1, 1, 1, 1, ())


def rate(side: str, num: int, den: int, bps: int = 0, rows: tuple[Bonus, ...] = ()) -> Rate:
    """A rate in force."""
    return Rate("X", side, 1, num, den, bps, rows, 0, 1)


# ---- rounding


@pytest.mark.parametrize(("num", "den"), [(3, 1), (1, 12), (7, 3), (2, 7), (1, 1)])
def test_10_000_exchanges_of_one_unit_never_gain(num: int, den: int) -> None:
    buy, sell = rate("BUY", num, den), rate("SELL", den, num)
    general = start = 100_000
    units = 0
    for _ in range(10_000):
        if general < 1:
            break
        least = -(-den // num)
        if general >= least:
            terms = terms_of_exchange(least, platform(), None, buy)
            general, units = general - terms.paid, units + terms.received
        worth = -(-num // den)
        if units >= worth:
            terms = terms_of_exchange(worth, platform(), sell, None)
            general, units = general + terms.remainder, units - terms.paid
        assert general + Fraction(units * den, num) <= start


def test_a_hundred_small_exchanges_on_the_ledger_never_gain() -> None:
    world = ExchangeWorld(offers=False, points=100)
    world.register("SP", "shop")
    assert world.provide("SP", 1_000) == world.provide("GP", 100, pool="SP") == "OK"
    assert world.rate("SP", 3, 2) == "OK"
    assert world.rate("SP", 2, 3, side="SELL") == "OK"
    worth = Fraction(100)
    for _ in range(50):
        world.confirmed("ann", swapped("GP", "SP", 1))
        if world.holding("ann", "SP") > 1:
            world.confirmed("ann", swapped("SP", "GP", 2))
        now = world.holding("ann", "GP") + Fraction(2 * world.holding("ann", "SP"), 3)
        assert now <= worth
        worth = now
    assert worth < 100
    assert world.violations() == []


def test_splitting_an_order_earns_no_more_bonus() -> None:
    rows = (Bonus(10, 3), Bonus(7, 1))
    buy = rate("BUY", 1, 1, rows=rows)
    whole = terms_of_exchange(100, platform(), None, buy).bonus
    for part in range(1, 100):
        parts = [terms_of_exchange(one, platform(), None, buy).bonus for one in (part, 100 - part)]
        assert sum(parts) <= whole
    assert whole == 30 + 14


def test_debts_below_a_minor_unit_are_not_lost_in_many_small_orders() -> None:
    world = ExchangeWorld()
    for _ in range(8):
        world.confirmed("ann", swapped("GP", "SP", 34))
    # 800 SP at 14 fen a hundred; a hundred alone would be 14.
    assert world.act("operator", "settle", period="a") == "OK"
    (one,) = world.view("shop", "settlements", asset="SP")["items"]
    assert one["amt"] == 112


# ---- rates and quotes


def test_an_old_quote_and_a_new_reverse_rate_do_not_go_together() -> None:
    world = ExchangeWorld()
    world.quoted("ann", swapped("GP", "AIR", 6_000))
    assert world.rate("AIR", 1, 15) == "OK"
    # 15 GP for what somebody may still buy at 12: not before that quote has gone.
    assert world.rate("AIR", 13, 1, side="SELL") == "RATE_ARBITRAGE"
    assert world.last.details == {"against": 1, "side": "BUY"}
    world.advance(120_000)
    assert world.rate("AIR", 13, 1, side="SELL") == "OK"
    assert world.rate("AIR", 1, 12) == "RATE_ARBITRAGE"


def test_a_rate_is_judged_again_when_it_is_approved() -> None:
    world = ExchangeWorld()
    args = {"asset": "AIR", "side": "SELL", "num": 12, "den": 1, "ttl_ms": YEAR_MS}
    proposal = id_of("sell")
    assert world.act("airline", "set_rate", proposal=proposal, reason="r", **args) == "OK"
    assert world.rate("AIR", 1, 11) == "OK"
    code = world.do("operator", "approve", contract="kernel", proposal=proposal)
    assert code == "RATE_ARBITRAGE"


def test_a_price_that_is_changed_after_the_quote_does_not_bind() -> None:
    world = ExchangeWorld()
    order = world.quoted("ann", "upgrade")
    world.offer("desk", "upgrade", "SP", 1)
    assert world.act("ann", "execute", order=order, quote=1) == "OK"
    assert world.confirm("airline", order) == "OK"
    assert world.book("AIR")["escrow"] == 2_500
    assert world.fulfil("desk", order) == "OK"
    assert world.holding("ann", "GP") == 20_000


def test_a_rate_nobody_can_use_up_while_it_waits() -> None:
    """What was executed at an old rate is no way around the new one: it can only go back."""
    world = ExchangeWorld()
    order = world.executed("ann", swapped("GP", "AIR", 12_000))
    world.advance(600_000)
    assert world.rate("AIR", 1, 24) == "OK"
    assert world.act("ann", "timeout", order=order) == "OK"
    assert (world.holding("ann", "GP"), world.holding("ann", "AIR")) == (50_000, 0)


# ---- lots


def test_a_refund_does_not_renew_lots_that_expired_meanwhile() -> None:
    world = ExchangeWorld(points=0)
    assert world.issue("ann", 30_000) == "OK"
    world.advance(2 * YEAR_MS - 30_000)
    assert world.rate("AIR", 1, 12) == "OK"
    order = world.confirmed("ann", "upgrade")
    world.advance(60_000)
    assert world.act("ben", "timeout", order=order) == "OK"
    assert (world.holding("ann", "GP"), world.holding("ann", "GP", "expired")) == (0, 30_000)
    assert world.act("ben", "expire_lots") == "OK"
    assert world.holding("ann", "GP", "balance") == 0
    assert world.violations() == []


def test_a_refund_restores_each_lot_with_its_own_expiry() -> None:
    world = ExchangeWorld(points=0)
    for amount in (10_000, 20_000, 5_000):
        assert world.issue("ann", amount) == "OK"
        world.advance(DAY_MS)
    before = world.holding("ann", "GP", "lots")
    order = world.confirmed("ann", "upgrade")
    assert [lot["amt"] for lot in world.holding("ann", "GP", "lots")] == [5_000]
    assert world.act("desk", "fail", order=order, reason="sold out") == "OK"
    assert world.holding("ann", "GP", "lots") == before


def test_change_cannot_be_spent_and_refunded_as_well() -> None:
    world = ExchangeWorld()
    world.offer("desk", "lounge", "AIR", 100)
    order = world.confirmed("ann", "lounge")
    assert world.holding("ann", "AIR", "balance") == 400
    more = world.quoted("ann", bought("lounge", own="100"))
    assert world.act("ann", "execute", order=more, quote=1) == "INSUFFICIENT"
    world.advance(60_000)
    assert world.act("ann", "timeout", order=order) == "OK"
    assert (world.holding("ann", "GP"), world.holding("ann", "AIR", "balance")) == (50_000, 0)


# ---- refunds


def test_a_pool_that_was_drained_still_refunds() -> None:
    world = ExchangeWorld()
    assert world.rate("AIR", 10, 1, side="SELL") == "OK"
    assert world.issue("ben", 5_000, "AIR") == "OK"
    order = world.confirmed("ann", "upgrade")
    # The 30,000 GP that Ann paid are in the pool, and not for Ben.
    sale = world.ask_for("ben", swapped("AIR", "GP", 1_000))
    assert world.act("ben", "quote", order=sale) == "NO_LIQUIDITY"
    assert world.fulfil("desk", order) == "OK"
    assert world.act("ben", "quote", order=sale) == "OK"


def test_a_platform_that_makes_units_for_a_friend_takes_no_more_than_its_pool() -> None:
    world = ExchangeWorld()
    assert world.rate("AIR", 10, 1, side="SELL") == "OK"
    assert world.issue("ben", 10**12, "AIR") == "OK"
    sale = world.ask_for("ben", swapped("AIR", "GP", 1))
    assert world.act("ben", "quote", order=sale) == "NO_LIQUIDITY"
    assert world.provide("GP", 100, pool="AIR") == "OK"
    for _ in range(10):
        world.confirmed("ben", swapped("AIR", "GP", 1))
    assert world.holding("ben", "GP") == 100
    assert world.act("ben", "quote", order=sale) == "NO_LIQUIDITY"


@pytest.mark.parametrize("first", ["fulfil", "timeout"])
def test_delivery_and_time_out_in_one_block_the_first_wins(first: str) -> None:
    world = ExchangeWorld()
    order = world.confirmed("ann", "coffee")
    if first == "fulfil":
        assert world.fulfil("machine", order) == "OK"
        world.advance(60_000)
        assert world.act("ben", "timeout", order=order) == "BAD_STATE"
        assert world.holding("ann", "GP") == 50_000 - 334
    else:
        world.advance(60_000)
        assert world.fulfil("machine", order) == "EXPIRED"
        assert world.act("ben", "timeout", order=order) == "OK"
        assert world.fulfil("machine", order) == "BAD_STATE"
        assert world.holding("ann", "GP") == 50_000
    assert world.violations() == []


def test_time_outs_from_everybody_and_the_sweep_refund_once() -> None:
    world = ExchangeWorld()
    orders = [world.confirmed("ann", "coffee") for _ in range(3)]
    waiting = world.executed("ann", "upgrade")
    world.advance(60_000)
    for who in ("ben", "machine", "ben"):
        assert world.act(who, "timeout", order=orders[0]) == "OK"
    assert world.act("shop", "expire_orders", limit=1) == "OK"
    assert world.details == {"expired": 1, "done": False}
    assert world.act("shop", "expire_orders") == "OK"
    assert world.details == {"expired": 1, "done": True}
    assert world.state_of(waiting) == "EXCHANGING"
    assert world.holding("ann", "GP") == 20_000
    world.advance(600_000)
    assert world.act("shop", "expire_orders") == "OK"
    assert world.holding("ann", "GP") == 50_000
    assert world.violations() == []


def test_orders_of_many_lots_do_not_stop_the_sweep_for_others() -> None:
    world = ExchangeWorld(points=0)
    for _ in range(3):
        for _ in range(100):
            assert world.issue("ann", 60) == "OK"
        world.executed("ann", swapped("GP", "AIR", 6_000))
    world.advance(600_000)
    assert world.act("ben", "expire_orders") == "OK"
    assert world.details == {"expired": 2, "done": False}
    assert world.act("ben", "expire_orders") == "OK"
    assert world.details == {"expired": 1, "done": True}
    assert world.holding("ann", "GP") == 18_000
    world.advance(2 * YEAR_MS)
    swept = 0
    for _ in range(4):
        assert world.act("ben", "expire_lots", limit=100) == "OK"
        swept += world.details["expired"]
    assert (swept, world.holding("ann", "GP", "balance")) == (300, 0)
    assert world.violations() == []


def test_nobody_releases_what_an_order_holds_through_the_kernel() -> None:
    world = ExchangeWorld()
    world.executed("ann", "upgrade")
    world.confirmed("ann", "coffee")
    world.advance(10 * YEAR_MS)
    assert world.do("ben", "expire_pending", contract="kernel") == "OK"
    assert world.details == {"expired": 0, "done": True}
    assert world.holding("ann", "GP", "reserved") == 30_000


# ---- replays and lies of platforms


def test_repeated_acts_change_nothing() -> None:
    world = ExchangeWorld()
    order = world.executed("ann", "upgrade")
    assert world.confirm("airline", order, "A1") == "OK"
    after = world.records()
    assert world.confirm("airline", order, "A1") == "OK"
    assert world.details["replayed"] is True
    assert world.records() == after
    assert world.fulfil("desk", order) == "OK"
    after = world.records()
    assert world.fulfil("desk", order) == "OK"
    assert world.act("ann", "submit_request", order=order, raw='{"product": "upgrade"}') == "OK"
    args = {"supply": id_of("exchange 1"), "asset": "GP", "user": key_of("ann"), "amt": 1}
    assert world.act("issuer", "issue", **{**args, "supply": id_of("s")}) == "OK"
    once = world.records()
    assert world.act("issuer", "issue", **{**args, "supply": id_of("s")}) == "OK"
    assert world.records() == once
    assert world.holding("ann", "GP") == 20_001


def test_one_platform_confirms_and_the_other_rejects_neither_leg_is_made() -> None:
    world = ExchangeWorld()
    assert world.rate("AIR", 11, 1, side="SELL") == "OK"
    assert world.provide("GP", 50_000, pool="AIR") == "OK"
    assert world.issue("ann", 1_000, "AIR") == "OK"
    order = world.executed("ann", swapped("AIR", "SP", 1_000))
    assert world.confirm("airline", order, "A1") == "OK"
    assert world.act("shop", "platform_reject", order=order, reason="closed") == "OK"
    assert (world.holding("ann", "AIR"), world.holding("ann", "SP")) == (1_000, 0)
    # What the airline took back in its own system is due back to Ann there.
    (booking,) = world.view("airline", "bookings", asset="AIR")["items"]
    assert (booking["ext_ref"], booking["finding"]) == ("A1", "due_back")
    assert world.confirm("shop", order, "S1") == "OK"
    assert world.details["late"] is True
    assert world.holding("ann", "SP") == 0
    assert world.violations() == []


def test_a_statement_that_comes_before_the_confirmation() -> None:
    world = ExchangeWorld()
    order = world.executed("ann", "upgrade")
    lines = [{"ext_ref": "A1", "amt": 2_500}, {"ext_ref": "A2", "amt": 7}]
    args = {"statement": id_of("s"), "asset": "AIR", "lines": lines}
    assert world.act("airline", "reconcile", **args) == "OK"
    assert world.confirm("airline", order, "A2") == "IDEM_CONFLICT"
    assert world.confirm("airline", order, "A1") == "OK"
    findings = [one["finding"] for one in world.view("airline", "bookings", asset="AIR")["items"]]
    assert findings == ["matched", "unknown"]


def test_a_transaction_of_many_calls_is_all_or_nothing() -> None:
    world = ExchangeWorld(points=29_999)
    order = id_of("all")
    calls = (
        ("submit_request", {"order": order, "raw": '{"product": "upgrade"}'}),
        ("quote", {"order": order}),
        ("execute", {"order": order, "quote": 1}),
    )
    before = world.records()
    assert world.send("ann", *calls, contract="exchange").code == "INSUFFICIENT"
    assert world.records() == before
    assert world.issue("ann", 1) == "OK"
    assert world.send("ann", *calls, contract="exchange").code == "OK"
    assert world.state_of(order) == "EXCHANGING"
