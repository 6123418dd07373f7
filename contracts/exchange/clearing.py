"""After the exchange: who owes whom how much money, and whether the platforms' own books agree.

Each order that became final adds the units that a platform provided, or takes off those that it
took back, at the settle price of the execution. Settling a period pays the net of each platform
against the issuer of the general asset; what is less than a minor unit stays for the next period.
What peripherals earned they redeem: the units are burned and their platform owes the money. The
statement of a platform is compared line by line with the bookings of its confirmations. It never
moves units: what has no effect here is due back there, and the statement shows when that was done.
"""

from __future__ import annotations

import hashlib

import msgspec

from contracts.exchange.arguments import Reconcile, Redeem, Settle, StatementLine
from contracts.exchange.completion import PLATFORM_ROLES, add_booking
from contracts.exchange.issuing import is_known
from contracts.exchange.models import (
    DIFFERS,
    DUE_BACK,
    IN_FORCE,
    PLATFORMS_MAX,
    REVERSAL,
    SUCCESS,
    UNKNOWN,
    Booking,
    Period,
    Platform,
    Settlement,
    Statement,
    Supply,
)
from contracts.exchange.orders import REPLAYED
from contracts.exchange.pricing import bounded, replace
from contracts.exchange.requirement import check_not_frozen
from contracts.exchange.tables import (
    BOOKINGS,
    BOOKS,
    OVERSIGHT,
    PERIODS,
    PLATFORMS,
    SETTLEMENTS,
    STATEMENTS,
    SUPPLIES,
    book_key,
    booking_key,
    house_of,
    numbered,
    settlements_of,
)
from contracts.exchange.trade import policy_of
from contracts.exchange.wallets import (
    EARNED,
    ISSUED,
    SETTLEMENT,
    add_to_book,
    next_number,
    platform_of,
    pool_account,
)
from contracts.kernel.context import Context
from contracts.kernel.contract import Action, Details
from contracts.kernel.freezing import ALL
from contracts.kernel.ledger import LEG_AMOUNT_MAX, Leg, account_key
from contracts.kernel.types import AMOUNT_MAX

_encode = msgspec.msgpack.Encoder(order="deterministic").encode


# ---- settlement


def settle(ctx: Context, args: Settle) -> Details:
    """The operator closes a period: each platform's net with the issuer of the general asset."""
    known = ctx.state.get(PERIODS, args.period.encode())
    if known is not None:
        return {"settlements": known.settlements, **REPLAYED}
    policy = policy_of(ctx)
    issuer = platform_of(ctx.state, policy.general)
    number, count = next_number(ctx), 0
    for _, platform in ctx.state.scan(PLATFORMS, b"", None, PLATFORMS_MAX):
        count += _settle_one(ctx, args.period, number, issuer, platform, policy.currency)
    ctx.state.insert(PERIODS, args.period.encode(), Period(number, count, ctx.time_ms))
    return {"settlements": count}


def _settle_one(
    ctx: Context, period: str, number: int, issuer: Platform, platform: Platform, currency: str
) -> int:
    """Pay one platform's net; how many settlements that were, 0 or 1."""
    book = ctx.state.need(BOOKS, book_key(platform.asset))
    amt = min(abs(book.owed_parts) // platform.settle_per, LEG_AMOUNT_MAX)
    if not amt:
        return 0
    issuer_owes = book.owed_parts > 0
    debtor, creditor = (
        (issuer.owner, platform.owner) if issuer_owes else (platform.owner, issuer.owner)
    )
    settled = amt * platform.settle_per if issuer_owes else -amt * platform.settle_per
    total = book.settled_parts + settled
    bounded(abs(total), "settled", AMOUNT_MAX)
    changed = replace(book, owed_parts=book.owed_parts - settled, settled_parts=total)
    ctx.state.put(BOOKS, book_key(platform.asset), changed)
    if debtor != creditor:
        accounts = [account_key(one, currency, SETTLEMENT) for one in (debtor, creditor)]
        ctx.ledger.transfer(Leg(accounts[0], accounts[1], amt))
    done = Settlement(
        period, platform.asset, debtor, creditor, amt, ctx.time_ms, ctx.transaction_id
    )
    ctx.state.insert(SETTLEMENTS, numbered(settlements_of(platform.asset), number), done)
    data = {
        "period": period,
        "asset": platform.asset,
        "debtor": debtor,
        "creditor": creditor,
        "amt": amt,
        "currency": currency,
    }
    ctx.emit("Settled", data, (debtor.hex(), creditor.hex(), *OVERSIGHT))
    return 1


def redeem(ctx: Context, args: Redeem) -> Details:
    """A peripheral hands in units that it earned; their platform owes it the settle price.

    Less than a minor unit is not paid: the peripheral waits until it has more.
    """
    platform = platform_of(ctx.state, args.asset)
    supply = Supply("REDEEM", args.asset, platform.owner, ctx.sender, "", args.amt)
    if is_known(ctx, args.supply, supply):
        return dict(REPLAYED)
    check_not_frozen(ctx, platform, ALL)
    amt = bounded(args.amt * platform.settle_price // platform.settle_per, "amt")
    if not amt:
        ctx.reject("LOT_TOO_SMALL", settle_per=platform.settle_per)
    currency = policy_of(ctx).currency
    earned = ctx.ledger.open(ctx.sender, args.asset, EARNED, (ctx.sender,))
    ctx.ledger.open(ctx.sender, currency, SETTLEMENT, (ctx.sender,), may_go_negative=True)
    ctx.state.insert(SUPPLIES, args.supply, supply)
    issued = pool_account(args.asset, args.asset, ISSUED)
    ctx.ledger.transfer(Leg(earned, issued, args.amt))
    add_to_book(ctx, args.asset, burned=args.amt)
    if ctx.sender != platform.owner:
        debtor = account_key(platform.owner, currency, SETTLEMENT)
        creditor = account_key(ctx.sender, currency, SETTLEMENT)
        ctx.ledger.transfer(Leg(debtor, creditor, amt))
    data = {"supply": args.supply, "asset": args.asset, "units": args.amt, "amt": amt}
    ctx.emit("Redeemed", data, (ctx.sender.hex(), platform.owner.hex(), *OVERSIGHT))
    return {"amt": amt, "currency": currency}


# ---- reconciliation


def reconcile(ctx: Context, args: Reconcile) -> Details:
    """Compare a platform's own statement with its bookings here, line by line."""
    platform = platform_of(ctx.state, args.asset)
    if ctx.sender != platform.owner and "operator" not in ctx.roles:
        ctx.reject("UNAUTHORIZED", why="neither this platform nor an operator")
    lines = [[line.ext_ref, line.amt, line.kind] for line in args.lines]
    lines_hash = hashlib.sha256(_encode([args.asset, lines])).digest()
    known = ctx.state.get(STATEMENTS, args.statement)
    if known is not None:
        if known.lines_hash != lines_hash:
            ctx.reject("IDEM_CONFLICT", what=STATEMENTS.name)
        return {**counts_of(known), **REPLAYED}
    found = [_compare(ctx, platform, line) for line in args.lines]
    statement = Statement(
        asset=args.asset,
        platform=platform.owner,
        lines_hash=lines_hash,
        matched=found.count("matched"),
        due_back=found.count("due_back"),
        reversed=found.count("reversed"),
        unknown=found.count("unknown"),
        differs=found.count("differs"),
        time_ms=ctx.time_ms,
        transaction=ctx.transaction_id,
    )
    ctx.state.insert(STATEMENTS, args.statement, statement)
    data = {"statement": args.statement, "asset": args.asset, **counts_of(statement)}
    ctx.emit("Reconciled", data, house_of(statement))
    return counts_of(statement)


def _compare(ctx: Context, platform: Platform, line: StatementLine) -> str:
    """Note what a line says of a booking; the finding."""
    key = booking_key(platform.asset, line.ext_ref)
    booking = ctx.state.get(BOOKINGS, key)
    if booking is None:
        number = next_number(ctx)
        asset, owner, now = platform.asset, platform.owner, ctx.time_ms
        booking = Booking(
            asset, owner, line.ext_ref, b"", line.amt, UNKNOWN, line.kind, number, now
        )
        add_booking(ctx, key, booking)
        return finding(booking)
    stated = line.kind if line.amt == booking.units else DIFFERS
    if booking.stated != REVERSAL:
        booking = replace(booking, stated=stated)
        ctx.state.put(BOOKINGS, key, booking)
    return finding(booking)


def finding(booking: Booking) -> str:
    """What it means: open, matched, due_back, reversed, unknown, or differs."""
    if booking.stated == DIFFERS:
        return "differs"
    if booking.effect == IN_FORCE:
        # What is in force here must not have been taken back there.
        return {"": "open", SUCCESS: "matched", REVERSAL: "differs"}[booking.stated]
    if booking.stated == REVERSAL:
        return "reversed"
    return "due_back" if booking.effect == DUE_BACK else "unknown"


def counts_of(statement: Statement) -> dict[str, int]:
    """How many lines were found to be what."""
    return {
        "matched": statement.matched,
        "due_back": statement.due_back,
        "reversed": statement.reversed,
        "unknown": statement.unknown,
        "differs": statement.differs,
    }


ACTIONS = {
    "settle": Action(Settle, settle, ("operator",)),
    "redeem": Action(Redeem, redeem, ("peripheral",)),
    "reconcile": Action(Reconcile, reconcile, (*PLATFORM_ROLES, "operator")),
}
