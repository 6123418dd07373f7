"""The price list: what an order costs, and why no one can gain by exchanging.

In all that follows rates are fractions, and every rounding is against the person and for the pool.

* To buy B: `cost = ceil(obtained · den / num)` general units, so the cost is at least what the
  units are worth at the rate. `obtained` is `min_lot` or any number of `step` more.
* To sell A: `gross = floor(amt · num / den)` general units, so the gross is at most that worth.
* A bonus gives `extra` units per full `per` general units of the cost, so what is received stays
  below `cost · (num/den + Σ extra/per)`: the rate with its best bonus. It is superadditive, so
  that nobody gains by splitting an order.
* The spread is part of a cost or gross, never on top of it.

Take any asset. If the rate to buy it with its best bonus is b and the rate to sell it is s, then
whoever buys and sells gets at most b·s of what was paid, and b·s ≤ 1 is `check_no_arbitrage`: a new
rate must satisfy it against each rate of the other side that is in force or in a quote that is
still good. Exchanges of A for B go through the general asset, so any chain of them back to its
start is a product of such round trips: none gains. A refund converts nothing: it moves back what
was moved.
"""

from __future__ import annotations

import msgspec

from contracts.exchange.models import (
    BUY,
    SELL,
    Platform,
    Product,
    Quoted,
    Rate,
    Terms,
)
from contracts.exchange.tables import (
    RATES,
    rate_key,
)
from contracts.kernel.ledger import LEG_AMOUNT_MAX
from contracts.kernel.state import State
from contracts.kernel.types import reject

replace = msgspec.structs.replace

BPS = 10_000
NO_TERMS = Terms(0, 0, 0, 0, 0, 0, 0, 0, 0, 0, None, None, 0)


def ceil_div(amount: int, by: int) -> int:
    """amount / by, rounded up."""
    return -(-amount // by)


def bounded(amount: int, what: str, amount_max: int = LEG_AMOUNT_MAX) -> int:
    """`amount`, unless it is beyond what one order can move, or `amount_max`."""
    if amount > amount_max:
        reject("OVERFLOW", what=what, amount_max=amount_max)
    return amount


# ---- lots and rates


def round_up(units: int, platform: Platform) -> int:
    """The least that can be obtained and is not less than `units`; nothing if nothing is needed."""
    if units <= 0:
        return 0
    above = max(units - platform.min_lot, 0)
    return platform.min_lot + ceil_div(above, platform.step) * platform.step


def round_down(units: int, platform: Platform) -> int:
    """The most that can be obtained and is not more than `units`; `LOT_TOO_SMALL` if nothing."""
    if units < platform.min_lot:
        reject("LOT_TOO_SMALL", min_lot=platform.min_lot, units=units)
    return units - (units - platform.min_lot) % platform.step


def cost_of(obtained: int, rate: Rate) -> int:
    """General units that `obtained` asset units cost, rounded up."""
    return bounded(ceil_div(obtained * rate.den, rate.num), "cost")


def obtainable(general: int, rate: Rate) -> int:
    """Asset units that `general` units can pay, rounded down."""
    return bounded(general * rate.num // rate.den, "obtained")


def gross_of(units: int, rate: Rate) -> int:
    """General units that `units` of an asset are worth when sold, rounded down."""
    return bounded(units * rate.num // rate.den, "gross")


def bonus_of(cost: int, rate: Rate) -> int:
    """Units on top, by the rate's rows: each gives its extra for every full `per` of the cost."""
    return bounded(sum([cost // row.per * row.extra for row in rate.bonuses]), "bonus")


def buy_spread(obtained: int, cost: int, rate: Rate) -> int:
    """What of a cost is spread: the margin, and what rounding up added."""
    net = obtained * rate.den * (BPS - rate.spread_bps) // (rate.num * BPS)
    return cost - net


def sell_spread(gross: int, rate: Rate) -> int:
    """What of a gross is spread: the margin, rounded up."""
    return ceil_div(gross * rate.spread_bps, BPS)


# ---- terms


def terms_of_purchase(
    product: Product, quantity: int, own: int, platform: Platform, rate: Rate | None
) -> Terms:
    """What a product costs: the units needed, less the person's own, in lots of the platform.

    `rate` is None where nothing is to be bought: the person's own units are all that is needed.
    """
    need = bounded(product.price * quantity, "need")
    if own > need:
        reject("BAD_REQUEST", field="own", why="more than is needed")
    if rate is None:
        return replace(NO_TERMS, own=own, need=need, product_version=product.version)
    obtained = bounded(round_up(need - own, platform), "obtained")
    cost = cost_of(obtained, rate)
    bonus = bonus_of(cost, rate)
    bounded(obtained + bonus, "received")
    return Terms(
        paid=cost,
        own=own,
        need=need,
        obtained=obtained,
        bonus=bonus,
        gross=0,
        cost=cost,
        sell_spread=0,
        buy_spread=buy_spread(obtained, cost, rate),
        remainder=0,
        buy=rate,
        sell=None,
        product_version=product.version,
    )


def terms_of_exchange(
    offered: int, platform: Platform, sell: Rate | None, buy: Rate | None
) -> Terms:
    """What `offered` units of the source bring: `sell` them, `buy` the target with the gross.

    `platform` is the target's. Where the source is the general asset there is nothing to sell, and
    only the cost is taken; where the target is, there is nothing to buy.
    """
    gross = spread = 0
    general = offered
    if sell is not None:
        gross = gross_of(offered, sell)
        spread = sell_spread(gross, sell)
        general = gross - spread
        if general <= 0:
            reject("LOT_TOO_SMALL", units=offered)
    if buy is None:
        return Terms(offered, 0, 0, 0, 0, gross, 0, spread, 0, general, None, sell, 0)
    obtained = round_down(obtainable(general, buy), platform)
    cost = cost_of(obtained, buy)
    bonus = bonus_of(cost, buy)
    bounded(obtained + bonus, "received")
    return Terms(
        paid=offered if sell is not None else cost,
        own=0,
        need=0,
        obtained=obtained,
        bonus=bonus,
        gross=gross,
        cost=cost,
        sell_spread=spread,
        buy_spread=buy_spread(obtained, cost, buy),
        remainder=general - cost if sell is not None else 0,
        buy=buy,
        sell=sell,
        product_version=0,
    )


# ---- arbitrage


def best(rate: Rate) -> tuple[int, int]:
    """The rate with all of its bonuses, as a fraction that no order can exceed."""
    num, den = rate.num, rate.den
    for row in rate.bonuses:
        num, den = num * row.per + row.extra * den, den * row.per
    return num, den


def check_no_arbitrage(
    state: State, new: Rate, platform: Platform, quoted: tuple[Quoted, ...], time_ms: int
) -> None:
    """`RATE_ARBITRAGE` if `new` with a rate of the other side would let a round trip gain.

    That is one in force, or one in a quote that is still good, as `quoted` tells.
    """
    other = SELL if new.side == BUY else BUY
    versions = [one.version for one in quoted if one.side == other and time_ms < one.until_ms]
    in_force = platform.sell if new.side == BUY else platform.buy
    num, den = best(new)
    for version in dict.fromkeys([in_force, *versions]):
        rate = state.get(RATES, rate_key(new.asset, other, version))
        if rate is None or (version not in versions and time_ms >= rate.expires_ms):
            continue
        other_num, other_den = best(rate)
        if num * other_num > den * other_den:
            reject("RATE_ARBITRAGE", against=version, side=other)
