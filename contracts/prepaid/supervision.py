"""The acts of supervision: admission, freezes, payout of held money, notice, winding-up.

One regulator stops a merchant at once and says why; without a second one the stop lapses in a day,
and lifting it takes two. Long work is paged: whoever calls, calls until done.
"""

from __future__ import annotations

import msgspec

from contracts.kernel import freezing
from contracts.kernel.context import Context
from contracts.kernel.contract import Action, Details, Governed
from contracts.prepaid import guards, lots, money, policy
from contracts.prepaid.actions import book_refund
from contracts.prepaid.arguments import (
    Approve,
    FileMerchant,
    FreezeMerchant,
    MerchantPage,
    MerchantReason,
    RatifyFreeze,
    Unfreeze,
)
from contracts.prepaid.custody import check_ratio
from contracts.prepaid.guards import REPLAYED
from contracts.prepaid.models import (
    CLASSES_MAX,
    FULL_CUSTODY_BPS,
    PAGE_LOTS_MAX,
    Card,
    Census,
    Merchant,
    MerchantRef,
)
from contracts.prepaid.tables import (
    CARDS,
    CARDS_OF,
    CENSUS,
    CENSUS_KEY,
    HELD_OF,
    MERCHANTS,
    REGISTER,
    REGISTER_PREFIX,
    TOTALS,
    house_of,
    numbered,
)

replace = msgspec.structs.replace


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
    merchant = Merchant(
        owner=ctx.sender,
        custodian=args.custodian,
        name=args.name,
        state="FILED",
        asset="",
        classes=(),
        kind="",
        custody_bps=FULL_CUSTODY_BPS,
        freezes=(),
        closes_ms=0,
        short_since_ms=0,
        settled=0,
        estate=0,
        estate_owed=0,
    )
    ctx.state.insert(MERCHANTS, args.merchant, merchant)
    number = ctx.state.need(CENSUS, CENSUS_KEY).merchants + 1
    ctx.state.put(CENSUS, CENSUS_KEY, Census(number))
    ref = MerchantRef(args.merchant, merchant.owner, merchant.custodian)
    ctx.state.insert(REGISTER, numbered(REGISTER_PREFIX, number), ref)
    ctx.emit("MerchantFiled", {"merchant": args.merchant, "name": args.name}, house_of(merchant))
    return {}


def approve(ctx: Context, args: Approve) -> Details:
    """The regulator admits a merchant to a class of cards; all its classes are in one asset.

    The first approval settles its custody; to change that takes two regulators (`set_custody`).
    """
    merchant = ctx.state.need(MERCHANTS, args.merchant)
    custody = (args.kind or "", args.custody_bps)
    settled = merchant.state == "FILED" or custody == (merchant.kind, merchant.custody_bps)
    if args.card_class in merchant.classes:
        if not settled:
            ctx.reject("IDEM_CONFLICT", what="custody")
        return dict(REPLAYED)
    card_class = policy.class_of(ctx.state, args.card_class)
    if merchant.state not in ("FILED", "APPROVED"):
        ctx.reject("BAD_STATE", state=merchant.state)
    if merchant.asset not in ("", card_class.asset):
        ctx.reject("BAD_STATE", asset=merchant.asset)
    if not settled:
        ctx.reject("BAD_STATE", why="its custody is settled; two change it: set_custody")
    check_ratio(ctx, args.kind, args.custody_bps)
    if len(merchant.classes) >= CLASSES_MAX:
        ctx.reject("CARD_LIMIT", classes_max=CLASSES_MAX)
    approved = replace(
        merchant,
        state="APPROVED",
        asset=card_class.asset,
        classes=(*merchant.classes, card_class.name),
        kind=args.kind or "",
        custody_bps=args.custody_bps,
    )
    ctx.state.put(MERCHANTS, args.merchant, approved)
    if merchant.state == "FILED":
        money.open_accounts(ctx, args.merchant, approved)
        money.begin_totals(ctx, args.merchant, approved)
    data = {"merchant": args.merchant, "class": card_class.name, "custody_bps": args.custody_bps}
    ctx.emit("MerchantApproved", data, house_of(approved))
    return {}


# ---- freezes


def freeze(ctx: Context, args: FreezeMerchant) -> Details:
    """One regulator stops issue, payout, or everything, of one merchant, at once, and says why."""
    merchant = ctx.state.need(MERCHANTS, args.merchant)
    freezes = freezing.freeze(ctx, merchant.freezes, args.scope, args.reason)
    if freezes == merchant.freezes:
        return dict(REPLAYED)
    ctx.state.put(MERCHANTS, args.merchant, replace(merchant, freezes=freezes))
    data = {"merchant": args.merchant, "scope": args.scope, "reason": args.reason}
    ctx.emit("Frozen", data, house_of(merchant))
    return {"lapses_ms": ctx.time_ms + ctx.scaled(freezing.LAPSE_MS)}


def ratify_freeze(ctx: Context, args: RatifyFreeze) -> Details:
    """A second regulator makes a stop last until two lift it."""
    merchant = ctx.state.need(MERCHANTS, args.merchant)
    freezes = freezing.ratify(ctx, merchant.freezes, args.scope)
    if freezes == merchant.freezes:
        return dict(REPLAYED)
    ctx.state.put(MERCHANTS, args.merchant, replace(merchant, freezes=freezes))
    data = {"merchant": args.merchant, "scope": args.scope}
    ctx.emit("Ratified", data, house_of(merchant))
    return {}


def _check_unfreeze(ctx: Context, args: Unfreeze) -> None:
    merchant = ctx.state.need(MERCHANTS, args.merchant)
    freezing.check_lift(ctx, merchant.freezes, args.scope)


def _unfreeze(ctx: Context, args: Unfreeze) -> Details:
    """End a stop; what was held waits for `payout`."""
    merchant = ctx.state.need(MERCHANTS, args.merchant)
    left = freezing.lift(ctx, merchant.freezes, args.scope)
    ctx.state.put(MERCHANTS, args.merchant, replace(merchant, freezes=left))
    data = {"merchant": args.merchant, "scope": args.scope, "reason": args.reason}
    ctx.emit("Unfrozen", data, house_of(merchant))
    return {}


def _house(ctx: Context, args: Unfreeze) -> tuple[str, ...]:
    return house_of(ctx.state.need(MERCHANTS, args.merchant))


def payout(ctx: Context, args: MerchantPage) -> Details:
    """Release held earnings, card by card, once payouts are no longer frozen; call until done."""
    merchant = guards.merchant_of_house(ctx, args.merchant)
    freezing.check_not_frozen(merchant.freezes, "PAYOUT", ctx)
    page = ctx.state.scan(HELD_OF, args.merchant, None, args.limit)
    released = 0
    for _, ref in page:
        released += _release_held(ctx, ref.card, ctx.state.need(CARDS, ref.card), merchant)
    _emit_released(ctx, args.merchant, merchant, released)
    return {"released": released, "done": len(page) < args.limit}


def _release_held(ctx: Context, card_id: bytes, card: Card, merchant: Merchant) -> int:
    """Pay the merchant what was held of this card's earnings; how much."""
    paid_out = money.pay_merchant(ctx, card_id, card, merchant, 0, frozen=False)
    ctx.state.put(CARDS, card_id, replace(card, paid_out=card.paid_out + paid_out))
    money.add_totals(ctx, card.merchant, paid_out=paid_out)
    return paid_out


def _emit_released(ctx: Context, merchant_id: bytes, merchant: Merchant, amount: int) -> None:
    if amount:
        ctx.emit("Released", {"merchant": merchant_id, "amount": amount}, house_of(merchant))


# ---- the end


def give_notice(ctx: Context, args: MerchantReason) -> Details:
    """The merchant says that it will close: no more cards from now on, visits go on.

    When the notice has run, anyone of its house may wind it up.
    """
    merchant = guards.own_merchant(ctx, args.merchant)
    if merchant.state == "CLOSING":
        return {"closes_ms": merchant.closes_ms, **REPLAYED}
    if merchant.state != "APPROVED":
        ctx.reject("BAD_STATE", state=merchant.state)
    closes_ms = ctx.time_ms + ctx.scaled(policy.policy_of(ctx.state).notice_ms)
    ctx.state.put(MERCHANTS, args.merchant, replace(merchant, state="CLOSING", closes_ms=closes_ms))
    data = {"merchant": args.merchant, "reason": args.reason, "closes_ms": closes_ms}
    ctx.emit("NoticeGiven", data, house_of(merchant))
    return {"closes_ms": closes_ms}


def wind_up(ctx: Context, args: MerchantReason) -> Details:
    """End a merchant: no more visits; every holder is queued for a refund, in order of card number.

    The regulator may at any time, its house after notice. What the merchant had drawn in advance is
    called back as far as its account reaches; if that is not all, every holder gets the same part.
    """
    merchant = guards.merchant_of_house(ctx, args.merchant)
    if "regulator" not in ctx.roles and not merchant.closes_ms:
        ctx.reject("UNAUTHORIZED", why="without notice only the regulator")
    if merchant.state in ("WINDING_UP", "WOUND_UP"):
        return dict(REPLAYED)
    guards.check_not_winding_up(ctx, merchant)
    if "regulator" not in ctx.roles and ctx.time_ms < merchant.closes_ms:
        ctx.reject("BAD_STATE", why="its notice has not run out", until_ms=merchant.closes_ms)
    advanced = ctx.state.need(TOTALS, args.merchant).advanced
    money.recall(ctx, args.merchant, merchant, advanced)
    totals = ctx.state.need(TOTALS, args.merchant)
    figures = {"estate": totals.escrow, "owed": totals.outstanding}
    winding = replace(
        merchant, state="WINDING_UP", estate=totals.escrow, estate_owed=totals.outstanding
    )
    ctx.state.put(MERCHANTS, args.merchant, winding)
    data = {"merchant": args.merchant, "reason": args.reason, **figures}
    ctx.emit("WindingUp", data, house_of(merchant))
    return {**figures, "cards": totals.cards}


def wind_up_refund(merchant: Merchant, card: Card) -> int:
    """What a card gets in a winding-up: paid − earned, or its part of an estate that is too small.

    Rounded down; the few units that rounding leaves rest in escrow.
    """
    owed = lots.owed_of(card.lots)
    if merchant.estate == merchant.estate_owed:
        return owed
    return owed * merchant.estate // merchant.estate_owed


def settle_wind_up(ctx: Context, args: MerchantPage) -> Details:
    """The next cards of the refund queue: each holder gets back what the winding-up has for it.

    What the merchant had earned and was not paid is released with it. Call until done.
    """
    merchant = guards.merchant_of_house(ctx, args.merchant)
    if merchant.state == "WOUND_UP":
        return {"refunded": 0, "released": 0, "done": True, **REPLAYED}
    if merchant.state != "WINDING_UP":
        ctx.reject("BAD_STATE", state=merchant.state)
    after = numbered(args.merchant, merchant.settled)
    refunded = released = settled = gone = 0
    for _, ref in ctx.state.scan(CARDS_OF, args.merchant, after, args.limit):
        card = ctx.state.need(CARDS, ref.card)
        released += card.held
        if card.lots:
            amount = wind_up_refund(merchant, card)
            book_refund(ctx, ref.card, card, merchant, card.lots, "WIND_UP", amount)
            refunded += amount
        elif card.held:
            _release_held(ctx, ref.card, card, merchant)
        settled += 1
        gone += len(card.lots)
        if gone >= PAGE_LOTS_MAX:
            break
    done = settled < args.limit and gone < PAGE_LOTS_MAX
    state = "WOUND_UP" if done else "WINDING_UP"
    ctx.state.put(
        MERCHANTS,
        args.merchant,
        replace(merchant, state=state, settled=merchant.settled + settled),
    )
    _emit_released(ctx, args.merchant, merchant, released)
    return {"refunded": refunded, "released": released, "done": done}


UNFREEZE = Governed(Unfreeze, _check_unfreeze, _unfreeze, ("regulator",), ("regulator",), _house)
SUPERVISION = {
    "file_merchant": Action(FileMerchant, file_merchant, ("merchant",)),
    "approve": Action(Approve, approve, ("regulator",)),
    "freeze": Action(FreezeMerchant, freeze, ("regulator",)),
    "ratify_freeze": Action(RatifyFreeze, ratify_freeze, ("regulator",)),
    "payout": Action(MerchantPage, payout),
    "give_notice": Action(MerchantReason, give_notice, ("merchant",)),
    "wind_up": Action(MerchantReason, wind_up),
    "settle_wind_up": Action(MerchantPage, settle_wind_up),
}
