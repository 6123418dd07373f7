"""How a card is written: its statement, its lots, its place in the merchant's lists.

Every change of a card goes through `book`, which adds one line to its statement and chains it to
the lines before. No rule about who may do what.
"""

from __future__ import annotations

import hashlib

import msgspec

from contracts.kernel.context import Context
from contracts.prepaid import money
from contracts.prepaid.lots import Lots, Slices
from contracts.prepaid.models import NO_HEAD, Card, CardRef, Entry, KeptLot, Lot, Merchant
from contracts.prepaid.tables import CARDS, CARDS_OF, DUE_OF, ENTRIES, LOTS, TOTALS, numbered

replace = msgspec.structs.replace
_encode = msgspec.msgpack.Encoder(order="deterministic").encode


def chained(head: bytes, entry: Entry) -> bytes:
    """The end of a statement's hash chain after one more line."""
    return hashlib.sha256(head + _encode(entry)).digest()


def book(
    ctx: Context,
    card_id: bytes,
    card: Card,
    kind: str,
    amount: int,
    money_moved: int,
    reason: str = "",
    slices: Slices = (),
    other: bytes = b"",
) -> Card:
    """Write the card with one more line on its statement; the card as written."""
    number = card.entries + 1
    entry = Entry(
        kind,
        card.seq,
        card.initial + card.topped_up,
        amount,
        money_moved,
        card.remaining,
        ctx.time_ms,
        ctx.transaction_id,
        ctx.sender,
        card.holder,
        card.owner,
        reason,
        slices,
        other,
    )
    written = replace(card, entries=number, head=chained(card.head, entry))
    ctx.state.put(CARDS, card_id, written)
    ctx.state.insert(ENTRIES, numbered(card_id, number), entry)
    return written


def entry_of_seq(ctx: Context, card_id: bytes, card: Card, seq: int) -> Entry:
    """The line that used `seq`: the first whose seq is not below it, found by bisection."""
    low, high = seq, card.entries
    while low < high:
        middle = (low + high) // 2
        if ctx.state.need(ENTRIES, numbered(card_id, middle)).seq < seq:
            low = middle + 1
        else:
            high = middle
    return ctx.state.need(ENTRIES, numbered(card_id, low))


def last_entry(ctx: Context, card_id: bytes, card: Card) -> Entry:
    """The newest line of a statement."""
    return ctx.state.need(ENTRIES, numbered(card_id, card.entries))


# ---- a card in the lists of its merchant


def new_card(
    ctx: Context,
    card_id: bytes,
    merchant_id: bytes,
    merchant: Merchant,
    holder: bytes,
    card_class: str,
    validity_ms: int,
    due_ms: int,
) -> Card:
    """A card with nothing on it, the merchant's next by number. The caller books its first line."""
    number = ctx.state.need(TOTALS, merchant_id).cards + 1
    card = Card(
        merchant=merchant_id,
        number=number,
        owner=merchant.owner,
        custodian=merchant.custodian,
        holder=holder,
        card_class=card_class,
        state="ACTIVE",
        since_ms=ctx.time_ms,
        validity_ms=validity_ms,
        due_ms=0,
        seq=0,
        entries=0,
        lots_made=0,
        initial=0,
        topped_up=0,
        consumed=0,
        cancelled=0,
        paid=0,
        earned=0,
        paid_out=0,
        refunded=0,
        lots=(),
        head=NO_HEAD,
    )
    ref = CardRef(card_id, card.owner, card.custodian)
    ctx.state.insert(CARDS_OF, numbered(merchant_id, number), ref)
    money.add_totals(ctx, merchant_id, cards=1)
    return due(ctx, card_id, card, due_ms)


def due(ctx: Context, card_id: bytes, card: Card, due_ms: int) -> Card:
    """The card, to be looked at again at `due_ms`, or never; not yet written."""
    if card.due_ms:
        ctx.state.delete(DUE_OF, numbered(card.merchant, card.due_ms, card.number))
    if due_ms:
        ref = CardRef(card_id, card.owner, card.custodian)
        ctx.state.insert(DUE_OF, numbered(card.merchant, due_ms, card.number), ref)
    return replace(card, due_ms=due_ms)


def closed(ctx: Context, card_id: bytes, card: Card) -> Card:
    """The card without lots, never due again; not yet written."""
    return due(ctx, card_id, replace(card, state="CLOSED", since_ms=ctx.time_ms, lots=()), 0)


# ---- lots


def with_lots(ctx: Context, card_id: bytes, card: Card, lots: Lots) -> Card:
    """The card with these lots at the end, as they came; not yet written."""
    for lot in lots:
        _keep(ctx, card_id, card, lot)
    return replace(card, lots=(*card.lots, *lots), lots_made=card.lots_made + len(lots))


def drop_lots(ctx: Context, card_id: bytes, lots: Lots) -> None:
    """These lots are gone for good: no void brings them back."""
    for lot in lots:
        ctx.state.delete(LOTS, numbered(card_id, lot.number))


def _keep(ctx: Context, card_id: bytes, card: Card, lot: Lot) -> None:
    kept = KeptLot(lot, card.holder, card.owner)
    ctx.state.insert(LOTS, numbered(card_id, lot.number), kept)
