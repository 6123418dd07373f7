"""What can be asked about an asset's books: for its platform, its issuer and oversight."""

from __future__ import annotations

from contracts.exchange.arguments import (
    AssetPage,
    AssetQuery,
    StatementQuery,
)
from contracts.exchange.clearing import counts_of, finding
from contracts.exchange.tables import (
    BOOKINGS,
    BOOKINGS_OF,
    BOOKS,
    POLICY,
    POLICY_KEY,
    SETTLEMENTS,
    STATEMENTS,
    book_key,
    bookings_of,
    numbered,
    settlements_of,
)
from contracts.exchange.wallets import (
    ESCROW,
    POOL,
    SPREAD,
    platform_of,
    pool_account,
)
from contracts.kernel.context import View
from contracts.kernel.contract import Details, Query
from contracts.kernel.ledger import ACCOUNTS, Account


def book(view: View, args: AssetQuery) -> Details:
    """An asset's units by where they are, and what its platform is owed; for it and oversight."""
    sums = view.need(BOOKS, book_key(args.asset))
    one = platform_of(view.state, args.asset)
    general = view.state.need(POLICY, POLICY_KEY).general
    pool = _account(view, args.asset, args.asset, POOL)
    general_pool = _account(view, general, args.asset, POOL)
    return {
        "asset": args.asset,
        "platform": one.owner,
        "issued": sums.issued,
        "burned": sums.burned,
        "outstanding": sums.issued - sums.burned,
        "pool": pool.available,
        "general_pool": general_pool.available,
        "escrow": _account(view, args.asset, args.asset, ESCROW).balance,
        "spread": _account(view, general, args.asset, SPREAD).balance,
        "owed": sums.owed_parts // one.settle_per,
        "settled": sums.settled_parts // one.settle_per,
    }


def bookings(view: View, args: AssetPage) -> Details:
    """What a platform booked in its own system, and how its statements agree."""
    prefix = bookings_of(args.asset)
    page = view.page(BOOKINGS_OF, prefix, numbered(prefix, args.cursor), args.limit)
    found = [view.need(BOOKINGS, ref.booking) for _, ref in page]
    return {
        "items": [
            {
                "number": one.number,
                "ext_ref": one.ext_ref,
                "order": one.order,
                "units": one.units,
                "finding": finding(one),
                "time_ms": one.time_ms,
            }
            for one in found
        ],
        "next": found[-1].number if len(page) == args.limit else None,
        "as_of": view.block.height,
    }


def statement(view: View, args: StatementQuery) -> Details:
    """How the lines of an imported statement compared."""
    found = view.need(STATEMENTS, args.statement)
    return {
        "statement": args.statement,
        "asset": found.asset,
        **counts_of(found),
        "time_ms": found.time_ms,
        "transaction": found.transaction,
    }


def settlements(view: View, args: AssetPage) -> Details:
    """What was settled for an asset, period by period; for both sides and oversight."""
    prefix = settlements_of(args.asset)
    page = view.page(SETTLEMENTS, prefix, numbered(prefix, args.cursor), args.limit)
    return {
        "items": [
            {
                "number": int.from_bytes(key[16:], "big"),
                "period": one.period,
                "debtor": one.debtor,
                "creditor": one.creditor,
                "amt": one.amt,
                "time_ms": one.time_ms,
                "transaction": one.transaction,
            }
            for key, one in page
        ],
        "next": int.from_bytes(page[-1][0][16:], "big") if len(page) == args.limit else None,
    }


def _account(view: View, asset: str, pool: str, purpose: str) -> Account:
    return view.state.need(ACCOUNTS, pool_account(asset, pool, purpose))


QUERIES = {
    "book": Query(AssetQuery, book),
    "bookings": Query(AssetPage, bookings),
    "statement": Query(StatementQuery, statement, (STATEMENTS, "statement")),
    "settlements": Query(AssetPage, settlements),
}
