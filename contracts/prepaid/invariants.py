"""What every transaction on prepaid cards must leave true, judged by what it changed.

* Face: remaining = initial + top-ups − consumed − cancelled = Σ lots ≥ 0.
* Money of a card: paid = earned + refunded + owed, and paid_out ≤ earned ≤ paid. Only a winding-up
  whose estate is too small leaves a part of paid owed by the merchant alone.
* Money of a merchant: escrow = paid − earned − refunded − advanced, held = earned − paid_out.
* Statements grow line by line, and seq is gapless. Cards and their merchant's sums move alike.

The whole state is walked by `audit`.
"""

from __future__ import annotations

from contracts.kernel.ledger import ACCOUNTS, Account, account_key
from contracts.kernel.state import Changes
from contracts.prepaid.models import LOTS_MAX, Card, Entry, Totals
from contracts.prepaid.money import ESCROW, HELD
from contracts.prepaid.tables import CARDS, ENTRIES, TOTALS

Sums = tuple[int, int, int, int, int, int, int]
NO_SUMS: Sums = (0, 0, 0, 0, 0, 0, 0)


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
    unsettled = paid - earned - card.refunded - owed
    if unsettled < 0 or (unsettled and card.state != "CLOSED"):
        found.append("money paid is not earned, refunded or owed")
    if not 0 <= card.paid_out <= earned <= paid:
        found.append("not paid_out ≤ earned ≤ paid")
    if len(lots) > LOTS_MAX:
        found.append("too many lots")
    if card.state == "CLOSED" and (remaining or lots or card.due_ms):
        found.append("closed with a balance or a deadline")
    return found


def totals_violations(totals: Totals) -> list[str]:
    """One merchant's sums by themselves."""
    found = []
    if totals.advanced:
        if not 0 < totals.advanced <= totals.outstanding:
            found.append("more was advanced than is owed")
        if totals.held:
            found.append("earnings are held while money is advanced")
    if totals.face < 0 or totals.consumed < 0:
        found.append("negative sums")
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
        moved[new.merchant] = add(moved.get(new.merchant, NO_SUMS), _step(old, new))
    if lines:
        found.append("a statement line without its card")
    for merchant, sums, after in changes.of(TOTALS):
        if after is None:
            found.append("a merchant's sums vanished")
            continue
        if _step_of_totals(sums, after) != moved.pop(merchant, NO_SUMS):
            found.append("a merchant's sums moved unlike its cards")
        found.extend(totals_violations(after))
        found.extend(_money_violations(changes, merchant, sums, after))
    if any(step != NO_SUMS for step in moved.values()):
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
    if old is not None and old.head == new.head and lines:
        found.append("a line is not chained to its statement")
    return found


def sums_of_card(card: Card) -> Sums:
    """One card's part of its merchant's sums."""
    return (
        1,
        card.remaining,
        card.consumed,
        card.paid,
        card.earned,
        card.paid_out,
        card.refunded,
    )


def sums_of_totals(totals: Totals) -> Sums:
    """The same of all of a merchant's cards."""
    return (
        totals.cards,
        totals.face,
        totals.consumed,
        totals.paid,
        totals.earned,
        totals.paid_out,
        totals.refunded,
    )


def add(left: Sums, right: Sums) -> Sums:
    """Field by field."""
    a, b, c, d, e, f, g = left
    t, u, v, w, x, y, z = right
    return (a + t, b + u, c + v, d + w, e + x, f + y, g + z)


def _minus(left: Sums, right: Sums) -> Sums:
    a, b, c, d, e, f, g = left
    t, u, v, w, x, y, z = right
    return (a - t, b - u, c - v, d - w, e - x, f - y, g - z)


def _step(old: Card | None, new: Card) -> Sums:
    return sums_of_card(new) if old is None else _minus(sums_of_card(new), sums_of_card(old))


def _step_of_totals(old: Totals | None, new: Totals) -> Sums:
    after = sums_of_totals(new)
    return after if old is None else _minus(after, sums_of_totals(old))


def _money_violations(
    changes: Changes, merchant: bytes, before: Totals | None, after: Totals
) -> list[str]:
    """Escrow and held money are just what the sums say; an untouched account has not to move."""
    accounts: dict[bytes, Account | None] = {
        change.key: change.after for change in changes.of(ACCOUNTS)
    }
    found = []
    for purpose, amount, untouched in (
        (ESCROW, after.escrow, 0 if before is None else before.escrow),
        (HELD, after.held, 0 if before is None else before.held),
    ):
        account = accounts.get(account_key(merchant, after.asset, purpose))
        balance = untouched if account is None else account.balance
        if balance != amount:
            found.append(f"{purpose} has {balance}, the cards say {amount}")
    return found
