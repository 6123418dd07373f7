"""What must hold of deposit modes whatever happens: after each transaction, and all in all.

* Filled is at most listed; the trades of a listing are what it filled.
* A trade's escrow is what was funded less what was released and refunded; its fee is the floor.
* A bank's control account is the sum of what is left of its deposits.
* Facts never change; each side of a trade has at most one evaluation.
"""

from __future__ import annotations

from contracts.deposits import rules
from contracts.deposits.models import (
    BOOK,
    DEPOSITS,
    ENTERPRISES,
    FACTS,
    LISTINGS,
    POLICY,
    POLICY_KEY,
    REVIEWS,
    TRADES,
    Deposit,
    Listing,
    Trade,
)
from contracts.deposits.rules import CONTROL, ESCROW
from contracts.kernel.contract import Audit
from contracts.kernel.ledger import ACCOUNTS, Account, account_key
from contracts.kernel.queries import walk
from contracts.kernel.state import Change, Changes, State
from contracts.kernel.types import closure

Sums = dict[tuple[bytes, str], int]
"""By owner and purpose, what the records say is on an account."""

STEPS: dict[str, tuple[str, ...]] = {
    "MATCHED": (),
    "AGREED": ("MATCHED",),
    "ESCROWED": ("AGREED",),
    "SHIPPED": ("ESCROWED",),
    "DISPUTED": ("ESCROWED", "SHIPPED"),
    "SETTLED": ("SHIPPED", "DISPUTED"),
    "CANCELED": ("MATCHED", "AGREED"),
}
CAME_FROM = closure(STEPS)


def listing_violations(one: Listing) -> list[str]:
    """Filled is at most listed, and what is full is no longer open."""
    if not 0 <= one.filled <= one.quantity:
        return ["filled beyond its quantity"]
    return ["full and still open"] if one.state == "OPEN" and one.filled == one.quantity else []


def trade_violations(one: Trade) -> list[str]:
    """One trade by itself."""
    found = []
    if one.amount != one.price * one.quantity or not 0 <= one.confirmed <= one.quantity:
        found.append("amount or quantity is off")
    if not 0 <= one.released + one.refunded <= one.amount or one.refunded < 0:
        found.append("more was paid than was in escrow")
    if one.state == "SETTLED" and rules.escrowed(one):
        found.append("settled with money in escrow")
    if not 0 <= one.fees <= one.released:
        found.append("fees beyond what was released")
    return found


def deposit_violations(one: Deposit) -> list[str]:
    """One deposit by itself."""
    if not 0 <= one.left <= one.amount or (one.state == "CLOSED" and one.left):
        return ["left is not within its amount"]
    return []


def violations(changes: Changes) -> list[str]:
    """One transaction: its listings, trades, deposits, facts and money agree."""
    found: list[str] = []
    moved: Sums = {}
    for listing in changes.of(LISTINGS):
        found.extend(_gone(listing) or listing_violations(_there(listing.after)))
    for key, old, new in changes.of(TRADES):
        if new is None:
            found.append("a trade vanished")
            continue
        found.extend(trade_violations(new))
        if old is not None and new.state != old.state and old.state not in CAME_FROM[new.state]:
            found.append(f"a trade from {old.state} became {new.state}")
        before = 0 if old is None else rules.escrowed(old)
        _add(moved, key, ESCROW, rules.escrowed(new) - before)
    for _, older, newer in changes.of(DEPOSITS):
        if newer is None:
            found.append("a deposit vanished")
            continue
        found.extend(deposit_violations(newer))
        _add(moved, newer.bank, CONTROL, newer.left - (0 if older is None else older.left))
    for fact in changes.of(FACTS):
        if fact.before is not None or fact.after is None:
            found.append("a fact was changed")
    for review in changes.of(REVIEWS):
        if review.before is not None and review.before.score:
            found.append("an evaluation was changed")
    return [*found, *_money_violations(changes, moved)]


def _there(listing: Listing | None) -> Listing:
    assert listing is not None, "checked by the caller"
    return listing


def _gone(change: Change[Listing]) -> list[str]:
    return ["a listing vanished"] if change.after is None else []


def _add(sums: Sums, owner: bytes, purpose: str, amount: int) -> None:
    sums[owner, purpose] = sums.get((owner, purpose), 0) + amount


def _money_violations(changes: Changes, moved: Sums) -> list[str]:
    """Escrow and control moved just as trades and deposits did."""
    found = []
    for _, before, after in changes.of(ACCOUNTS):
        if after is None or after.purpose not in (ESCROW, CONTROL):
            continue
        step = after.balance - (0 if before is None else before.balance)
        if step != moved.pop((after.owner, after.purpose), 0):
            found.append(f"{after.purpose} moved unlike its records")
    if any(moved.values()):
        found.append("trades or deposits moved without their money")
    return found


def audit(state: State) -> Audit:
    """The whole state: every listing, trade, deposit and enterprise, and all money of theirs."""
    found: list[str] = []
    sums: Sums = {}
    currency = state.need(POLICY, POLICY_KEY).currency
    figures = dict.fromkeys(
        ("enterprises", "listings", "trades", "escrow", "fees", "deposits", "on_deposit"), 0
    )
    for key, trade in walk(state, TRADES):
        found.extend(f"trade {key.hex()}: {text}" for text in trade_violations(trade))
        _add(sums, key, ESCROW, rules.escrowed(trade))
        figures["trades"] += 1
        figures["escrow"] += rules.escrowed(trade)
        figures["fees"] += trade.fees
    for key, deposit in walk(state, DEPOSITS):
        found.extend(f"deposit {key.hex()}: {text}" for text in deposit_violations(deposit))
        _add(sums, deposit.bank, CONTROL, deposit.left)
        figures["deposits"] += 1
        figures["on_deposit"] += deposit.left
    for (owner, purpose), amount in sums.items():
        if _balance(state.get(ACCOUNTS, account_key(owner, currency, purpose))) != amount:
            found.append(f"{purpose} of {owner.hex()} is not what the records say")
    fees = account_key(rules.PLATFORM, currency, rules.FEES)
    if _balance(state.get(ACCOUNTS, fees)) != figures["fees"]:
        found.append("the platform's fees are not those of its trades")
    found.extend(_audit_lists(state, figures))
    return Audit(found, figures)


def _balance(account: Account | None) -> int:
    return 0 if account is None else account.balance


def _audit_lists(state: State, figures: dict[str, int]) -> list[str]:
    """The book holds just the open listings, and every enterprise its facts."""
    found: list[str] = []
    resting = {entry.listing for _, entry in walk(state, BOOK)}
    for key, listing in walk(state, LISTINGS):
        found.extend(f"listing {key.hex()}: {text}" for text in listing_violations(listing))
        if (listing.state == "OPEN") != (key in resting):
            found.append(f"listing {key.hex()}: the book says otherwise")
        figures["listings"] += 1
    for identity, one in walk(state, ENTERPRISES):
        figures["enterprises"] += 1
        if len(list(walk(state, FACTS, identity))) != one.facts:
            found.append(f"enterprise {identity.hex()}: facts are missing")
    return found
