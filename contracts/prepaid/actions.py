"""A card's life: opened, topped up, used, refunded. Supervision has a module of its own.

Each act checks in one order: who may, whether it was done before, what must exist, freezes, states,
limits, consent, money. A rejected act leaves no trace but its receipt.
"""

from __future__ import annotations

import msgspec

from contracts.kernel.context import Context
from contracts.kernel.contract import Action, Details
from contracts.kernel.identity import HOLDER, enrolled_holder
from contracts.kernel.ledger import LEG_AMOUNT_MAX
from contracts.prepaid import rules
from contracts.prepaid.booking import book, book_refund, entry_of_seq
from contracts.prepaid.models import (
    CARDS,
    CARDS_OF,
    ENTRIES,
    MERCHANTS,
    ORDERS,
    TOTALS,
    Card,
    CardRef,
    Consume,
    Lot,
    Merchant,
    OpenCard,
    Order,
    Refund,
    TopUp,
    card_number_key,
    entry_key,
    people_of,
)

replace = msgspec.structs.replace

REPLAYED = {"replayed": True}


# ---- money in


def open_card(ctx: Context, args: OpenCard) -> Details:
    """The bank opens a card for a holder who agrees, and enrols the holder if it is new."""
    known = ctx.state.get(CARDS, args.card)
    if known is not None:
        _check_custodian(ctx, known)
        return _opened_before(ctx, args, known)
    merchant = _merchant_for_issue(ctx, args.merchant)
    if args.card_class not in merchant.classes:
        ctx.reject("BAD_STATE", classes=list(merchant.classes))
    face = rules.bounded(args.paid + args.bonus, "face", LEG_AMOUNT_MAX)
    rules.check_face(rules.class_of(ctx, args.card_class), face)
    ctx.check_ticket(args.holder_pub, args)
    holder = enrolled_holder(ctx.state, args.holder_pub, ctx.sender, ctx.time_ms)
    lots = (Lot(args.paid, args.bonus, 0, ctx.time_ms),) if face else ()
    card = Card(
        merchant=args.merchant,
        number=ctx.state.need(TOTALS, args.merchant).cards + 1,
        owner=merchant.owner,
        custodian=merchant.custodian,
        holder=holder,
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
    book(ctx, args.card, card, "OPEN", face, args.paid)
    index = CardRef(args.card, merchant.owner, merchant.custodian)
    ctx.state.insert(CARDS_OF, card_number_key(args.merchant, card.number), index)
    data = {"card": args.card, "class": args.card_class, "paid": args.paid, "bonus": args.bonus}
    ctx.emit("CardOpened", data, (*people_of(card), card.custodian.hex()))
    return {"remaining": face}


def top_up(ctx: Context, args: TopUp) -> Details:
    """The bank adds a lot to a card whose holder agrees. Used lots keep their own price."""
    order = ctx.state.get(ORDERS, args.order)
    if order is not None:
        _check_custodian(ctx, order)
        if (order.card, order.paid, order.bonus) != (args.card, args.paid, args.bonus):
            ctx.reject("IDEM_CONFLICT", what="order")
        return {"remaining": order.remaining, **REPLAYED}
    card = ctx.state.need(CARDS, args.card)
    merchant = _merchant_for_issue(ctx, card.merchant)
    _check_active(ctx, card)
    face = rules.bounded(args.paid + args.bonus, "face", LEG_AMOUNT_MAX)
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
    book(ctx, args.card, changed, "TOP_UP", face, args.paid)
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
        ctx.reject("NOT_FOUND", what=CARDS.name)
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
    book(ctx, args.card, changed, "CONSUME", args.amt, earned)
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
        ctx.reject("NOT_FOUND", what=CARDS.name)
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
    return {"refunded": book_refund(ctx, args.card, card, merchant, returned, args.reason, frozen)}


# ---- guards


def _merchant_for_issue(ctx: Context, merchant_id: bytes) -> Merchant:
    """The merchant, if the sender is its bank and it may take money in."""
    merchant = ctx.state.get(MERCHANTS, merchant_id)
    if merchant is None:
        ctx.reject("NOT_FOUND", what=MERCHANTS.name)
    _check_custodian(ctx, merchant)
    rules.check_not_frozen(merchant, "ISSUE")
    if merchant.state != "APPROVED":
        ctx.reject("BAD_STATE", merchant=merchant.state)
    return merchant


def _check_custodian(ctx: Context, one: Merchant | Card | Order) -> None:
    if ctx.sender != one.custodian:
        ctx.reject("UNAUTHORIZED", why="another bank has the custody")


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
    ctx.reject("UNAUTHORIZED", why="not holder, merchant or bookkeeper")


def _check_may_refund(ctx: Context, card: Card | None, reason: str) -> None:
    if card is None:
        if not any(role in ctx.roles for role in ("merchant", "regulator", HOLDER)):
            ctx.reject("UNAUTHORIZED", reason=reason)
        return
    by_merchant = ctx.sender == card.owner
    entitled = {
        "COOLING_OFF": ctx.sender == card.holder,
        "MERCHANT_FAULT": by_merchant or "regulator" in ctx.roles,
        "ORDINARY": ctx.sender == card.holder or by_merchant,
    }
    if not entitled[reason]:
        ctx.reject("UNAUTHORIZED", reason=reason)


# ---- what was done before


def _opened_before(ctx: Context, args: OpenCard, card: Card) -> Details:
    """The same opening again is no news; another one under the same card id is a conflict."""
    first = ctx.state.need(ENTRIES, entry_key(args.card, 1))
    same = (
        (card.merchant, card.holder, card.card_class)
        == (args.merchant, ctx.identity_of(args.holder_pub), args.card_class)
    ) and (first.money, first.amount) == (args.paid, args.paid + args.bonus)
    if not same:
        ctx.reject("IDEM_CONFLICT", what="card")
    return {"remaining": first.remaining, **REPLAYED}


def _consumed_before(ctx: Context, args: Consume, card: Card) -> Details:
    """A visit whose seq is used: the same one again, a conflict, or somebody else was faster."""
    entry = entry_of_seq(ctx, args.card, card, args.seq)
    if entry.amount != args.amt:
        ctx.reject("IDEM_CONFLICT", what="seq")
    if entry.booked_by != ctx.sender:
        ctx.reject("SEQ_STALE", expected=card.seq + 1)
    return {"remaining": entry.remaining, **REPLAYED}


ACTIONS = {
    "open_card": Action(OpenCard, open_card, ("bank",)),
    "top_up": Action(TopUp, top_up, ("bank",)),
    "consume": Action(Consume, consume),
    "refund": Action(Refund, refund),
}
