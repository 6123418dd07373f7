"""Deposit modes: records and who may read them.

An enterprise registers and is reviewed; members list supply and demand, trade under escrow and
evaluate each other. What they do leaves *facts*. A bank that was granted them analyses the facts
and recommends a deposit, which the enterprise shapes before it accepts. What holds is in `rules`.
"""

from __future__ import annotations

import hashlib

from contracts.kernel.access import REGULATOR
from contracts.kernel.state import Table
from contracts.kernel.types import Record

REVIEWER, OPERATOR, ARBITER = "role:reviewer", "role:operator", "role:arbiter"

SALES, PURCHASE, LOGISTICS = "SALES", "PURCHASE", "LOGISTICS"
FINANCE, MEMBERSHIP, RIGHTS = "FINANCE", "MEMBERSHIP", "RIGHTS"
# The order decides where two modes have the same points.
MODES = (SALES, PURCHASE, LOGISTICS, FINANCE, MEMBERSHIP, RIGHTS)


class Policy(Record, frozen=True):
    """What counts on this network; rates in millionths, durations before scaling."""

    allow_clear: bool
    currency: str
    fee_ppm: int
    release_ms: int
    review_ms: int
    recommendation_ms: int
    facts_min: int


class Weight(Record, frozen=True):
    """A line of the scorecard: `points` for each full `unit` of a feature, at most `most`."""

    feature: str
    unit: int
    points: int
    most: int


class Mode(Record, frozen=True):
    """A deposit mode: how it is scored, and what may be agreed on.

    `share_ppm` of the feature `base` is suggested, in steps of `step`. Rates are yearly, by 360.
    """

    weights: tuple[Weight, ...]
    base: str
    share_ppm: int
    step: int
    amount_min: int
    amount_max: int
    terms_days: tuple[int, ...]
    rate_ppm: int
    early_rate_ppm: int
    purposes: tuple[str, ...]


class Enterprise(Record, frozen=True):
    """SUBMITTED, MEMBER, REJECTED or SUSPENDED. `controller` is a hash of the legal representative.

    `commitment` binds the seven fields with a salt; `sealed_info` is the record for the reviewer.
    """

    owner: bytes
    state: str
    commitment: bytes
    sealed_info: bytes
    docs_hash: bytes
    controller: bytes
    facts: int
    since_ms: int
    decided_by: bytes
    reason: str


class EnterpriseRef(Record, frozen=True):
    """Which enterprise a key is."""

    enterprise: bytes
    owner: bytes


class Grant(Record, frozen=True):
    """An enterprise lets a bank read its facts until `until_ms`; `reads` counts analyses."""

    owner: bytes
    bank: bytes
    until_ms: int
    revoked: bool
    reads: int


class Fact(Record, frozen=True):
    """Something that an enterprise did or had happen; never changes.

    Kinds: LISTED, CANCELED, SOLD, BOUGHT, RATED, LOST. `value` is money, or a score from 1 to 5.
    `weight` is the money behind a score. `source` is the listing or trade it comes from.
    """

    kind: str
    category: str
    value: int
    weight: int
    counterparty: bytes
    source: bytes
    time_ms: int
    owner: bytes


class Listing(Record, frozen=True):
    """Supply (SELL) or demand (BUY), for everybody to see: OPEN, FILLED, CANCELED."""

    enterprise: bytes
    owner: bytes
    side: str
    sku: str
    category: str
    region: str
    price: int
    quantity: int
    filled: int
    min_fill: int
    prepaid: bool
    expires_ms: int
    number: int
    state: str


class BookEntry(Record, frozen=True):
    """Says which listing rests at a place of the book."""

    listing: bytes


class Counter(Record, frozen=True):
    """The last number given."""

    last: int


class Trade(Record, frozen=True):
    """MATCHED, AGREED, ESCROWED, SHIPPED, DISPUTED, SETTLED or CANCELED.

    `amount` is price × quantity; `confirmed` the quantity taken over, `released` what the seller
    got before the fee.
    """

    buyer: bytes
    seller: bytes
    buyer_owner: bytes
    seller_owner: bytes
    sku: str
    category: str
    prepaid: bool
    price: int
    quantity: int
    amount: int
    state: str
    buyer_accepts: bool
    seller_accepts: bool
    confirmed: int
    released: int
    fees: int
    refunded: int
    deadline_ms: int
    doc_hash: bytes
    settled_ms: int


class Review(Record, frozen=True):
    """One side's evaluation of a settled trade; `score` is 0 until it is revealed."""

    commitment: bytes
    score: int
    owner: bytes


class Analysis(Record, frozen=True):
    """What a bank's analysis gave, at a height: features, points for each mode, reasons.

    It rests on the facts up to number `facts` and on the scorecard with hash `policy_hash`.
    """

    enterprise: bytes
    owner: bytes
    bank: bytes
    height: int
    time_ms: int
    facts: int
    policy_hash: bytes
    features: tuple[tuple[str, int], ...]
    points: tuple[tuple[str, int], ...]
    mode: str
    reasons: tuple[str, ...]


class Recommendation(Record, frozen=True):
    """A deposit in the enterprise's inbox: PUSHED, ACCEPTED or DECLINED.

    `override` is the bank's reason where it recommends another mode than the analysis.
    """

    analysis: bytes
    enterprise: bytes
    owner: bytes
    bank: bytes
    mode: str
    amount: int
    term_days: int
    rate_ppm: int
    purpose: str
    policy_hash: bytes
    expires_ms: int
    override: str
    state: str


class InboxEntry(Record, frozen=True):
    """Says which recommendation stands at a place of an enterprise's inbox."""

    recommendation: bytes
    owner: bytes
    bank: bytes


class Inbox(Record, frozen=True):
    """How many recommendations an enterprise has had."""

    last: int
    owner: bytes


class Deposit(Record, frozen=True):
    """Money put away: OPEN or CLOSED. `left` is what was not released for its purpose yet."""

    enterprise: bytes
    owner: bytes
    bank: bytes
    mode: str
    purpose: str
    amount: int
    left: int
    term_days: int
    rate_ppm: int
    early_rate_ppm: int
    opened_day: int
    interest: int
    state: str


# ---- who may read what


def enterprise_readers(one: Enterprise) -> tuple[str, ...]:
    """Itself, its reviewers, the platform and the regulator."""
    return (one.owner.hex(), REVIEWER, OPERATOR, REGULATOR)


def trade_readers(one: Trade) -> tuple[str, ...]:
    """Both sides, the platform, who decides disputes, and the regulator."""
    return (one.buyer_owner.hex(), one.seller_owner.hex(), OPERATOR, ARBITER, REGULATOR)


def bank_readers(
    one: Grant | Analysis | Recommendation | Deposit | InboxEntry,
) -> tuple[str, ...]:
    """The enterprise, its bank, and the regulator."""
    return (one.owner.hex(), one.bank.hex(), REGULATOR)


POLICY = Table("deposits/policy", Policy, "the word `policy`")
MODE = Table("deposits/modes", Mode, "the mode's name in UTF-8")
ENTERPRISES = Table(
    "deposits/enterprises", Enterprise, "the enterprise's id, 16 random bytes", enterprise_readers
)
ENTERPRISE_OF = Table(
    "deposits/enterprise_of",
    EnterpriseRef,
    "16 bytes: hash of the key",
    lambda ref: (ref.owner.hex(), REGULATOR),
)
GRANTS = Table("deposits/grants", Grant, "16 bytes: hash of enterprise and bank", bank_readers)
FACTS = Table(
    "deposits/facts",
    Fact,
    "the enterprise's id, then a number in 8 bytes",
    lambda fact: (fact.owner.hex(), REGULATOR),
)
LISTINGS = Table("deposits/listings", Listing, "the listing's id, 16 bytes")
BOOK = Table(
    "deposits/book",
    BookEntry,
    "hash of sku, region and side, 16 bytes; price, best first; number; 8 bytes each",
)
COUNTERS = Table("deposits/counters", Counter, "what is counted, in UTF-8")
TRADES = Table("deposits/trades", Trade, "16 bytes: hash of both listings", trade_readers)
REVIEWS = Table(
    "deposits/reviews",
    Review,
    "16 bytes: hash of trade and side",
    lambda review: (review.owner.hex(), OPERATOR, REGULATOR),
)
ANALYSES = Table("deposits/analyses", Analysis, "the analysis's id, 16 random bytes", bank_readers)
RECOMMENDATIONS = Table(
    "deposits/recommendations", Recommendation, "its id, 16 random bytes", bank_readers
)
INBOXES = Table(
    "deposits/inboxes",
    Inbox,
    "the enterprise's id, 16 random bytes",
    lambda one: (one.owner.hex(), REGULATOR),
)
INBOX = Table(
    "deposits/inbox", InboxEntry, "the enterprise's id, then a number in 8 bytes", bank_readers
)
DEPOSITS = Table("deposits/deposits", Deposit, "the deposit's id, 16 random bytes", bank_readers)
TABLES = (
    POLICY,
    MODE,
    ENTERPRISES,
    ENTERPRISE_OF,
    GRANTS,
    FACTS,
    LISTINGS,
    BOOK,
    COUNTERS,
    TRADES,
    REVIEWS,
    ANALYSES,
    RECOMMENDATIONS,
    INBOXES,
    INBOX,
    DEPOSITS,
)
POLICY_KEY = b"policy"
LISTING_COUNTER = b"listings"


def hashed(*parts: bytes) -> bytes:
    """A 16-byte key for what has no random id of its own; the parts with their lengths."""
    state = hashlib.sha256(b"groat/deposits/1")
    for part in parts:
        state.update(len(part).to_bytes(2, "big") + part)
    return state.digest()[:16]


def enterprise_key(owner: bytes) -> bytes:
    """The key of `ENTERPRISE_OF`."""
    return hashed(b"enterprise", owner)


def grant_key(enterprise: bytes, bank: bytes) -> bytes:
    """The key of `GRANTS`."""
    return hashed(b"grant", enterprise, bank)


def numbered_key(enterprise: bytes, number: int) -> bytes:
    """The key of a fact or an inbox entry, from 1."""
    return enterprise + number.to_bytes(8, "big")


def trade_key(taker: bytes, maker: bytes) -> bytes:
    """The id of the trade between two listings: they meet at most once."""
    return hashed(b"trade", taker, maker)


def review_key(trade: bytes, side: str) -> bytes:
    """The key of `REVIEWS`."""
    return hashed(b"review", trade, side.encode())


def controller_of(legal_representative: str) -> bytes:
    """What tells enterprises of one person from others, 16 bytes."""
    return hashed(b"controller", " ".join(legal_representative.split()).casefold().encode())
