"""The others' part of an order: the platforms', the peripheral's, and time's.

A platform confirms under its own reference what it booked in its own system, or says why not. The
peripheral delivers, or says why not. When the deadline has come anybody may end the order. A
platform's success that comes too late has no effect here: it is due back in its own system.
"""

from __future__ import annotations

from contracts.exchange import trade
from contracts.exchange.arguments import Because, Fulfil, OrderArgs, Page, PlatformConfirm
from contracts.exchange.models import (
    DUE_BACK,
    EXCHANGING,
    FULFILLED,
    IN_FORCE,
    REFUNDED,
    RESERVED,
    UNKNOWN,
    Booking,
    BookingRef,
    Delivery,
    Order,
    Part,
)
from contracts.exchange.orders import REPLAYED
from contracts.exchange.pricing import replace
from contracts.exchange.requirement import EXCHANGE, check_not_frozen
from contracts.exchange.tables import (
    BOOKINGS,
    BOOKINGS_OF,
    DEADLINES,
    DEADLINES_KEY,
    DELIVERIES,
    ORDERS,
    OVERSIGHT,
    booking_key,
    bookings_of,
    delivery_readers,
    numbered,
)
from contracts.exchange.wallets import is_due, next_number, platform_of, sweep
from contracts.kernel.context import Context
from contracts.kernel.contract import Action, Details
from contracts.kernel.freezing import ALL

PLATFORM_ROLES = ("platform", "issuer")

# Why an order was refunded.
TIMEOUT = "TIMEOUT"
REJECTED = "REJECTED"
FAILED = "FAILED"


# ---- the platform's part


def platform_confirm(ctx: Context, args: PlatformConfirm) -> Details:
    """A platform has done its part, under a reference of its own; with the last part both sides
    of the exchange are posted.

    Too late, it only leaves a booking that is due back.
    """
    order = ctx.state.need(ORDERS, args.order)
    own = [part for part in order.parts if part.platform == ctx.sender]
    if not own:
        ctx.reject("UNAUTHORIZED", why="not a platform of this order")
    for part in own:
        if part.booking == booking_key(part.asset, args.ext_ref):
            return {"state": order.state, **REPLAYED}
    left = [part for part in own if not part.booking]
    if not left:
        ctx.reject("IDEM_CONFLICT", what="ext_ref")
    part = left[0]
    if order.state == REFUNDED or ctx.time_ms >= order.deadline_ms:
        return _confirm_late(ctx, args, order, part)
    for asset in (order.source, order.target):
        check_not_frozen(ctx, platform_of(ctx.state, asset), EXCHANGE)
    key = _book(ctx, args, part, IN_FORCE)
    parts = tuple([replace(one, booking=key) if one is part else one for one in order.parts])
    confirmed = replace(order, parts=parts)
    data = {"order": args.order, "asset": part.asset, "ext_ref": args.ext_ref, "units": part.units}
    ctx.emit("Confirmed", data, (order.user.hex(), part.platform.hex(), *OVERSIGHT))
    trade.save(ctx, args.order, order, confirmed)
    if all(one.booking for one in parts):
        terms = confirmed.terms
        assert terms is not None, "an order with parts has terms"
        confirmed = trade.exchange(ctx, args.order, confirmed, terms)
    return {"state": confirmed.state}


def platform_reject(ctx: Context, args: Because) -> Details:
    """A platform cannot do its part: the person gets everything back."""
    order = ctx.state.need(ORDERS, args.order)
    own = [part for part in order.parts if part.platform == ctx.sender]
    if not own:
        ctx.reject("UNAUTHORIZED", why="not a platform of this order")
    if order.state == REFUNDED and order.why == REJECTED:
        return {"state": order.state, **REPLAYED}
    if order.state != EXCHANGING or not any(not part.booking for part in own):
        ctx.reject("BAD_STATE", state=order.state)
    return {"state": trade.refund(ctx, args.order, order, REJECTED, args.reason).state}


def _confirm_late(ctx: Context, args: PlatformConfirm, order: Order, part: Part) -> Details:
    key = _book(ctx, args, part, DUE_BACK)
    late = replace(
        order,
        parts=tuple([replace(one, booking=key) if one is part else one for one in order.parts]),
    )
    if order.state == REFUNDED:
        ctx.state.put(ORDERS, args.order, late)
    else:
        trade.refund(ctx, args.order, late, TIMEOUT)
    data = {"order": args.order, "asset": part.asset, "ext_ref": args.ext_ref, "units": part.units}
    ctx.emit("LateSuccess", data, (part.platform.hex(), *OVERSIGHT))
    return {"state": REFUNDED, "late": True}


def _book(ctx: Context, args: PlatformConfirm, part: Part, effect: str) -> bytes:
    """Keep what the platform did, by its reference, which serves one order only.

    A statement may have told of it before.
    """
    key = booking_key(part.asset, args.ext_ref)
    known = ctx.state.get(BOOKINGS, key)
    if known is not None:
        if known.effect != UNKNOWN or known.units != abs(part.units):
            ctx.reject("IDEM_CONFLICT", what="ext_ref")
        ctx.state.put(BOOKINGS, key, replace(known, order=args.order, effect=effect))
        return key
    number = next_number(ctx)
    units, now = abs(part.units), ctx.time_ms
    booking = Booking(
        part.asset, part.platform, args.ext_ref, args.order, units, effect, "", number, now
    )
    add_booking(ctx, key, booking)
    return key


def add_booking(ctx: Context, key: bytes, booking: Booking) -> None:
    """A booking that was not known, on its asset's list."""
    ctx.state.insert(BOOKINGS, key, booking)
    place = numbered(bookings_of(booking.asset), booking.number)
    ctx.state.insert(BOOKINGS_OF, place, BookingRef(key, booking.platform))


# ---- the peripheral's part


def fulfil(ctx: Context, args: Fulfil) -> Details:
    """The peripheral delivers the product, sealed to the person; its signature is the receipt."""
    order = _order_of_peripheral(ctx, args.order)
    known = ctx.state.get(DELIVERIES, args.order)
    if known is not None:
        if (known.receipt_hash, known.sealed_product) != (args.receipt_hash, args.sealed_product):
            ctx.reject("IDEM_CONFLICT", what=DELIVERIES.name)
        return {"state": order.state, **REPLAYED}
    check_not_frozen(ctx, platform_of(ctx.state, order.target), ALL)
    terms = order.terms
    if order.state == RESERVED and ctx.time_ms >= order.deadline_ms:
        ctx.reject("EXPIRED", deadline_ms=order.deadline_ms)
    if order.state != RESERVED or terms is None:
        ctx.reject("BAD_STATE", state=order.state)
    delivery = Delivery(
        order.user,
        order.peripheral,
        args.receipt_hash,
        args.sealed_product,
        ctx.time_ms,
        ctx.transaction_id,
    )
    ctx.state.insert(DELIVERIES, args.order, delivery)
    trade.deliver(ctx, args.order, order, terms)
    data = {
        "order": args.order,
        "product": order.product,
        "receipt_hash": args.receipt_hash,
        "asset": order.target,
        "amt": terms.need,
    }
    ctx.emit("Delivered", data, delivery_readers(delivery))
    return {"state": FULFILLED}


def fail(ctx: Context, args: Because) -> Details:
    """The peripheral cannot deliver: the person gets everything back."""
    order = _order_of_peripheral(ctx, args.order)
    if order.state == REFUNDED and order.why == FAILED:
        return {"state": order.state, **REPLAYED}
    if order.state != RESERVED:
        ctx.reject("BAD_STATE", state=order.state)
    return {"state": trade.refund(ctx, args.order, order, FAILED, args.reason).state}


def _order_of_peripheral(ctx: Context, order_id: bytes) -> Order:
    order = ctx.state.need(ORDERS, order_id)
    if ctx.sender != order.peripheral:
        ctx.reject("UNAUTHORIZED", why="another peripheral's order")
    return order


# ---- time's part


def timeout(ctx: Context, args: OrderArgs) -> Details:
    """Anybody ends an order whose deadline has come: the person gets everything back."""
    order = ctx.state.need(ORDERS, args.order)
    if order.state == REFUNDED and order.why == TIMEOUT:
        return {"state": order.state, **REPLAYED}
    if order.state not in (EXCHANGING, RESERVED):
        ctx.reject("BAD_STATE", state=order.state)
    if ctx.time_ms < order.deadline_ms:
        ctx.reject("BAD_STATE", why="not yet", deadline_ms=order.deadline_ms)
    return {"state": trade.refund(ctx, args.order, order, TIMEOUT).state}


def expire_orders(ctx: Context, args: Page) -> Details:
    """Anybody ends the orders whose deadlines have come, a page at a time; call until done."""
    page = ctx.state.scan(DEADLINES, DEADLINES_KEY, None, args.limit)
    due = [ref.order for key, ref in page if is_due(ctx, key)]

    def end(order_id: bytes) -> None:
        trade.refund(ctx, order_id, ctx.state.need(ORDERS, order_id), TIMEOUT)

    return sweep(ctx, due, args.limit, end)


ACTIONS = {
    "platform_confirm": Action(PlatformConfirm, platform_confirm, PLATFORM_ROLES),
    "platform_reject": Action(Because, platform_reject, PLATFORM_ROLES),
    "fulfil": Action(Fulfil, fulfil, ("peripheral",)),
    "fail": Action(Because, fail, ("peripheral",)),
    "timeout": Action(OrderArgs, timeout),
    "expire_orders": Action(Page, expire_orders),
}
