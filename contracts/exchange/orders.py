"""The person's part of an order: request, quote, execution.

Each act checks in one order: who may, whether it was done before, what must exist, freezes,
expiry, states, limits, money. A rejected act leaves no trace but its receipt.
"""

from __future__ import annotations

from contracts.exchange import trade
from contracts.exchange.arguments import Execute, OrderArgs, SubmitRequest
from contracts.exchange.models import (
    EXCHANGING,
    PURCHASE,
    QUOTED,
    REQUESTED,
    Order,
    Part,
    Quote,
    Quoted,
    Rate,
    Request,
    Terms,
)
from contracts.exchange.parsing import parse_request
from contracts.exchange.pricing import bounded, replace
from contracts.exchange.requirement import (
    EXCHANGE,
    Offer,
    check_not_frozen,
    check_supply,
    look_up,
    product_in_force,
    terms_of,
)
from contracts.exchange.tables import (
    BOOKS,
    ORDERS,
    OVERSIGHT,
    QUOTES,
    REQUESTS,
    book_key,
    hold_key,
    numbered,
    parties_of,
)
from contracts.exchange.wallets import (
    check_room,
    next_number,
    open_wallet,
    platform_of,
    take,
    use_day,
)
from contracts.kernel.context import Context
from contracts.kernel.contract import Action, Details
from contracts.kernel.types import AMOUNT_MAX

REPLAYED = {"replayed": True}


def submit_request(ctx: Context, args: SubmitRequest) -> Details:
    """Ask for a product, or for one asset in exchange for another; the raw request is parsed."""
    known = ctx.state.get(ORDERS, args.order)
    if known is not None:
        _check_own(ctx, known)
        if ctx.state.need(REQUESTS, args.order).raw != args.raw:
            ctx.reject("IDEM_CONFLICT", what=REQUESTS.name)
        return {"state": known.state, **REPLAYED}
    wanted = parse_request(args.raw)
    peripheral = b""
    if wanted.kind == PURCHASE:
        peripheral = product_in_force(ctx.state, wanted.product).peripheral
    order = Order(
        number=next_number(ctx),
        kind=wanted.kind,
        state=REQUESTED,
        user=ctx.sender,
        product=wanted.product,
        peripheral=peripheral,
        quantity=wanted.quantity,
        general=trade.policy_of(ctx).general,
        source=wanted.source,
        target=wanted.target,
        quotes=0,
        terms=None,
        parts=(),
        slices=(),
        own_slices=(),
        day=0,
        deadline_ms=0,
        why="",
    )
    request = Request(ctx.sender, peripheral, args.raw, wanted.reader, wanted.details, ctx.time_ms)
    ctx.state.insert(REQUESTS, args.order, request)
    ctx.state.insert(ORDERS, args.order, order)
    trade.list_for(ctx, args.order, order, (ctx.sender,))
    own = (ctx.sender.hex(), *OVERSIGHT)
    ctx.emit("Requested", {"order": args.order}, own)
    parsed = {
        "order": args.order,
        "kind": wanted.kind,
        "product": wanted.product,
        "quantity": wanted.quantity,
        "own": wanted.own,
        "from": wanted.source,
        "to": wanted.target,
        "amt": wanted.offered,
    }
    ctx.emit("Parsed", parsed, own)
    return {"state": REQUESTED}


def quote(ctx: Context, args: OrderArgs) -> Details:
    """Make an offer that stands, once, until it expires, whatever rates and prices do meanwhile.

    While an unused quote is good it is the answer; afterwards there is a new one.
    """
    order = ctx.state.need(ORDERS, args.order)
    _check_own(ctx, order)
    last = ctx.state.get(QUOTES, numbered(args.order, order.quotes))
    if last is not None and not last.used and ctx.time_ms < last.expires_ms:
        return {**_quote_view(order, last), **REPLAYED}
    wanted = parse_request(ctx.state.need(REQUESTS, args.order).raw)
    offer = look_up(ctx, wanted)
    if order.state not in (REQUESTED, QUOTED):
        ctx.reject("BAD_STATE", state=order.state)
    terms = terms_of(wanted, offer)
    check_supply(ctx, order.user, offer, terms, order.quantity)
    expires_ms = ctx.time_ms + ctx.scaled(trade.policy_of(ctx).quote_ttl_ms)
    for rate in (terms.buy, terms.sell):
        if rate is not None:
            _note_quoted(ctx, rate, expires_ms)
    made = Quote(order.user, terms, ctx.time_ms, expires_ms, used=False)
    quoted = replace(
        order,
        state=QUOTED,
        source=offer.source.asset,
        target=offer.target.asset,
        quotes=order.quotes + 1,
    )
    ctx.state.insert(QUOTES, numbered(args.order, quoted.quotes), made)
    ctx.state.put(ORDERS, args.order, quoted)
    view = _quote_view(quoted, made)
    ctx.emit("Quoted", {"order": args.order, **view}, (order.user.hex(), *OVERSIGHT))
    return view


def execute(ctx: Context, args: Execute) -> Details:
    """Accept a quote: everything it moves is reserved, and the platforms concerned take part.

    Where no platform has a part, because the person's own units suffice, it goes on at once.
    """
    order = ctx.state.need(ORDERS, args.order)
    _check_own(ctx, order)
    key = numbered(args.order, args.quote)
    accepted = ctx.state.need(QUOTES, key)
    source = platform_of(ctx.state, order.source)
    target = platform_of(ctx.state, order.target)
    for platform in (source, target):
        check_not_frozen(ctx, platform, EXCHANGE)
    if ctx.time_ms >= accepted.expires_ms:
        ctx.reject("QUOTE_EXPIRED", expires_ms=accepted.expires_ms)
    if accepted.used:
        ctx.reject("QUOTE_USED", state=order.state)
    terms = accepted.terms
    product = product_in_force(ctx.state, order.product) if order.product else None
    offer = Offer(source, target, product, terms.buy, terms.sell)
    check_supply(ctx, order.user, offer, terms, order.quantity)
    if order.product:
        trade.change_stock(ctx, order.product, -order.quantity)
    slices = take(ctx, order.user, source.asset, terms.paid)
    own_slices = take(ctx, order.user, target.asset, terms.own)
    general = platform_of(ctx.state, order.general)
    for platform, more in ((target, terms.change), (general, terms.remainder)):
        open_wallet(ctx, order.user, platform)
        check_room(ctx, order.user, platform, more)
    executed = replace(
        order,
        state=EXCHANGING,
        terms=terms,
        parts=_parts(offer, terms),
        slices=slices,
        own_slices=own_slices,
        day=use_day(ctx, order.user, target, terms.obtained),
        deadline_ms=ctx.time_ms + ctx.scaled(trade.policy_of(ctx).confirm_ttl_ms),
    )
    ctx.state.put(QUOTES, key, replace(accepted, used=True))
    legs = trade.legs_there(executed, terms)
    ctx.ledger.reserve(hold_key(args.order), legs, trade.LEDGER_DEADLINE_MS, (order.user,))
    trade.save(ctx, args.order, order, executed)
    parties = dict.fromkeys([*[part.platform for part in executed.parts], order.peripheral])
    trade.list_for(ctx, args.order, executed, tuple([one for one in parties if one]))
    _announce_execution(ctx, args.order, executed)
    if not executed.parts:
        executed = trade.exchange(ctx, args.order, executed, terms)
    return {"state": executed.state, "deadline_ms": executed.deadline_ms}


def _check_own(ctx: Context, order: Order) -> None:
    if ctx.sender != order.user:
        ctx.reject("UNAUTHORIZED", why="another person's order")


def _note_quoted(ctx: Context, rate: Rate, until_ms: int) -> None:
    """Remember that this version is in a good quote, and forget what no longer is in one."""
    key = book_key(rate.asset)
    book = ctx.state.need(BOOKS, key)
    this = Quoted(rate.side, rate.version, until_ms)
    others = [
        one
        for one in book.quoted
        if (one.side, one.version) != (rate.side, rate.version) and ctx.time_ms < one.until_ms
    ]
    ctx.state.put(BOOKS, key, replace(book, quoted=(*others, this)))


def _parts(offer: Offer, terms: Terms) -> tuple[Part, ...]:
    """What the platforms concerned have to do: take the source back, provide the target."""
    parts = []
    for platform, units, rate in (
        (offer.source, -terms.paid, terms.sell),
        (offer.target, terms.received, terms.buy),
    ):
        if rate is not None:
            bounded(abs(units) * platform.settle_price, "owed", AMOUNT_MAX)
            part = Part(platform.asset, platform.owner, units, platform.settle_price, b"")
            parts.append(part)
    return tuple(parts)


def _announce_execution(ctx: Context, order_id: bytes, order: Order) -> None:
    data = {
        "order": order_id,
        "parts": [
            {"asset": part.asset, "platform": part.platform, "units": part.units}
            for part in order.parts
        ],
        "user": order.user,
        "deadline_ms": order.deadline_ms,
    }
    readers = [key for key in parties_of(order) if key != order.peripheral.hex()]
    ctx.emit("Exchanging", data, tuple(dict.fromkeys(readers)))


def _quote_view(order: Order, one: Quote) -> Details:
    return {
        "quote": order.quotes,
        "expires_ms": one.expires_ms,
        **terms_view(order.source, order.target, one.terms),
    }


def terms_view(source: str, target: str, terms: Terms) -> Details:
    """Terms as people see them."""
    return {
        "from": source,
        "to": target,
        "cost": terms.paid,
        "own": terms.own,
        "need": terms.need,
        "obtained": terms.obtained,
        "bonus": terms.bonus,
        "change": terms.change,
        "remainder": terms.remainder,
        "spread": terms.buy_spread + terms.sell_spread,
        "buy_version": 0 if terms.buy is None else terms.buy.version,
        "sell_version": 0 if terms.sell is None else terms.sell.version,
        "product_version": terms.product_version,
    }


ACTIONS = {
    "submit_request": Action(SubmitRequest, submit_request),
    "quote": Action(OrderArgs, quote),
    "execute": Action(Execute, execute),
}
