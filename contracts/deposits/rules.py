"""The rule book of deposit modes: who is a member, where money rests, what is a fact.

* Members alone trade, and never with themselves or with an enterprise of the same person.
* Money of an enterprise is on its cash account; a trade's is in escrow until the buyer takes over,
  time passes or an arbiter divides it; the platform's fee is rounded down over the whole trade.
* A deposit rests on the bank's control account; interest comes out of the bank's expense, never
  from nowhere, and is rounded down: floor(principal · rate · days / (360 · 10^6)).
* Facts are what happened, each with the listing or trade it comes from; analyses rest on nothing
  else but what is on the cash account.
"""

from __future__ import annotations

import msgspec

from contracts.deposits.arguments import PPM
from contracts.deposits.models import (
    ENTERPRISE_OF,
    ENTERPRISES,
    FACTS,
    MODE,
    POLICY,
    POLICY_KEY,
    Deposit,
    Enterprise,
    Fact,
    Mode,
    Policy,
    Trade,
    enterprise_key,
    numbered_key,
)
from contracts.kernel.context import Context, View
from contracts.kernel.ledger import Leg, account_key

replace = msgspec.structs.replace

CASH = "deposits.cash"
OUTSIDE = "deposits.outside"
ESCROW = "deposits.escrow"
FEES = "deposits.fees"
CONTROL = "deposits.control"
INTEREST = "deposits.interest"
PLATFORM = b"deposits platform"
YEAR_DAYS = 360


def policy_of(ctx: Context | View) -> Policy:
    """The policy in force."""
    return ctx.state.need(POLICY, POLICY_KEY)


def mode_of(ctx: Context | View, name: str) -> Mode:
    """A deposit mode's scorecard and terms; `NOT_FOUND` if this network has none."""
    return ctx.state.need(MODE, name.encode())


# ---- members


def own_enterprise(ctx: Context) -> tuple[bytes, Enterprise]:
    """The sender's enterprise; `NOT_MEMBER` if it never registered."""
    ref = ctx.state.get(ENTERPRISE_OF, enterprise_key(ctx.sender))
    if ref is None:
        ctx.reject("NOT_MEMBER", why="not registered")
    return ref.enterprise, ctx.state.need(ENTERPRISES, ref.enterprise)


def own_member(ctx: Context) -> tuple[bytes, Enterprise]:
    """The same for one that was admitted and is not suspended."""
    identity, one = own_enterprise(ctx)
    if one.state != "MEMBER":
        ctx.reject("NOT_MEMBER", state=one.state)
    return identity, one


def add_fact(
    ctx: Context,
    identity: bytes,
    kind: str,
    category: str,
    value: int,
    source: bytes,
    counterparty: bytes = b"",
    weight: int = 0,
) -> None:
    """One thing more that is known of an enterprise."""
    one = ctx.state.need(ENTERPRISES, identity)
    number = one.facts + 1
    fact = Fact(kind, category, value, weight, counterparty, source, ctx.time_ms, one.owner)
    ctx.state.insert(FACTS, numbered_key(identity, number), fact)
    ctx.state.put(ENTERPRISES, identity, replace(one, facts=number))


# ---- money


def cash_of(ctx: Context, identity: bytes, one: Enterprise) -> bytes:
    """The enterprise's own account, opened on first use."""
    return ctx.ledger.open(identity, policy_of(ctx).currency, CASH, (one.owner,))


def outside_of(ctx: Context, bank: bytes) -> bytes:
    """What came in at a bank from outside."""
    currency = policy_of(ctx).currency
    return ctx.ledger.open(bank, currency, OUTSIDE, (bank,), may_go_negative=True)


def escrow_of(ctx: Context, identity: bytes, trade: Trade) -> bytes:
    """The escrow of one trade."""
    owners = (trade.buyer_owner, trade.seller_owner)
    return ctx.ledger.open(identity, policy_of(ctx).currency, ESCROW, owners)


def control_of(ctx: Context, bank: bytes) -> bytes:
    """All deposits at a bank."""
    return ctx.ledger.open(bank, policy_of(ctx).currency, CONTROL, (bank,))


def interest_of(ctx: Context, bank: bytes) -> bytes:
    """What a bank has spent on interest."""
    currency = policy_of(ctx).currency
    return ctx.ledger.open(bank, currency, INTEREST, (bank,), may_go_negative=True)


def fees_of(ctx: Context) -> bytes:
    """What the platform has earned."""
    return ctx.ledger.open(PLATFORM, policy_of(ctx).currency, FEES, ())


def move(ctx: Context, source: bytes, target: bytes, amount: int) -> None:
    """Post an amount, which may be none."""
    if amount:
        ctx.ledger.transfer(Leg(source, target, amount))


def release(ctx: Context, identity: bytes, trade: Trade, amount: int) -> Trade:
    """Give the seller `amount` out of the escrow, less what the fee on all so far has grown by."""
    released = trade.released + amount
    fees = released * policy_of(ctx).fee_ppm // PPM
    fee = fees - trade.fees
    escrow = escrow_of(ctx, identity, trade)
    seller = ctx.state.need(ENTERPRISES, trade.seller)
    move(ctx, escrow, fees_of(ctx), fee)
    move(ctx, escrow, cash_of(ctx, trade.seller, seller), amount - fee)
    return replace(trade, released=released, fees=fees)


def escrowed(trade: Trade) -> int:
    """What is in the escrow of a funded trade."""
    if trade.state in ("MATCHED", "AGREED", "CANCELED"):
        return 0
    return trade.amount - trade.released - trade.refunded


def interest(amount: int, rate_ppm: int, days: int) -> int:
    """Interest for whole days, rounded down."""
    return amount * rate_ppm * days // (YEAR_DAYS * PPM)


def matures_on(deposit: Deposit) -> int:
    """The day from which a deposit may be taken with its full interest."""
    return deposit.opened_day + deposit.term_days


def cash_key(identity: bytes, currency: str) -> bytes:
    """The key of an enterprise's cash account."""
    return account_key(identity, currency, CASH)
