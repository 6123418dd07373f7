"""From what a person wants to what it takes: the asset, the amount, the terms.

A deterministic look-up in the product table and the table of rates as they are in force, then
arithmetic; it writes nothing. `quote` makes an offer of it, the query `price` a dry run.
"""

from __future__ import annotations

from typing import NamedTuple

from contracts.exchange.models import (
    BUY,
    PURCHASE,
    SELL,
    Platform,
    Product,
    Rate,
    Terms,
)
from contracts.exchange.parsing import Wanted
from contracts.exchange.pricing import terms_of_exchange, terms_of_purchase
from contracts.exchange.tables import (
    POLICY,
    POLICY_KEY,
    PRODUCTS,
    RATES,
    STOCK,
    product_key,
    rate_key,
)
from contracts.exchange.wallets import check_day, platform_of, pool_account
from contracts.kernel import freezing
from contracts.kernel.context import Context, View
from contracts.kernel.ledger import ACCOUNTS
from contracts.kernel.state import State
from contracts.kernel.types import reject

ISSUE = "ISSUE"
EXCHANGE = "EXCHANGE"


class Offer(NamedTuple):
    """Who is concerned and what is in force: from `source` to `target`, for `product` if any.

    A rate is None where there is nothing to buy or to sell.
    """

    source: Platform
    target: Platform
    product: Product | None
    buy: Rate | None
    sell: Rate | None


def look_up(where: Context | View, wanted: Wanted) -> Offer:
    """The rows of both tables that fit.

    Rejects: `NOT_FOUND` for what is not offered, `FROZEN`, `EXPIRED` for a rate past its time.
    """
    state = where.state
    general = state.need(POLICY, POLICY_KEY).general
    if wanted.kind == PURCHASE:
        product = product_in_force(state, wanted.product)
        source, target = platform_of(state, general), platform_of(state, product.asset)
        buys, sells = not _is_paid_by_own(wanted, product, general), False
    else:
        product = None
        source, target = platform_of(state, wanted.source), platform_of(state, wanted.target)
        buys, sells = target.asset != general, source.asset != general
    for platform in (source, target):
        check_not_frozen(where, platform, EXCHANGE)
    buy = _rate_in_force(where, target, BUY) if buys else None
    sell = _rate_in_force(where, source, SELL) if sells else None
    return Offer(source, target, product, buy, sell)


def terms_of(wanted: Wanted, offer: Offer) -> Terms:
    """What it costs; rejects with `BAD_REQUEST`, `LOT_TOO_SMALL`, `OVERFLOW`."""
    product = offer.product
    if product is None:
        return terms_of_exchange(wanted.offered, offer.target, offer.sell, offer.buy)
    if wanted.quantity > product.quantity_max:
        reject("BAD_REQUEST", field="quantity", quantity_max=product.quantity_max)
    own = wanted.own
    if product.asset == offer.source.asset:
        own = product.price * wanted.quantity
    return terms_of_purchase(product, wanted.quantity, own, offer.target, offer.buy)


def check_supply(
    where: Context | View, user: bytes, offer: Offer, terms: Terms, quantity: int
) -> None:
    """Reject with `DAILY_CAP`, `NO_LIQUIDITY` or `OUT_OF_STOCK` what cannot be had now."""
    source, target = offer.source.asset, offer.target.asset
    check_day(where, user, offer.target, terms.obtained)
    general = where.state.need(POLICY, POLICY_KEY).general
    for key, asset, amount in (
        (pool_account(general, source), general, terms.gross),
        (pool_account(target, target), target, terms.received),
    ):
        account = where.state.get(ACCOUNTS, key)
        if amount and (account is None or account.available < amount):
            reject("NO_LIQUIDITY", asset=asset)
    if offer.product is not None:
        stock = where.state.need(STOCK, offer.product.product.encode())
        if stock.left is not None and stock.left < quantity:
            reject("OUT_OF_STOCK", left=stock.left)


def check_not_frozen(where: Context | View, platform: Platform, scope: str) -> None:
    """`FROZEN` while this is stopped for an asset."""
    if freezing.in_force(platform.freezes, scope, where):
        reject("FROZEN", asset=platform.asset, scope=scope)


def product_in_force(state: State, product: str) -> Product:
    """The row in force of a product; rejects with `NOT_FOUND`."""
    stock = state.need(STOCK, product.encode())
    return state.need(PRODUCTS, product_key(product, stock.version))


def _is_paid_by_own(wanted: Wanted, product: Product, general: str) -> bool:
    """Whether the person's own units are all that is needed, as with the general asset always."""
    return product.asset == general or wanted.own == product.price * wanted.quantity


def _rate_in_force(where: Context | View, platform: Platform, side: str) -> Rate:
    version = platform.buy if side == BUY else platform.sell
    rate = where.state.get(RATES, rate_key(platform.asset, side, version))
    if rate is None:
        reject("NOT_FOUND", what=RATES.name, asset=platform.asset, side=side)
    if where.time_ms >= rate.expires_ms:
        reject("EXPIRED", what=RATES.name, asset=platform.asset, side=side)
    return rate
