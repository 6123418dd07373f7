"""Prepaid supervision: where its records lie, and who may read them.

Keys of private records start with 16 bytes that nobody can guess, but for the register of
merchants; only numbers follow.
"""

from __future__ import annotations

from contracts.kernel.access import REGULATOR
from contracts.kernel.state import Table
from contracts.prepaid.models import (
    Card,
    CardClass,
    CardRef,
    Census,
    Entry,
    KeptLot,
    Merchant,
    MerchantRef,
    Movement,
    Order,
    Policy,
    Totals,
    Voided,
)

# ---- who may read what


def people_of(card: Card) -> tuple[str, ...]:
    """Holder, merchant and regulator: those whom a card's single bookings concern."""
    return (card.holder.hex(), card.owner.hex(), REGULATOR)


def all_of(card: Card | Order) -> tuple[str, ...]:
    """The same with the custodian bank."""
    return (card.holder.hex(), card.owner.hex(), REGULATOR, card.custodian.hex())


def house_of(one: Merchant | MerchantRef | Totals | CardRef | Movement) -> tuple[str, ...]:
    """Merchant, its custodian bank, and the regulator."""
    return (one.owner.hex(), one.custodian.hex(), REGULATOR)


def _entry_readers(entry: Entry) -> tuple[str, ...]:
    return (entry.holder.hex(), entry.owner.hex(), entry.booked_by.hex(), REGULATOR)


def _pair_readers(one: KeptLot | Voided) -> tuple[str, ...]:
    return (one.holder.hex(), one.owner.hex(), REGULATOR)


# ---- where it lies

POLICY = Table("prepaid/policy", Policy, "the word `policy`")
CLASSES = Table("prepaid/classes", CardClass, "the class's name in UTF-8")
CENSUS = Table("prepaid/census", Census, "the word `census`")
MERCHANTS = Table("prepaid/merchants", Merchant, "the merchant's id, 16 bytes", house_of)
REGISTER = Table(
    "prepaid/register",
    MerchantRef,
    "16 zero bytes, then the merchant's number in 8",
    house_of,
    guessable=True,
)
TOTALS = Table("prepaid/totals", Totals, "the merchant's id, 16 bytes", house_of)
DAYS = Table(
    "prepaid/days",
    Totals,
    "the merchant's id, then a day in 8 bytes: the sums before anything changed on that day",
    house_of,
)
MOVEMENTS = Table("prepaid/movements", Movement, "the order's id, 16 bytes", house_of)
CARDS = Table("prepaid/cards", Card, "the card's id, 16 bytes", all_of)
ENTRIES = Table(
    "prepaid/entries", Entry, "the card's id, then the line's number in 8 bytes", _entry_readers
)
LOTS = Table("prepaid/lots", KeptLot, "the card's id, then the lot's number in 8", _pair_readers)
VOIDED = Table("prepaid/voided", Voided, "as `entries`, for lines that were undone", _pair_readers)
ORDERS = Table("prepaid/orders", Order, "the order's id, 16 bytes", all_of)
CARDS_OF = Table(
    "prepaid/cards_of", CardRef, "the merchant's id, then the card's number in 8 bytes", house_of
)
HELD_OF = Table(
    "prepaid/held_of", CardRef, "as `cards_of`, for cards with earnings held back", house_of
)
DUE_OF = Table(
    "prepaid/due_of",
    CardRef,
    "the merchant's id, then when the card is due and its number, 8 bytes each",
    house_of,
)
TABLES = (
    POLICY,
    CLASSES,
    CENSUS,
    MERCHANTS,
    REGISTER,
    TOTALS,
    DAYS,
    MOVEMENTS,
    CARDS,
    ENTRIES,
    LOTS,
    VOIDED,
    ORDERS,
    CARDS_OF,
    HELD_OF,
    DUE_OF,
)
POLICY_KEY = b"policy"
CENSUS_KEY = b"census"
REGISTER_PREFIX = bytes(16)


def numbered(prefix: bytes, *numbers: int) -> bytes:
    """The key of something numbered, below a random id of 16 bytes."""
    return prefix + b"".join([number.to_bytes(8, "big") for number in numbers])
