"""The tables of the exchange, who may read what in them, and their keys.

Keys of private tables start with 16 bytes that are a random id or a hash; what follows is a number.
"""

from __future__ import annotations

import hashlib

from contracts.exchange.models import (
    Book,
    Booking,
    BookingRef,
    DayUse,
    Delivery,
    Lot,
    LotRef,
    Order,
    OrderRef,
    Period,
    Platform,
    Policy,
    Product,
    Quote,
    Rate,
    Request,
    Serial,
    Settlement,
    Statement,
    Stock,
    Supply,
)
from contracts.kernel.access import REGULATOR
from contracts.kernel.state import Table

OPERATOR = "role:operator"
OVERSIGHT = (OPERATOR, REGULATOR)

# ---- who may read what


def parties_of(order: Order) -> tuple[str, ...]:
    """The person, the platforms and the peripheral of an order, and oversight."""
    keys = (order.user, *[part.platform for part in order.parts], order.peripheral)
    return (*[key.hex() for key in keys if key], *OVERSIGHT)


def house_of(one: Book | Booking | BookingRef | Statement) -> tuple[str, ...]:
    """The platform, and oversight."""
    return (one.platform.hex(), *OVERSIGHT)


def wallet_readers(user: bytes, platform: bytes) -> tuple[str, ...]:
    """The person, the platform of the asset, and oversight."""
    return (user.hex(), platform.hex(), *OVERSIGHT)


def delivery_readers(one: Request | Delivery) -> tuple[str, ...]:
    """The person, the peripheral if there is one, and oversight."""
    keys = (one.user, one.peripheral)
    return (*[key.hex() for key in keys if key], *OVERSIGHT)


def _supply_readers(supply: Supply) -> tuple[str, ...]:
    keys = (supply.platform, supply.user)
    return (*[key.hex() for key in keys if key], *OVERSIGHT)


# ---- tables. The keys of private ones start with 16 bytes, an id or a hash that can be guessed.

POLICY = Table("exchange/policy", Policy, "the word `policy`")
PLATFORMS = Table("exchange/platforms", Platform, "the asset's code in UTF-8")
RATES = Table("exchange/rates", Rate, "asset, 0, side, 0, and the version in 8 bytes")
PRODUCTS = Table("exchange/products", Product, "product, 0, and the version in 8 bytes")
STOCK = Table("exchange/stock", Stock, "the product's code in UTF-8")
PERIODS = Table("exchange/periods", Period, "the period in UTF-8")
LOTS = Table(
    "exchange/lots",
    Lot,
    "the key of the balance's account, then the expiry in 8 bytes",
    lambda lot: wallet_readers(lot.user, lot.platform),
    guessable=True,
)
DAY_USES = Table(
    "exchange/day_uses",
    DayUse,
    "the key of the balance's account",
    lambda use: wallet_readers(use.user, use.platform),
    guessable=True,
)
EXPIRIES = Table(
    "exchange/expiries",
    LotRef,
    "a constant, the expiry in 8 bytes, the lot's number in 8 bytes",
    lambda _: OVERSIGHT,
    guessable=True,
)
ORDERS = Table("exchange/orders", Order, "the order's id, 16 bytes", parties_of)
REQUESTS = Table("exchange/requests", Request, "the order's id, 16 bytes", delivery_readers)
QUOTES = Table(
    "exchange/quotes",
    Quote,
    "the order's id, then the quote's number in 8 bytes",
    lambda quote: (quote.user.hex(), *OVERSIGHT),
)
DELIVERIES = Table("exchange/deliveries", Delivery, "the order's id, 16 bytes", delivery_readers)
ORDERS_OF = Table(
    "exchange/orders_of",
    OrderRef,
    "a hash of the party's key, then the order's number in 8 bytes",
    lambda ref: (ref.party.hex(), *OVERSIGHT),
    guessable=True,
)
DEADLINES = Table(
    "exchange/deadlines",
    OrderRef,
    "a constant, the deadline in 8 bytes, the order's number in 8 bytes",
    lambda _: OVERSIGHT,
    guessable=True,
)
SUPPLIES = Table("exchange/supplies", Supply, "the supply's id, 16 bytes", _supply_readers)
BOOKS = Table(
    "exchange/books",
    Book,
    "a hash of the asset, 16 bytes",
    house_of,
    guessable=True,
)
BOOKINGS = Table(
    "exchange/bookings",
    Booking,
    "a hash of asset and reference, 16 bytes",
    house_of,
    guessable=True,
)
BOOKINGS_OF = Table(
    "exchange/bookings_of",
    BookingRef,
    "a hash of the asset, then the booking's number in 8 bytes",
    house_of,
    guessable=True,
)
STATEMENTS = Table("exchange/statements", Statement, "the statement's id, 16 bytes", house_of)
SETTLEMENTS = Table(
    "exchange/settlements",
    Settlement,
    "a hash of the asset, then the period's number in 8 bytes",
    lambda one: (one.debtor.hex(), one.creditor.hex(), *OVERSIGHT),
    guessable=True,
)
SERIALS = Table(
    "exchange/serials",
    Serial,
    "a constant",
    lambda _: OVERSIGHT,
    guessable=True,
)
TABLES = (
    POLICY,
    PLATFORMS,
    RATES,
    PRODUCTS,
    STOCK,
    PERIODS,
    LOTS,
    DAY_USES,
    EXPIRIES,
    ORDERS,
    REQUESTS,
    QUOTES,
    DELIVERIES,
    ORDERS_OF,
    DEADLINES,
    SUPPLIES,
    BOOKS,
    BOOKINGS,
    BOOKINGS_OF,
    STATEMENTS,
    SETTLEMENTS,
    SERIALS,
)

# ---- keys

POLICY_KEY = b"policy"


def numbered(prefix: bytes, *numbers: int) -> bytes:
    """A key that goes on with numbers, 8 bytes each."""
    return prefix + b"".join([number.to_bytes(8, "big") for number in numbers])


def hashed(tag: str, *parts: bytes) -> bytes:
    """The 16-byte key of something that has no id of its own."""
    state = hashlib.sha256(b"groat/exchange/" + tag.encode())
    for part in parts:
        state.update(len(part).to_bytes(2, "big") + part)
    return state.digest()[:16]


def hold_key(order: bytes) -> bytes:
    """What an order's reservation is called in the ledger, where other contracts have theirs."""
    return hashed("hold", order)


SERIAL_KEY = hashed("serial")
EXPIRIES_KEY = hashed("expiries")
DEADLINES_KEY = hashed("deadlines")


def rate_key(asset: str, side: str, version: int) -> bytes:
    """The key of one version of a rate."""
    return numbered(asset.encode() + b"\0" + side.encode() + b"\0", version)


def product_key(product: str, version: int) -> bytes:
    """The key of one version of a product's row."""
    return numbered(product.encode() + b"\0", version)


def book_key(asset: str) -> bytes:
    """The key of an asset's sums, and the owner of its pool, escrow and spread."""
    return hashed("book", asset.encode())


def booking_key(asset: str, ext_ref: str) -> bytes:
    """The key of what a platform did under a reference of its own."""
    return hashed("booking", asset.encode(), ext_ref.encode())


def bookings_of(asset: str) -> bytes:
    """Where the list of an asset's bookings starts."""
    return hashed("bookings", asset.encode())


def settlements_of(asset: str) -> bytes:
    """Where the list of an asset's settlements starts."""
    return hashed("settlements", asset.encode())


def orders_of(party: bytes) -> bytes:
    """Where the list of a party's orders starts."""
    return hashed("orders", party)
