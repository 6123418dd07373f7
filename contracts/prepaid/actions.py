"""A card's life: opened, topped up, used, refunded. What else may become of it is in `keeping`.

Each act checks in one order: who may, whether it was done before, what must exist, freezes, what
has expired, states, limits, consent, money. A rejected act leaves no trace but its receipt.
"""

from __future__ import annotations

import msgspec

from contracts.kernel.context import Context
from contracts.kernel.contract import Action, Details
from contracts.kernel.freezing import check_not_frozen
from contracts.kernel.identity import HOLDER, enrolled_holder
from contracts.prepaid import guards, lots, money, policy
from contracts.prepaid.arguments import Consume, OpenCard, Refund, TopUp
from contracts.prepaid.booking import (
    book,
    closed,
    drop_lots,
    due,
    entry_of_seq,
    last_entry,
    new_card,
    with_lots,
)
from contracts.prepaid.guards import REPLAYED
from contracts.prepaid.lots import Lots
from contracts.prepaid.models import Card, Entry, Lot, Merchant, Order, Slice
from contracts.prepaid.tables import CARDS, ENTRIES, MERCHANTS, ORDERS, all_of, numbered, people_of

replace = msgspec.structs.replace


# ---- money in


def open_card(ctx: Context, args: OpenCard) -> Details:
    """The bank opens a card for a holder who agrees, and enrols the holder if it is new."""
    known = ctx.state.get(CARDS, args.card)
    if known is not None:
        guards.check_custodian(ctx, known)
        return _opened_before(ctx, args, known)
    merchant = _merchant_for_issue(ctx, args.merchant)
    if args.card_class not in merchant.classes:
        ctx.reject("BAD_STATE", classes=list(merchant.classes))
    card_class = policy.class_of(ctx.state, args.card_class)
    face = args.paid + args.bonus
    policy.check_face(card_class, face)
    validity_ms = policy.validity_of(card_class, args.validity_ms)
    ctx.check_ticket(args.holder_pub, args)
    holder = enrolled_holder(ctx.state, args.holder_pub, ctx.sender, ctx.time_ms)
    card = new_card(
        ctx,
        args.card,
        args.merchant,
        merchant,
        holder,
        args.card_class,
        validity_ms,
        policy.due_at(ctx, validity_ms),
    )
    _pay_in(ctx, args.card, replace(card, initial=face), merchant, args.paid, args.bonus, "OPEN")
    data = {"card": args.card, "class": args.card_class, "paid": args.paid, "bonus": args.bonus}
    ctx.emit("CardOpened", data, all_of(card))
    return {"remaining": face}


def top_up(ctx: Context, args: TopUp) -> Details:
    """The bank adds a lot to a card whose holder agrees. Used lots keep their own price.

    What is paid now is good for as long as on a new card, and the whole card with it.
    """
    order = ctx.state.get(ORDERS, args.order)
    if order is not None:
        guards.check_custodian(ctx, order)
        if (order.card, order.paid, order.bonus) != (args.card, args.paid, args.bonus):
            ctx.reject("IDEM_CONFLICT", what="order")
        return {"remaining": order.remaining, **REPLAYED}
    card = ctx.state.need(CARDS, args.card)
    merchant = _merchant_for_issue(ctx, card.merchant)
    guards.check_active(ctx, card)
    face = args.paid + args.bonus
    remaining = card.remaining + face
    policy.check_face(policy.class_of(ctx.state, card.card_class), remaining)
    lots.check_count(len(card.lots) + 1)
    ctx.check_ticket(card.holder, args)
    longer = due(
        ctx,
        args.card,
        card,
        policy.later_of(card.due_ms, policy.due_at(ctx, card.validity_ms)),
    )
    loaded = replace(longer, topped_up=money.bounded(card.topped_up + face, "face"))
    _pay_in(ctx, args.card, loaded, merchant, args.paid, args.bonus, "TOP_UP")
    done = Order(
        args.card, card.holder, card.owner, card.custodian, args.paid, args.bonus, remaining
    )
    ctx.state.insert(ORDERS, args.order, done)
    data = {"card": args.card, "order": args.order, "paid": args.paid, "bonus": args.bonus}
    ctx.emit("CardToppedUp", data, all_of(card))
    return {"remaining": remaining}


def _pay_in(
    ctx: Context, card_id: bytes, card: Card, merchant: Merchant, paid: int, bonus: int, kind: str
) -> None:
    """One lot more, its money in escrow, one line on the statement. A lot of nothing is none."""
    face = paid + bonus
    lot = Lot(card.lots_made + 1, paid, bonus, 0, ctx.time_ms)
    added = (lot,) if face else ()
    paid_in = replace(card, paid=money.bounded(card.paid + paid, "paid"))
    money.take_in(ctx, card.merchant, merchant, paid)
    money.add_totals(ctx, card.merchant, face=face, paid=paid)
    slices = tuple([Slice(one.number, face) for one in added])
    book(ctx, card_id, with_lots(ctx, card_id, paid_in, added), kind, face, paid, slices=slices)


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
    merchant = ctx.state.need(MERCHANTS, card.merchant)
    guards.check_in_business(ctx, merchant, card)
    if args.seq != card.seq + 1:
        ctx.reject("SEQ_GAP", expected=card.seq + 1)
    if ctx.sender != card.holder:
        ctx.check_ticket(card.holder, args)
    if args.amt > card.remaining:
        ctx.reject("INSUFFICIENT", remaining=card.remaining)

    left, slices, earned = lots.spend(card.lots, args.amt)
    frozen = guards.payouts_stopped(ctx, merchant)
    paid_out = money.pay_merchant(ctx, args.card, card, merchant, earned, frozen)
    changed = replace(
        card,
        seq=args.seq,
        consumed=card.consumed + args.amt,
        earned=card.earned + earned,
        paid_out=card.paid_out + paid_out,
        lots=left,
    )
    money.add_totals(
        ctx, card.merchant, face=-args.amt, consumed=args.amt, earned=earned, paid_out=paid_out
    )
    book(ctx, args.card, changed, "CONSUME", args.amt, earned, slices=slices)
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
    done = _refunded_before(ctx, args, card)
    if done is not None:
        return {"refunded": done.money, **REPLAYED}
    merchant = ctx.state.need(MERCHANTS, card.merchant)
    if args.reason != "MERCHANT_FAULT":
        check_not_frozen(merchant.freezes, "ALL", ctx)
    guards.check_active(ctx, card)
    guards.check_not_winding_up(ctx, merchant)
    returned = _returned(ctx, args, card)
    amount = refund_of(returned, args.reason)
    if args.amt is not None and args.amt != amount:
        ctx.reject("BAD_STATE", why="another sum is due", due=amount)
    guards.check_custody_after(ctx, card.merchant, merchant, lots.owed_of(returned), amount)
    if args.reason == "COOLING_OFF" and not returned:
        ctx.reject("COOLING_OFF_PASSED")
    if args.reason == "ORDINARY" and ctx.sender != card.holder:
        if args.line is None or args.amt is None:
            ctx.reject("BAD_TICKET", why="it must name line and amt")
        ctx.check_ticket(card.holder, args)
    book_refund(ctx, args.card, card, merchant, returned, args.reason, amount)
    return {"refunded": amount}


def refund_of(returned: Lots, reason: str) -> int:
    """The money given back for these lots."""
    if reason == "ORDINARY":
        return sum([lots.ordinary_refund(lot) for lot in returned])
    return lots.owed_of(returned)


def book_refund(
    ctx: Context,
    card_id: bytes,
    card: Card,
    merchant: Merchant,
    returned: Lots,
    reason: str,
    amount: int,
) -> None:
    """Cancel the lots `returned` for `amount`; a card without lots is closed.

    What the holder does not get is earned by the merchant (ORDINARY), or stays owed by it when its
    estate does not suffice (WIND_UP).
    """
    face = lots.face_of(returned)
    left = tuple([lot for lot in card.lots if lot not in returned])
    winding_up = reason == "WIND_UP"
    money.add_totals(ctx, card.merchant, face=-face, refunded=amount)
    money.give_back(ctx, card.merchant, merchant, amount)
    earned = 0 if winding_up else lots.owed_of(returned) - amount
    frozen = not winding_up and guards.payouts_stopped(ctx, merchant)
    paid_out = money.pay_merchant(ctx, card_id, card, merchant, earned, frozen)
    money.add_totals(ctx, card.merchant, earned=earned, paid_out=paid_out)
    drop_lots(ctx, card_id, returned)
    changed = replace(
        card,
        cancelled=card.cancelled + face,
        earned=card.earned + earned,
        paid_out=card.paid_out + paid_out,
        refunded=card.refunded + amount,
        lots=left,
    )
    if not left:
        changed = closed(ctx, card_id, changed)
    book(ctx, card_id, changed, "REFUND", face, amount, reason)
    data = {"card": card_id, "reason": reason, "refunded": amount, "cancelled": face}
    ctx.emit("Refunded", data, all_of(card))


def _returned(ctx: Context, args: Refund, card: Card) -> Lots:
    if args.reason != "COOLING_OFF":
        return card.lots
    rules = policy.policy_of(ctx.state)
    return tuple([lot for lot in card.lots if policy.in_cooling_off(ctx, rules, lot)])


# ---- who may


def _merchant_for_issue(ctx: Context, merchant_id: bytes) -> Merchant:
    """The merchant, if the sender is its bank and it may take money in."""
    merchant = ctx.state.need(MERCHANTS, merchant_id)
    guards.check_custodian(ctx, merchant)
    check_not_frozen(merchant.freezes, "ISSUE", ctx)
    if merchant.state != "APPROVED":
        ctx.reject("BAD_STATE", merchant=merchant.state)
    return merchant


def _check_may_consume(ctx: Context, card: Card | None) -> None:
    if card is not None and ctx.sender in (card.holder, card.owner):
        return
    if "bookkeeper" in ctx.roles:
        return
    if card is None and any(role in ctx.roles for role in ("merchant", HOLDER)):
        return
    ctx.reject("UNAUTHORIZED", why="not holder, merchant or bookkeeper")


def _check_may_refund(ctx: Context, card: Card | None, reason: str) -> None:
    if card is None:
        if not any(role in ctx.roles for role in ("merchant", HOLDER, "regulator")):
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
    first = ctx.state.need(ENTRIES, numbered(args.card, 1))
    terms = (card.merchant, card.holder, card.card_class)
    same = (
        first.kind == "OPEN"
        and terms == (args.merchant, ctx.identity_of(args.holder_pub), args.card_class)
        and (first.money, first.amount) == (args.paid, args.paid + args.bonus)
        and args.validity_ms in (None, card.validity_ms)
    )
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


def _refunded_before(ctx: Context, args: Refund, card: Card) -> Entry | None:
    """The line of this very refund: the one it names, or else the newest one."""
    if args.line is not None and args.line > card.entries + 1:
        ctx.reject("SEQ_GAP", expected=card.entries + 1)
    if args.line == card.entries + 1:
        return None
    if args.line is None:
        line = last_entry(ctx, args.card, card)
    else:
        line = ctx.state.need(ENTRIES, numbered(args.card, args.line))
    if line.kind == "REFUND" and line.reason == args.reason and args.amt in (None, line.money):
        return line
    if args.line is not None or (line.kind == "REFUND" and card.state == "CLOSED"):
        ctx.reject("IDEM_CONFLICT", what="refund")
    return None


ACTIONS = {
    "open_card": Action(OpenCard, open_card, ("bank",)),
    "top_up": Action(TopUp, top_up, ("bank",)),
    "consume": Action(Consume, consume),
    "refund": Action(Refund, refund),
}
