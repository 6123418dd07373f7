"""What an order moves: the way there, and the same way back.

An order is a fixed list of *legs*, each within one asset. Executing it reserves them, all at once;
when the platforms have confirmed they are posted together, both sides of the exchange or neither.
For a product the same legs are then reserved the other way round, so that whatever happens to pools
and wallets meanwhile the refund is there: general units, spread, escrow and change alike. Delivery
lets that reservation go and hands the escrow over; a refund posts it. Nothing is ever converted
back. Lots, stock and the day's cap follow.
"""

from __future__ import annotations

from contracts.exchange.models import (
    DUE_BACK,
    EXCHANGED,
    EXCHANGING,
    FULFILLED,
    REFUNDED,
    RESERVED,
    Order,
    OrderRef,
    Policy,
    Terms,
)
from contracts.exchange.pricing import replace
from contracts.exchange.tables import (
    BOOKINGS,
    DEADLINES,
    DEADLINES_KEY,
    ORDERS,
    ORDERS_OF,
    OVERSIGHT,
    POLICY,
    POLICY_KEY,
    PRODUCTS,
    REQUESTS,
    STOCK,
    book_key,
    delivery_readers,
    hold_key,
    numbered,
    orders_of,
    parties_of,
    product_key,
)
from contracts.exchange.wallets import (
    BALANCE,
    EARNED,
    ESCROW,
    POOL,
    SPREAD,
    add_to_book,
    free_day,
    give,
    give_back,
    platform_of,
    pool_account,
)
from contracts.kernel.context import Context
from contracts.kernel.identity import signing_key
from contracts.kernel.ledger import Leg, account_key
from contracts.kernel.types import AMOUNT_MAX, TIME_MS_MAX

# The order's own deadline decides, since lots and stock must follow; the ledger's never comes.
LEDGER_DEADLINE_MS = TIME_MS_MAX


def policy_of(ctx: Context) -> Policy:
    """How this network exchanges."""
    return ctx.state.need(POLICY, POLICY_KEY)


# ---- legs


def legs_there(order: Order, terms: Terms) -> tuple[Leg, ...]:
    """All that an order moves when its platforms have confirmed."""
    general, source, target, user = order.general, order.source, order.target, order.user
    pays = account_key(user, source, BALANCE)
    gets = account_key(user, target, BALANCE)
    legs: list[tuple[bytes, bytes, int]] = []
    # Where the general units that buy the target come from: the person, or the source's pool.
    funds = pays
    if terms.sell is not None:
        funds = pool_account(general, source)
        legs += [
            (pays, pool_account(source, source), terms.paid),
            (funds, pool_account(general, source, SPREAD), terms.sell_spread),
            (funds, account_key(user, general, BALANCE), terms.remainder),
        ]
    if terms.buy is not None:
        legs += [
            (funds, pool_account(general, target), terms.cost - terms.buy_spread),
            (funds, pool_account(general, target, SPREAD), terms.buy_spread),
        ]
    pool, escrow = pool_account(target, target), pool_account(target, target, ESCROW)
    legs += [
        (gets, escrow, terms.own),
        (pool, escrow, terms.need - terms.own),
        (pool, gets, terms.change),
    ]
    return tuple([Leg(*leg) for leg in legs if leg[2]])


def legs_back(order: Order, terms: Terms) -> tuple[Leg, ...]:
    """The same, each the other way round."""
    there = legs_there(order, terms)
    return tuple([Leg(leg.credit, leg.debit, leg.amount) for leg in there])


def reserved_legs(order: Order) -> tuple[Leg, ...]:
    """What the ledger must hold reserved for an order in its state."""
    if order.terms is not None and order.state == EXCHANGING:
        return legs_there(order, order.terms)
    if order.terms is not None and order.state == RESERVED:
        return legs_back(order, order.terms)
    return ()


def open_pool(ctx: Context, asset: str, owner: bytes, general: str) -> None:
    """The accounts of an asset's pool, in it and in the general asset."""
    for purpose in (POOL, ESCROW):
        ctx.ledger.open(book_key(asset), asset, purpose, (owner,))
    for purpose in (POOL, SPREAD):
        ctx.ledger.open(book_key(asset), general, purpose, (owner,))


# ---- steps of an order


def save(ctx: Context, order_id: bytes, old: Order, new: Order) -> None:
    """Write an order, and keep the list of deadlines in step with it."""
    if old.deadline_ms:
        ctx.state.delete(DEADLINES, numbered(DEADLINES_KEY, old.deadline_ms, old.number))
    if new.deadline_ms:
        key = numbered(DEADLINES_KEY, new.deadline_ms, new.number)
        ctx.state.put(DEADLINES, key, OrderRef(order_id, new.user))
    ctx.state.put(ORDERS, order_id, new)


def list_for(ctx: Context, order_id: bytes, order: Order, parties: tuple[bytes, ...]) -> None:
    """Put an order on the lists of these parties."""
    for party in parties:
        key = numbered(orders_of(party), order.number)
        ctx.state.put(ORDERS_OF, key, OrderRef(order_id, party))


def exchange(ctx: Context, order_id: bytes, order: Order, terms: Terms) -> Order:
    """Post both sides; hand a product's order over to its peripheral. The order after it."""
    ctx.ledger.post_pending(hold_key(order_id))
    data = {
        "order": order_id,
        "paid": {"asset": order.source, "amt": terms.paid},
        "received": {"asset": order.target, "amt": terms.received},
        "remainder": terms.remainder,
    }
    ctx.emit("Exchanged", data, (order.user.hex(), *OVERSIGHT))
    if not order.peripheral:
        done = replace(order, state=EXCHANGED, deadline_ms=0)
        give(ctx, order.user, platform_of(ctx.state, order.target), terms.change)
        give(ctx, order.user, platform_of(ctx.state, order.general), terms.remainder)
        _accrue(ctx, order)
        save(ctx, order_id, order, done)
        return done
    back = legs_back(order, terms)
    ctx.ledger.reserve(hold_key(order_id), back, LEDGER_DEADLINE_MS, (order.user,))
    row = ctx.state.need(PRODUCTS, product_key(order.product, terms.product_version))
    deadline_ms = ctx.time_ms + ctx.scaled(row.fulfil_ttl_ms)
    reserved = replace(order, state=RESERVED, deadline_ms=deadline_ms)
    save(ctx, order_id, order, reserved)
    _hand_over(ctx, order_id, reserved, terms)
    return reserved


def deliver(ctx: Context, order_id: bytes, order: Order, terms: Terms) -> None:
    """Let the way back go; the escrow is the peripheral's, the change the person's."""
    ctx.ledger.void_pending(hold_key(order_id))
    asset = order.target
    earned = ctx.ledger.open(order.peripheral, asset, EARNED, (order.peripheral,))
    ctx.ledger.transfer(Leg(pool_account(asset, asset, ESCROW), earned, terms.need))
    give(ctx, order.user, platform_of(ctx.state, asset), terms.change)
    _accrue(ctx, order)
    save(ctx, order_id, order, replace(order, state=FULFILLED, deadline_ms=0))


def refund(ctx: Context, order_id: bytes, order: Order, why: str, reason: str = "") -> Order:
    """Go all the way back: to the unit, to the lot, to the pool. The order after it.

    What platforms had confirmed is due back in their own systems.
    """
    terms = order.terms
    assert terms is not None, "only an executed order can be refunded"
    if order.state == EXCHANGING:
        ctx.ledger.void_pending(hold_key(order_id))
    else:
        ctx.ledger.post_pending(hold_key(order_id))
    give_back(ctx, order.user, platform_of(ctx.state, order.source), order.slices)
    give_back(ctx, order.user, platform_of(ctx.state, order.target), order.own_slices)
    free_day(ctx, order.user, order.target, order.day, terms.obtained)
    if order.product:
        change_stock(ctx, order.product, order.quantity)
    for part in order.parts:
        if part.booking:
            booking = ctx.state.need(BOOKINGS, part.booking)
            ctx.state.put(BOOKINGS, part.booking, replace(booking, effect=DUE_BACK))
    done = replace(order, state=REFUNDED, deadline_ms=0, why=why)
    save(ctx, order_id, order, done)
    data = {
        "order": order_id,
        "why": why,
        "reason": reason,
        "asset": order.source,
        "amt": terms.paid,
    }
    ctx.emit("Refunded", data, parties_of(order))
    return done


def change_stock(ctx: Context, product: str, pieces: int) -> None:
    """Add pieces to what is left of a product, or take them if negative; `OUT_OF_STOCK`."""
    stock = ctx.state.need(STOCK, product.encode())
    if stock.left is None:
        return
    if stock.left + pieces < 0:
        ctx.reject("OUT_OF_STOCK", left=stock.left)
    left = min(stock.left + pieces, AMOUNT_MAX)
    ctx.state.put(STOCK, product.encode(), replace(stock, left=left))


def _accrue(ctx: Context, order: Order) -> None:
    """Now that it is final: what each platform provided is owed to it, what it took back not."""
    for part in order.parts:
        add_to_book(ctx, part.asset, owed_parts=part.units * part.price)


def _hand_over(ctx: Context, order_id: bytes, order: Order, terms: Terms) -> None:
    """Tell the peripheral for whom, what, and what is in escrow for it."""
    request = ctx.state.need(REQUESTS, order_id)
    reader = request.reader or signing_key(ctx.state, order.user) or order.user
    data = {
        "order": order_id,
        "product": order.product,
        "quantity": order.quantity,
        "asset": order.target,
        "amt": terms.need,
        "reader": reader,
        "details": request.details,
        "deadline_ms": order.deadline_ms,
    }
    ctx.emit("HandedOver", data, delivery_readers(request))
