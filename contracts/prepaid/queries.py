"""What can be asked about prepaid cards; each answer is cut to what its viewer may see.

The views of supervision are in `oversight`.
"""

from __future__ import annotations

import msgspec

from contracts.kernel.access import may_read
from contracts.kernel.context import View
from contracts.kernel.contract import Details, Query
from contracts.kernel.types import reject
from contracts.prepaid import oversight
from contracts.prepaid.arguments import (
    CardArgs,
    CardsQuery,
    ClassesQuery,
    MerchantQuery,
    MerchantsQuery,
    NoArgs,
    StatementQuery,
)
from contracts.prepaid.models import Card, Entry
from contracts.prepaid.tables import (
    CARDS,
    CARDS_OF,
    CLASSES,
    ENTRIES,
    MERCHANTS,
    POLICY,
    POLICY_KEY,
    numbered,
    people_of,
)

_encode = msgspec.msgpack.Encoder(order="deterministic").encode


def card(view: View, args: CardArgs) -> Details:
    """A card: face, money, the next seq, when it expires, and the lots that are left."""
    found = view.need(CARDS, args.card)
    merchant = view.state.need(MERCHANTS, found.merchant)
    queued = merchant.state == "WINDING_UP" and found.number > merchant.settled
    place = found.number - merchant.settled if queued else None
    return {**_card_view(args.card, found), "refund_queue_place": place}


def statement(view: View, args: StatementQuery) -> Details:
    """The lines of a card's statement in order; for holder, merchant and regulator.

    `canonical` are a line's bytes as they are chained; `head` is the end of the chain.
    """
    found = view.need(CARDS, args.card)
    if not may_read(view.viewer, people_of(found)):
        reject("NOT_FOUND", what=CARDS.name)
    page = view.page(ENTRIES, args.card, numbered(args.card, args.cursor), args.limit)
    last = args.cursor + len(page)
    return {
        "items": [
            {"number": args.cursor + offset, **_line_view(line)}
            for offset, (_, line) in enumerate(page, 1)
        ],
        "next": last if last < found.entries else None,
        "head": found.head,
        "as_of": view.block.height,
    }


def cards(view: View, args: CardsQuery) -> Details:
    """A merchant's cards, oldest first; for the merchant, its bank and the regulator."""
    view.need(MERCHANTS, args.merchant)
    page = view.page(CARDS_OF, args.merchant, numbered(args.merchant, args.cursor), args.limit)
    return {
        "items": [_card_view(ref.card, view.need(CARDS, ref.card)) for _, ref in page],
        "next": args.cursor + len(page) if len(page) == args.limit else None,
        "as_of": view.block.height,
    }


def classes(view: View, args: ClassesQuery) -> Details:
    """The classes of cards of this network."""
    after = None if args.cursor is None else args.cursor.encode()
    page = view.page(CLASSES, b"", after, args.limit)
    return {
        "items": [msgspec.structs.asdict(one) for _, one in page],
        "next": page[-1][1].name if len(page) == args.limit else None,
    }


def policy(view: View, _: NoArgs) -> Details:
    """The policy in force: periods, custody, breakage, thresholds of alerts."""
    found = view.need(POLICY, POLICY_KEY)
    kinds = {one.kind: one.custody_bps for one in found.custody_kinds}
    return {**msgspec.structs.asdict(found), "custody_kinds": kinds}


def _line_view(line: Entry) -> Details:
    return {
        "kind": line.kind,
        "seq": line.seq,
        "initial": line.initial,
        "amount": line.amount,
        "money": line.money,
        "remaining": line.remaining,
        "time_ms": line.time_ms,
        "transaction": line.transaction,
        "booked_by": line.booked_by,
        "reason": line.reason,
        "slices": [{"lot": one.lot, "amount": one.amount} for one in line.slices],
        "other": line.other,
        "canonical": _encode(line),
    }


def _card_view(card_id: bytes, found: Card) -> Details:
    return {
        "card": card_id,
        "merchant": found.merchant,
        "number": found.number,
        "holder": found.holder,
        "class": found.card_class,
        "state": found.state,
        "due_ms": found.due_ms,
        "seq": found.seq,
        "next_seq": found.seq + 1,
        "entries": found.entries,
        "next_line": found.entries + 1,
        "initial": found.initial,
        "topped_up": found.topped_up,
        "consumed": found.consumed,
        "cancelled": found.cancelled,
        "remaining": found.remaining,
        "paid": found.paid,
        "earned": found.earned,
        "paid_out": found.paid_out,
        "held": found.held,
        "refunded": found.refunded,
        "owed": found.paid - found.earned - found.refunded,
        "lots": [
            {
                "number": lot.number,
                "paid": lot.paid,
                "bonus": lot.bonus,
                "used": lot.used,
                "left": lot.left,
                "earned": lot.earned,
                "paid_at_ms": lot.paid_at_ms,
            }
            for lot in found.lots
        ],
    }


CARD_SUMS = {
    "remaining": ("initial", "topped_up", "-consumed", "-cancelled"),
    "held": ("earned", "-paid_out"),
    "owed": ("paid", "-earned", "-refunded"),
}
QUERIES = {
    "card": Query(CardArgs, card, (CARDS, "card"), CARD_SUMS),
    "statement": Query(StatementQuery, statement),
    "cards": Query(CardsQuery, cards),
    "classes": Query(ClassesQuery, classes),
    "policy": Query(NoArgs, policy),
    "merchant": Query(MerchantQuery, oversight.merchant, (MERCHANTS, "merchant")),
    "merchants": Query(MerchantsQuery, oversight.merchants),
    "refund_queue": Query(CardsQuery, oversight.refund_queue),
}
