"""The acts of supervision: admission, freezes, payout of held money, winding-up.

The regulator acts alone and says why. Long work is paged: whoever calls, calls until done.
"""

from __future__ import annotations

import msgspec

from contracts.kernel.context import Context
from contracts.kernel.contract import Action, Details
from contracts.prepaid import rules
from contracts.prepaid.booking import book_refund, release_held
from contracts.prepaid.models import (
    CARDS,
    CLASSES_MAX,
    HELD_OF,
    MERCHANTS,
    TOTALS,
    Approve,
    FileMerchant,
    Freeze,
    FreezeMerchant,
    Merchant,
    MerchantPage,
    Totals,
    WindUp,
    house_of,
)

replace = msgspec.structs.replace

REPLAYED = {"replayed": True}


# ---- the merchant's admission


def file_merchant(ctx: Context, args: FileMerchant) -> Details:
    """A merchant files itself and names the bank that will hold its customers' money."""
    known = ctx.state.get(MERCHANTS, args.merchant)
    if known is not None:
        if known.owner != ctx.sender:
            ctx.reject("UNAUTHORIZED", why="another merchant filed this")
        if (known.name, known.custodian) != (args.name, args.custodian):
            ctx.reject("IDEM_CONFLICT", what="merchant")
        return dict(REPLAYED)
    if "bank" not in ctx.roles_of(args.custodian):
        ctx.reject("NOT_FOUND", what="a bank with this key")
    merchant = Merchant(ctx.sender, args.custodian, args.name, "FILED", "", (), 0, (), 0)
    ctx.state.insert(MERCHANTS, args.merchant, merchant)
    ctx.emit("MerchantFiled", {"merchant": args.merchant, "name": args.name}, house_of(merchant))
    return {}


def approve(ctx: Context, args: Approve) -> Details:
    """The regulator admits a merchant to a class of cards; all its classes are in one asset."""
    merchant = ctx.state.need(MERCHANTS, args.merchant)
    if args.card_class in merchant.classes:
        return dict(REPLAYED)
    card_class = rules.class_of(ctx, args.card_class)
    if merchant.state not in ("FILED", "APPROVED"):
        ctx.reject("BAD_STATE", state=merchant.state)
    if merchant.asset not in ("", card_class.asset):
        ctx.reject("BAD_STATE", asset=merchant.asset)
    if len(merchant.classes) >= CLASSES_MAX:
        ctx.reject("CARD_LIMIT", classes_max=CLASSES_MAX)
    if merchant.state == "FILED":
        rules.open_accounts(ctx, args.merchant, merchant, card_class.asset)
        totals = Totals(merchant.owner, merchant.custodian, card_class.asset, 0, 0, 0, 0, 0, 0)
        ctx.state.insert(TOTALS, args.merchant, totals)
    approved = replace(
        merchant,
        state="APPROVED",
        asset=card_class.asset,
        classes=(*merchant.classes, card_class.name),
        custody_bps=args.custody_bps,
    )
    ctx.state.put(MERCHANTS, args.merchant, approved)
    data = {"merchant": args.merchant, "class": card_class.name, "custody_bps": args.custody_bps}
    ctx.emit("MerchantApproved", data, house_of(approved))
    return {}


# ---- supervision


def freeze(ctx: Context, args: FreezeMerchant) -> Details:
    """The regulator stops issue, payout, or everything, of one merchant, and says why."""
    merchant = ctx.state.need(MERCHANTS, args.merchant)
    for one in merchant.freezes:
        if one.scope == args.scope:
            if one.reason != args.reason:
                ctx.reject("IDEM_CONFLICT", scope=args.scope)
            return dict(REPLAYED)
    stop = Freeze(args.scope, args.reason, ctx.time_ms)
    ctx.state.put(MERCHANTS, args.merchant, replace(merchant, freezes=(*merchant.freezes, stop)))
    data = {"merchant": args.merchant, "scope": args.scope, "reason": args.reason}
    ctx.emit("Frozen", data, house_of(merchant))
    return {}


def unfreeze(ctx: Context, args: FreezeMerchant) -> Details:
    """The regulator ends a freeze and says why; what was held waits for `payout`."""
    merchant = ctx.state.need(MERCHANTS, args.merchant)
    left = tuple([one for one in merchant.freezes if one.scope != args.scope])
    if len(left) == len(merchant.freezes):
        ctx.reject("BAD_STATE", scope=args.scope)
    ctx.state.put(MERCHANTS, args.merchant, replace(merchant, freezes=left))
    data = {"merchant": args.merchant, "scope": args.scope, "reason": args.reason}
    ctx.emit("Unfrozen", data, house_of(merchant))
    return {}


def payout(ctx: Context, args: MerchantPage) -> Details:
    """Release held earnings, card by card, once payouts are no longer frozen; call until done."""
    merchant = _merchant_of_house(ctx, args.merchant)
    rules.check_not_frozen(merchant, "PAYOUT")
    page = ctx.state.scan(HELD_OF, args.merchant, None, args.limit)
    released = 0
    for _, ref in page:
        card = ctx.state.need(CARDS, ref.card)
        released += release_held(ctx, ref.card, card, merchant)
    _emit_released(ctx, args.merchant, merchant, released)
    return {"released": released, "done": len(page) < args.limit}


def wind_up(ctx: Context, args: WindUp) -> Details:
    """The regulator ends a merchant: no more visits; every holder is queued for a refund."""
    merchant = ctx.state.need(MERCHANTS, args.merchant)
    if merchant.state in ("WINDING_UP", "WOUND_UP"):
        return dict(REPLAYED)
    if merchant.state != "APPROVED":
        ctx.reject("BAD_STATE", state=merchant.state)
    ctx.state.put(MERCHANTS, args.merchant, replace(merchant, state="WINDING_UP"))
    data = {"merchant": args.merchant, "reason": args.reason}
    ctx.emit("WindingUp", data, house_of(merchant))
    return {}


def settle_wind_up(ctx: Context, args: MerchantPage) -> Details:
    """The next cards of the refund queue: each holder gets paid − earned back.

    What the merchant had earned and was not paid is released with it. Call until done.
    """
    merchant = _merchant_of_house(ctx, args.merchant)
    if merchant.state == "WOUND_UP":
        return {"refunded": 0, "released": 0, "done": True, **REPLAYED}
    if merchant.state != "WINDING_UP":
        ctx.reject("BAD_STATE", state=merchant.state)
    page = rules.cards_after(ctx, args.merchant, merchant.settled, args.limit)
    refunded = released = 0
    for card_id in page:
        card = ctx.state.need(CARDS, card_id)
        released += card.held
        if card.state == "ACTIVE":
            refunded += book_refund(
                ctx, card_id, card, merchant, card.lots, "WIND_UP", frozen=False
            )
        elif card.held:
            release_held(ctx, card_id, card, merchant)
    done = len(page) < args.limit
    changed = replace(
        merchant,
        state="WOUND_UP" if done else "WINDING_UP",
        settled=merchant.settled + len(page),
    )
    ctx.state.put(MERCHANTS, args.merchant, changed)
    _emit_released(ctx, args.merchant, merchant, released)
    return {"refunded": refunded, "released": released, "done": done}


def _merchant_of_house(ctx: Context, merchant_id: bytes) -> Merchant:
    """The merchant, for itself, its bank and the regulator: the sender sees what it pages."""
    merchant = ctx.state.need(MERCHANTS, merchant_id)
    if ctx.sender not in (merchant.owner, merchant.custodian) and "regulator" not in ctx.roles:
        ctx.reject("UNAUTHORIZED", why="not the merchant, its bank or the regulator")
    return merchant


def _emit_released(ctx: Context, merchant_id: bytes, merchant: Merchant, amount: int) -> None:
    if amount:
        ctx.emit("Released", {"merchant": merchant_id, "amount": amount}, house_of(merchant))


SUPERVISION = {
    "file_merchant": Action(FileMerchant, file_merchant, ("merchant",)),
    "approve": Action(Approve, approve, ("regulator",)),
    "freeze": Action(FreezeMerchant, freeze, ("regulator",)),
    "unfreeze": Action(FreezeMerchant, unfreeze, ("regulator",)),
    "payout": Action(MerchantPage, payout),
    "wind_up": Action(WindUp, wind_up, ("regulator",)),
    "settle_wind_up": Action(MerchantPage, settle_wind_up),
}
