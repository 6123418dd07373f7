"""How a card is written: its statement, its earnings, its refund. No rule about who may."""

from __future__ import annotations

import msgspec

from contracts.kernel.context import Context
from contracts.prepaid import rules
from contracts.prepaid.models import (
    CARDS,
    ENTRIES,
    Card,
    Entry,
    Lot,
    Merchant,
    entry_key,
    people_of,
)

replace = msgspec.structs.replace


def book(
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


def entry_of_seq(ctx: Context, card_id: bytes, card: Card, seq: int) -> Entry:
    """The line that used `seq`: the first whose seq is not below it, found by bisection."""
    low, high = seq, card.entries
    while low < high:
        middle = (low + high) // 2
        if ctx.state.need(ENTRIES, entry_key(card_id, middle)).seq < seq:
            low = middle + 1
        else:
            high = middle
    return ctx.state.need(ENTRIES, entry_key(card_id, low))


def book_refund(
    ctx: Context,
    card_id: bytes,
    card: Card,
    merchant: Merchant,
    returned: tuple[Lot, ...],
    reason: str,
    frozen: bool,
) -> int:
    """Cancel the lots `returned`; a card without lots is closed. The money given back.

    What the holder does not get of a lot (ORDINARY only) is earned by the merchant.
    """
    owed = sum([lot.owed for lot in returned])
    money = owed
    if reason == "ORDINARY":
        money = sum([rules.ordinary_refund(lot) for lot in returned])
    face = sum([lot.left for lot in returned])
    lots = tuple([lot for lot in card.lots if lot not in returned])
    rules.give_back(ctx, card.merchant, merchant, money)
    paid_out = rules.pay_merchant(ctx, card_id, card, merchant, owed - money, frozen)
    changed = replace(
        card,
        state="ACTIVE" if lots else "CLOSED",
        cancelled=card.cancelled + face,
        earned=card.earned + owed - money,
        paid_out=card.paid_out + paid_out,
        refunded=card.refunded + money,
        lots=lots,
    )
    rules.add_totals(
        ctx, card.merchant, face=-face, earned=owed - money, paid_out=paid_out, refunded=money
    )
    book(ctx, card_id, changed, "REFUND", face, money, reason)
    data = {"card": card_id, "reason": reason, "refunded": money, "cancelled": face}
    ctx.emit("Refunded", data, (*people_of(card), card.custodian.hex()))
    return money


def release_held(ctx: Context, card_id: bytes, card: Card, merchant: Merchant) -> int:
    """Pay the merchant what was held of this card's earnings; returns how much."""
    paid_out = rules.pay_merchant(ctx, card_id, card, merchant, 0, frozen=False)
    ctx.state.put(CARDS, card_id, replace(card, paid_out=card.paid_out + paid_out))
    rules.add_totals(ctx, card.merchant, paid_out=paid_out)
    return paid_out
