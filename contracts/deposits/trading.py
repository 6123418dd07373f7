"""Trades under escrow, and the evaluations of both sides afterwards.

Both accept, the buyer funds, the seller ships, the buyer takes over in parts or time does it; an
arbiter divides what is contested. Evaluations are committed before either is revealed, so that
nobody copies or takes revenge; only a settled trade has them, one for each side.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping

from contracts.deposits import rules
from contracts.deposits.arguments import (
    CommitReview,
    Confirm,
    DisputeTrade,
    ResolveTrade,
    RevealReview,
    Ship,
    TradeOnly,
)
from contracts.deposits.models import (
    ENTERPRISES,
    REVIEWS,
    TRADES,
    Review,
    Trade,
    review_key,
    trade_readers,
)
from contracts.deposits.rules import replace
from contracts.kernel.context import Context
from contracts.kernel.contract import Action, Details

REPLAYED = {"replayed": True}
BUYER, SELLER = "BUYER", "SELLER"
_OTHER = {BUYER: SELLER, SELLER: BUYER}


# ---- the way of a trade


def accept_match(ctx: Context, args: TradeOnly) -> Details:
    """One side agrees; with both the trade is AGREED."""
    trade = ctx.state.need(TRADES, args.trade)
    side = _side(ctx, trade)
    if (trade.buyer_accepts and side == BUYER) or (trade.seller_accepts and side == SELLER):
        return {"state": trade.state, **REPLAYED}
    _need(ctx, trade, "MATCHED")
    if ctx.time_ms >= trade.deadline_ms:
        ctx.reject("EXPIRED", what="match")
    changed = replace(
        trade,
        buyer_accepts=trade.buyer_accepts or side == BUYER,
        seller_accepts=trade.seller_accepts or side == SELLER,
    )
    if changed.buyer_accepts and changed.seller_accepts:
        changed = replace(changed, state="AGREED")
    return _become(ctx, args.trade, changed, "Accepted")


def cancel_trade(ctx: Context, args: TradeOnly) -> Details:
    """Either side, as long as no money is in escrow; it counts in its behaviour."""
    trade = ctx.state.need(TRADES, args.trade)
    side = _side(ctx, trade)
    if trade.state == "CANCELED":
        return {"state": trade.state, **REPLAYED}
    _need(ctx, trade, "MATCHED", "AGREED")
    own = trade.buyer if side == BUYER else trade.seller
    rules.add_fact(ctx, own, "CANCELED", trade.category, trade.amount, args.trade)
    return _become(ctx, args.trade, replace(trade, state="CANCELED"), "Canceled")


def fund(ctx: Context, args: TradeOnly) -> Details:
    """The buyer puts the whole amount into escrow."""
    trade = ctx.state.need(TRADES, args.trade)
    if _side(ctx, trade) != BUYER:
        ctx.reject("UNAUTHORIZED", why="the buyer funds")
    if trade.state == "ESCROWED":
        return {"state": trade.state, **REPLAYED}
    _need(ctx, trade, "AGREED")
    buyer = ctx.state.need(ENTERPRISES, trade.buyer)
    cash = rules.cash_of(ctx, trade.buyer, buyer)
    return escrow(ctx, args.trade, trade, {cash: trade.amount})


def escrow(ctx: Context, identity: bytes, trade: Trade, sources: Mapping[bytes, int]) -> Details:
    """Fill the escrow out of accounts that together give the amount; the trade is funded."""
    assert sum(sources.values()) == trade.amount, "a trade is funded whole"
    target = rules.escrow_of(ctx, identity, trade)
    for source, amount in sources.items():
        rules.move(ctx, source, target, amount)
    if trade.prepaid:
        rules.add_fact(
            ctx, trade.buyer, "PREPAID", trade.category, trade.amount, identity, trade.seller
        )
    return _become(ctx, identity, replace(trade, state="ESCROWED"), "Escrowed")


def ship(ctx: Context, args: Ship) -> Details:
    """The seller has sent the goods; from now on time works for it."""
    trade = ctx.state.need(TRADES, args.trade)
    if _side(ctx, trade) != SELLER:
        ctx.reject("UNAUTHORIZED", why="the seller ships")
    if trade.state == "SHIPPED" and trade.doc_hash == args.doc_hash:
        return {"state": trade.state, **REPLAYED}
    _need(ctx, trade, "ESCROWED")
    deadline_ms = ctx.time_ms + ctx.scaled(rules.policy_of(ctx).release_ms)
    shipped = replace(trade, state="SHIPPED", doc_hash=args.doc_hash, deadline_ms=deadline_ms)
    return _become(ctx, args.trade, shipped, "Shipped")


def confirm(ctx: Context, args: Confirm) -> Details:
    """The buyer takes a part over, or all; the seller gets that part's price."""
    trade = ctx.state.need(TRADES, args.trade)
    if _side(ctx, trade) != BUYER:
        ctx.reject("UNAUTHORIZED", why="the buyer takes over")
    _need(ctx, trade, "SHIPPED")
    if trade.confirmed + args.qty > trade.quantity:
        ctx.reject("INSUFFICIENT", left=trade.quantity - trade.confirmed)
    changed = rules.release(ctx, args.trade, trade, trade.price * args.qty)
    changed = replace(changed, confirmed=trade.confirmed + args.qty)
    if changed.confirmed < changed.quantity:
        return _become(ctx, args.trade, changed, "Confirmed")
    return _settle(ctx, args.trade, changed)


def auto_release(ctx: Context, args: TradeOnly) -> Details:
    """Anybody, once the buyer has let the time pass without taking over or contesting."""
    trade = ctx.state.need(TRADES, args.trade)
    if trade.state == "SETTLED":
        return {"state": trade.state, **REPLAYED}
    _need(ctx, trade, "SHIPPED")
    if ctx.time_ms < trade.deadline_ms:
        ctx.reject("BAD_STATE", why="the buyer has time", deadline_ms=trade.deadline_ms)
    changed = rules.release(ctx, args.trade, trade, rules.escrowed(trade))
    return _settle(ctx, args.trade, replace(changed, confirmed=trade.quantity))


def dispute(ctx: Context, args: DisputeTrade) -> Details:
    """Either side contests what is still in escrow."""
    trade = ctx.state.need(TRADES, args.trade)
    _side(ctx, trade)
    if trade.state == "DISPUTED":
        return {"state": trade.state, **REPLAYED}
    _need(ctx, trade, "ESCROWED", "SHIPPED")
    return _become(ctx, args.trade, replace(trade, state="DISPUTED"), "Disputed", args.reason)


def resolve(ctx: Context, args: ResolveTrade) -> Details:
    """An arbiter divides the escrow exactly; whoever gets less of it has lost."""
    trade = ctx.state.need(TRADES, args.trade)
    _need(ctx, trade, "DISPUTED")
    if ctx.sender in (trade.buyer_owner, trade.seller_owner):
        ctx.reject("UNAUTHORIZED", why="a side does not decide")
    held = rules.escrowed(trade)
    if args.buyer_amt + args.seller_amt != held:
        ctx.reject("BAD_ARG", field="buyer_amt", why="the parts are not the escrow", escrow=held)
    changed = rules.release(ctx, args.trade, trade, args.seller_amt) if args.seller_amt else trade
    buyer = ctx.state.need(ENTERPRISES, trade.buyer)
    cash = rules.cash_of(ctx, trade.buyer, buyer)
    rules.move(ctx, rules.escrow_of(ctx, args.trade, trade), cash, args.buyer_amt)
    lost = trade.seller if args.buyer_amt > args.seller_amt else trade.buyer
    rules.add_fact(ctx, lost, "LOST", trade.category, held, args.trade)
    return _settle(ctx, args.trade, replace(changed, refunded=args.buyer_amt))


def _settle(ctx: Context, identity: bytes, trade: Trade) -> Details:
    """The end of a trade: what was paid is a fact for both (R2.11)."""
    settled = replace(trade, state="SETTLED", settled_ms=ctx.time_ms)
    if trade.released:
        for own, kind, other in (
            (trade.seller, "SOLD", trade.buyer),
            (trade.buyer, "BOUGHT", trade.seller),
        ):
            rules.add_fact(ctx, own, kind, trade.category, trade.released, identity, other)
    return _become(ctx, identity, settled, "Settled")


def _side(ctx: Context, trade: Trade) -> str:
    if ctx.sender == trade.buyer_owner:
        return BUYER
    if ctx.sender == trade.seller_owner:
        return SELLER
    ctx.reject("UNAUTHORIZED", why="another one's trade")


def _need(ctx: Context, trade: Trade, *states: str) -> None:
    if trade.state not in states:
        ctx.reject("BAD_STATE", state=trade.state)


def _become(ctx: Context, identity: bytes, trade: Trade, event: str, reason: str = "") -> Details:
    ctx.state.put(TRADES, identity, trade)
    data = {
        "trade": identity,
        "state": trade.state,
        "released": trade.released,
        "fees": trade.fees,
        "refunded": trade.refunded,
    }
    ctx.emit(event, {**data, "reason": reason} if reason else data, trade_readers(trade))
    return {"state": trade.state, "released": trade.released, "fees": trade.fees}


# ---- evaluations (R2.12)


def commitment_of(trade: bytes, side: str, reviewer: bytes, score: int, salt: bytes) -> bytes:
    """What is committed before anybody reveals, 32 bytes; a trade's id is of one network alone."""
    state = hashlib.sha256(b"groat/deposits/review/1")
    for part in (trade, side.encode(), reviewer, bytes([score]), salt):
        state.update(len(part).to_bytes(2, "big") + part)
    return state.digest()


def commit_review(ctx: Context, args: CommitReview) -> Details:
    """One side has made up its mind, in the first half of the time for it."""
    trade = ctx.state.need(TRADES, args.trade)
    side = _side(ctx, trade)
    known = ctx.state.get(REVIEWS, review_key(args.trade, side))
    if known is not None:
        if known.commitment != args.commitment:
            ctx.reject("IDEM_CONFLICT", what="review")
        return dict(REPLAYED)
    _need(ctx, trade, "SETTLED")
    if ctx.time_ms >= _commits_until(ctx, trade) or _revealed(ctx, args.trade, _OTHER[side]):
        ctx.reject("REVIEW_CLOSED", until_ms=_commits_until(ctx, trade))
    review = Review(args.commitment, 0, ctx.sender)
    ctx.state.insert(REVIEWS, review_key(args.trade, side), review)
    return {}


def reveal(ctx: Context, args: RevealReview) -> Details:
    """The score, once both have committed or the other one can no longer."""
    trade = ctx.state.need(TRADES, args.trade)
    side = _side(ctx, trade)
    review = ctx.state.need(REVIEWS, review_key(args.trade, side))
    if commitment_of(args.trade, side, ctx.sender, args.score, args.salt) != review.commitment:
        ctx.reject("BAD_ARG", field="score", why="not what was committed")
    if review.score:
        return dict(REPLAYED)
    other = ctx.state.get(REVIEWS, review_key(args.trade, _OTHER[side]))
    if other is None and ctx.time_ms < _commits_until(ctx, trade):
        ctx.reject("BAD_STATE", why="the other side may still commit")
    if ctx.time_ms >= trade.settled_ms + ctx.scaled(rules.policy_of(ctx).review_ms):
        ctx.reject("REVIEW_CLOSED")
    ctx.state.put(REVIEWS, review_key(args.trade, side), replace(review, score=args.score))
    own, target = (trade.buyer, trade.seller) if side == BUYER else (trade.seller, trade.buyer)
    weight = max(trade.released, 1)
    rules.add_fact(ctx, target, "RATED", trade.category, args.score, args.trade, own, weight=weight)
    data = {"trade": args.trade, "side": side, "score": args.score}
    ctx.emit("Evaluated", data, trade_readers(trade))
    return {}


def _revealed(ctx: Context, trade: bytes, side: str) -> bool:
    review = ctx.state.get(REVIEWS, review_key(trade, side))
    return review is not None and review.score > 0


def _commits_until(ctx: Context, trade: Trade) -> int:
    return trade.settled_ms + ctx.scaled(rules.policy_of(ctx).review_ms) // 2


ACTIONS = {
    "accept_match": Action(TradeOnly, accept_match),
    "cancel_trade": Action(TradeOnly, cancel_trade),
    "fund": Action(TradeOnly, fund),
    "ship": Action(Ship, ship),
    "confirm": Action(Confirm, confirm),
    "auto_release": Action(TradeOnly, auto_release),
    "dispute": Action(DisputeTrade, dispute),
    "resolve": Action(ResolveTrade, resolve, ("arbiter",)),
    "commit_review": Action(CommitReview, commit_review),
    "reveal": Action(RevealReview, reveal),
}
