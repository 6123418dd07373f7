"""Prepaid supervision: its records.

A merchant is filed and approved for classes of cards, all in one asset. A card is money paid in
advance plus a bonus, in *lots*, one for each payment; each visit uses up the oldest lot first. The
merchant earns of each lot in proportion to what was used of it. What these numbers must satisfy
stands in `lots` and `money`; what people send, in `arguments`; where records lie, in `tables`.
"""

from __future__ import annotations

from contracts.kernel.freezing import Freezes
from contracts.kernel.types import Record

# Open lots of one card; a fully used lot no longer counts, it lives on in the card's totals.
LOTS_MAX = 32
CLASSES_MAX = 8
# A paged act ends its page early after so many lots, so that it never weighs too much.
PAGE_LOTS_MAX = 128
BPS = 10_000
FULL_CUSTODY_BPS = BPS
# What a card of a class without a limit may hold: no single card can use up a bank's counters.
FACE_MAX = 1_000_000_000_000
HEAD_BYTES = 32
NO_HEAD = bytes(HEAD_BYTES)

# ---- policy


class CustodyKind(Record, frozen=True):
    """A kind of merchant that need not keep all of its customers' money, and what it must keep."""

    kind: str
    custody_bps: int


class Policy(Record, frozen=True):
    """How this network runs prepaid cards. Durations in ms, ratios in basis points.

    `custody_base`: CURRENT outstanding, or that at the end of the PREVIOUS_QUARTER. `breakage` says
    what becomes of a balance `breakage_after_ms` beyond its card's expiry: KEPT for the consumer,
    EARNED by the merchant, or ESCHEAT, a liability of the bank to the state; `breakage_bps` is how
    much of all balances a merchant expects never to be used. The last four are thresholds of
    alerts; 0: no alert.
    """

    version: int
    allow_clear: bool
    cooling_off_days: int
    void_ms: int
    notice_ms: int
    custody_base: str
    custody_kinds: tuple[CustodyKind, ...]
    breakage: str
    breakage_after_ms: int
    breakage_bps: int
    alert_issue_bps: int
    alert_refund_bps: int
    alert_dormant_days: int
    alert_outstanding: int


class CardClass(Record, frozen=True):
    """A kind of card. `face_max` bounds what may be left on one; None: no limit of its own.

    Cards expire no sooner than `min_validity_ms` after each payment; None: they never do. A lost
    card is replaced only if it is `named`.
    """

    name: str
    asset: str
    named: bool
    face_max: int | None
    min_validity_ms: int | None


# ---- merchants


class Merchant(Record, frozen=True):
    """A merchant: FILED, APPROVED, CLOSING (gave notice), WINDING_UP or WOUND_UP.

    `kind` is one of the policy's, or empty: full custody. `closes_ms` is when the notice ends,
    `short_since_ms` since when custody was seen to be short; 0: not. In a winding-up, `settled` is
    the number of the last card that was refunded, and each holder gets the part
    `estate`/`estate_owed` of what is owed.
    """

    owner: bytes
    custodian: bytes
    name: str
    state: str
    asset: str
    classes: tuple[str, ...]
    kind: str
    custody_bps: int
    freezes: Freezes
    closes_ms: int
    short_since_ms: int
    settled: int
    estate: int
    estate_owed: int


class MerchantRef(Record, frozen=True):
    """Says which merchant has this number, in order of filing."""

    merchant: bytes
    owner: bytes
    custodian: bytes


class Census(Record, frozen=True):
    """How many merchants have filed."""

    merchants: int


class Totals(Record, frozen=True):
    """Sums over all cards of one merchant; `face` is what can still be consumed.

    `advanced` is what the merchant drew of money that is not yet earned; `day` the last UTC+8 day
    on which anything changed.
    """

    owner: bytes
    custodian: bytes
    asset: str
    day: int
    cards: int
    face: int
    consumed: int
    paid: int
    earned: int
    paid_out: int
    refunded: int
    advanced: int

    @property
    def outstanding(self) -> int:
        """The money that is still the consumers'."""
        return self.paid - self.earned - self.refunded

    @property
    def escrow(self) -> int:
        """What of it must be in escrow: all that was not drawn in advance."""
        return self.paid - self.earned - self.refunded - self.advanced

    @property
    def held(self) -> int:
        """What the merchant earned but was not paid."""
        return self.earned - self.paid_out


class Movement(Record, frozen=True):
    """Money that a merchant moved, by the order id that it gave: DRAW, REPAY or CASH_OUT."""

    merchant: bytes
    owner: bytes
    custodian: bytes
    kind: str
    amt: int


# ---- cards


class Lot(Record, frozen=True):
    """One payment: `paid` money and `bonus` on top, of which `used` is consumed.

    `number` counts the lots that a card ever had, from 1.
    """

    number: int
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
        return self.paid - self.paid * self.used // (self.paid + self.bonus)


class Slice(Record, frozen=True):
    """A part of a lot, by its number."""

    lot: int
    amount: int


class Card(Record, frozen=True):
    """A card: ACTIVE, LOST, EXPIRED or CLOSED.

    `number` counts the cards of its merchant, `seq` its consumptions, `entries` all lines of its
    statement, `lots_made` all lots it ever had. `due_ms` is when it expires or, once EXPIRED, when
    its balance lapses; 0: never. Face: `initial` + `topped_up` were loaded, `consumed` used,
    `cancelled` taken off. Money: `paid` came in, `earned` is the merchant's, of which `paid_out`
    was released, `refunded` went back. `head` is the end of the hash chain over its statement.
    """

    merchant: bytes
    number: int
    owner: bytes
    custodian: bytes
    holder: bytes
    card_class: str
    state: str
    since_ms: int
    validity_ms: int
    due_ms: int
    seq: int
    entries: int
    lots_made: int
    initial: int
    topped_up: int
    consumed: int
    cancelled: int
    paid: int
    earned: int
    paid_out: int
    refunded: int
    lots: tuple[Lot, ...]
    head: bytes

    @property
    def remaining(self) -> int:
        """What the holder can still consume."""
        return self.initial + self.topped_up - self.consumed - self.cancelled

    @property
    def held(self) -> int:
        """What the merchant earned but was not paid."""
        return self.earned - self.paid_out


# What each kind of line does to `remaining`.
LINE_SIGNS = {
    "OPEN": 1,
    "TOP_UP": 1,
    "CONSUME": -1,
    "REFUND": -1,
    "VOID_CONSUME": 1,
    "VOID_PAYMENT": -1,
    "MOVE_IN": 1,
    "MOVE_OUT": -1,
    "LOSS": 0,
    "EXPIRE": 0,
    "REACTIVATE": 0,
    "LAPSE": -1,
}


class Entry(Record, frozen=True):
    """One line of a card's statement, of a kind in `LINE_SIGNS`. Never changes.

    `amount` is face value, `money` what it moved: paid in, earned, or given back. `initial` is what
    was loaded on the card so far; `seq` and `remaining` are the card's after this line. `slices`
    are the parts of lots that a payment made or a visit used; `other` the card that a balance moved
    to or came from.
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
    slices: tuple[Slice, ...]
    other: bytes


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
    """Says which card it is: the one with a number, or the one that is due at a time."""

    card: bytes
    owner: bytes
    custodian: bytes


class KeptLot(Record, frozen=True):
    """A lot as it came to its card, for a void that must restore it after it was used up."""

    lot: Lot
    holder: bytes
    owner: bytes


class Voided(Record, frozen=True):
    """Says that a statement line was undone, and by which line."""

    line: int
    holder: bytes
    owner: bytes
