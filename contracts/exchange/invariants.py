"""What must hold of the exchange whatever happens: after each transaction, and all in all.

* Units: what all accounts of an asset hold is what was issued less what was burned.
* Lots: what is available in a wallet is the sum of its lots.
* Escrow: what is in escrow is what the reserved orders need.
* Reservations: the ledger holds reserved just the legs of each order on its way, there or back.
* Terms: every order's arithmetic follows from the rates that it has snapshots of.
* Quotes: each is used at most once, by the order that took its terms; orders never leave their end.
"""

from __future__ import annotations

from collections.abc import Callable

from contracts.exchange.models import (
    EXCHANGED,
    EXCHANGING,
    FULFILLED,
    QUOTED,
    REFUNDED,
    REQUESTED,
    RESERVED,
    Book,
    Order,
    Terms,
)
from contracts.exchange.pricing import bonus_of, cost_of, gross_of, replace
from contracts.exchange.tables import (
    BOOKS,
    EXPIRIES,
    EXPIRIES_KEY,
    LOTS,
    ORDERS,
    PLATFORMS,
    QUOTES,
    book_key,
    hold_key,
    numbered,
)
from contracts.exchange.trade import reserved_legs
from contracts.exchange.wallets import BALANCE, EARNED, ESCROW, ISSUED, POOL, SPREAD
from contracts.kernel.contract import Audit
from contracts.kernel.ledger import ACCOUNTS, PENDING, Account, Leg, PendingTransfer, account_key
from contracts.kernel.queries import walk
from contracts.kernel.state import Changes, State

# What an order may become next. One transaction may take several of these steps.
NEXT: dict[str, tuple[str, ...]] = {
    REQUESTED: (QUOTED,),
    QUOTED: (EXCHANGING,),
    EXCHANGING: (RESERVED, EXCHANGED, REFUNDED),
    RESERVED: (FULFILLED, REFUNDED),
    FULFILLED: (),
    EXCHANGED: (),
    REFUNDED: (),
}
UNIT_PURPOSES = (BALANCE, POOL, ESCROW, SPREAD, EARNED)


# ---- one order by itself


def terms_violations(terms: Terms) -> list[str]:
    """Nobody gains by the terms of an order: each leg is at its rate, rounded for the pool."""
    found = []
    general = terms.paid
    if terms.sell is not None:
        general = terms.gross - terms.sell_spread
        if terms.gross != gross_of(terms.paid, terms.sell) or terms.sell_spread < 0:
            found.append("the gross is not what the rate says")
    if terms.buy is not None:
        if terms.cost != cost_of(terms.obtained, terms.buy):
            found.append("the cost is not what the rate says")
        if terms.bonus != bonus_of(terms.cost, terms.buy):
            found.append("the bonus is not what the rate says")
        if not 0 <= terms.buy_spread <= terms.cost:
            found.append("the spread is more than the cost")
    elif terms.received or terms.cost:
        found.append("units were obtained without a rate")
    bought = terms.cost if terms.buy is not None else 0
    if general != bought + terms.remainder:
        found.append("general units are not the cost and the remainder")
    if not 0 <= terms.own <= terms.need <= terms.own + terms.received:
        found.append("the product is not covered")
    if min(terms.paid, terms.remainder, terms.change) < 0:
        found.append("an amount is negative")
    return found


def order_violations(order: Order) -> list[str]:
    """What an order must be in its state."""
    found = []
    executed = order.state not in (REQUESTED, QUOTED)
    terms = order.terms
    if executed != (terms is not None):
        return ["an order has terms exactly when it was executed"]
    if (order.deadline_ms > 0) != (order.state in (EXCHANGING, RESERVED)):
        found.append("an order has a deadline exactly while it is on its way")
    if terms is not None:
        found.extend(terms_violations(terms))
        if sum([one.amount for one in order.slices]) != terms.paid:
            found.append("the lots taken are not what was paid")
        if sum([one.amount for one in order.own_slices]) != terms.own:
            found.append("the own lots taken are not what was used")
    confirmed = all(part.booking for part in order.parts)
    if order.state in (RESERVED, FULFILLED, EXCHANGED) and not confirmed:
        found.append("an exchange without all of its platforms")
    return found


def _may_become(old: str, new: str) -> bool:
    return old == new or any(_may_become(step, new) for step in NEXT[old])


def _step_violations(old: Order | None, new: Order) -> list[str]:
    """An order goes forward only, stays what it was of, and has an end."""
    if old is None:
        return []
    found = []
    if not _may_become(old.state, new.state):
        found.append(f"an order went from {old.state} to {new.state}")
    fixed = (new.number, new.user, new.kind, new.product, new.peripheral, new.quantity)
    if fixed != (old.number, old.user, old.kind, old.product, old.peripheral, old.quantity):
        found.append("an order became another one")
    if old.terms is not None:
        bound = (new.terms, new.slices, new.own_slices, new.source, new.target, new.day)
        if bound != (old.terms, old.slices, old.own_slices, old.source, old.target, old.day):
            found.append("an executed order got other terms")
    # What a platform did too late is noted on an order that was refunded.
    noted = replace(old, parts=new.parts) if old.state == REFUNDED else old
    if not NEXT[old.state] and new != noted:
        found.append("an order changed after its end")
    return found


# ---- one transaction


def violations(changes: Changes) -> list[str]:
    """One transaction: orders, quotes, lots, escrow, reservations and sums move together."""
    orders = changes.of(ORDERS)
    found: list[str] = []
    for _, before, after in orders:
        if after is None:
            found.append("an order vanished")
        else:
            found.extend(order_violations(after))
            found.extend(_step_violations(before, after))
    if not orders and not changes.of(LOTS) and not changes.of(BOOKS) and not _touches(changes):
        return found
    found.extend(_quote_violations(changes))
    found.extend(_reservation_violations(changes))
    found.extend(_lot_violations(changes))
    found.extend(_escrow_violations(changes))
    found.extend(_supply_violations(changes))
    return found


def _touches(changes: Changes) -> bool:
    return any(
        after is not None and after.purpose.startswith("exchange.")
        for _, _, after in changes.of(ACCOUNTS)
    )


def _quote_violations(changes: Changes) -> list[str]:
    """A quote that was used is not used again, and gave its terms to its order."""
    found = []
    terms = {key: after.terms for key, _, after in changes.of(ORDERS) if after is not None}
    for key, before, after in changes.of(QUOTES):
        if after is None:
            found.append("a quote vanished")
        elif before is not None and (before.used or replace(after, used=False) != before):
            found.append("a quote was used twice or changed")
        elif after.used and terms.get(key[:16]) != after.terms:
            found.append("an order has other terms than its quote")
    executed = [
        key
        for key, before, after in changes.of(ORDERS)
        if after is not None and after.terms is not None and (before is None or not before.terms)
    ]
    used = [key[:16] for key, _, after in changes.of(QUOTES) if after is not None and after.used]
    if sorted(executed) != sorted(used):
        found.append("an execution without its quote")
    return found


def _reservation_violations(changes: Changes) -> list[str]:
    """What the ledger holds reserved follows each order on its way."""
    pending = {key: (before, after) for key, before, after in changes.of(PENDING)}
    found = []
    for order_id, old, new in changes.of(ORDERS):
        key = hold_key(order_id)
        wanted_before = () if old is None else reserved_legs(old)
        wanted = () if new is None else reserved_legs(new)
        before, after = pending.get(key, (None, None))
        if key not in pending:
            right = wanted_before == wanted
        else:
            right = _legs_of(before) == wanted_before and _legs_of(after) == wanted
        if not right:
            found.append("the ledger has other legs reserved than the order")
    return found


def _legs_of(pending: PendingTransfer | None) -> tuple[Leg, ...]:
    legs = () if pending is None else pending.legs
    return tuple([Leg(leg.debit, leg.credit, leg.amount) for leg in legs])


def _lot_violations(changes: Changes) -> list[str]:
    """What is available in a wallet moves as its lots do."""
    moved: dict[bytes, int] = {}
    found = []
    for key, lot_before, lot in changes.of(LOTS):
        step = (0 if lot is None else lot.amount) - (0 if lot_before is None else lot_before.amount)
        moved[key[:16]] = moved.get(key[:16], 0) + step
        if lot is not None and lot.amount <= 0:
            found.append("an empty lot")
    for key, step in _steps(changes, BALANCE, lambda account: account.available):
        if moved.pop(key, 0) != step:
            found.append("a wallet moved unlike its lots")
    if any(moved.values()):
        found.append("lots moved without their wallet")
    return found


def _escrow_violations(changes: Changes) -> list[str]:
    """Escrow moves as the needs of reserved orders do."""
    needs: dict[bytes, int] = {}
    for _, before, after in changes.of(ORDERS):
        for order, sign in ((before, -1), (after, 1)):
            if order is not None and order.state == RESERVED and order.terms is not None:
                key = account_key(book_key(order.target), order.target, ESCROW)
                needs[key] = needs.get(key, 0) + sign * order.terms.need
    found = []
    for key, step in _steps(changes, ESCROW, lambda account: account.balance):
        if needs.pop(key, 0) != step:
            found.append("escrow moved unlike the orders' needs")
    if any(needs.values()):
        found.append("orders were reserved without escrow")
    return found


def _supply_violations(changes: Changes) -> list[str]:
    """Units come and go by issuing and burning alone."""
    sums: dict[bytes, int] = {}
    for key, before, after in changes.of(BOOKS):
        if after is None:
            return ["an asset's sums vanished"]
        old = 0 if before is None else before.issued - before.burned
        sums[key] = after.issued - after.burned - old
    found = []
    for change in changes.of(ACCOUNTS):
        account = change.after
        if account is not None and account.purpose == ISSUED:
            before_balance = 0 if change.before is None else change.before.balance
            if sums.pop(account.owner, 0) != before_balance - account.balance:
                found.append("units were made or burned beside the sums")
    if any(sums.values()):
        found.append("sums moved without units")
    return found


def _steps(changes: Changes, purpose: str, of: Callable[[Account], int]) -> list[tuple[bytes, int]]:
    """By how much the accounts of one purpose changed."""
    return [
        (key, of(after) - (0 if before is None else of(before)))
        for key, before, after in changes.of(ACCOUNTS)
        if after is not None and after.purpose == purpose
    ]


# ---- the whole state


class _Sums:
    """What a walk over orders and accounts adds up, by asset."""

    def __init__(self) -> None:
        self.needs: dict[str, int] = {}
        self.owed: dict[str, int] = {}
        self.units: dict[str, int] = {}
        self.escrow: dict[str, int] = {}
        self.issued: dict[str, int] = {}


def audit(state: State) -> Audit:
    """The whole state: every order, wallet, reservation and quote, every asset's units."""
    found: list[str] = []
    sums = _Sums()
    used: dict[bytes, int] = {}
    states: dict[str, int] = {}
    for key, one in walk(state, QUOTES):
        used[key[:16]] = used.get(key[:16], 0) + one.used
    for order_id, order in walk(state, ORDERS):
        name = f"order {order_id.hex()}"
        states[order.state] = states.get(order.state, 0) + 1
        found.extend(f"{name}: {text}" for text in order_violations(order))
        if _legs_of(state.get(PENDING, hold_key(order_id))) != reserved_legs(order):
            found.append(f"{name}: the ledger has other legs reserved")
        if used.pop(order_id, 0) != (order.terms is not None):
            found.append(f"{name}: its quotes were not used just once for its execution")
        _add_order(sums, order)
    found.extend(f"quote of unknown order {key.hex()}" for key, count in used.items() if count)
    found.extend(_audit_accounts(state, sums))
    figures = {"orders": sum(states.values()), **states}
    for _, platform in walk(state, PLATFORMS):
        book = state.need(BOOKS, book_key(platform.asset))
        found.extend(_audit_book(platform.asset, book, sums))
        figures[f"units {platform.asset}"] = book.issued - book.burned
    return Audit(found, figures)


def _add_order(sums: _Sums, order: Order) -> None:
    if order.state == RESERVED and order.terms is not None:
        sums.needs[order.target] = sums.needs.get(order.target, 0) + order.terms.need
    if order.state in (FULFILLED, EXCHANGED):
        for part in order.parts:
            sums.owed[part.asset] = sums.owed.get(part.asset, 0) + part.units * part.price


def _audit_accounts(state: State, sums: _Sums) -> list[str]:
    """Every wallet against its lots; the sums of all accounts on the way."""
    found = []
    lots: dict[bytes, int] = {}
    for key, lot in walk(state, LOTS):
        lots[key[:16]] = lots.get(key[:16], 0) + lot.amount
        if lot.number:
            expiry = state.get(EXPIRIES, numbered(EXPIRIES_KEY, lot.expires_ms, lot.number))
            if expiry is None or expiry.lot != key:
                found.append(f"lot {key.hex()} is not on the list of expiries")
    for key, account in walk(state, ACCOUNTS):
        asset = account.asset
        if account.purpose == BALANCE and lots.pop(key, 0) != account.available:
            found.append(f"wallet {key.hex()}: its lots are not what is available")
        if account.purpose == ISSUED:
            sums.issued[asset] = -account.balance
        if account.purpose in UNIT_PURPOSES:
            sums.units[asset] = sums.units.get(asset, 0) + account.balance
        if account.purpose == ESCROW:
            sums.escrow[asset] = account.balance
    found.extend(f"lots without a wallet {key.hex()}" for key in lots)
    return found


def _audit_book(asset: str, book: Book, sums: _Sums) -> list[str]:
    """One asset: its units, its escrow, and what its platform is owed."""
    found = []
    issued = sums.issued.get(asset, 0)
    if not sums.units.get(asset, 0) == issued == book.issued - book.burned:
        found.append(f"{asset}: the accounts hold other units than were issued")
    if sums.escrow.get(asset, 0) != sums.needs.get(asset, 0):
        found.append(f"{asset}: escrow is not what reserved orders need")
    if book.owed_parts + book.settled_parts != sums.owed.get(asset, 0):
        found.append(f"{asset}: debts are not what final orders say")
    return found
