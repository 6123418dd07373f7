"""The rule book of prepaid cards: arithmetic, guards, and the invariants that bind them.

* Each payment is a lot (paid, bonus). Consumption uses the oldest lot first.
* Of a lot the merchant has earned floor(paid · used / (paid + bonus)); the rest is the consumer's.
* Money comes in at the bank, rests in the merchant's escrow, and leaves it as it is earned: to the
  merchant, or to a held account while payouts are frozen. A refund goes back out at the bank.
* Always: escrow + held = Σ (paid − paid_out − refunded), and paid_out ≤ earned ≤ paid.

Nothing here decides who may do what; that is in `actions`.
"""

from __future__ import annotations

import msgspec

from contracts.kernel.context import Context, day_of
from contracts.kernel.ledger import Leg, account_key
from contracts.kernel.types import AMOUNT_MAX, reject
from contracts.prepaid.models import (
    CARDS_OF,
    CLASSES,
    COOLING_OFF_DAYS,
    HELD_OF,
    LOTS_MAX,
    MERCHANTS,
    TOTALS,
    Card,
    CardClass,
    CardRef,
    Lot,
    Merchant,
    Totals,
    card_number_key,
)

replace = msgspec.structs.replace

CASH = "prepaid.cash"
ESCROW = "prepaid.escrow"
EARNINGS = "prepaid.earnings"
HELD = "prepaid.held"


# ---- lots


def spend(lots: tuple[Lot, ...], amount: int) -> tuple[tuple[Lot, ...], int]:
    """Use `amount` of the lots, oldest first: the lots that are left, and what that earned.

    A lot that is used up is dropped; the card's totals keep what it earned, which is all of it.
    """
    earned = 0
    for index, lot in enumerate(lots):
        if amount < lot.left:
            used = Lot(lot.paid, lot.bonus, lot.used + amount, lot.paid_at_ms)
            return (used, *lots[index + 1 :]), earned + used.earned - lot.earned
        amount -= lot.left
        earned += lot.owed
        if amount == 0:
            return lots[index + 1 :], earned
    reject("INSUFFICIENT", what="card")


def in_cooling_off(lot: Lot, ctx: Context) -> bool:
    """Before the end of the 7th UTC+8 day after the payment."""
    return ctx.today() <= day_of(lot.paid_at_ms, ctx.time_scale) + COOLING_OFF_DAYS


def ordinary_refund(lot: Lot) -> int:
    """What a consumer gets who leaves without a cause: visits count in full, the bonus is lost."""
    return max(lot.paid - lot.used, 0)


def add_lot(card: Card, paid: int, bonus: int, time_ms: int) -> tuple[Lot, ...]:
    """The card's lots and one more; `CARD_LIMIT` beyond `LOTS_MAX`. An empty lot is none."""
    if paid + bonus == 0:
        return card.lots
    if len(card.lots) >= LOTS_MAX:
        reject("CARD_LIMIT", lots_max=LOTS_MAX)
    return (*card.lots, Lot(paid, bonus, 0, time_ms))


def check_face(card_class: CardClass, face: int) -> None:
    """A card of this class may hold this much."""
    if card_class.face_max is not None and face > card_class.face_max:
        reject("CARD_LIMIT", face_max=card_class.face_max)


def bounded(amount: int, what: str, amount_max: int = AMOUNT_MAX) -> int:
    """`amount`, unless it is beyond what can be counted."""
    if amount > amount_max:
        reject("OVERFLOW", what=what)
    return amount


# ---- merchants


def is_frozen(merchant: Merchant, scope: str) -> bool:
    """Whether a stop of `scope`, or of everything, is in force."""
    return any(freeze.scope in (scope, "ALL") for freeze in merchant.freezes)


def check_not_frozen(merchant: Merchant, scope: str) -> None:
    """`FROZEN` naming the scope that is in force."""
    if is_frozen(merchant, scope):
        reject("FROZEN", scope=scope if not is_frozen(merchant, "ALL") else "ALL")


def class_of(ctx: Context, name: str) -> CardClass:
    """The class of cards by its name."""
    return ctx.state.need(CLASSES, name.encode())


def merchant_of(ctx: Context, card: Card) -> Merchant:
    """The merchant that a card is with."""
    return ctx.state.need(MERCHANTS, card.merchant)


def add_totals(
    ctx: Context,
    merchant: bytes,
    *,
    cards: int = 0,
    face: int = 0,
    paid: int = 0,
    earned: int = 0,
    paid_out: int = 0,
    refunded: int = 0,
) -> None:
    """Book the same on the merchant's sums as on one of its cards."""
    old = ctx.state.need(TOTALS, merchant)
    new = Totals(
        old.owner,
        old.custodian,
        old.asset,
        old.cards + cards,
        bounded(old.face + face, "face"),
        bounded(old.paid + paid, "paid"),
        old.earned + earned,
        old.paid_out + paid_out,
        old.refunded + refunded,
    )
    ctx.state.put(TOTALS, merchant, new)


# ---- money


def open_accounts(ctx: Context, merchant_id: bytes, merchant: Merchant, asset: str) -> None:
    """The accounts of one merchant, and the custodian's cash, which stands for the outside."""
    house = (merchant.owner, merchant.custodian)
    for purpose in (ESCROW, HELD, EARNINGS):
        ctx.ledger.open(merchant_id, asset, purpose, house)
    ctx.ledger.open(merchant.custodian, asset, CASH, (merchant.custodian,), may_go_negative=True)


def take_in(ctx: Context, merchant_id: bytes, merchant: Merchant, paid: int) -> None:
    """Cash came in at the bank; it is the consumers', in escrow."""
    if paid:
        cash = account_key(merchant.custodian, merchant.asset, CASH)
        escrow = account_key(merchant_id, merchant.asset, ESCROW)
        ctx.ledger.transfer(Leg(cash, escrow, paid))


def give_back(ctx: Context, merchant_id: bytes, merchant: Merchant, amount: int) -> None:
    """A refund leaves the escrow, out of the bank's cash."""
    if amount:
        cash = account_key(merchant.custodian, merchant.asset, CASH)
        escrow = account_key(merchant_id, merchant.asset, ESCROW)
        ctx.ledger.transfer(Leg(escrow, cash, amount))


def pay_merchant(
    ctx: Context, card_id: bytes, card: Card, merchant: Merchant, earned: int, frozen: bool
) -> int:
    """Move what `card` newly earned; returns what was paid out, earlier held money included.

    `card` is from before the earning. While payouts are frozen all of it is held.
    """
    asset, merchant_id = merchant.asset, card.merchant
    escrow = account_key(merchant_id, asset, ESCROW)
    held = account_key(merchant_id, asset, HELD)
    if frozen:
        if earned:
            ctx.ledger.transfer(Leg(escrow, held, earned))
            index = CardRef(card_id, card.owner, card.custodian)
            ctx.state.put(HELD_OF, card_number_key(merchant_id, card.number), index)
        return 0
    earnings = account_key(merchant_id, asset, EARNINGS)
    if earned:
        ctx.ledger.transfer(Leg(escrow, earnings, earned))
    if card.held:
        ctx.ledger.transfer(Leg(held, earnings, card.held))
        ctx.state.delete(HELD_OF, card_number_key(merchant_id, card.number))
    return earned + card.held


def cards_after(ctx: Context, merchant: bytes, number: int, limit: int) -> list[bytes]:
    """Ids of the merchant's next cards after card `number`, oldest first."""
    cursor = card_number_key(merchant, number)
    return [ref.card for _, ref in ctx.state.scan(CARDS_OF, merchant, cursor, limit)]
