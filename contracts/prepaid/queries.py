"""What can be asked about prepaid cards; each answer is cut to what its viewer may see."""

from __future__ import annotations

from contracts.kernel.access import may_read
from contracts.kernel.context import View
from contracts.kernel.contract import Details, Query
from contracts.kernel.ledger import ACCOUNTS, account_key
from contracts.kernel.types import reject
from contracts.prepaid.models import (
    CARDS,
    CARDS_OF,
    CLASSES,
    ENTRIES,
    FULL_CUSTODY_BPS,
    MERCHANTS,
    POLICY,
    POLICY_KEY,
    TOTALS,
    Card,
    CardQuery,
    CardsQuery,
    ClassesQuery,
    MerchantQuery,
    NoArgs,
    StatementQuery,
    card_number_key,
    entry_key,
    people_of,
)
from contracts.prepaid.rules import EARNINGS, ESCROW, HELD


def card(view: View, args: CardQuery) -> Details:
    """A card: face, money, the next seq, and the lots that are left."""
    return _card_view(args.card, view.need(CARDS, args.card))


def statement(view: View, args: StatementQuery) -> Details:
    """The lines of a card's statement in order; for holder, merchant and regulator."""
    found = view.need(CARDS, args.card)
    if not may_read(view.viewer, people_of(found)):
        reject("NOT_FOUND", what=CARDS.name)
    after = entry_key(args.card, args.cursor)
    page = view.page(ENTRIES, args.card, after, args.limit)
    last = args.cursor + len(page)
    return {
        "items": [
            {
                "number": args.cursor + offset,
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
            }
            for offset, (_, line) in enumerate(page, 1)
        ],
        "next": last if last < found.entries else None,
        "as_of": view.block.height,
    }


def merchant(view: View, args: MerchantQuery) -> Details:
    """A merchant: its state, what it owes its customers, and the custody that covers it."""
    found = view.need(MERCHANTS, args.merchant)
    answer: Details = {
        "merchant": args.merchant,
        "name": found.name,
        "owner": found.owner,
        "custodian": found.custodian,
        "state": found.state,
        "asset": found.asset,
        "classes": list(found.classes),
        "custody_bps": found.custody_bps,
        "freezes": [
            {"scope": one.scope, "reason": one.reason, "at_ms": one.at_ms} for one in found.freezes
        ],
    }
    totals = view.state.get(TOTALS, args.merchant)
    if totals is None:
        return answer
    balances = {
        name: _balance(view, args.merchant, found.asset, purpose)
        for name, purpose in (("escrow", ESCROW), ("held", HELD), ("earnings", EARNINGS))
    }
    outstanding = totals.paid - totals.earned - totals.refunded
    covered = balances["escrow"] * FULL_CUSTODY_BPS
    return {
        **answer,
        **balances,
        "outstanding": outstanding,
        "custody_ratio_bps": covered // outstanding if outstanding else FULL_CUSTODY_BPS,
        "cards": totals.cards,
        "face": totals.face,
        "paid": totals.paid,
        "earned": totals.earned,
        "paid_out": totals.paid_out,
        "refunded": totals.refunded,
    }


def cards(view: View, args: CardsQuery) -> Details:
    """A merchant's cards, oldest first; for the merchant, its bank and the regulator."""
    view.need(MERCHANTS, args.merchant)
    after = card_number_key(args.merchant, args.cursor)
    page = view.page(CARDS_OF, args.merchant, after, args.limit)
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
        "items": [
            {
                "name": one.name,
                "asset": one.asset,
                "named": one.named,
                "face_max": one.face_max,
                "min_validity_ms": one.min_validity_ms,
            }
            for _, one in page
        ],
        "next": page[-1][1].name if len(page) == args.limit else None,
    }


def policy(view: View, _: NoArgs) -> Details:
    """Whether prepaid calls may travel unsealed on this network."""
    return {"allow_clear": view.need(POLICY, POLICY_KEY).allow_clear}


def _balance(view: View, owner: bytes, asset: str, purpose: str) -> int:
    return view.need(ACCOUNTS, account_key(owner, asset, purpose)).balance


def _card_view(card_id: bytes, found: Card) -> Details:
    return {
        "card": card_id,
        "merchant": found.merchant,
        "number": found.number,
        "holder": found.holder,
        "class": found.card_class,
        "state": found.state,
        "seq": found.seq,
        "next_seq": found.seq + 1,
        "entries": found.entries,
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
    "card": Query(CardQuery, card, (CARDS, "card"), CARD_SUMS),
    "statement": Query(StatementQuery, statement),
    "merchant": Query(MerchantQuery, merchant, (MERCHANTS, "merchant")),
    "cards": Query(CardsQuery, cards),
    "classes": Query(ClassesQuery, classes),
    "policy": Query(NoArgs, policy),
}
