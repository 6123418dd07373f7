"""What else becomes of a card: a booking is undone, it is lost, found, expires, or lapses."""

from __future__ import annotations

import msgspec

from contracts.kernel.context import Context
from contracts.kernel.contract import Action, Details
from contracts.kernel.freezing import check_not_frozen, in_force
from contracts.kernel.types import PAGE_MAX
from contracts.prepaid import guards, lots, money, policy
from contracts.prepaid.arguments import (
    CardArgs,
    ReportLoss,
    Sweep,
    Void,
)
from contracts.prepaid.booking import book, closed, drop_lots, due
from contracts.prepaid.guards import REPLAYED
from contracts.prepaid.models import PAGE_LOTS_MAX, Card, Entry, Lot, Merchant, Policy, Voided
from contracts.prepaid.tables import (
    CARDS,
    DUE_OF,
    ENTRIES,
    LOTS,
    MERCHANTS,
    REGISTER,
    REGISTER_PREFIX,
    VOIDED,
    all_of,
    house_of,
    numbered,
    people_of,
)

replace = msgspec.structs.replace

PAYMENTS = ("OPEN", "TOP_UP")


# ---- undoing


def void(ctx: Context, args: Void) -> Details:
    """Undo a mistaken booking within a day: just the parts of lots that it made or used.

    A visit is undone by the merchant, which gives back what it earned by it; a payment of which
    nothing was used, by the bank with the holder's ticket. Unlike a refund it needs no reason.
    """
    card = guards.card_of(ctx, args.card, "owner", "custodian")
    line = ctx.state.need(ENTRIES, numbered(args.card, args.line))
    if ctx.sender != (card.owner if line.kind == "CONSUME" else card.custodian):
        ctx.reject("UNAUTHORIZED", why="visits are the merchant's to void, payments the bank's")
    done = ctx.state.get(VOIDED, numbered(args.card, args.line))
    if done is not None:
        undone = ctx.state.need(ENTRIES, numbered(args.card, done.line))
        return {"remaining": undone.remaining, **REPLAYED}
    merchant = ctx.state.need(MERCHANTS, card.merchant)
    check_not_frozen(merchant.freezes, "ALL", ctx)
    if ctx.time_ms >= line.time_ms + ctx.scaled(policy.policy_of(ctx.state).void_ms):
        ctx.reject("EXPIRED", what="void")
    guards.check_in_business(ctx, merchant, card)
    if line.kind == "CONSUME":
        changed = _void_visit(ctx, args, card, merchant, line)
    elif line.kind in PAYMENTS:
        changed = _void_payment(ctx, args, card, merchant, line)
    else:
        ctx.reject("BAD_STATE", why="only visits and payments are voided", kind=line.kind)
    mark = Voided(changed.entries, card.holder, card.owner)
    ctx.state.insert(VOIDED, numbered(args.card, args.line), mark)
    data = {"card": args.card, "line": args.line, "remaining": changed.remaining}
    ctx.emit("Voided", data, people_of(card))
    return {"remaining": changed.remaining}


def _void_visit(ctx: Context, args: Void, card: Card, merchant: Merchant, line: Entry) -> Card:
    def used_up(number: int) -> Lot:
        kept = ctx.state.get(LOTS, numbered(args.card, number))
        if kept is None:
            ctx.reject("BAD_STATE", why="its lot was given back or moved since")
        return kept.lot

    back, unearned = lots.unspend(card.lots, line.slices, used_up)
    paid_back = money.take_back(ctx, card, merchant, unearned)
    money.add_totals(
        ctx,
        card.merchant,
        face=line.amount,
        consumed=-line.amount,
        earned=-unearned,
        paid_out=-paid_back,
    )
    changed = replace(
        card,
        consumed=card.consumed - line.amount,
        earned=card.earned - unearned,
        paid_out=card.paid_out - paid_back,
        lots=back,
    )
    reason = f"line {args.line}"
    return book(ctx, args.card, changed, "VOID_CONSUME", line.amount, unearned, reason, line.slices)


def _void_payment(ctx: Context, args: Void, card: Card, merchant: Merchant, line: Entry) -> Card:
    made = [part.lot for part in line.slices]
    unused = tuple([lot for lot in card.lots if lot.number in made and lot.used == 0])
    if not unused:
        ctx.reject("BAD_STATE", why="nothing was paid, or some of it was used or given back")
    paid = lots.owed_of(unused)
    guards.check_custody_after(ctx, card.merchant, merchant, paid, paid)
    ctx.check_ticket(card.holder, args)
    money.add_totals(ctx, card.merchant, face=-line.amount, refunded=paid)
    money.give_back(ctx, card.merchant, merchant, paid)
    drop_lots(ctx, args.card, unused)
    changed = replace(
        card,
        cancelled=card.cancelled + line.amount,
        refunded=card.refunded + paid,
        lots=tuple([lot for lot in card.lots if lot.number not in made]),
    )
    reason = f"line {args.line}"
    return book(ctx, args.card, changed, "VOID_PAYMENT", line.amount, paid, reason, line.slices)


# ---- loss and expiry


def report_loss(ctx: Context, args: ReportLoss) -> Details:
    """The holder, or the bank for it, stops a named card; its clock stops with it."""
    card = guards.card_of(ctx, args.card, "holder", "custodian")
    if card.state == "LOST":
        return dict(REPLAYED)
    guards.check_active(ctx, card)
    if not policy.class_of(ctx.state, card.card_class).named:
        ctx.reject("BAD_STATE", why="only named cards are replaced")
    lost = replace(due(ctx, args.card, card, 0), state="LOST", since_ms=ctx.time_ms)
    book(ctx, args.card, lost, "LOSS", 0, 0, args.reason)
    ctx.emit("LossReported", {"card": args.card, "reason": args.reason}, all_of(card))
    return {}


def reactivate(ctx: Context, args: CardArgs) -> Details:
    """A card that was found again, for its holder; or one that expired, good once more.

    An expired one its merchant or bank may reactivate as well: it only does the holder good.
    """
    card = guards.card_of(ctx, args.card, "holder", "owner", "custodian")
    if card.state == "LOST" and ctx.sender != card.holder:
        ctx.reject("UNAUTHORIZED", why="only its holder has found it")
    merchant = ctx.state.need(MERCHANTS, card.merchant)
    check_not_frozen(merchant.freezes, "ALL", ctx)
    if card.state != "LOST" and not guards.is_expired(ctx, card):
        ctx.reject("BAD_STATE", card=card.state)
    guards.check_not_winding_up(ctx, merchant)
    good = due(ctx, args.card, card, policy.due_at(ctx, card.validity_ms))
    book(
        ctx,
        args.card,
        replace(good, state="ACTIVE", since_ms=ctx.time_ms),
        "REACTIVATE",
        0,
        0,
    )
    ctx.emit("CardReactivated", {"card": args.card, "due_ms": good.due_ms}, all_of(card))
    return {"due_ms": good.due_ms}


def expire(ctx: Context, args: Sweep) -> Details:
    """The next cards that are due, `limit` at most, merchant by merchant; anybody may.

    A card past its validity is EXPIRED and keeps its balance. What then becomes of a balance that
    nobody claims is policy: KEPT, EARNED by the merchant, or ESCHEAT to the state.
    """
    after = numbered(REGISTER_PREFIX, args.cursor)
    page = ctx.state.scan(REGISTER, REGISTER_PREFIX, after, PAGE_MAX)
    counts = {"expired": 0, "lapsed": 0}
    seen, left = args.cursor, args.limit
    for _, ref in page:
        left -= _expire_cards(ctx, ref.merchant, left, counts)
        if not left:  # this merchant may have more
            break
        seen += 1
    return {**counts, "next": seen, "done": bool(left) and len(page) < PAGE_MAX}


def _expire_cards(ctx: Context, merchant_id: bytes, limit: int, counts: dict[str, int]) -> int:
    """One merchant's cards that are due, oldest first; how much of `limit` that took.

    None while the merchant is stopped.
    """
    merchant = ctx.state.need(MERCHANTS, merchant_id)
    if merchant.state not in guards.IN_BUSINESS or in_force(merchant.freezes, "ALL", ctx):
        return 0
    rules = policy.policy_of(ctx.state)
    done = expired = lapsed = gone = 0
    for key, ref in ctx.state.scan(DUE_OF, merchant_id, None, limit):
        if int.from_bytes(key[16:24], "big") > ctx.time_ms:
            break
        card = ctx.state.need(CARDS, ref.card)
        done += 1
        if card.state == "ACTIVE":
            _expire(ctx, ref.card, card, rules)
            expired += 1
            continue
        lapsed += _lapse(ctx, ref.card, card, merchant, rules)
        gone += len(card.lots)
        if gone >= PAGE_LOTS_MAX:
            done = limit
            break
    if done:
        data = {"merchant": merchant_id, "expired": expired, "lapsed": lapsed}
        ctx.emit("CardsExpired", data, house_of(merchant))
    counts["expired"] += expired
    counts["lapsed"] += lapsed
    return done


def _expire(ctx: Context, card_id: bytes, card: Card, rules: Policy) -> None:
    lapses_ms = 0 if rules.breakage == "KEPT" else card.due_ms + ctx.scaled(rules.breakage_after_ms)
    expired = replace(due(ctx, card_id, card, lapses_ms), state="EXPIRED", since_ms=card.due_ms)
    book(ctx, card_id, expired, "EXPIRE", 0, 0)


def _lapse(ctx: Context, card_id: bytes, card: Card, merchant: Merchant, rules: Policy) -> int:
    """The balance that nobody claimed, as policy has it now; 1 if it went anywhere.

    Where too little would be left in custody for the others, it is looked at again later.
    """
    if rules.breakage == "KEPT":
        ctx.state.put(CARDS, card_id, due(ctx, card_id, card, 0))
        return 0
    face, owed = lots.face_of(card.lots), lots.owed_of(card.lots)
    earned = owed if rules.breakage == "EARNED" else 0
    if guards.custody_short_by(ctx, card.merchant, merchant, owed, owed - earned):
        later_ms = ctx.time_ms + ctx.scaled(rules.breakage_after_ms)
        ctx.state.put(CARDS, card_id, due(ctx, card_id, card, later_ms))
        return 0
    money.add_totals(ctx, card.merchant, face=-face, refunded=owed - earned)
    money.escheat(ctx, card.merchant, merchant, owed - earned)
    frozen = guards.payouts_stopped(ctx, merchant)
    paid_out = money.pay_merchant(ctx, card_id, card, merchant, earned, frozen)
    money.add_totals(ctx, card.merchant, earned=earned, paid_out=paid_out)
    drop_lots(ctx, card_id, card.lots)
    changed = replace(
        card,
        cancelled=card.cancelled + face,
        earned=card.earned + earned,
        paid_out=card.paid_out + paid_out,
        refunded=card.refunded + owed - earned,
    )
    book(ctx, card_id, closed(ctx, card_id, changed), "LAPSE", face, owed, rules.breakage)
    return 1


KEEPING = {
    "void": Action(Void, void),
    "report_loss": Action(ReportLoss, report_loss),
    "reactivate": Action(CardArgs, reactivate),
    "expire": Action(Sweep, expire),
}
