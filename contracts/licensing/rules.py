"""The rule book of digital products: what a payment buys, and what a licence allows.

* The degree is the highest whose price is met by all that was paid and not given back, through at
  least as many channels as it asks for. Paying more later lifts it.
* The seller is paid when enough agents have released their shares for the degree, and not before;
  if they do not in time, anybody may have the buyer's money returned.
* One payment counts once, whichever channel tells of it.
* Rights are those of the degree; counters only rise; active machines are at most what it allows.
* Always: paid = escrow + what the seller got + what was given back.
"""

from __future__ import annotations

from typing import NoReturn

import msgspec

from contracts.kernel.context import Context, View
from contracts.kernel.ledger import Leg
from contracts.licensing.models import (
    LICENCES,
    POLICY,
    POLICY_KEY,
    PRODUCTS,
    Degree,
    Licence,
    Policy,
    Product,
    Request,
)

replace = msgspec.structs.replace

CASH = "licensing.cash"
CLEARING = "licensing.clearing"
ESCROW = "licensing.escrow"
REVENUE = "licensing.revenue"


def policy_of(ctx: Context | View) -> Policy:
    """The policy in force."""
    return ctx.state.need(POLICY, POLICY_KEY)


def product_of(ctx: Context | View, name: str) -> Product:
    """The product; `NOT_FOUND`."""
    return ctx.state.need(PRODUCTS, name.encode())


# ---- degrees


def degree_of(product: Product, number: int) -> Degree:
    """A degree by its number, from 1."""
    return product.degrees[number - 1]


def reached(product: Product, paid: int, channels: int) -> int:
    """The highest degree that so much, through so many channels, pays for; 0 for none."""
    return max(
        [
            number
            for number, degree in enumerate(product.degrees, 1)
            if paid >= degree.price and channels >= degree.channels
        ],
        default=0,
    )


def kept(request: Request) -> int:
    """What was paid and not given back."""
    return request.paid - request.refunded


def escrowed(request: Request) -> int:
    """What waits for the shares."""
    return request.paid - request.refunded - request.to_seller


def shares_of(request: Request, degree: int) -> int:
    """How many agents have released their share for a degree."""
    return len([share for share in request.shares if share.degree == degree])


# ---- licences


def licence_for(ctx: Context, identity: bytes) -> Licence:
    """The sender's licence in force: `NOT_FOUND`, `EXPIRED`, `WRONG_BUYER` or `REVOKED`."""
    licence = ctx.state.need(LICENCES, identity)
    if licence.holder != ctx.sender:
        ctx.reject("WRONG_BUYER")
    if licence.state != "VALID":
        ctx.reject("REVOKED", state=licence.state, why=licence.reason)
    if licence.expires_ms and ctx.time_ms >= licence.expires_ms:
        ctx.reject("EXPIRED", what="licence")
    return licence


def limit_of(ctx: Context, product: Product, licence: Licence, item: str) -> int:
    """The limit of a right in the licence's degree; `DEGREE_LOW` if a higher one is needed."""
    for right in degree_of(product, licence.degree).rights:
        if right.item == item:
            return right.limit
    ctx.reject("DEGREE_LOW", degree=licence.degree, item=item)


# ---- money


def clearing(ctx: Context, channel: bytes, cur: str) -> bytes:
    """Stands for what came in from outside, at a channel or bank."""
    return ctx.ledger.open(channel, cur, CLEARING, (channel,), may_go_negative=True)


def cash(ctx: Context, buyer: bytes, cur: str) -> bytes:
    """A buyer's money on chain."""
    return ctx.ledger.open(buyer, cur, CASH, (buyer,))


def escrow(ctx: Context, identity: bytes, request: Request) -> bytes:
    """The escrow of one request."""
    return ctx.ledger.open(identity, request.cur, ESCROW, (request.buyer, request.seller))


def earned(ctx: Context, seller: bytes, cur: str) -> bytes:
    """What a seller has earned and not taken out."""
    return ctx.ledger.open(seller, cur, REVENUE, (seller,))


def move(ctx: Context, source: bytes, target: bytes, amount: int) -> None:
    """Post an amount, which may be none."""
    if amount:
        ctx.ledger.transfer(Leg(source, target, amount))


def unauthorised(ctx: Context, why: str) -> NoReturn:
    """Not for the sender."""
    ctx.reject("UNAUTHORIZED", why=why)
