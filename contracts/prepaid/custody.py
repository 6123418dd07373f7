"""Custody: what a merchant may have of its customers' money before it is earned.

With full custody, nothing. In ratio mode it may draw, as long as custody · 10,000 ≥ bps · base
afterwards; what would fall short is refused with `CUSTODY_SHORT`. Anybody may have custody checked:
time, a new policy or a new ratio can make it short without any payment, and then all payments stop
until the merchant has put money back.
"""

from __future__ import annotations

import msgspec

from contracts.kernel.context import Context
from contracts.kernel.contract import Action, Details, Governed
from contracts.kernel.freezing import check_not_frozen
from contracts.prepaid import guards, money, policy
from contracts.prepaid.arguments import Move, SetCustody, Sweep
from contracts.prepaid.guards import REPLAYED
from contracts.prepaid.models import FULL_CUSTODY_BPS, Merchant, Movement
from contracts.prepaid.tables import (
    MERCHANTS,
    MOVEMENTS,
    REGISTER,
    REGISTER_PREFIX,
    TOTALS,
    house_of,
    numbered,
)

replace = msgspec.structs.replace


# ---- the merchant's moves


def draw(ctx: Context, args: Move) -> Details:
    """The merchant takes money that it has not earned yet; only beyond what must be in custody."""
    merchant = guards.own_merchant(ctx, args.merchant)
    if _moved_before(ctx, args, "DRAW"):
        return dict(REPLAYED)
    check_not_frozen(merchant.freezes, "PAYOUT", ctx)
    if merchant.state != "APPROVED":
        ctx.reject("BAD_STATE", merchant=merchant.state)
    totals = ctx.state.need(TOTALS, args.merchant)
    if totals.held:
        ctx.reject("BAD_STATE", why="held earnings come first: payout", held=totals.held)
    needed = _required(ctx, args.merchant, merchant)
    if totals.escrow - args.amt < needed:
        ctx.reject("CUSTODY_SHORT", available=max(totals.escrow - needed, 0))
    money.advance(ctx, args.merchant, merchant, args.amt)
    _keep(ctx, args, merchant, "DRAW")
    return {"custody": totals.escrow - args.amt, "required": needed}


def repay(ctx: Context, args: Move) -> Details:
    """The merchant puts back what it drew in advance."""
    merchant = guards.own_merchant(ctx, args.merchant)
    if _moved_before(ctx, args, "REPAY"):
        return dict(REPLAYED)
    guards.check_not_winding_up(ctx, merchant)
    advanced = ctx.state.need(TOTALS, args.merchant).advanced
    if args.amt > advanced:
        ctx.reject("BAD_STATE", why="more than was drawn in advance", advanced=advanced)
    money.repay(ctx, args.merchant, merchant, args.amt)
    _keep(ctx, args, merchant, "REPAY")
    return {"advanced": advanced - args.amt}


def cash_out(ctx: Context, args: Move) -> Details:
    """The merchant takes money that it received out of the bank."""
    merchant = guards.own_merchant(ctx, args.merchant)
    if _moved_before(ctx, args, "CASH_OUT"):
        return dict(REPLAYED)
    check_not_frozen(merchant.freezes, "PAYOUT", ctx)
    if not merchant.asset:
        ctx.reject("BAD_STATE", merchant=merchant.state)
    money.cash_out(ctx, args.merchant, merchant, args.amt)
    _keep(ctx, args, merchant, "CASH_OUT")
    return {}


def _moved_before(ctx: Context, args: Move, kind: str) -> bool:
    known = ctx.state.get(MOVEMENTS, args.order)
    if known is None:
        return False
    if (known.merchant, known.kind, known.amt) != (args.merchant, kind, args.amt):
        ctx.reject("IDEM_CONFLICT", what="order")
    return True


def _keep(ctx: Context, args: Move, merchant: Merchant, kind: str) -> None:
    movement = Movement(args.merchant, merchant.owner, merchant.custodian, kind, args.amt)
    ctx.state.insert(MOVEMENTS, args.order, movement)
    data = {"merchant": args.merchant, "order": args.order, "kind": kind, "amt": args.amt}
    ctx.emit("MoneyMoved", data, house_of(merchant))


# ---- watching it


def check_custody(ctx: Context, args: Sweep) -> Details:
    """Look at the next merchants: `CustodyShort` is announced when it begins; anybody may."""
    after = numbered(REGISTER_PREFIX, args.cursor)
    page = ctx.state.scan(REGISTER, REGISTER_PREFIX, after, args.limit)
    changed = sum([note_custody(ctx, ref.merchant) for _, ref in page])
    return {
        "changed": changed,
        "next": args.cursor + len(page),
        "done": len(page) < args.limit,
    }


def note_custody(ctx: Context, merchant_id: bytes) -> bool:
    """Remember since when a merchant's custody is short, and tell its house when that begins.

    Whether anything was new.
    """
    merchant = ctx.state.need(MERCHANTS, merchant_id)
    totals = ctx.state.get(TOTALS, merchant_id)
    if totals is None or merchant.state not in guards.IN_BUSINESS:
        return False
    needed = _required(ctx, merchant_id, merchant)
    is_short = totals.escrow < needed
    if is_short == bool(merchant.short_since_ms):
        return False
    since_ms = ctx.time_ms if is_short else 0
    ctx.state.put(MERCHANTS, merchant_id, replace(merchant, short_since_ms=since_ms))
    if is_short:
        data = {"merchant": merchant_id, "custody": totals.escrow, "required": needed}
        ctx.emit("CustodyShort", data, house_of(merchant))
    return True


def _required(ctx: Context, merchant_id: bytes, merchant: Merchant) -> int:
    outstanding = ctx.state.need(TOTALS, merchant_id).outstanding
    return policy.required_custody(ctx.state, ctx.today(), merchant_id, merchant, outstanding)


# ---- another ratio, by two regulators


def check_ratio(ctx: Context, kind: str | None, custody_bps: int) -> None:
    """Full custody is always allowed, less only to kinds of merchants that policy names."""
    if custody_bps == FULL_CUSTODY_BPS:
        return
    rows = policy.policy_of(ctx.state).custody_kinds
    least = [row.custody_bps for row in rows if row.kind == kind]
    if not least:
        ctx.reject("BAD_ARG", field="kind", why="not one of the policy's kinds of merchants")
    if custody_bps < least[0]:
        ctx.reject("BAD_ARG", field="custody_bps", why=f"less than the {least[0]} of its kind")


def _check_set_custody(ctx: Context, args: SetCustody) -> None:
    check_ratio(ctx, args.kind, args.custody_bps)
    merchant = ctx.state.need(MERCHANTS, args.merchant)
    if merchant.state not in guards.IN_BUSINESS:
        ctx.reject("BAD_STATE", merchant=merchant.state)
    if (merchant.kind, merchant.custody_bps) == (args.kind or "", args.custody_bps):
        ctx.reject("BAD_STATE", why="that is its custody already")


def _set_custody(ctx: Context, args: SetCustody) -> Details:
    """Change how much of its customers' money a merchant must keep; it may be short at once."""
    merchant = ctx.state.need(MERCHANTS, args.merchant)
    changed = replace(merchant, kind=args.kind or "", custody_bps=args.custody_bps)
    ctx.state.put(MERCHANTS, args.merchant, changed)
    note_custody(ctx, args.merchant)
    return {}


def _house(ctx: Context, args: SetCustody) -> tuple[str, ...]:
    return house_of(ctx.state.need(MERCHANTS, args.merchant))


SET_CUSTODY = Governed(
    SetCustody, _check_set_custody, _set_custody, ("regulator",), ("regulator",), _house
)
CUSTODY = {
    "draw": Action(Move, draw, ("merchant",)),
    "repay": Action(Move, repay, ("merchant",)),
    "cash_out": Action(Move, cash_out, ("merchant",)),
    "check_custody": Action(Sweep, check_custody),
}
