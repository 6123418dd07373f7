"""What must hold of prepaid cards whatever happens: after each transaction, and all in all."""

from __future__ import annotations

from contracts.kernel.contract import Audit
from contracts.kernel.ledger import ACCOUNTS, Account, account_key
from contracts.kernel.queries import walk
from contracts.kernel.state import Changes, State
from contracts.kernel.types import AMOUNT_MAX
from contracts.prepaid.models import (
    CARDS,
    CARDS_OF,
    ENTRIES,
    HELD_OF,
    LOTS_MAX,
    TOTALS,
    Card,
    Entry,
    Totals,
    card_number_key,
    entry_key,
)
from contracts.prepaid.rules import ESCROW, HELD

Sums = tuple[int, int, int, int, int, int]
_NO_SUMS: Sums = (0, 0, 0, 0, 0, 0)


def card_violations(card: Card) -> list[str]:
    """One card by itself: face, money, lots."""
    lots, remaining, earned, paid = card.lots, card.remaining, card.earned, card.paid
    left = owed = 0
    for lot in lots:
        left += lot.left
        owed += lot.owed
    found = []
    if remaining < 0:
        found.append("remaining is negative")
    if remaining != left:
        found.append("remaining differs from its lots")
    if paid != earned + card.refunded + owed:
        found.append("money paid is not earned, refunded or owed")
    if not 0 <= card.paid_out <= earned <= paid:
        found.append("not paid_out ≤ earned ≤ paid")
    if len(lots) > LOTS_MAX:
        found.append("too many lots")
    if card.state != "ACTIVE" and (remaining or lots):
        found.append("closed with a balance")
    return found


def violations(changes: Changes) -> list[str]:
    """One transaction: its cards, statement lines, merchants' sums and money agree."""
    found: list[str] = []
    lines: dict[bytes, list[Entry]] = {}
    for key, before, entry in changes.of(ENTRIES):
        if before is not None or entry is None:
            found.append("a statement line was changed")
        else:
            lines.setdefault(key[:16], []).append(entry)
    moved: dict[bytes, Sums] = {}
    for key, old, new in changes.of(CARDS):
        if new is None:
            found.append("a card vanished")
            continue
        found.extend(card_violations(new))
        found.extend(_step_violations(old, new, lines.pop(key, [])))
        moved[new.merchant] = _add(moved.get(new.merchant, _NO_SUMS), _step(old, new))
    if lines:
        found.append("a statement line without its card")
    for merchant, sums, after in changes.of(TOTALS):
        if after is None:
            found.append("a merchant's sums vanished")
            continue
        if _step_of_totals(sums, after) != moved.pop(merchant, _NO_SUMS):
            found.append("a merchant's sums moved unlike its cards")
        found.extend(_money_violations(changes, merchant, sums, after))
    if any(step != _NO_SUMS for step in moved.values()):
        found.append("cards moved without their merchant's sums")
    return found


def _step_violations(old: Card | None, new: Card, lines: list[Entry]) -> list[str]:
    """Lines are added one by one, and each consumption uses the next seq."""
    found = []
    first = 0 if old is None else old.entries
    if new.entries != first + len(lines):
        found.append("lines are missing in a statement")
    seq = 0 if old is None else old.seq
    for line in lines:
        seq += line.kind == "CONSUME"
        if line.seq != seq:
            found.append("seq is not gapless")
    if new.seq != seq:
        found.append("seq is not gapless")
    if lines and lines[-1].remaining != new.remaining:
        found.append("the statement ends with another remaining")
    if old is not None and (old.merchant, old.holder) != (new.merchant, new.holder):
        found.append("a card changed hands")
    return found


def _sums(card: Card) -> Sums:
    return (1, card.remaining, card.paid, card.earned, card.paid_out, card.refunded)


def _sums_of_totals(totals: Totals) -> Sums:
    return (
        totals.cards,
        totals.face,
        totals.paid,
        totals.earned,
        totals.paid_out,
        totals.refunded,
    )


def _add(left: Sums, right: Sums) -> Sums:
    a, b, c, d, e, f = left
    u, v, w, x, y, z = right
    return (a + u, b + v, c + w, d + x, e + y, f + z)


def _minus(left: Sums, right: Sums) -> Sums:
    a, b, c, d, e, f = left
    u, v, w, x, y, z = right
    return (a - u, b - v, c - w, d - x, e - y, f - z)


def _step(old: Card | None, new: Card) -> Sums:
    return _sums(new) if old is None else _minus(_sums(new), _sums(old))


def _step_of_totals(old: Totals | None, new: Totals) -> Sums:
    after = _sums_of_totals(new)
    return after if old is None else _minus(after, _sums_of_totals(old))


def _expected(totals: Totals) -> tuple[tuple[str, int], tuple[str, int]]:
    """What must be in escrow and in the held account."""
    return (
        (ESCROW, totals.paid - totals.earned - totals.refunded),
        (HELD, totals.earned - totals.paid_out),
    )


def _money_violations(
    changes: Changes, merchant: bytes, before: Totals | None, after: Totals
) -> list[str]:
    """Escrow and held money are just what the sums say; an untouched account has not to move."""
    accounts: dict[bytes, Account | None] = {
        change.key: change.after for change in changes.of(ACCOUNTS)
    }
    old = (0, 0) if before is None else tuple([amount for _, amount in _expected(before)])
    found = []
    for (purpose, amount), amount_before in zip(_expected(after), old, strict=True):
        account = accounts.get(account_key(merchant, after.asset, purpose))
        balance = amount_before if account is None else account.balance
        if balance != amount:
            found.append(f"{purpose} has {balance}, the cards say {amount}")
    return found


def audit(state: State) -> Audit:
    """The whole state: every card, every statement from its first line, every merchant's money."""
    found: list[str] = []
    sums: dict[bytes, Sums] = {}
    consumptions = lines = 0
    for card_id, card in walk(state, CARDS):
        name = f"card {card_id.hex()}"
        found.extend(f"{name}: {text}" for text in card_violations(card))
        number = _audit_statement(state, card_id, card, found)
        lines += number
        consumptions += card.seq
        sums[card.merchant] = _add(sums.get(card.merchant, _NO_SUMS), _sums(card))
        number_key = card_number_key(card.merchant, card.number)
        listed, held = state.get(CARDS_OF, number_key), state.get(HELD_OF, number_key)
        if listed is None or listed.card != card_id:
            found.append(f"{name}: not among its merchant's cards")
        if (held is not None) != (card.held > 0):
            found.append(f"{name}: held money and its index differ")
    figures: dict[str, int] = dict.fromkeys(
        ("merchants", "cards", "face", "paid", "earned", "paid_out", "refunded"), 0
    )
    for merchant, totals in walk(state, TOTALS):
        name = f"merchant {merchant.hex()}"
        own = _sums_of_totals(totals)
        if own != sums.pop(merchant, _NO_SUMS):
            found.append(f"{name}: sums differ from its cards")
        for purpose, amount in _expected(totals):
            account = state.get(ACCOUNTS, account_key(merchant, totals.asset, purpose))
            balance = 0 if account is None else account.balance
            if balance != amount:
                found.append(f"{name}: {purpose} has {balance}, the cards say {amount}")
        figures["merchants"] += 1
        for field, amount in zip(list(figures)[1:], own, strict=True):
            figures[field] += amount
    found.extend(f"merchant {merchant.hex()} has cards but no sums" for merchant in sums)
    return Audit(found, {**figures, "consumptions": consumptions, "statement_lines": lines})


def _audit_statement(state: State, card_id: bytes, card: Card, found: list[str]) -> int:
    """Recompute remaining from the first line on; the number of lines."""
    name = f"card {card_id.hex()}"
    number = seq = remaining = 0
    for key, line in walk(state, ENTRIES, card_id):
        number += 1
        seq += line.kind == "CONSUME"
        remaining += line.amount if line.kind in ("OPEN", "TOP_UP") else -line.amount
        if key != entry_key(card_id, number) or line.seq != seq or line.remaining != remaining:
            found.append(f"{name}: line {number} does not follow from the one before")
            return number
    if (number, seq, remaining) != (card.entries, card.seq, card.remaining):
        found.append(f"{name}: the statement ends elsewhere than the card")
    if max(card.initial + card.topped_up, card.paid) > AMOUNT_MAX:
        found.append(f"{name}: beyond what can be counted")
    return number
