"""The questions that every act on a card asks before it touches anything."""

from __future__ import annotations

from contracts.kernel.context import Context
from contracts.kernel.freezing import check_not_frozen, in_force
from contracts.kernel.identity import HOLDER
from contracts.prepaid import money, policy
from contracts.prepaid.models import Card, Merchant, Order
from contracts.prepaid.tables import CARDS, MERCHANTS, TOTALS

REPLAYED = {"replayed": True}
IN_BUSINESS = ("APPROVED", "CLOSING")
# Who is party to a card, and the role that such a sender has.
PARTIES = {"holder": HOLDER, "owner": "merchant", "custodian": "bank"}


def card_of(ctx: Context, card_id: bytes, *parties: str) -> Card:
    """The card, if the sender is one of these `parties` to it; `UNAUTHORIZED` or `NOT_FOUND`."""
    card = ctx.state.get(CARDS, card_id)
    if card is not None and any(ctx.sender == getattr(card, party) for party in parties):
        return card
    if card is None and any(PARTIES[party] in ctx.roles for party in parties):
        ctx.reject("NOT_FOUND", what=CARDS.name)
    ctx.reject("UNAUTHORIZED", why=f"not its {' or '.join(parties)}")


def check_custodian(ctx: Context, one: Merchant | Card | Order) -> None:
    """Only the bank that has the money in custody."""
    if ctx.sender != one.custodian:
        ctx.reject("UNAUTHORIZED", why="another bank has the custody")


def merchant_of_house(ctx: Context, merchant_id: bytes) -> Merchant:
    """The merchant, for itself, its bank and the regulator: the sender sees what it pages."""
    merchant = ctx.state.need(MERCHANTS, merchant_id)
    if ctx.sender not in (merchant.owner, merchant.custodian) and "regulator" not in ctx.roles:
        ctx.reject("UNAUTHORIZED", why="not the merchant, its bank or the regulator")
    return merchant


def own_merchant(ctx: Context, merchant_id: bytes) -> Merchant:
    """The merchant, for itself alone."""
    merchant = ctx.state.need(MERCHANTS, merchant_id)
    if ctx.sender != merchant.owner:
        ctx.reject("UNAUTHORIZED", why="another merchant")
    return merchant


def payouts_stopped(ctx: Context, merchant: Merchant) -> bool:
    """Whether what the merchant earns is held."""
    return bool(merchant.freezes) and in_force(merchant.freezes, "PAYOUT", ctx)


def check_in_business(ctx: Context, merchant: Merchant, card: Card) -> None:
    """Balances move only with a merchant that is not stopped nor wound up, and on a good card."""
    if merchant.freezes:
        check_not_frozen(merchant.freezes, "ALL", ctx)
    check_active(ctx, card)
    check_not_winding_up(ctx, merchant)


def check_not_winding_up(ctx: Context, merchant: Merchant) -> None:
    """In a winding-up the refund queue alone moves money."""
    if merchant.state not in IN_BUSINESS:
        ctx.reject("BAD_STATE", merchant=merchant.state)


def is_expired(ctx: Context, card: Card) -> bool:
    """At its deadline a card has expired, whether a sweep has seen it or not."""
    if card.state == "ACTIVE":
        return bool(card.due_ms) and ctx.time_ms >= card.due_ms
    return card.state == "EXPIRED"


def check_active(ctx: Context, card: Card) -> None:
    """`EXPIRED` past its validity, `BAD_STATE` if it is lost or closed."""
    if is_expired(ctx, card):
        ctx.reject("EXPIRED", what="card")
    if card.state != "ACTIVE":
        ctx.reject("BAD_STATE", card=card.state)


def check_custody_after(
    ctx: Context, merchant_id: bytes, merchant: Merchant, settled: int, amount: int
) -> None:
    """`CUSTODY_SHORT` if a payment of `amount` for `settled` of debt left too little in custody."""
    short = custody_short_by(ctx, merchant_id, merchant, settled, amount)
    if short:
        ctx.reject("CUSTODY_SHORT", short=short)


def custody_short_by(
    ctx: Context, merchant_id: bytes, merchant: Merchant, settled: int, amount: int
) -> int:
    """How much custody would lack after a payment of `amount` for `settled` of debt.

    Money that was never advanced is all there. What the merchant can give back comes back first.
    """
    totals = ctx.state.need(TOTALS, merchant_id)
    if not totals.advanced:
        return 0
    left = totals.escrow + money.recallable(ctx, merchant_id, merchant, amount) - amount
    needed = policy.required_custody(
        ctx.state, ctx.today(), merchant_id, merchant, totals.outstanding - settled
    )
    return max(needed - left, 0)
