"""What can be asked about the exchange; each answer is cut to what its viewer may see."""

from __future__ import annotations

from contracts.exchange.arguments import (
    AssetQuery,
    CodePage,
    HoldingsQuery,
    NoArgs,
    OrderArgs,
    PartyPage,
    PriceQuery,
    ProductQuery,
    RatePage,
    VersionPage,
)
from contracts.exchange.books import QUERIES as BOOKS_QUERIES
from contracts.exchange.models import (
    BUY,
    NEVER_MS,
    PLATFORMS_MAX,
    SELL,
    Platform,
    Product,
    Rate,
    Stock,
)
from contracts.exchange.orders import terms_view
from contracts.exchange.parsing import parse_request
from contracts.exchange.requirement import check_supply, look_up, product_in_force, terms_of
from contracts.exchange.tables import (
    DELIVERIES,
    LOTS,
    ORDERS,
    ORDERS_OF,
    PLATFORMS,
    POLICY,
    POLICY_KEY,
    PRODUCTS,
    QUOTES,
    RATES,
    REQUESTS,
    STOCK,
    numbered,
    orders_of,
    product_key,
    rate_key,
    wallet_readers,
)
from contracts.exchange.wallets import (
    BALANCE,
    platform_of,
)
from contracts.kernel.access import may_read
from contracts.kernel.context import View
from contracts.kernel.contract import Details, Query
from contracts.kernel.freezing import in_force
from contracts.kernel.identity import identity_of, signing_key
from contracts.kernel.ledger import ACCOUNTS, ASSETS, account_key
from contracts.kernel.types import PAGE_MAX

# ---- what is offered


def policy(view: View, _: NoArgs) -> Details:
    """The general asset, the currency of settlement, and how long quotes and platforms have."""
    found = view.need(POLICY, POLICY_KEY)
    return {
        "allow_clear": found.allow_clear,
        "general": found.general,
        "currency": found.currency,
        "quote_ttl_ms": found.quote_ttl_ms,
        "confirm_ttl_ms": found.confirm_ttl_ms,
    }


def platforms(view: View, args: CodePage) -> Details:
    """All assets, their platforms, limits and rates in force."""
    after = None if args.cursor is None else args.cursor.encode()
    page = view.page(PLATFORMS, b"", after, args.limit)
    return {
        "items": [_platform_view(view, one) for _, one in page],
        "next": page[-1][1].asset if len(page) == args.limit else None,
    }


def platform(view: View, args: AssetQuery) -> Details:
    """One asset: its platform, limits and rates in force."""
    return _platform_view(view, platform_of(view.state, args.asset))


def rates(view: View, args: RatePage) -> Details:
    """The versions of one side's rate of an asset, from the first on."""
    after = rate_key(args.asset, args.side, args.cursor)
    page = view.page(RATES, after[:-8], after, args.limit)
    return {
        "items": [_rate_view(one) for _, one in page],
        "next": page[-1][1].version if len(page) == args.limit else None,
    }


def catalogue(view: View, args: CodePage) -> Details:
    """All products: which asset and how much of it each needs, and what is left."""
    after = None if args.cursor is None else args.cursor.encode()
    page = view.page(STOCK, b"", after, args.limit)
    names = [key.decode() for key, _ in page]
    return {
        "items": [
            _product_view(product_in_force(view.state, name), stock)
            for name, (_, stock) in zip(names, page, strict=True)
        ],
        "next": names[-1] if len(page) == args.limit else None,
    }


def product(view: View, args: ProductQuery) -> Details:
    """One product: which asset and how much of it is needed."""
    row = product_in_force(view.state, args.product)
    return _product_view(row, view.need(STOCK, args.product.encode()))


def product_versions(view: View, args: VersionPage) -> Details:
    """The versions of a product's row, from the first on."""
    after = product_key(args.product, args.cursor)
    page = view.page(PRODUCTS, after[:-8], after, args.limit)
    return {
        "items": [_product_view(one, None) for _, one in page],
        "next": page[-1][1].version if len(page) == args.limit else None,
    }


def price(view: View, args: PriceQuery) -> Details:
    """A dry run of a request: what it would cost now. It promises nothing."""
    wanted = parse_request(args.raw)
    offer = look_up(view, wanted)
    terms = terms_of(wanted, offer)
    check_supply(view, view.viewer.public_key or b"", offer, terms, wanted.quantity)
    return terms_view(offer.source.asset, offer.target.asset, terms)


# ---- what people have and want


def holdings(view: View, args: HoldingsQuery) -> Details:
    """All assets of a person in one view, with the lots and when each expires.

    Of another person a platform sees its own asset.
    """
    user = _person(view, args.user)
    items = []
    for _, one in view.state.scan(PLATFORMS, b"", None, PLATFORMS_MAX):
        key = account_key(user, one.asset, BALANCE)
        account = view.state.get(ACCOUNTS, key)
        if account is None or not may_read(view.viewer, wallet_readers(user, one.owner)):
            continue
        now = numbered(key, view.time_ms)
        lots = [lot for _, lot in view.state.scan(LOTS, key, now, PAGE_MAX)]
        expired = _expired(view, key, now)
        items.append(
            {
                "asset": one.asset,
                "balance": account.balance,
                "available": account.available - expired,
                "reserved": account.debits_pending,
                "arriving": account.credits_pending,
                "expired": expired,
                "account": key,
                "lots": [
                    {
                        "amt": lot.amount,
                        "expires_ms": None if lot.expires_ms == NEVER_MS else lot.expires_ms,
                    }
                    for lot in lots
                ],
            }
        )
    return {"items": items, "as_of": view.block.height}


def _expired(view: View, wallet: bytes, now: bytes) -> int:
    """Units of a wallet whose expiry has come, and that no sweep has burned yet."""
    units, cursor = 0, None
    while page := view.state.scan(LOTS, wallet, cursor, PAGE_MAX):
        due = [lot.amount for key, lot in page if key <= now]
        units, cursor = units + sum(due), page[-1][0]
        if len(due) < PAGE_MAX:
            break
    return units


def order(view: View, args: OrderArgs) -> Details:
    """An order: its state, terms, and what each platform did for it."""
    found = view.need(ORDERS, args.order)
    answer: Details = {
        "order": args.order,
        "number": found.number,
        "kind": found.kind,
        "state": found.state,
        "user": found.user,
        "product": found.product,
        "peripheral": found.peripheral,
        "quantity": found.quantity,
        "quotes": found.quotes,
        "deadline_ms": found.deadline_ms or None,
        "why": found.why,
        "parts": [
            {
                "asset": part.asset,
                "platform": part.platform,
                "units": part.units,
                "confirmed": bool(part.booking),
            }
            for part in found.parts
        ],
    }
    if found.terms is not None:
        answer |= terms_view(found.source, found.target, found.terms)
    return answer


def orders(view: View, args: PartyPage) -> Details:
    """The orders of a person, platform or peripheral, oldest first."""
    party = _person(view, args.party)
    page = view.page(
        ORDERS_OF, orders_of(party), numbered(orders_of(party), args.cursor), args.limit
    )
    found = [(ref.order, view.need(ORDERS, ref.order)) for _, ref in page]
    return {
        "items": [
            {
                "order": key,
                "number": one.number,
                "state": one.state,
                "product": one.product,
                "from": one.source,
                "to": one.target,
                "cost": 0 if one.terms is None else one.terms.paid,
                "deadline_ms": one.deadline_ms or None,
            }
            for key, one in found
        ],
        "next": found[-1][1].number if len(page) == args.limit else None,
        "as_of": view.block.height,
    }


def quotes(view: View, args: OrderArgs) -> Details:
    """The quotes of an order, good or not."""
    found = view.need(ORDERS, args.order)
    page = view.page(QUOTES, args.order, None, PAGE_MAX)
    return {
        "items": [
            {
                "quote": int.from_bytes(key[16:], "big"),
                "used": one.used,
                "expires_ms": one.expires_ms,
                **terms_view(found.source, found.target, one.terms),
            }
            for key, one in page
        ]
    }


def request(view: View, args: OrderArgs) -> Details:
    """What the person sent, and what of it is for the peripheral."""
    found = view.need(REQUESTS, args.order)
    return {
        "order": args.order,
        "user": found.user,
        "raw": found.raw,
        "reader": found.reader or signing_key(view.state, found.user) or found.user,
        "details": found.details,
        "time_ms": found.time_ms,
    }


def delivery(view: View, args: OrderArgs) -> Details:
    """The sealed product, and the hash in the receipt that the peripheral signed."""
    found = view.need(DELIVERIES, args.order)
    return {
        "order": args.order,
        "peripheral": found.peripheral,
        "receipt_hash": found.receipt_hash,
        "sealed_product": found.sealed_product,
        "time_ms": found.time_ms,
        "transaction": found.transaction,
    }


# ---- views


def _person(view: View, key: bytes | None) -> bytes:
    """The identity behind a key, or the viewer's own; a stranger's key stands for itself."""
    if key is None:
        return view.viewer.public_key or b""
    identity = identity_of(view.state, key)
    return key if identity is None else identity.public_key


def _platform_view(view: View, one: Platform) -> Details:
    sides = {}
    for name, side, version in (("buy", BUY, one.buy), ("sell", SELL, one.sell)):
        rate = view.state.get(RATES, rate_key(one.asset, side, version))
        sides[name] = None if rate is None else _rate_view(rate)
    return {
        "asset": one.asset,
        "scale": view.state.need(ASSETS, one.asset.encode()).scale,
        "platform": one.owner,
        "version": one.version,
        "min_lot": one.min_lot,
        "step": one.step,
        "daily_cap": one.daily_cap,
        "wallet_max": one.wallet_max,
        "lot_ttl_ms": one.lot_ttl_ms,
        "settle_price": one.settle_price,
        "settle_per": one.settle_per,
        "frozen": [stop.scope for stop in one.freezes if in_force((stop,), stop.scope, view)],
        **sides,
    }


def _rate_view(one: Rate) -> Details:
    return {
        "version": one.version,
        "num": one.num,
        "den": one.den,
        "spread_bps": one.spread_bps,
        "bonuses": [{"per": row.per, "extra": row.extra} for row in one.bonuses],
        "set_ms": one.set_ms,
        "expires_ms": one.expires_ms,
    }


def _product_view(one: Product, stock: Stock | None) -> Details:
    answer: Details = {
        "product": one.product,
        "title": one.title,
        "peripheral": one.peripheral,
        "asset": one.asset,
        "price": one.price,
        "quantity_max": one.quantity_max,
        "fulfil_ttl_ms": one.fulfil_ttl_ms,
        "version": one.version,
        "set_ms": one.set_ms,
    }
    return answer if stock is None else {**answer, "stock": stock.left}


QUERIES = {
    "policy": Query(NoArgs, policy),
    "platforms": Query(CodePage, platforms),
    "platform": Query(AssetQuery, platform),
    "rates": Query(RatePage, rates),
    "catalogue": Query(CodePage, catalogue),
    "product": Query(ProductQuery, product),
    "product_versions": Query(VersionPage, product_versions),
    "price": Query(PriceQuery, price),
    "holdings": Query(HoldingsQuery, holdings),
    "order": Query(OrderArgs, order, (ORDERS, "order")),
    "orders": Query(PartyPage, orders),
    "quotes": Query(OrderArgs, quotes),
    "request": Query(OrderArgs, request, (REQUESTS, "order")),
    "delivery": Query(OrderArgs, delivery, (DELIVERIES, "order")),
    **BOOKS_QUERIES,
}
