"""Moving a balance to another card: a gift, two cards made one, a lost or expired card exchanged.

No act here makes or takes money. Each lot goes on as it is, with its price, its date and what was
used of it; the old card is closed, and each statement names the other card.
"""

from __future__ import annotations

import msgspec

from contracts.kernel.context import Context
from contracts.kernel.contract import Action, Details
from contracts.kernel.freezing import check_not_frozen
from contracts.kernel.identity import enrolled_holder
from contracts.prepaid import guards, lots, money, policy
from contracts.prepaid.arguments import Merge, Replace, TransferCard
from contracts.prepaid.booking import book, closed, drop_lots, due, last_entry, new_card, with_lots
from contracts.prepaid.guards import REPLAYED
from contracts.prepaid.models import Card, Merchant
from contracts.prepaid.tables import CARDS, MERCHANTS, all_of

replace = msgspec.structs.replace


def transfer_card(ctx: Context, args: TransferCard) -> Details:
    """The holder gives the balance to somebody else, who agrees, on a new card.

    So neither sees the other's statement.
    """
    card = guards.card_of(ctx, args.card, "holder")
    if _moved_before(ctx, args.card, card, args.new_card, "TRANSFER"):
        return dict(REPLAYED)
    merchant = _check_new_card(ctx, card, args.new_card)
    guards.check_in_business(ctx, merchant, card)
    ctx.check_ticket(args.holder_pub, args)
    holder = enrolled_holder(ctx.state, args.holder_pub, ctx.sender, ctx.time_ms)
    target = new_card(
        ctx,
        args.new_card,
        card.merchant,
        merchant,
        holder,
        card.card_class,
        card.validity_ms,
        card.due_ms,
    )
    _move(ctx, args.card, card, args.new_card, target, "TRANSFER")
    return {"remaining": card.remaining}


def merge(ctx: Context, args: Merge) -> Details:
    """The whole balance of a card to another card of the same holder, merchant and class."""
    card = guards.card_of(ctx, args.card, "holder", "owner")
    if _moved_before(ctx, args.card, card, args.into, "MERGE"):
        return dict(REPLAYED)
    target = ctx.state.get(CARDS, args.into)
    if target is None or target.holder != card.holder:
        ctx.reject("NOT_FOUND", what=CARDS.name)
    merchant = ctx.state.need(MERCHANTS, card.merchant)
    guards.check_in_business(ctx, merchant, card)
    guards.check_active(ctx, target)
    kinds = (card.merchant, card.card_class)
    if args.card == args.into or kinds != (target.merchant, target.card_class):
        ctx.reject("BAD_STATE", why="two cards of one merchant and class are merged")
    card_class = policy.class_of(ctx.state, card.card_class)
    policy.check_face(card_class, card.remaining + target.remaining)
    lots.check_count(len(card.lots) + len(target.lots))
    if ctx.sender != card.holder:
        ctx.check_ticket(card.holder, args)
    longest = policy.later_of(card.due_ms, target.due_ms)
    target = due(ctx, args.into, target, longest)
    moved = _move(ctx, args.card, card, args.into, target, "MERGE")
    return {"remaining": moved.remaining}


def replace_card(ctx: Context, args: Replace) -> Details:
    """The bank exchanges a lost or expired card for a new one, for the same holder, who agrees.

    Whoever has lost the key as well gets a new one first, from two persons: `kernel recover_key`.
    """
    card = guards.card_of(ctx, args.card, "custodian")
    if _moved_before(ctx, args.card, card, args.new_card, "REPLACE"):
        return dict(REPLAYED)
    merchant = _check_new_card(ctx, card, args.new_card)
    check_not_frozen(merchant.freezes, "ALL", ctx)
    if card.state != "LOST" and not guards.is_expired(ctx, card):
        ctx.reject("BAD_STATE", card=card.state)
    guards.check_not_winding_up(ctx, merchant)
    ctx.check_ticket(card.holder, args)
    target = new_card(
        ctx,
        args.new_card,
        card.merchant,
        merchant,
        card.holder,
        card.card_class,
        card.validity_ms,
        policy.due_at(ctx, card.validity_ms),
    )
    _move(ctx, args.card, card, args.new_card, target, "REPLACE")
    return {"remaining": card.remaining}


def _check_new_card(ctx: Context, card: Card, new_card_id: bytes) -> Merchant:
    """The card's merchant; the new card's id must be new."""
    if ctx.state.get(CARDS, new_card_id) is not None:
        ctx.reject("IDEM_CONFLICT", what="new_card")
    return ctx.state.need(MERCHANTS, card.merchant)


def _moved_before(ctx: Context, card_id: bytes, card: Card, target: bytes, reason: str) -> bool:
    if card.state != "CLOSED":
        return False
    line = last_entry(ctx, card_id, card)
    if line.kind != "MOVE_OUT":
        return False
    if (line.other, line.reason) != (target, reason):
        ctx.reject("IDEM_CONFLICT", what="card")
    return True


def _move(
    ctx: Context, source_id: bytes, source: Card, target_id: bytes, target: Card, reason: str
) -> Card:
    """All lots of one card to another, each as it is; the source is closed. The target as written.

    What was paid for them and is still the consumer's counts as paid on the target from now on.
    """
    face, owed = lots.face_of(source.lots), lots.owed_of(source.lots)
    moved = lots.renumbered(source.lots, target.lots_made)
    drop_lots(ctx, source_id, source.lots)
    emptied = replace(source, cancelled=source.cancelled + face, paid=source.paid - owed)
    gone = closed(ctx, source_id, emptied)
    book(ctx, source_id, gone, "MOVE_OUT", face, owed, reason, other=target_id)
    filled = replace(
        target,
        topped_up=money.bounded(target.topped_up + face, "face"),
        paid=money.bounded(target.paid + owed, "paid"),
    )
    with_moved = with_lots(ctx, target_id, filled, moved)
    written = book(ctx, target_id, with_moved, "MOVE_IN", face, owed, reason, other=source_id)
    data = {"card": source_id, "to": target_id, "reason": reason, "remaining": face}
    ctx.emit("CardMoved", data, all_of(source))
    return written


MOVING = {
    "transfer_card": Action(TransferCard, transfer_card),
    "merge": Action(Merge, merge),
    "replace": Action(Replace, replace_card),
}
