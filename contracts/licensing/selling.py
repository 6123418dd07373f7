"""Selling: products, purchases, payments through any channel, key shares.

A payment confirmation is this chain's own word: the request's record, bound to buyer, product and
degree and proved against a certified header. It opens nothing by itself; it is what the agents wait
for before they give the buyer their shares.
"""

from __future__ import annotations

from contracts.kernel.context import Context
from contracts.kernel.contract import Action, Details
from contracts.kernel.ledger import ASSETS
from contracts.licensing import rules
from contracts.licensing.arguments import (
    Pay,
    PayIn,
    PayOut,
    ProductOnly,
    Publish,
    ReleaseShare,
    ReportPayment,
    RequestPayment,
    Upgrade,
)
from contracts.licensing.models import (
    LICENCES,
    PAYMENTS,
    PRODUCTS,
    REQUESTS,
    SALES,
    SALES_OF,
    Degree,
    Licence,
    PaymentEvent,
    Product,
    Request,
    Right,
    Sale,
    Sales,
    Share,
    payment_key,
    request_readers,
    sale_key,
    sales_key,
)
from contracts.licensing.rules import replace

REPLAYED = {"replayed": True}
ON_CHAIN = "on-chain"


# ---- products


def publish(ctx: Context, args: Publish) -> Details:
    """A seller offers a product; its code can never be another one (R5.3)."""
    product = _product(ctx, args)
    known = ctx.state.get(PRODUCTS, args.product.encode())
    if known is not None:
        if replace(known, state="ACTIVE") != product:
            ctx.reject("IDEM_CONFLICT", what="product")
        return {"state": known.state, **REPLAYED}
    if ctx.state.get(ASSETS, args.cur.encode()) is None:
        ctx.reject("NOT_FOUND", what=ASSETS.name)
    for agent in args.agents:
        if "release_agent" not in ctx.roles_of(agent):
            ctx.reject("NOT_FOUND", what="a release agent with this key")
    ctx.state.insert(PRODUCTS, args.product.encode(), product)
    ctx.state.insert(SALES, sales_key(args.product), Sales(0, ctx.sender))
    data = {"product": args.product, "code_hash": args.code_hash, "degrees": len(args.degrees)}
    ctx.emit("Published", data, ("public",))
    return {"state": "ACTIVE"}


def _product(ctx: Context, args: Publish) -> Product:
    """The record; rejects degrees that do not rise, and shares that do not fit the agents."""
    prices = [one.price for one in args.degrees]
    if sorted(set(prices)) != prices:
        ctx.reject("BAD_ARG", field="degrees", why="prices must rise")
    if len(set(args.agents)) != len(args.agents) or args.shares_needed > len(args.agents):
        ctx.reject("BAD_ARG", field="shares_needed", why="more than there are agents")
    if any(len(one.commitments) != len(args.agents) for one in args.degrees):
        ctx.reject("BAD_ARG", field="commitments", why="one for each agent")
    degrees = [
        Degree(
            one.price,
            one.channels,
            one.machines,
            one.transferable,
            one.lasts_ms,
            tuple([Right(right.item, right.limit) for right in one.rights]),
            tuple(one.commitments),
        )
        for one in args.degrees
    ]
    return Product(
        ctx.sender,
        args.code_hash,
        args.name,
        args.kind,
        args.cur,
        tuple(degrees),
        tuple(args.agents),
        args.shares_needed,
        "ACTIVE",
    )


def withdraw(ctx: Context, args: ProductOnly) -> Details:
    """No new purchases; what was bought goes on."""
    product = rules.product_of(ctx, args.product)
    if product.seller != ctx.sender:
        rules.unauthorised(ctx, "another seller's product")
    if product.state == "WITHDRAWN":
        return dict(REPLAYED)
    ctx.state.put(PRODUCTS, args.product.encode(), replace(product, state="WITHDRAWN"))
    return {}


# ---- purchases


def request_payment(ctx: Context, args: RequestPayment) -> Details:
    """A buyer wants what the scanned code says; payment data follow from the attributes (R5.5)."""
    known = ctx.state.get(REQUESTS, args.request)
    if known is not None:
        same = (known.buyer, known.product, known.buyer_pub, known.nonce)
        if same != (ctx.sender, args.product, args.buyer_pub, args.nonce):
            ctx.reject("IDEM_CONFLICT", what="request")
        return {"state": known.state, **REPLAYED}
    product = rules.product_of(ctx, args.product)
    if product.state != "ACTIVE":
        ctx.reject("BAD_STATE", state=product.state)
    if product.code_hash != args.code_hash:
        ctx.reject("BAD_CODE", why="not the code that its seller published")
    if args.degree > len(product.degrees):
        ctx.reject("BAD_ARG", field="degree", why="the product has no such degree")
    request = Request(
        product=args.product,
        buyer=ctx.sender,
        seller=product.seller,
        buyer_pub=args.buyer_pub,
        nonce=args.nonce,
        cur=product.cur,
        wanted=args.degree,
        degree=0,
        released=0,
        paid=0,
        to_seller=0,
        refunded=0,
        channels=(),
        shares=(),
        deadline_ms=0,
        confirmed_ms=0,
        state="PENDING",
    )
    ctx.state.insert(REQUESTS, args.request, request)
    sales = ctx.state.need(SALES, sales_key(args.product))
    ctx.state.put(SALES, sales_key(args.product), replace(sales, last=sales.last + 1))
    sale = Sale(args.request, product.seller)
    ctx.state.insert(SALES_OF, sale_key(args.product, sales.last + 1), sale)
    price = rules.degree_of(product, args.degree).price
    data = {"request": args.request, "product": args.product, "degree": args.degree}
    ctx.emit("Requested", {**data, "price": price}, request_readers(request))
    return {"state": "PENDING", "payee": product.seller, "price": price, "cur": product.cur}


def pay_in(ctx: Context, args: PayIn) -> Details:
    """The bank took a buyer's money in."""
    readers = (args.buyer.hex(), ctx.sender.hex(), "role:regulator")
    payment = PaymentEvent(b"", ctx.sender.hex(), "", args.amt, readers)
    reference = f"bank/{args.payment.hex()}"
    if not _is_new(ctx, reference, payment):
        return dict(REPLAYED)
    money = rules.cash(ctx, args.buyer, args.cur)
    rules.move(ctx, rules.clearing(ctx, ctx.sender, args.cur), money, args.amt)
    return {"balance": ctx.ledger.balance(money)}


def pay_out(ctx: Context, args: PayOut) -> Details:
    """Somebody takes money out at a bank: a buyer what came back, a seller what it earned."""
    if "bank" not in ctx.roles_of(args.bank):
        ctx.reject("NOT_FOUND", what="a bank with this key")
    readers = (ctx.sender.hex(), args.bank.hex(), "role:regulator")
    payment = PaymentEvent(ctx.sender, args.bank.hex(), args.purpose, args.amt, readers)
    if not _is_new(ctx, f"out/{args.payment.hex()}", payment):
        return dict(REPLAYED)
    money = rules.cash(ctx, ctx.sender, args.cur)
    if args.purpose == "REVENUE":
        money = rules.earned(ctx, ctx.sender, args.cur)
    rules.move(ctx, money, rules.clearing(ctx, args.bank, args.cur), args.amt)
    return {"balance": ctx.ledger.balance(money)}


def pay(ctx: Context, args: Pay) -> Details:
    """The buyer pays on chain, which is a channel like any other."""
    request = ctx.state.need(REQUESTS, args.request)
    if request.buyer != ctx.sender:
        ctx.reject("WRONG_BUYER")
    reference = f"chain/{args.payment.hex()}"
    source = rules.cash(ctx, ctx.sender, request.cur)
    return _book(ctx, args.request, request, ON_CHAIN, reference, "", source, args.amt)


def report_payment(ctx: Context, args: ReportPayment) -> Details:
    """A channel reports a payment; told by another channel as well, it counts no second time."""
    request = ctx.state.need(REQUESTS, args.request)
    source = rules.clearing(ctx, ctx.sender, request.cur)
    reference = f"payment/{args.provider_ref}"
    return _book(
        ctx, args.request, request, args.channel, reference, args.event_id, source, args.amt
    )


def _book(
    ctx: Context,
    identity: bytes,
    request: Request,
    channel: str,
    reference: str,
    event_id: str,
    source: bytes,
    amount: int,
) -> Details:
    """Take a payment into the request's escrow, and see which degree it reaches."""
    payment = PaymentEvent(identity, channel, event_id, amount, request_readers(request))
    if not _is_new(ctx, reference, payment):
        return {"degree": request.degree, "paid": request.paid, **REPLAYED}
    if request.state == "REFUNDED":
        ctx.reject("BAD_STATE", state=request.state)
    rules.move(ctx, source, rules.escrow(ctx, identity, request), amount)
    channels = request.channels
    if channel not in channels:
        channels = (*channels, channel)
    changed = replace(request, paid=request.paid + amount, channels=channels)
    data = {"request": identity, "channel": channel, "amt": amount, "paid": changed.paid}
    ctx.emit("PaymentReported", data, request_readers(changed))
    product = rules.product_of(ctx, request.product)
    degree = rules.reached(product, rules.kept(changed), len(channels))
    if degree > request.degree:
        changed = _confirm(ctx, identity, changed, product, degree)
    ctx.state.put(REQUESTS, identity, changed)
    return {"degree": changed.degree, "paid": changed.paid}


def _is_new(ctx: Context, reference: str, payment: PaymentEvent) -> bool:
    """Whether this payment was not used yet; `IDEM_CONFLICT` if it was, for something else."""
    known = ctx.state.get(PAYMENTS, payment_key(reference))
    if known is None:
        ctx.state.insert(PAYMENTS, payment_key(reference), payment)
        return True
    if (known.request, known.amt) != (payment.request, payment.amt):
        ctx.reject("IDEM_CONFLICT", what="payment")
    return False


def _confirm(
    ctx: Context, identity: bytes, request: Request, product: Product, degree: int
) -> Request:
    """The confirmation (R5.6): bound to buyer, product and degree; the agents' turn."""
    data = {
        "request": identity,
        "product": request.product,
        "degree": degree,
        "buyer_pub": request.buyer_pub,
        "nonce": request.nonce,
    }
    ctx.emit("Confirmed", data, request_readers(request))
    return replace(
        request,
        degree=degree,
        state="CONFIRMED",
        deadline_ms=ctx.time_ms + ctx.scaled(rules.policy_of(ctx).release_ms),
        confirmed_ms=ctx.time_ms,
    )


def upgrade(ctx: Context, args: Upgrade) -> Details:
    """The buyer wants a higher degree; the difference is what is still to be paid."""
    request = ctx.state.need(REQUESTS, args.request)
    if request.buyer != ctx.sender:
        ctx.reject("WRONG_BUYER")
    product = rules.product_of(ctx, request.product)
    if args.degree > len(product.degrees) or args.degree <= request.degree:
        ctx.reject("BAD_ARG", field="degree", why="not a higher degree of this product")
    if request.state == "REFUNDED":
        ctx.reject("BAD_STATE", state=request.state)
    ctx.state.put(REQUESTS, args.request, replace(request, wanted=args.degree))
    left = rules.degree_of(product, args.degree).price - rules.kept(request)
    return {"price": max(left, 0), "cur": request.cur}


# ---- key shares


def release_share(ctx: Context, args: ReleaseShare) -> Details:
    """An agent gives the buyer its share for the degree that was paid; at m the product is open."""
    request = ctx.state.need(REQUESTS, args.request)
    product = rules.product_of(ctx, request.product)
    if ctx.sender not in product.agents:
        rules.unauthorised(ctx, "not one of the product's agents")
    share = Share(ctx.sender, args.degree, args.blob)
    for known in request.shares:
        if (known.agent, known.degree) == (share.agent, share.degree):
            if known.blob != share.blob:
                ctx.reject("IDEM_CONFLICT", what="share")
            return {"state": request.state, **REPLAYED}
    if request.state != "CONFIRMED":
        ctx.reject("BAD_STATE", state=request.state)
    if args.degree != request.degree:
        ctx.reject("DEGREE_LOW", degree=request.degree)
    changed = replace(request, shares=(*request.shares, share))
    count = rules.shares_of(changed, args.degree)
    if count >= product.shares_needed:
        changed = _open(ctx, args.request, changed, product)
    ctx.state.put(REQUESTS, args.request, changed)
    data = {"request": args.request, "degree": args.degree, "shares": count}
    ctx.emit("KeyReleased", {**data, "state": changed.state}, request_readers(changed))
    return {"state": changed.state, "shares": count}


def _open(ctx: Context, identity: bytes, request: Request, product: Product) -> Request:
    """Enough shares: the seller is paid the degree's price, and the licence is there, or rises."""
    degree = rules.degree_of(product, request.degree)
    due = degree.price - request.to_seller
    source, target = (
        rules.escrow(ctx, identity, request),
        rules.earned(ctx, request.seller, request.cur),
    )
    rules.move(ctx, source, target, due)
    licence = ctx.state.get(LICENCES, identity)
    expires_ms = ctx.time_ms + ctx.scaled(degree.lasts_ms) if degree.lasts_ms else 0
    if licence is None:
        licence = Licence(
            request.product, request.buyer, request.seller, 0, (), 0, (), 0, "VALID", ""
        )
    risen = replace(licence, degree=request.degree, expires_ms=expires_ms)
    ctx.state.put(LICENCES, identity, risen)
    return replace(
        request, state="RELEASED", released=request.degree, to_seller=request.to_seller + due
    )


ACTIONS = {
    "publish": Action(Publish, publish, ("merchant", "seller")),
    "withdraw": Action(ProductOnly, withdraw),
    "request_payment": Action(RequestPayment, request_payment),
    "pay_in": Action(PayIn, pay_in, ("bank",)),
    "pay_out": Action(PayOut, pay_out),
    "pay": Action(Pay, pay),
    "report_payment": Action(ReportPayment, report_payment, ("channel",)),
    "upgrade": Action(Upgrade, upgrade),
    "release_share": Action(ReleaseShare, release_share, ("release_agent",)),
}
