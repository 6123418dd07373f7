"""Prepaid supervision: its records and its arguments.

A merchant is filed and approved for classes of cards, all in one asset. A card is money paid in
advance plus a bonus, in *lots*, one for each payment; each visit uses up the oldest lot first. The
merchant earns of each lot in proportion to what was used of it. What these numbers must satisfy
stands in `rules`.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from contracts.kernel.access import REGULATOR
from contracts.kernel.state import Table
from contracts.kernel.types import (
    AMOUNT_MAX,
    PAGE_DEFAULT,
    Amount,
    AmountOrZero,
    Args,
    Code,
    Id16,
    Limit,
    OptionalTicketArgs,
    PublicKey,
    Reason,
    Record,
    Seq,
    TicketArgs,
    TtlMs,
)

# Open lots of one card; a fully used lot no longer counts, it lives on in the card's totals.
LOTS_MAX = 32
CLASSES_MAX = 8
FULL_CUSTODY_BPS = 10_000
COOLING_OFF_DAYS = 7

# ---- records


class Policy(Record, frozen=True):
    """How this network runs prepaid cards."""

    allow_clear: bool


class CardClass(Record, frozen=True):
    """A kind of card. `face_max` bounds what may be left on one; None: no limit."""

    name: str
    asset: str
    named: bool
    face_max: int | None
    min_validity_ms: int | None


class Freeze(Record, frozen=True):
    """A regulator's stop: ISSUE (no openings, no top-ups), PAYOUT (earnings are held) or ALL."""

    scope: str
    reason: str
    at_ms: int


class Merchant(Record, frozen=True):
    """A merchant under supervision: FILED, APPROVED, WINDING_UP or WOUND_UP.

    `settled` is the number of the last card whose holder got the money back in a winding-up.
    """

    owner: bytes
    custodian: bytes
    name: str
    state: str
    asset: str
    classes: tuple[str, ...]
    custody_bps: int
    freezes: tuple[Freeze, ...]
    settled: int


class Totals(Record, frozen=True):
    """Sums over all cards of one merchant; `face` is what can still be consumed."""

    owner: bytes
    custodian: bytes
    asset: str
    cards: int
    face: int
    paid: int
    earned: int
    paid_out: int
    refunded: int


class Lot(Record, frozen=True):
    """One payment: `paid` money and `bonus` on top, of which `used` is consumed."""

    paid: int
    bonus: int
    used: int
    paid_at_ms: int

    @property
    def face(self) -> int:
        """What the lot was worth to the holder."""
        return self.paid + self.bonus

    @property
    def left(self) -> int:
        """What can still be consumed."""
        return self.paid + self.bonus - self.used

    @property
    def earned(self) -> int:
        """The merchant's part so far, rounded down: rounding falls to the consumer."""
        return self.paid * self.used // (self.paid + self.bonus)

    @property
    def owed(self) -> int:
        """The money that is still the consumer's."""
        return self.paid - self.earned


class Card(Record, frozen=True):
    """A card: ACTIVE or CLOSED. `seq` counts consumptions, `entries` all lines of its statement.

    `number` counts the cards of its merchant, from 1.
    Face: `initial` + `topped_up` were loaded, `consumed` used, `cancelled` refunded. Money: `paid`
    came in, `earned` is the merchant's, of which `paid_out` was released, `refunded` went back.
    """

    merchant: bytes
    number: int
    owner: bytes
    custodian: bytes
    holder: bytes
    card_class: str
    state: str
    seq: int
    entries: int
    initial: int
    topped_up: int
    consumed: int
    cancelled: int
    paid: int
    earned: int
    paid_out: int
    refunded: int
    lots: tuple[Lot, ...]

    @property
    def remaining(self) -> int:
        """What the holder can still consume."""
        return self.initial + self.topped_up - self.consumed - self.cancelled

    @property
    def held(self) -> int:
        """What the merchant earned but was not paid."""
        return self.earned - self.paid_out


class Entry(Record, frozen=True):
    """One line of a card's statement: OPEN, TOP_UP, CONSUME or REFUND. Never changes.

    `amount` is face value, `money` what it moved: paid in, earned, or refunded. `initial` is what
    was on the card at first; `seq` and `remaining` are the card's after this line.
    """

    kind: str
    seq: int
    initial: int
    amount: int
    money: int
    remaining: int
    time_ms: int
    transaction: bytes
    booked_by: bytes
    holder: bytes
    owner: bytes
    reason: str


class Order(Record, frozen=True):
    """A top-up that was booked, by the order id that it was given."""

    card: bytes
    holder: bytes
    owner: bytes
    custodian: bytes
    paid: int
    bonus: int
    remaining: int


class CardRef(Record, frozen=True):
    """Says which card has this number among its merchant's."""

    card: bytes
    owner: bytes
    custodian: bytes


# ---- who may read what


def people_of(card: Card) -> tuple[str, ...]:
    """Holder, merchant and regulator: those whom a card's single bookings concern."""
    return (card.holder.hex(), card.owner.hex(), REGULATOR)


def house_of(one: Merchant | Totals | CardRef) -> tuple[str, ...]:
    """Merchant, its custodian bank, and the regulator."""
    return (one.owner.hex(), one.custodian.hex(), REGULATOR)


def _card_readers(card: Card) -> tuple[str, ...]:
    return (*people_of(card), card.custodian.hex())


def _entry_readers(entry: Entry) -> tuple[str, ...]:
    return (entry.holder.hex(), entry.owner.hex(), entry.booked_by.hex(), REGULATOR)


def _order_readers(order: Order) -> tuple[str, ...]:
    return (order.holder.hex(), order.owner.hex(), order.custodian.hex(), REGULATOR)


POLICY = Table("prepaid/policy", Policy, "the word `policy`")
CLASSES = Table("prepaid/classes", CardClass, "the class's name in UTF-8")
MERCHANTS = Table("prepaid/merchants", Merchant, "the merchant's id, 16 bytes", house_of)
TOTALS = Table("prepaid/totals", Totals, "the merchant's id, 16 bytes", house_of)
CARDS = Table("prepaid/cards", Card, "the card's id, 16 bytes", _card_readers)
ENTRIES = Table(
    "prepaid/entries", Entry, "the card's id, then the line's number in 8 bytes", _entry_readers
)
ORDERS = Table("prepaid/orders", Order, "the order's id, 16 bytes", _order_readers)
CARDS_OF = Table(
    "prepaid/cards_of",
    CardRef,
    "the merchant's id, then the card's number in 8 bytes",
    house_of,
)
HELD_OF = Table(
    "prepaid/held_of", CardRef, "as `cards_of`, for cards with earnings held back", house_of
)
TABLES = (POLICY, CLASSES, MERCHANTS, TOTALS, CARDS, ENTRIES, ORDERS, CARDS_OF, HELD_OF)
POLICY_KEY = b"policy"


def card_number_key(merchant: bytes, number: int) -> bytes:
    """The key of a merchant's card `number` (from 1) in the lists of its cards."""
    return merchant + number.to_bytes(8, "big")


def entry_key(card: bytes, number: int) -> bytes:
    """The key of line `number` (from 1) of a card's statement."""
    return card + number.to_bytes(8, "big")


# ---- arguments


class ClassParameters(Args):
    """A class of cards as genesis declares it."""

    name: Code
    asset: Code
    named: bool
    face_max: Annotated[int, Field(ge=1, le=AMOUNT_MAX)] | None = None
    min_validity_ms: TtlMs | None = None


class Parameters(Args):
    """The contract's parameters in genesis."""

    allow_clear: bool = False
    classes: list[ClassParameters] = Field(default=[])


Scope = Literal["ISSUE", "PAYOUT", "ALL"]
RefundReason = Literal["COOLING_OFF", "MERCHANT_FAULT", "ORDINARY"]


class FileMerchant(Args):
    """A filing: `merchant` is an id that the merchant chose at random, `custodian` its bank."""

    merchant: Id16
    name: Code
    custodian: PublicKey


class Approve(Args):
    """Admission of a filed merchant to one class of cards; in basis points, all is in custody."""

    merchant: Id16
    card_class: Code = Field(alias="class")
    custody_bps: Annotated[int, Field(ge=FULL_CUSTODY_BPS, le=FULL_CUSTODY_BPS)] = FULL_CUSTODY_BPS


class OpenCard(TicketArgs):
    """A new card and its first lot. The ticket is the holder's; `paid` and `bonus` may be 0."""

    card: Id16
    merchant: Id16
    holder_pub: PublicKey
    card_class: Code = Field(alias="class")
    paid: AmountOrZero
    bonus: AmountOrZero = 0


class TopUp(TicketArgs):
    """One more lot on a card, under an order id chosen at random. The ticket is the holder's."""

    card: Id16
    order: Id16
    paid: AmountOrZero
    bonus: AmountOrZero = 0


class Consume(OptionalTicketArgs):
    """A visit. `seq` counts a card's consumptions, gapless from 1. The ticket is the holder's."""

    card: Id16
    amt: Amount
    seq: Seq


class Refund(OptionalTicketArgs):
    """The holder's money back. The ticket is the holder's, where the merchant sends ORDINARY."""

    card: Id16
    reason: RefundReason


class FreezeMerchant(Args):
    """A stop, or the end of one."""

    merchant: Id16
    scope: Scope
    reason: Reason


class WindUp(Args):
    """The end of a merchant."""

    merchant: Id16
    reason: Reason


class MerchantPage(Args):
    """The next `limit` cards of a merchant."""

    merchant: Id16
    limit: Limit = PAGE_DEFAULT


class CardQuery(Args):
    """Which card?"""

    card: Id16


class StatementQuery(Args):
    """A page of a card's statement, after line number `cursor`."""

    card: Id16
    cursor: AmountOrZero = 0
    limit: Limit = PAGE_DEFAULT


class MerchantQuery(Args):
    """Which merchant?"""

    merchant: Id16


class CardsQuery(Args):
    """A page of a merchant's cards, after card number `cursor`."""

    merchant: Id16
    cursor: AmountOrZero = 0
    limit: Limit = PAGE_DEFAULT


class ClassesQuery(Args):
    """A page of the classes of cards, after the name `cursor`."""

    cursor: Code | None = None
    limit: Limit = PAGE_DEFAULT


class NoArgs(Args):
    """Nothing to ask."""
