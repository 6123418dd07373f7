"""Wallets: what a person holds of an asset, in lots, and what it obtained today.

A wallet is the account of (person, asset, BALANCE). What is available in it is exactly the sum of
its lots: whoever takes units takes lots, the earliest expiry first, and keeps the slices, so that
a refund restores each with the expiry it had. Expired units can be spent no more; sweeps burn them.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from contracts.exchange.models import (
    NEVER_MS,
    Book,
    DayUse,
    Lot,
    LotRef,
    Platform,
    Serial,
    Slice,
)
from contracts.exchange.pricing import bounded, replace
from contracts.exchange.tables import (
    BOOKS,
    DAY_USES,
    EXPIRIES,
    EXPIRIES_KEY,
    LOTS,
    PLATFORMS,
    SERIAL_KEY,
    SERIALS,
    book_key,
    numbered,
    wallet_readers,
)
from contracts.kernel.context import Context, View
from contracts.kernel.ledger import ACCOUNTS, Leg, account_key
from contracts.kernel.state import State
from contracts.kernel.types import AMOUNT_MAX, PAGE_MAX, reject

BALANCE = "exchange.balance"
POOL = "exchange.pool"
ESCROW = "exchange.escrow"
SPREAD = "exchange.spread"
EARNED = "exchange.earned"
ISSUED = "exchange.issued"
SETTLEMENT = "exchange.settlement"

# Lots that one order may draw on; a wallet may hold more.
SLICES_MAX = 100
# A sweep stops short of its limit rather than become too heavy a transaction.
SWEEP_WRITES_MAX = 400


def next_number(ctx: Context) -> int:
    """A number that no order, lot, booking or period had before."""
    known = ctx.state.get(SERIALS, SERIAL_KEY)
    number = 1 if known is None else known.last + 1
    ctx.state.put(SERIALS, SERIAL_KEY, Serial(number))
    return number


def open_wallet(ctx: Context, user: bytes, platform: Platform) -> bytes:
    """The key of a person's account of an asset, opened where it is new."""
    return ctx.ledger.open(user, platform.asset, BALANCE, (user, platform.owner))


def pool_account(asset: str, pool: str, purpose: str = POOL) -> bytes:
    """The key of an account of the pool of `pool`, in its own or in the general asset."""
    return account_key(book_key(pool), asset, purpose)


# ---- lots


def give(ctx: Context, user: bytes, platform: Platform, amount: int) -> None:
    """Make a new lot of units that are in the wallet's account already."""
    if amount:
        ttl_ms = platform.lot_ttl_ms
        expires_ms = NEVER_MS if ttl_ms is None else ctx.time_ms + ctx.scaled(ttl_ms)
        _add(ctx, user, platform, Slice(amount, expires_ms))


def give_back(ctx: Context, user: bytes, platform: Platform, slices: tuple[Slice, ...]) -> None:
    """Restore slices with the expiries they had; what has expired meanwhile stays expired."""
    for one in slices:
        _add(ctx, user, platform, one)


def take(ctx: Context, user: bytes, asset: str, amount: int) -> tuple[Slice, ...]:
    """Take units out of the lots, the earliest expiry first; `INSUFFICIENT` if they are too few.

    `TOO_HEAVY` where the amount lies in more than `SLICES_MAX` lots.
    """
    wallet = account_key(user, asset, BALANCE)
    slices: list[Slice] = []
    cursor = numbered(wallet, ctx.time_ms)
    left = amount
    while left:
        page = ctx.state.scan(LOTS, wallet, cursor, PAGE_MAX)
        for key, lot in page:
            part = min(lot.amount, left)
            slices.append(Slice(part, lot.expires_ms))
            _reduce(ctx, key, lot, part)
            left -= part
            cursor = key
            if not left:
                break
        if left and len(page) < PAGE_MAX:
            ctx.reject("INSUFFICIENT", purpose=BALANCE, asset=asset, available=amount - left)
        if len(slices) > SLICES_MAX:
            ctx.reject("TOO_HEAVY", why="it lies in too many lots; take less", lots_max=SLICES_MAX)
    return tuple(slices)


def expire(ctx: Context, limit: int) -> dict[str, Any]:
    """Burn up to `limit` lots whose expiry has come."""

    def burn(lot_key: bytes) -> None:
        lot = ctx.state.need(LOTS, lot_key)
        _reduce(ctx, lot_key, lot, lot.amount)
        issued = pool_account(lot.asset, lot.asset, ISSUED)
        ctx.ledger.transfer(Leg(lot_key[:16], issued, lot.amount))
        add_to_book(ctx, lot.asset, burned=lot.amount)
        data = {"asset": lot.asset, "user": lot.user, "amt": lot.amount}
        data |= {"expires_ms": lot.expires_ms}
        ctx.emit("LotExpired", data, wallet_readers(lot.user, lot.platform))

    page = ctx.state.scan(EXPIRIES, EXPIRIES_KEY, None, limit)
    due = [ref.lot for key, ref in page if is_due(ctx, key)]
    return sweep(ctx, due, limit, burn)


def is_due(ctx: Context, key: bytes) -> bool:
    """Whether the time in the key of an entry of a list of times has come."""
    return int.from_bytes(key[16:24], "big") <= ctx.time_ms


def sweep(
    ctx: Context, due: list[bytes], limit: int, end: Callable[[bytes], None]
) -> dict[str, Any]:
    """End what is due, within the limits of one transaction; the answer of a sweep."""
    expired = 0
    for one in due:
        if ctx.state.writes > SWEEP_WRITES_MAX:
            break
        end(one)
        expired += 1
    return {"expired": expired, "done": expired == len(due) < limit}


def _add(ctx: Context, user: bytes, platform: Platform, one: Slice) -> None:
    wallet = account_key(user, platform.asset, BALANCE)
    key = numbered(wallet, one.expires_ms)
    known = ctx.state.get(LOTS, key)
    if known is not None:
        ctx.state.put(LOTS, key, replace(known, amount=known.amount + one.amount))
        return
    number = 0 if one.expires_ms == NEVER_MS else next_number(ctx)
    lot = Lot(user, platform.asset, platform.owner, one.amount, one.expires_ms, number)
    ctx.state.insert(LOTS, key, lot)
    if number:
        expiry = numbered(EXPIRIES_KEY, one.expires_ms, number)
        ctx.state.insert(EXPIRIES, expiry, LotRef(key))


def _reduce(ctx: Context, key: bytes, lot: Lot, amount: int) -> None:
    if amount < lot.amount:
        ctx.state.put(LOTS, key, replace(lot, amount=lot.amount - amount))
        return
    ctx.state.delete(LOTS, key)
    if lot.number:
        ctx.state.delete(EXPIRIES, numbered(EXPIRIES_KEY, lot.expires_ms, lot.number))


# ---- limits


def check_room(ctx: Context, user: bytes, platform: Platform, more: int) -> None:
    """`OVERFLOW` if the wallet would hold more than its asset allows."""
    account = ctx.state.get(ACCOUNTS, account_key(user, platform.asset, BALANCE))
    held = 0 if account is None else account.balance + account.credits_pending
    bounded(held + more, "wallet", AMOUNT_MAX)
    if more and platform.wallet_max is not None and held + more > platform.wallet_max:
        ctx.reject("OVERFLOW", what="wallet", wallet_max=platform.wallet_max)


def check_day(where: Context | View, user: bytes, platform: Platform, units: int) -> None:
    """`DAILY_CAP` if the person would obtain more of the asset today than is allowed."""
    if platform.daily_cap is None or not units:
        return
    obtained = _obtained_today(where, account_key(user, platform.asset, BALANCE))
    if obtained + units > platform.daily_cap:
        left = max(platform.daily_cap - obtained, 0)
        reject("DAILY_CAP", daily_cap=platform.daily_cap, left=left)


def use_day(ctx: Context, user: bytes, platform: Platform, units: int) -> int:
    """Count units as obtained today; the day."""
    key = account_key(user, platform.asset, BALANCE)
    today = ctx.today()
    if units:
        obtained = _obtained_today(ctx, key) + units
        ctx.state.put(DAY_USES, key, DayUse(user, platform.owner, today, obtained))
    return today


def free_day(ctx: Context, user: bytes, asset: str, day: int, units: int) -> None:
    """Give back the room that a refunded order took on its day."""
    key = account_key(user, asset, BALANCE)
    use = ctx.state.get(DAY_USES, key)
    if use is not None and use.day == day and units:
        ctx.state.put(DAY_USES, key, replace(use, obtained=use.obtained - units))


def _obtained_today(where: Context | View, key: bytes) -> int:
    use = where.state.get(DAY_USES, key)
    return 0 if use is None or use.day != where.today() else use.obtained


# ---- sums


def platform_of(state: State, asset: str) -> Platform:
    """The platform of an asset; rejects with `NOT_FOUND`."""
    return state.need(PLATFORMS, asset.encode())


def add_to_book(
    ctx: Context, asset: str, *, issued: int = 0, burned: int = 0, owed_parts: int = 0
) -> None:
    """Add to the sums of an asset."""
    book: Book = ctx.state.need(BOOKS, book_key(asset))
    owed = book.owed_parts + owed_parts
    bounded(abs(owed), "owed", AMOUNT_MAX)
    changed = replace(
        book,
        issued=bounded(book.issued + issued, "issued", AMOUNT_MAX),
        burned=book.burned + burned,
        owed_parts=owed,
    )
    ctx.state.put(BOOKS, book_key(asset), changed)
