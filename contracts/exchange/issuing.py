"""Issuers: the only ones who make units of an asset, and who can take them out again.

New units go to a person or to a pool. An issuer fills the pool of its own asset; the issuer of the
general asset may fill any pool with general units, which bounds what that asset can be sold for:
units that another platform makes for itself buy no more general units than that pool holds.
"""

from __future__ import annotations

from contracts.exchange.arguments import Issue, Page, Provide
from contracts.exchange.models import (
    Platform,
    Supply,
)
from contracts.exchange.orders import REPLAYED
from contracts.exchange.requirement import ISSUE, check_not_frozen
from contracts.exchange.tables import (
    OVERSIGHT,
    SUPPLIES,
    wallet_readers,
)
from contracts.exchange.trade import policy_of
from contracts.exchange.wallets import (
    ISSUED,
    add_to_book,
    check_room,
    expire,
    give,
    open_wallet,
    platform_of,
    pool_account,
)
from contracts.kernel.context import Context
from contracts.kernel.contract import Action, Details
from contracts.kernel.identity import IDENTITIES, identity_of
from contracts.kernel.ledger import ACCOUNTS, Leg


def issue(ctx: Context, args: Issue) -> Details:
    """The issuer makes units for a person: a new lot."""
    platform = _platform_of_issuer(ctx, args.asset)
    person = identity_of(ctx.state, args.user)
    user = args.user if person is None else person.public_key
    supply = Supply("ISSUE", args.asset, ctx.sender, user, "", args.amt)
    if is_known(ctx, args.supply, supply):
        return dict(REPLAYED)
    if person is None:
        ctx.reject("NOT_FOUND", what=IDENTITIES.name)
    check_not_frozen(ctx, platform, ISSUE)
    wallet = open_wallet(ctx, user, platform)
    check_room(ctx, user, platform, args.amt)
    ctx.state.insert(SUPPLIES, args.supply, supply)
    ctx.ledger.transfer(Leg(pool_account(args.asset, args.asset, ISSUED), wallet, args.amt))
    add_to_book(ctx, args.asset, issued=args.amt)
    give(ctx, user, platform, args.amt)
    data = {"supply": args.supply, "asset": args.asset, "user": user, "amt": args.amt}
    ctx.emit("Issued", data, wallet_readers(user, platform.owner))
    return {}


def provide(ctx: Context, args: Provide) -> Details:
    """The issuer makes units for a pool, so that they can be obtained in exchange."""
    return _supply_pool(ctx, args, "PROVIDE")


def retire(ctx: Context, args: Provide) -> Details:
    """The issuer burns units of its asset that a pool holds."""
    return _supply_pool(ctx, args, "RETIRE")


def expire_lots(ctx: Context, args: Page) -> Details:
    """Anybody has lots whose expiry has come burned, a page at a time; call until done."""
    return expire(ctx, args.limit)


def _supply_pool(ctx: Context, args: Provide, kind: str) -> Details:
    platform = _platform_of_issuer(ctx, args.asset)
    supply = Supply(kind, args.asset, ctx.sender, b"", args.pool, args.amt)
    if is_known(ctx, args.supply, supply):
        return dict(REPLAYED)
    pool_of = platform_of(ctx.state, args.pool)
    if args.asset not in (args.pool, policy_of(ctx).general):
        ctx.reject("BAD_ARG", field="pool", why="a pool holds its own and the general asset")
    check_not_frozen(ctx, platform, ISSUE)
    ctx.state.insert(SUPPLIES, args.supply, supply)
    issued = pool_account(args.asset, args.asset, ISSUED)
    pool = pool_account(args.asset, args.pool)
    if kind == "PROVIDE":
        ctx.ledger.transfer(Leg(issued, pool, args.amt))
        add_to_book(ctx, args.asset, issued=args.amt)
    else:
        ctx.ledger.transfer(Leg(pool, issued, args.amt))
        add_to_book(ctx, args.asset, burned=args.amt)
    data = {"supply": args.supply, "asset": args.asset, "pool": args.pool, "amt": args.amt}
    readers = dict.fromkeys([ctx.sender.hex(), pool_of.owner.hex(), *OVERSIGHT])
    ctx.emit("Provided" if kind == "PROVIDE" else "Retired", data, tuple(readers))
    return {"available": ctx.state.need(ACCOUNTS, pool).available}


def _platform_of_issuer(ctx: Context, asset: str) -> Platform:
    platform = platform_of(ctx.state, asset)
    if ctx.sender != platform.owner:
        ctx.reject("UNAUTHORIZED", why="not the issuer of this asset")
    return platform


def is_known(ctx: Context, key: bytes, supply: Supply) -> bool:
    """Whether just this was done under the id; `IDEM_CONFLICT` if something else was."""
    known = ctx.state.get(SUPPLIES, key)
    if known is not None and known != supply:
        ctx.reject("IDEM_CONFLICT", what=SUPPLIES.name)
    return known is not None


ACTIONS = {
    "issue": Action(Issue, issue),
    "provide": Action(Provide, provide),
    "retire": Action(Provide, retire),
    "expire_lots": Action(Page, expire_lots),
}
