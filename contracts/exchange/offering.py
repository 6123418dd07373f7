"""What is offered, by whom, at what rate: changes that take two persons, and stops.

A platform is registered by one operator and approved by another or an administrator. A platform
proposes its rates and a peripheral its products, and an operator approves them: each approval makes
a new version, and old ones stay. A regulator stops an asset at once; see `kernel/freezing`.
"""

from __future__ import annotations

from contracts.exchange import trade
from contracts.exchange.arguments import (
    Freeze,
    Ratify,
    RegisterPlatform,
    Restock,
    SetProduct,
    SetRate,
    Unfreeze,
)
from contracts.exchange.completion import PLATFORM_ROLES
from contracts.exchange.models import (
    BUY,
    PLATFORMS_MAX,
    Bonus,
    Book,
    Platform,
    Product,
    Rate,
    Stock,
)
from contracts.exchange.orders import REPLAYED
from contracts.exchange.pricing import check_no_arbitrage, replace
from contracts.exchange.requirement import product_in_force
from contracts.exchange.tables import (
    BOOKS,
    PLATFORMS,
    PRODUCTS,
    RATES,
    STOCK,
    book_key,
    product_key,
    rate_key,
)
from contracts.exchange.wallets import ISSUED, SETTLEMENT, platform_of
from contracts.kernel import freezing
from contracts.kernel.access import PUBLIC
from contracts.kernel.context import Context
from contracts.kernel.contract import Action, Details, Governed
from contracts.kernel.identity import identity_of
from contracts.kernel.ledger import ASSETS
from contracts.kernel.proposals import proposer_of

ADMINISTRATOR = "administrator"
OPERATOR = "operator"
REGULATOR = "regulator"
PERIPHERAL = "peripheral"
EVERYBODY = (PUBLIC,)


# ---- platforms


def check_platform(ctx: Context, args: RegisterPlatform) -> None:
    """A registered key in the role; what names and counts an asset never changes."""
    owner = _owner(ctx, args)
    asset = ctx.state.get(ASSETS, args.asset.encode())
    if asset is not None and asset.scale != args.scale:
        ctx.reject("IDEM_CONFLICT", what="scale", scale=asset.scale)
    known = ctx.state.get(PLATFORMS, args.asset.encode())
    if known is None:
        general = trade.policy_of(ctx).general
        count = len(ctx.state.scan(PLATFORMS, b"", None, PLATFORMS_MAX))
        if args.asset != general and ctx.state.get(PLATFORMS, general.encode()) is None:
            ctx.reject("BAD_STATE", why="the general asset comes first", asset=general)
        if count >= PLATFORMS_MAX:
            ctx.reject("OVERFLOW", what="platforms", platforms_max=PLATFORMS_MAX)
    elif (known.owner, known.settle_per) != (owner, args.settle_per):
        ctx.reject("IDEM_CONFLICT", what=PLATFORMS.name)


def register_platform(ctx: Context, args: RegisterPlatform) -> Details:
    """An asset with its platform, its limits and what the general issuer owes for its units."""
    known = ctx.state.get(PLATFORMS, args.asset.encode())
    owner = _owner(ctx, args)
    platform = Platform(
        asset=args.asset,
        owner=owner,
        min_lot=args.min_lot,
        step=args.step,
        daily_cap=args.daily_cap,
        wallet_max=args.wallet_max,
        lot_ttl_ms=args.lot_ttl_ms,
        settle_price=args.settle_price,
        settle_per=args.settle_per,
        version=1 if known is None else known.version + 1,
        buy=0 if known is None else known.buy,
        sell=0 if known is None else known.sell,
        freezes=() if known is None else known.freezes,
    )
    if known is None:
        _open_accounts(ctx, args, owner)
    ctx.state.put(PLATFORMS, args.asset.encode(), platform)
    data = {"asset": args.asset, "platform": owner, "version": platform.version}
    ctx.emit("PlatformRegistered", data, EVERYBODY)
    return {"version": platform.version}


def _owner(ctx: Context, args: RegisterPlatform) -> bytes:
    """The identity of the platform; rejects with `NOT_FOUND`."""
    identity = identity_of(ctx.state, args.platform)
    if identity is None or not any(role in PLATFORM_ROLES for role in identity.roles):
        ctx.reject("NOT_FOUND", what="a platform or issuer with this key")
    return identity.public_key


def _open_accounts(ctx: Context, args: RegisterPlatform, owner: bytes) -> None:
    """A new asset with its sums; issuing and settling are the two ends that may go negative."""
    policy = trade.policy_of(ctx)
    ctx.ledger.declare(args.asset, args.scale)
    trade.open_pool(ctx, args.asset, owner, policy.general)
    issued = (book_key(args.asset), args.asset, ISSUED)
    ctx.ledger.open(*issued, (owner,), may_go_negative=True)
    ctx.ledger.open(owner, policy.currency, SETTLEMENT, (owner,), may_go_negative=True)
    ctx.state.insert(BOOKS, book_key(args.asset), Book(owner, 0, 0, 0, 0, ()))


# ---- rates


def check_rate(ctx: Context, args: SetRate) -> None:
    """By the asset's platform, not for the general asset, and without a gain by a round trip."""
    platform = platform_of(ctx.state, args.asset)
    if proposer_of(ctx, args) != platform.owner:
        ctx.reject("UNAUTHORIZED", why="another platform's asset")
    if args.asset == trade.policy_of(ctx).general:
        ctx.reject("BAD_ARG", field="asset", why="the general asset has no rate")
    if args.side != BUY and args.bonuses:
        ctx.reject("BAD_ARG", field="bonuses", why="only who buys gets a bonus")
    quoted = ctx.state.need(BOOKS, book_key(args.asset)).quoted
    check_no_arbitrage(ctx.state, _rate(ctx, args, platform), platform, quoted, ctx.time_ms)


def set_rate(ctx: Context, args: SetRate) -> Details:
    """A new version of a rate between the general asset and another one."""
    platform = platform_of(ctx.state, args.asset)
    rate = _rate(ctx, args, platform)
    ctx.state.insert(RATES, rate_key(args.asset, args.side, rate.version), rate)
    changed = (
        replace(platform, buy=rate.version)
        if args.side == BUY
        else replace(platform, sell=rate.version)
    )
    ctx.state.put(PLATFORMS, args.asset.encode(), changed)
    data = {
        "asset": rate.asset,
        "side": rate.side,
        "version": rate.version,
        "num": rate.num,
        "den": rate.den,
        "expires_ms": rate.expires_ms,
    }
    ctx.emit("RateSet", data, EVERYBODY)
    return {"version": rate.version, "expires_ms": rate.expires_ms}


def _rate(ctx: Context, args: SetRate, platform: Platform) -> Rate:
    last = platform.buy if args.side == BUY else platform.sell
    return Rate(
        asset=args.asset,
        side=args.side,
        version=last + 1,
        num=args.num,
        den=args.den,
        spread_bps=args.spread_bps,
        bonuses=tuple([Bonus(row.per, row.extra) for row in args.bonuses]),
        set_ms=ctx.time_ms,
        expires_ms=ctx.time_ms + ctx.scaled(args.ttl_ms),
    )


# ---- products


def check_product(ctx: Context, args: SetProduct) -> None:
    """A known asset, and nobody else's product."""
    stock = ctx.state.get(STOCK, args.product.encode())
    if stock is not None:
        known = product_in_force(ctx.state, args.product)
        if known.peripheral != proposer_of(ctx, args):
            ctx.reject("UNAUTHORIZED", why="another peripheral's product")
    platform_of(ctx.state, args.asset)


def set_product(ctx: Context, args: SetProduct) -> Details:
    """A new version of a row of the product table: which asset, and how much of it, is needed."""
    known = ctx.state.get(STOCK, args.product.encode())
    row = Product(
        product=args.product,
        title=args.title,
        peripheral=proposer_of(ctx, args),
        asset=args.asset,
        price=args.price,
        quantity_max=args.quantity_max,
        fulfil_ttl_ms=args.fulfil_ttl_ms,
        version=1 if known is None else known.version + 1,
        set_ms=ctx.time_ms,
    )
    ctx.state.insert(PRODUCTS, product_key(row.product, row.version), row)
    ctx.state.put(STOCK, row.product.encode(), Stock(row.version, args.stock))
    data = {
        "product": row.product,
        "version": row.version,
        "asset": row.asset,
        "price": row.price,
        "stock": args.stock,
    }
    ctx.emit("ProductSet", data, EVERYBODY)
    return {"version": row.version}


def restock(ctx: Context, args: Restock) -> Details:
    """The peripheral says how much of its product there is; price and asset stay."""
    stock = ctx.state.need(STOCK, args.product.encode())
    if product_in_force(ctx.state, args.product).peripheral != ctx.sender:
        ctx.reject("UNAUTHORIZED", why="another peripheral's product")
    ctx.state.put(STOCK, args.product.encode(), replace(stock, left=args.stock))
    ctx.emit("Stocked", {"product": args.product, "stock": args.stock}, EVERYBODY)
    return {}


# ---- stops


def freeze(ctx: Context, args: Freeze) -> Details:
    """A regulator stops an asset at once and says why; unratified it lapses in a day."""
    platform = platform_of(ctx.state, args.asset)
    stopped = freezing.freeze(ctx, platform.freezes, args.scope, args.reason)
    return _keep_freezes(ctx, platform, stopped, "Frozen", args.scope, args.reason)


def ratify(ctx: Context, args: Ratify) -> Details:
    """A second regulator makes a stop last until it is lifted."""
    platform = platform_of(ctx.state, args.asset)
    stopped = freezing.ratify(ctx, platform.freezes, args.scope)
    return _keep_freezes(ctx, platform, stopped, "Ratified", args.scope, "")


def check_unfreeze(ctx: Context, args: Unfreeze) -> None:
    """Just this is stopped."""
    freezing.check_lift(ctx, platform_of(ctx.state, args.asset).freezes, args.scope)


def unfreeze(ctx: Context, args: Unfreeze) -> Details:
    """Two regulators end a stop."""
    platform = platform_of(ctx.state, args.asset)
    left = freezing.lift(ctx, platform.freezes, args.scope)
    return _keep_freezes(ctx, platform, left, "Unfrozen", args.scope, args.reason)


def _keep_freezes(
    ctx: Context,
    platform: Platform,
    freezes: freezing.Freezes,
    event: str,
    scope: str,
    reason: str,
) -> Details:
    if freezes == platform.freezes:
        return dict(REPLAYED)
    ctx.state.put(PLATFORMS, platform.asset.encode(), replace(platform, freezes=freezes))
    ctx.emit(event, {"asset": platform.asset, "scope": scope, "reason": reason}, EVERYBODY)
    return {}


ACTIONS = {
    "restock": Action(Restock, restock, (PERIPHERAL,)),
    "freeze": Action(Freeze, freeze, (REGULATOR,)),
    "ratify": Action(Ratify, ratify, (REGULATOR,)),
}
GOVERNED = {
    "register_platform": Governed(
        RegisterPlatform, check_platform, register_platform, (OPERATOR,), (OPERATOR, ADMINISTRATOR)
    ),
    "set_rate": Governed(SetRate, check_rate, set_rate, ("platform",), (OPERATOR,)),
    "set_product": Governed(SetProduct, check_product, set_product, (PERIPHERAL,), (OPERATOR,)),
    "unfreeze": Governed(Unfreeze, check_unfreeze, unfreeze, (REGULATOR,), (REGULATOR,)),
}
