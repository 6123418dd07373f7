"""The market: supply and demand, matched by price and then by time, at the price that rests.

A listing fills in parts, down to its smallest fill. What is not filled at once rests (GTC), is
dropped (IOC), or nothing happens at all (FOK). Nobody trades with itself, nor with an enterprise of
the same legal representative. The index of a block decides who was first.
"""

from __future__ import annotations

from contracts.deposits import rules
from contracts.deposits.arguments import ListingOnly, Publish
from contracts.deposits.models import (
    BOOK,
    COUNTERS,
    ENTERPRISES,
    LISTING_COUNTER,
    LISTINGS,
    TRADES,
    BookEntry,
    Counter,
    Enterprise,
    Listing,
    Trade,
    hashed,
    trade_key,
    trade_readers,
)
from contracts.deposits.rules import replace
from contracts.kernel.access import PUBLIC
from contracts.kernel.context import Context
from contracts.kernel.contract import Action, Details
from contracts.kernel.types import AMOUNT_MAX

REPLAYED = {"replayed": True}
MATCHES_MAX = 50
ACCEPT_MS = 3 * 86_400_000


def publish(ctx: Context, args: Publish) -> Details:
    """A member lists supply or demand; what matches becomes trades, and both sides are told."""
    identity, one = rules.own_member(ctx)
    known = ctx.state.get(LISTINGS, args.listing)
    if known is not None:
        if known.owner != ctx.sender or _wish(known) != _wish(args):
            ctx.reject("IDEM_CONFLICT", what="listing")
        return {"state": known.state, "filled": known.filled, **REPLAYED}
    if args.min_fill > args.qty:
        ctx.reject("BAD_ARG", field="min_fill", why="more than the quantity")
    if args.price * args.qty > AMOUNT_MAX:
        ctx.reject("OVERFLOW", what="amount")
    counter = ctx.state.get(COUNTERS, LISTING_COUNTER) or Counter(0)
    ctx.state.put(COUNTERS, LISTING_COUNTER, Counter(counter.last + 1))
    listing = Listing(
        enterprise=identity,
        owner=ctx.sender,
        side=args.side,
        sku=args.sku,
        category=args.category,
        region=args.region,
        price=args.price,
        quantity=args.qty,
        filled=0,
        min_fill=args.min_fill,
        prepaid=args.prepaid,
        expires_ms=ctx.time_ms + ctx.scaled(args.ttl_ms),
        number=counter.last + 1,
        state="OPEN",
    )
    rules.add_fact(ctx, identity, "LISTED", args.category, args.price * args.qty, args.listing)
    trades, listing = _match(ctx, args.listing, listing, one)
    listing = _rest(ctx, args, listing)
    ctx.state.insert(LISTINGS, args.listing, listing)
    data = {"listing": args.listing, "side": args.side, "sku": args.sku, "state": listing.state}
    ctx.emit("Listed", data, (PUBLIC,))
    return {"state": listing.state, "filled": listing.filled, "trades": trades}


def _wish(one: Listing | Publish) -> tuple[object, ...]:
    quantity = one.quantity if isinstance(one, Listing) else one.qty
    return (one.side, one.sku, one.category, one.region, one.price, quantity, one.min_fill)


def _match(
    ctx: Context, identity: bytes, listing: Listing, taker: Enterprise
) -> tuple[list[bytes], Listing]:
    """Trade with what rests, the best price first, and of one price the oldest."""
    trades: list[bytes] = []
    book = book_prefix(listing, other=True)
    found = ctx.state.scan(BOOK, book, None, MATCHES_MAX + 1)
    for place, (key, entry) in enumerate(found):
        left = listing.quantity - listing.filled
        maker = ctx.state.need(LISTINGS, entry.listing)
        if left == 0 or not _crosses(listing, maker):
            return trades, listing
        if place == MATCHES_MAX:
            ctx.reject("NO_FILL", why="it meets too many listings at once; publish less")
        if ctx.time_ms >= maker.expires_ms:
            ctx.state.delete(BOOK, key)
            ctx.state.put(LISTINGS, entry.listing, replace(maker, state="CANCELED"))
            continue
        other = ctx.state.need(ENTERPRISES, maker.enterprise)
        if maker.enterprise == listing.enterprise or other.controller == taker.controller:
            ctx.reject("SELF_TRADE", listing=entry.listing)
        quantity = min(left, maker.quantity - maker.filled)
        if quantity < _smallest(listing) or quantity < _smallest(maker) or other.state != "MEMBER":
            continue
        listing = replace(listing, filled=listing.filled + quantity)
        _fill(ctx, key, entry.listing, maker, quantity)
        trades.append(_trade(ctx, identity, listing, entry.listing, maker, quantity))
    return trades, listing


def _smallest(listing: Listing) -> int:
    """The least quantity that a listing takes; what is left of it, where that is less."""
    return min(listing.min_fill, listing.quantity - listing.filled)


def _crosses(taker: Listing, maker: Listing) -> bool:
    if taker.side == "BUY":
        return maker.price <= taker.price
    return maker.price >= taker.price


def _fill(ctx: Context, key: bytes, identity: bytes, maker: Listing, quantity: int) -> None:
    filled = maker.filled + quantity
    done = filled == maker.quantity
    ctx.state.put(
        LISTINGS,
        identity,
        replace(maker, filled=filled, state="FILLED" if done else "OPEN"),
    )
    if done:
        ctx.state.delete(BOOK, key)


def _trade(
    ctx: Context, taking: bytes, taker: Listing, making: bytes, maker: Listing, quantity: int
) -> bytes:
    """The trade between the two, at the resting price; both are told (R2.10)."""
    buyer, seller = (taker, maker) if taker.side == "BUY" else (maker, taker)
    identity = trade_key(taking, making)
    trade = Trade(
        buyer=buyer.enterprise,
        seller=seller.enterprise,
        buyer_owner=buyer.owner,
        seller_owner=seller.owner,
        sku=maker.sku,
        category=seller.category,
        prepaid=buyer.prepaid or seller.prepaid,
        price=maker.price,
        quantity=quantity,
        amount=maker.price * quantity,
        state="MATCHED",
        buyer_accepts=False,
        seller_accepts=False,
        confirmed=0,
        released=0,
        fees=0,
        refunded=0,
        deadline_ms=ctx.time_ms + ctx.scaled(ACCEPT_MS),
        doc_hash=b"",
        settled_ms=0,
    )
    ctx.state.insert(TRADES, identity, trade)
    data = {
        "trade": identity,
        "sku": trade.sku,
        "quantity": quantity,
        "price": trade.price,
        "amount": trade.amount,
    }
    ctx.emit("Matched", data, trade_readers(trade))
    return identity


def _rest(ctx: Context, args: Publish, listing: Listing) -> Listing:
    """What becomes of what was not filled."""
    left = listing.quantity - listing.filled
    if left == 0:
        return replace(listing, state="FILLED")
    if args.duration == "FOK" or (args.duration == "IOC" and listing.filled == 0):
        ctx.reject("NO_FILL", filled=listing.filled)
    if args.duration == "IOC":
        return replace(listing, state="CANCELED")
    ctx.state.insert(BOOK, _book_key(listing), BookEntry(args.listing))
    return listing


def cancel(ctx: Context, args: ListingOnly) -> Details:
    """Its owner takes back what was not filled."""
    listing = ctx.state.need(LISTINGS, args.listing)
    if listing.owner != ctx.sender:
        ctx.reject("UNAUTHORIZED", why="another one's listing")
    if listing.state == "CANCELED":
        return {"filled": listing.filled, **REPLAYED}
    if listing.state != "OPEN":
        ctx.reject("BAD_STATE", state=listing.state)
    ctx.state.delete(BOOK, _book_key(listing))
    ctx.state.put(LISTINGS, args.listing, replace(listing, state="CANCELED"))
    rules.add_fact(ctx, listing.enterprise, "CANCELED", listing.category, 0, args.listing)
    return {"filled": listing.filled}


def book_prefix(listing: Listing, other: bool) -> bytes:
    """The book of a listing's own side, or of the side that it meets."""
    sides = {"BUY": "SELL", "SELL": "BUY"}
    side = sides[listing.side] if other else listing.side
    return side_of_book(listing.sku, listing.region, side)


def side_of_book(sku: str, region: str, side: str) -> bytes:
    """The first 16 bytes of the keys of one side of a book."""
    return hashed(b"book", sku.encode(), region.encode(), side.encode())


def _book_key(listing: Listing) -> bytes:
    """The best price first: the lowest of a seller, the highest of a buyer."""
    price = listing.price if listing.side == "SELL" else AMOUNT_MAX - listing.price
    place = price.to_bytes(8, "big") + listing.number.to_bytes(8, "big")
    return book_prefix(listing, other=False) + place


ACTIONS = {
    "publish": Action(Publish, publish),
    "cancel": Action(ListingOnly, cancel),
}
