"""Unified virtual assets: the records of the exchange.

Every asset, the *general* one included, has a platform that issues it. A person holds each asset in
lots with an expiry. An *order* is one request on its way: a purchase of a product that is priced in
some asset, or an exchange of one asset for another; a *quote* is an irrevocable offer for it. What
the platforms did outside for an order is a *booking*. The rules are in `pricing` and `trade`.
"""

from __future__ import annotations

from contracts.kernel.freezing import Freezes
from contracts.kernel.types import AMOUNT_MAX, Record

PLATFORMS_MAX = 64
BONUSES_MAX = 4
NEVER_MS = AMOUNT_MAX

# Sides of a rate, as the person at the counter sees them.
BUY = "BUY"
SELL = "SELL"

PURCHASE = "PURCHASE"
EXCHANGE = "EXCHANGE"

# States of an order; the last three are final.
REQUESTED = "REQUESTED"
QUOTED = "QUOTED"
EXCHANGING = "EXCHANGING"
RESERVED = "RESERVED"
FULFILLED = "FULFILLED"
EXCHANGED = "EXCHANGED"
REFUNDED = "REFUNDED"

# The effect of a booking here: in force, or none, so that it is due back in the platform's own
# system; or unknown, where only the platform's statement tells of it. And what the statement shows.
IN_FORCE = "IN_FORCE"
DUE_BACK = "DUE_BACK"
UNKNOWN = "UNKNOWN"
SUCCESS = "SUCCESS"
REVERSAL = "REVERSAL"
DIFFERS = "DIFFERS"

# ---- what is offered: public


class Policy(Record, frozen=True):
    """How this network exchanges: the general asset, the currency of settlement, time limits."""

    allow_clear: bool
    general: str
    currency: str
    quote_ttl_ms: int
    confirm_ttl_ms: int


class Platform(Record, frozen=True):
    """An asset and the platform that issues it.

    One obtains `min_lot` units or any number of `step` more, at most `daily_cap` a day and wallet;
    a wallet holds at most `wallet_max`; lots live `lot_ttl_ms`; None: no limit. The issuer of the
    general asset owes `settle_price` minor units of the currency for `settle_per` units. `buy` and
    `sell` are the versions of its rates in force, 0 for none.
    """

    asset: str
    owner: bytes
    min_lot: int
    step: int
    daily_cap: int | None
    wallet_max: int | None
    lot_ttl_ms: int | None
    settle_price: int
    settle_per: int
    version: int
    buy: int
    sell: int
    freezes: Freezes


class Bonus(Record, frozen=True):
    """A rule row: `extra` units for every full `per` general units of one order."""

    per: int
    extra: int


class Rate(Record, frozen=True):
    """One version of a rate; never changes.

    BUY: `num` asset units for `den` general ones. SELL: `num` general units for `den` asset ones.
    Of the general units that it moves `spread_bps` ten-thousandths are booked as spread.
    """

    asset: str
    side: str
    version: int
    num: int
    den: int
    spread_bps: int
    bonuses: tuple[Bonus, ...]
    set_ms: int
    expires_ms: int


class Product(Record, frozen=True):
    """One version of a row of the product table: what a product costs, in which asset.

    The row fits an order of up to `quantity_max` pieces.
    """

    product: str
    title: str
    peripheral: bytes
    asset: str
    price: int
    quantity_max: int
    fulfil_ttl_ms: int
    version: int
    set_ms: int


class Stock(Record, frozen=True):
    """What is in force for a product: the version of its row, and pieces left; None: no limit."""

    version: int
    left: int | None


# ---- what people have and want: private


class Lot(Record, frozen=True):
    """Units of one wallet that expire together; `number` finds it in the list of expiries."""

    user: bytes
    asset: str
    platform: bytes
    amount: int
    expires_ms: int
    number: int


class LotRef(Record, frozen=True):
    """Says which lot expires at the time in the key."""

    lot: bytes


class DayUse(Record, frozen=True):
    """What one wallet obtained on one day."""

    user: bytes
    platform: bytes
    day: int
    obtained: int


class Slice(Record, frozen=True):
    """A part of a lot that an order took, with the expiry to be restored."""

    amount: int
    expires_ms: int


class Terms(Record, frozen=True):
    """What an order costs and brings, with snapshots of the rates used.

    `paid` units of the source leave the person; `own` come from the person's wallet of the target;
    `need` go into escrow for the product; `obtained` and `bonus` come from the target's platform.
    In general units: `gross` is what the sold source is worth, `cost` what the target costs, of
    which the spreads are booked apart, `remainder` what the person gets back of a gross.
    """

    paid: int
    own: int
    need: int
    obtained: int
    bonus: int
    gross: int
    cost: int
    sell_spread: int
    buy_spread: int
    remainder: int
    buy: Rate | None
    sell: Rate | None
    product_version: int

    @property
    def received(self) -> int:
        """Units of the target that its platform provides."""
        return self.obtained + self.bonus

    @property
    def change(self) -> int:
        """Units of the target for the person, beyond what the product needs."""
        return self.own + self.obtained + self.bonus - self.need


class Part(Record, frozen=True):
    """What a platform has to do for an order: provide `units`, or take them back where negative.

    `price` is its settle price as it was at the execution. `booking` is empty until it confirmed.
    """

    asset: str
    platform: bytes
    units: int
    price: int
    booking: bytes


class Order(Record, frozen=True):
    """One request: see the states above. `terms` are those of the executed quote.

    `quotes` counts its quotes. `slices` were taken from the source's wallet, `own_slices` from the
    target's; `day` is that of the execution. `deadline_ms` belongs to the state, 0 for none; `why`
    says why it was refunded.
    """

    number: int
    kind: str
    state: str
    user: bytes
    product: str
    peripheral: bytes
    quantity: int
    general: str
    source: str
    target: str
    quotes: int
    terms: Terms | None
    parts: tuple[Part, ...]
    slices: tuple[Slice, ...]
    own_slices: tuple[Slice, ...]
    day: int
    deadline_ms: int
    why: str


class Request(Record, frozen=True):
    """What a person sent, word for word, and the parts that are for the peripheral.

    `reader` is the key to seal the product to; empty for the one that the person signs with.
    """

    user: bytes
    peripheral: bytes
    raw: str
    reader: bytes
    details: str
    time_ms: int


class Quote(Record, frozen=True):
    """An irrevocable offer for an order, good once and until `expires_ms`."""

    user: bytes
    terms: Terms
    quoted_ms: int
    expires_ms: int
    used: bool


class Delivery(Record, frozen=True):
    """The product, sealed to the person's reading key, and the hash of the clear one."""

    user: bytes
    peripheral: bytes
    receipt_hash: bytes
    sealed_product: bytes
    time_ms: int
    transaction: bytes


class OrderRef(Record, frozen=True):
    """Says which order has this number in a list; `party` may read it."""

    order: bytes
    party: bytes


# ---- what platforms owe and did: private to them and to oversight


class Supply(Record, frozen=True):
    """Units that were made or burned.

    ISSUE to a person, PROVIDE to a pool; RETIRE from a pool, REDEEM from a peripheral. `user` is
    the person or the peripheral, `pool` the asset whose pool it was, each empty for the others.
    """

    kind: str
    asset: str
    platform: bytes
    user: bytes
    pool: str
    amt: int


class Quoted(Record, frozen=True):
    """A version of a rate and the time until which some quote with it is good."""

    side: str
    version: int
    until_ms: int


class Book(Record, frozen=True):
    """Sums of one asset, in its units; `owed_parts` and `settled_parts` are currency times per.

    They grow with what its platform provided and shrink with what it took back.
    """

    platform: bytes
    issued: int
    burned: int
    owed_parts: int
    settled_parts: int
    quoted: tuple[Quoted, ...]


class Booking(Record, frozen=True):
    """What a platform did in its own system for an order, by its reference there.

    `effect` here and what is `stated` there as above; nothing stated yet: empty.
    """

    asset: str
    platform: bytes
    ext_ref: str
    order: bytes
    units: int
    effect: str
    stated: str
    number: int
    time_ms: int


class BookingRef(Record, frozen=True):
    """Says which booking has this number among an asset's."""

    booking: bytes
    platform: bytes


class Statement(Record, frozen=True):
    """A platform's statement as it was imported, and how its lines compared."""

    asset: str
    platform: bytes
    lines_hash: bytes
    matched: int
    due_back: int
    reversed: int
    unknown: int
    differs: int
    time_ms: int
    transaction: bytes


class Settlement(Record, frozen=True):
    """What one side owes the other for one asset and period, in the currency's minor units."""

    period: str
    asset: str
    debtor: bytes
    creditor: bytes
    amt: int
    time_ms: int
    transaction: bytes


class Period(Record, frozen=True):
    """A settled period and its number."""

    number: int
    settlements: int
    time_ms: int


class Serial(Record, frozen=True):
    """The last number given to an order, lot, booking or period."""

    last: int
