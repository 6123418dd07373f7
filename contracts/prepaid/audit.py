"""The audit of all prepaid cards: every card, every statement from its first line, all money.

What `invariants` judges by single changes is here computed anew from the whole state.
"""

from __future__ import annotations

from contracts.kernel.contract import Audit
from contracts.kernel.ledger import ACCOUNTS, account_key
from contracts.kernel.queries import walk
from contracts.kernel.state import State
from contracts.kernel.types import AMOUNT_MAX
from contracts.prepaid.booking import chained
from contracts.prepaid.invariants import (
    NO_SUMS,
    Sums,
    add,
    card_violations,
    sums_of_card,
    sums_of_totals,
    totals_violations,
)
from contracts.prepaid.models import LINE_SIGNS, NO_HEAD, Card, Totals
from contracts.prepaid.money import ESCROW, HELD
from contracts.prepaid.tables import (
    CARDS,
    CARDS_OF,
    DUE_OF,
    ENTRIES,
    HELD_OF,
    LOTS,
    MERCHANTS,
    TOTALS,
    numbered,
)

FIGURES = ("cards", "face", "consumed", "paid", "earned", "paid_out", "refunded")


def audit(state: State) -> Audit:
    """The whole state: broken promises, and sums over all merchants in minor units."""
    found: list[str] = []
    sums: dict[bytes, Sums] = {}
    unsettled: dict[bytes, int] = {}
    consumptions = lines = 0
    for card_id, card in walk(state, CARDS):
        name = f"card {card_id.hex()}"
        found.extend(f"{name}: {text}" for text in card_violations(card))
        found.extend(f"{name}: {text}" for text in _index_violations(state, card_id, card))
        lines += _audit_statement(state, card_id, card, found)
        consumptions += card.seq
        sums[card.merchant] = add(sums.get(card.merchant, NO_SUMS), sums_of_card(card))
        if card.state == "CLOSED":
            claim = card.paid - card.earned - card.refunded
            unsettled[card.merchant] = unsettled.get(card.merchant, 0) + claim
    figures: dict[str, int] = dict.fromkeys(("merchants", *FIGURES, "advanced"), 0)
    for merchant, totals in walk(state, TOTALS):
        name = f"merchant {merchant.hex()}"
        own = sums.pop(merchant, NO_SUMS)
        texts = _merchant_violations(state, merchant, totals, own, unsettled.get(merchant, 0))
        found.extend(f"{name}: {text}" for text in texts)
        figures["merchants"] += 1
        figures["advanced"] += totals.advanced
        for field, amount in zip(FIGURES, sums_of_totals(totals), strict=True):
            figures[field] += amount
    found.extend(f"merchant {merchant.hex()} has cards but no sums" for merchant in sums)
    return Audit(found, {**figures, "consumptions": consumptions, "statement_lines": lines})


def _merchant_violations(
    state: State, merchant_id: bytes, totals: Totals, own: Sums, unsettled: int
) -> list[str]:
    found = totals_violations(totals)
    if sums_of_totals(totals) != own:
        found.append("sums differ from its cards")
    if unsettled and not totals.advanced:
        found.append("holders went short although nothing was advanced")
    if unsettled and state.need(MERCHANTS, merchant_id).state not in ("WINDING_UP", "WOUND_UP"):
        found.append("holders went short outside a winding-up")
    for purpose, amount in ((ESCROW, totals.escrow), (HELD, totals.held)):
        account = state.get(ACCOUNTS, account_key(merchant_id, totals.asset, purpose))
        balance = 0 if account is None else account.balance
        if balance != amount:
            found.append(f"{purpose} has {balance}, the cards say {amount}")
    return found


def _index_violations(state: State, card_id: bytes, card: Card) -> list[str]:
    """The lists of its merchant and the lots that it keeps say what the card says."""
    found = []
    number_key = numbered(card.merchant, card.number)
    listed, held = state.get(CARDS_OF, number_key), state.get(HELD_OF, number_key)
    if listed is None or listed.card != card_id:
        found.append("not among its merchant's cards")
    if (held is not None) != (card.held > 0):
        found.append("held money and its index differ")
    due = state.get(DUE_OF, numbered(card.merchant, card.due_ms, card.number))
    if card.due_ms and (due is None or due.card != card_id):
        found.append("its deadline is not in the list of deadlines")
    for lot in card.lots:
        kept = state.get(LOTS, numbered(card_id, lot.number))
        if kept is None or (kept.lot.paid, kept.lot.bonus) != (lot.paid, lot.bonus):
            found.append(f"lot {lot.number} is not the one that came")
    return found


def _audit_statement(state: State, card_id: bytes, card: Card, found: list[str]) -> int:
    """Recompute remaining and the hash chain from the first line on; the number of lines."""
    name = f"card {card_id.hex()}"
    number = seq = remaining = 0
    head = NO_HEAD
    for key, line in walk(state, ENTRIES, card_id):
        number += 1
        seq += line.kind == "CONSUME"
        remaining += LINE_SIGNS[line.kind] * line.amount
        head = chained(head, line)
        if key != numbered(card_id, number) or line.seq != seq or line.remaining != remaining:
            found.append(f"{name}: line {number} does not follow from the one before")
            return number
    if (number, seq, remaining) != (card.entries, card.seq, card.remaining):
        found.append(f"{name}: the statement ends elsewhere than the card")
    if head != card.head:
        found.append(f"{name}: the statement is not the one that the card was chained to")
    if max(card.initial + card.topped_up, card.paid) > AMOUNT_MAX:
        found.append(f"{name}: beyond what can be counted")
    return number
