"""The acts of prepaid supervision, in the order of a card's life.

Each checks in one order: who may, whether it was done before, what must exist, freezes, states,
limits, consent, money. A rejected act leaves no trace but its receipt.
"""

from __future__ import annotations

import msgspec

from contracts.kernel.context import Context
from contracts.kernel.contract import Action, Details
from contracts.kernel.identity import HOLDER, IDENTITIES, Identity, register
from contracts.prepaid import rules
from contracts.prepaid.models import (
    CARDS,
    CARDS_OF,
    CLASSES_MAX,
    ENTRIES,
    HELD_OF,
    MERCHANTS,
    ORDERS,
    TOTALS,
    Approve,
    Card,
    CardRef,
    Consume,
    Entry,
    FileMerchant,
    Freeze,
    FreezeMerchant,
    Lot,
    Merchant,
    MerchantPage,
    OpenCard,
    Order,
    Refund,
    TopUp,
    Totals,
    WindUp,
    entry_key,
    house_of,
    people_of,
)

replace = msgspec.structs.replace

REPLAYED = {"replayed": True}


# ---- the merchant's admission


def file_merchant(ctx: Context, args: FileMerchant) -> Details:
    """A merchant files itself and names the bank that will hold its customers' money."""
    known = ctx.state.get(MERCHANTS, args.merchant)
    if known is not None:
        if (known.owner, known.name, known.custodian) != (ctx.sender, args.name, args.custodian):
            ctx.reject("IDEM_CONFLICT", what="merchant")
        return dict(REPLAYED)
    if "bank" not in ctx.state.need(IDENTITIES, args.custodian).roles:
        ctx.reject("NOT_FOUND", what="custodian")
    merchant = Merchant(ctx.sender, args.custodian, args.name, "FILED", "", (), 0, (), b"")
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


# ---- money in


def open_card(ctx: Context, args: OpenCard) -> Details:
    """The bank opens a card for a holder who agrees, and enrols the holder if it is new."""
    known = ctx.state.get(CARDS, args.card)
    if known is not None:
        return _opened_before(ctx, args, known)
    merchant = _merchant_for_issue(ctx, args.merchant)
    if args.card_class not in merchant.classes:
        ctx.reject("BAD_STATE", classes=list(merchant.classes))
    face = rules.bounded(args.paid + args.bonus, "face")
    rules.check_face(rules.class_of(ctx, args.card_class), face)
    ctx.check_ticket(args.holder_pub, args)
    if ctx.state.get(IDENTITIES, args.holder_pub) is None:
        register(ctx.state, Identity(args.holder_pub, "", (HOLDER,), ctx.sender, ctx.time_ms))
    lots = (Lot(args.paid, args.bonus, 0, ctx.time_ms),) if face else ()
    card = Card(
        merchant=args.merchant,
        owner=merchant.owner,
        custodian=merchant.custodian,
        holder=args.holder_pub,
        card_class=args.card_class,
        state="ACTIVE",
        seq=0,
        entries=0,
        initial=face,
        topped_up=0,
        consumed=0,
        cancelled=0,
        paid=args.paid,
        earned=0,
        paid_out=0,
        refunded=0,
        lots=lots,
    )
    rules.take_in(ctx, args.merchant, merchant, args.paid)
    rules.add_totals(ctx, args.merchant, cards=1, face=face, paid=args.paid)
    _book(ctx, args.card, card, "OPEN", face, args.paid)
    index = CardRef(merchant.owner, merchant.custodian)
    ctx.state.insert(CARDS_OF, args.merchant + args.card, index)
    data = {"card": args.card, "class": args.card_class, "paid": args.paid, "bonus": args.bonus}
    ctx.emit("CardOpened", data, (*people_of(card), card.custodian.hex()))
    return {"remaining": face}


def top_up(ctx: Context, args: TopUp) -> Details:
    """The bank adds a lot to a card whose holder agrees. Used lots keep their own price."""
    order = ctx.state.get(ORDERS, args.order)
    if order is not None:
        if (order.card, order.paid, order.bonus) != (args.card, args.paid, args.bonus):
            ctx.reject("IDEM_CONFLICT", what="order")
        return {"remaining": order.remaining, **REPLAYED}
    card = ctx.state.need(CARDS, args.card)
    merchant = _merchant_for_issue(ctx, card.merchant)
    _check_active(ctx, card)
    face = rules.bounded(args.paid + args.bonus, "face")
    if face == 0:
        ctx.reject("BAD_ARG", field="paid", why="out of range")
    remaining = rules.bounded(card.remaining + face, "face")
    rules.check_face(rules.class_of(ctx, card.card_class), remaining)
    lots = rules.add_lot(card, args.paid, args.bonus, ctx.time_ms)
    ctx.check_ticket(card.holder, args)
    changed = replace(
        card,
        topped_up=rules.bounded(card.topped_up + face, "face"),
        paid=rules.bounded(card.paid + args.paid, "paid"),
        lots=lots,
    )
    rules.take_in(ctx, card.merchant, merchant, args.paid)
    rules.add_totals(ctx, card.merchant, face=face, paid=args.paid)
    _book(ctx, args.card, changed, "TOP_UP", face, args.paid)
    done = Order(
        args.card, card.holder, card.owner, card.custodian, args.paid, args.bonus, remaining
    )
    ctx.state.insert(ORDERS, args.order, done)
    data = {"card": args.card, "order": args.order, "paid": args.paid, "bonus": args.bonus}
    ctx.emit("CardToppedUp", data, (*people_of(card), card.custodian.hex()))
    return {"remaining": remaining}


# ---- visits


def consume(ctx: Context, args: Consume) -> Details:
    """A visit: the holder alone, or the merchant or a bookkeeper with the holder's ticket.

    Remaining falls, the oldest lot first; what the merchant thereby earned is released to it, or
    held while payouts are frozen. A rejected visit uses no seq.
    """
    card = ctx.state.get(CARDS, args.card)
    _check_may_consume(ctx, card)
    if card is None:
        ctx.reject("NOT_FOUND", what="card")
    if args.seq <= card.seq:
        return _consumed_before(ctx, args, card)
    merchant = rules.merchant_of(ctx, card)
    rules.check_not_frozen(merchant, "ALL")
    if merchant.state != "APPROVED":
        ctx.reject("BAD_STATE", merchant=merchant.state)
    _check_active(ctx, card)
    if args.seq != card.seq + 1:
        ctx.reject("SEQ_GAP", expected=card.seq + 1)
    if ctx.sender != card.holder:
        ctx.check_ticket(card.holder, args)
    if args.amt > card.remaining:
        ctx.reject("INSUFFICIENT", remaining=card.remaining)

    lots, earned = rules.spend(card.lots, args.amt)
    frozen = rules.is_frozen(merchant, "PAYOUT")
    paid_out = rules.pay_merchant(ctx, args.card, card, merchant, earned, frozen)
    changed = replace(
        card,
        seq=args.seq,
        consumed=card.consumed + args.amt,
        earned=card.earned + earned,
        paid_out=card.paid_out + paid_out,
        lots=lots,
    )
    rules.add_totals(ctx, card.merchant, face=-args.amt, earned=earned, paid_out=paid_out)
    _book(ctx, args.card, changed, "CONSUME", args.amt, earned)
    data = {
        "card": args.card,
        "seq": args.seq,
        "amt": args.amt,
        "remaining": changed.remaining,
        "earned": earned,
        "released": paid_out,
    }
    ctx.emit("Consumed", data, people_of(card))
    return {"remaining": changed.remaining}


# ---- money back


def refund(ctx: Context, args: Refund) -> Details:
    """Give the holder's money back and cancel the lots that it was paid for.

    COOLING_OFF: the holder, no reason needed, for lots of the last seven days: paid − earned.
    MERCHANT_FAULT: the merchant or the regulator says so: paid − earned of everything.
    ORDINARY: the holder, or the merchant with the holder's ticket: visits count in full.
    """
    card = ctx.state.get(CARDS, args.card)
    _check_may_refund(ctx, card, args.reason)
    if card is None:
        ctx.reject("NOT_FOUND", what="card")
    last = ctx.state.need(ENTRIES, entry_key(args.card, card.entries))
    if last.kind == "REFUND" and last.reason == args.reason:
        return {"refunded": last.money, **REPLAYED}
    if card.state != "ACTIVE" and last.kind == "REFUND":
        ctx.reject("IDEM_CONFLICT", what="refund")
    merchant = rules.merchant_of(ctx, card)
    if args.reason != "MERCHANT_FAULT":
        rules.check_not_frozen(merchant, "ALL")
    _check_active(ctx, card)
    returned = card.lots
    if args.reason == "COOLING_OFF":
        returned = tuple([lot for lot in card.lots if rules.in_cooling_off(lot, ctx)])
        if not returned:
            ctx.reject("COOLING_OFF_PASSED")
    if args.reason == "ORDINARY" and ctx.sender != card.holder:
        ctx.check_ticket(card.holder, args)
    frozen = rules.is_frozen(merchant, "PAYOUT")
    return {"refunded": _refund(ctx, args.card, card, merchant, returned, args.reason, frozen)}


def _refund(
    ctx: Context,
    card_id: bytes,
    card: Card,
    merchant: Merchant,
    returned: tuple[Lot, ...],
    reason: str,
    frozen: bool,
) -> int:
    """Cancel the lots `returned`; a card without lots is closed. The money given back."""
    if reason == "ORDINARY":
        money = sum([rules.ordinary_refund(lot) for lot in returned])
    else:
        money = sum([lot.owed for lot in returned])
    face = sum([lot.left for lot in returned])
    forfeited = sum([lot.owed for lot in returned]) - money
    lots = tuple([lot for lot in card.lots if lot not in returned])
    rules.give_back(ctx, card.merchant, merchant, money)
    paid_out = rules.pay_merchant(ctx, card_id, card, merchant, forfeited, frozen)
    changed = replace(
        card,
        state="ACTIVE" if lots else "CLOSED",
        cancelled=card.cancelled + face,
        earned=card.earned + forfeited,
        paid_out=card.paid_out + paid_out,
        refunded=card.refunded + money,
        lots=lots,
    )
    rules.add_totals(
        ctx, card.merchant, face=-face, earned=forfeited, paid_out=paid_out, refunded=money
    )
    _book(ctx, card_id, changed, "REFUND", face, money, reason)
    data = {"card": card_id, "reason": reason, "refunded": money, "cancelled": face}
    ctx.emit("Refunded", data, (*people_of(card), card.custodian.hex()))
    return money


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
    merchant = ctx.state.get(MERCHANTS, args.merchant)
    if merchant is None:
        ctx.reject("NOT_FOUND", what="merchant")
    if ctx.sender not in (merchant.owner, merchant.custodian):
        ctx.reject("UNAUTHORIZED", what="merchant")
    rules.check_not_frozen(merchant, "PAYOUT")
    page = ctx.state.scan(HELD_OF, args.merchant, None, args.limit)
    released = 0
    for key, _ in page:
        card_id = key[16:]
        card = ctx.state.need(CARDS, card_id)
        paid_out = rules.pay_merchant(ctx, card_id, card, merchant, 0, frozen=False)
        ctx.state.put(CARDS, card_id, replace(card, paid_out=card.paid_out + paid_out))
        released += paid_out
    rules.add_totals(ctx, args.merchant, paid_out=released)
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
    """The next cards of the refund queue, by anybody: each holder gets paid − earned back.

    What the merchant had earned and was not paid is released with it. Call until done.
    """
    merchant = ctx.state.need(MERCHANTS, args.merchant)
    if merchant.state == "WOUND_UP":
        return {"refunded": 0, "released": 0, "done": True, **REPLAYED}
    if merchant.state != "WINDING_UP":
        ctx.reject("BAD_STATE", state=merchant.state)
    page = list(rules.cards_after(ctx, args.merchant, merchant.settled, args.limit))
    refunded = released = 0
    for card_id in page:
        card = ctx.state.need(CARDS, card_id)
        released += card.held
        if card.state == "ACTIVE":
            refunded += _refund(ctx, card_id, card, merchant, card.lots, "WIND_UP", frozen=False)
        elif card.held:
            paid_out = rules.pay_merchant(ctx, card_id, card, merchant, 0, frozen=False)
            ctx.state.put(CARDS, card_id, replace(card, paid_out=card.paid_out + paid_out))
            rules.add_totals(ctx, args.merchant, paid_out=paid_out)
    done = len(page) < args.limit
    changed = replace(
        merchant,
        state="WOUND_UP" if done else "WINDING_UP",
        settled=page[-1] if page else merchant.settled,
    )
    ctx.state.put(MERCHANTS, args.merchant, changed)
    _emit_released(ctx, args.merchant, merchant, released)
    return {"refunded": refunded, "released": released, "done": done}


# ---- guards and book-keeping


def _merchant_for_issue(ctx: Context, merchant_id: bytes) -> Merchant:
    """The merchant, if the sender is its bank and it may take money in."""
    merchant = ctx.state.get(MERCHANTS, merchant_id)
    if merchant is None:
        ctx.reject("NOT_FOUND", what="merchant")
    if ctx.sender != merchant.custodian:
        ctx.reject("UNAUTHORIZED", what="custodian")
    rules.check_not_frozen(merchant, "ISSUE")
    if merchant.state != "APPROVED":
        ctx.reject("BAD_STATE", merchant=merchant.state)
    return merchant


def _check_active(ctx: Context, card: Card) -> None:
    if card.state != "ACTIVE":
        ctx.reject("BAD_STATE", card=card.state)


def _check_may_consume(ctx: Context, card: Card | None) -> None:
    if card is not None and ctx.sender in (card.holder, card.owner):
        return
    if "bookkeeper" in ctx.roles:
        return
    if card is None and ("merchant" in ctx.roles or HOLDER in ctx.roles):
        return
    ctx.reject("UNAUTHORIZED", what="card")


def _check_may_refund(ctx: Context, card: Card | None, reason: str) -> None:
    if card is None:
        if ctx.roles.isdisjoint(("merchant", "regulator", HOLDER)):
            ctx.reject("UNAUTHORIZED", what="card")
        return
    by_merchant = ctx.sender == card.owner
    entitled = {
        "COOLING_OFF": ctx.sender == card.holder,
        "MERCHANT_FAULT": by_merchant or "regulator" in ctx.roles,
        "ORDINARY": ctx.sender == card.holder or by_merchant,
    }
    if not entitled[reason]:
        ctx.reject("UNAUTHORIZED", reason=reason)


def _opened_before(ctx: Context, args: OpenCard, card: Card) -> Details:
    """The same opening again is no news; another one under the same card id is a conflict."""
    first = ctx.state.need(ENTRIES, entry_key(args.card, 1))
    same = (
        (first.booked_by, card.merchant, card.holder, card.card_class)
        == (ctx.sender, args.merchant, args.holder_pub, args.card_class)
    ) and (first.money, first.amount) == (args.paid, args.paid + args.bonus)
    if not same:
        ctx.reject("IDEM_CONFLICT", what="card")
    return {"remaining": first.remaining, **REPLAYED}


def _consumed_before(ctx: Context, args: Consume, card: Card) -> Details:
    """A visit whose seq is used: the same one again, a conflict, or somebody else was faster."""
    entry = _entry_of_seq(ctx, args.card, card, args.seq)
    if entry.amount != args.amt:
        ctx.reject("IDEM_CONFLICT", what="seq")
    if entry.booked_by != ctx.sender:
        ctx.reject("SEQ_STALE", expected=card.seq + 1)
    return {"remaining": entry.remaining, **REPLAYED}


def _entry_of_seq(ctx: Context, card_id: bytes, card: Card, seq: int) -> Entry:
    """The line that used `seq`: the first whose seq is not below it, found by bisection."""
    low, high = seq, card.entries
    while low < high:
        middle = (low + high) // 2
        if ctx.state.need(ENTRIES, entry_key(card_id, middle)).seq < seq:
            low = middle + 1
        else:
            high = middle
    return ctx.state.need(ENTRIES, entry_key(card_id, low))


def _book(
    ctx: Context,
    card_id: bytes,
    card: Card,
    kind: str,
    amount: int,
    money: int,
    reason: str = "",
) -> None:
    """Write the card with one more line on its statement."""
    number = card.entries + 1
    entry = Entry(
        kind,
        card.seq,
        card.initial + card.topped_up,
        amount,
        money,
        card.remaining,
        ctx.time_ms,
        ctx.transaction_id,
        ctx.sender,
        card.holder,
        card.owner,
        reason,
    )
    ctx.state.put(CARDS, card_id, replace(card, entries=number))
    ctx.state.insert(ENTRIES, entry_key(card_id, number), entry)


def _emit_released(ctx: Context, merchant_id: bytes, merchant: Merchant, amount: int) -> None:
    if amount:
        ctx.emit("Released", {"merchant": merchant_id, "amount": amount}, house_of(merchant))


ACTIONS = {
    "file_merchant": Action(FileMerchant, file_merchant, ("merchant",)),
    "approve": Action(Approve, approve, ("regulator",)),
    "open_card": Action(OpenCard, open_card, ("bank",)),
    "top_up": Action(TopUp, top_up, ("bank",)),
    "consume": Action(Consume, consume),
    "refund": Action(Refund, refund),
    "freeze": Action(FreezeMerchant, freeze, ("regulator",)),
    "unfreeze": Action(FreezeMerchant, unfreeze, ("regulator",)),
    "payout": Action(MerchantPage, payout),
    "wind_up": Action(WindUp, wind_up, ("regulator",)),
    "settle_wind_up": Action(MerchantPage, settle_wind_up),
}
