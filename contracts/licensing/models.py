"""Digital products: records and who may read them.

A seller publishes a product by the hash of its integration code, with the rights of each *degree*
and the agents that hold the key shares. A buyer's request collects payments, through any channel;
what is paid decides the degree; the agents' shares open it; the licence counts its use. What must
hold is in `rules`; the code itself, its program and its encryption are the clients'.
"""

from __future__ import annotations

import hashlib

from contracts.kernel.access import REGULATOR
from contracts.kernel.state import Table
from contracts.kernel.types import Record

OPERATOR = "role:operator"
DEGREES_MAX = 3


class Policy(Record, frozen=True):
    """What counts on this network; durations before scaling."""

    allow_clear: bool
    release_ms: int
    lease_max_ms: int
    moves_max: int


class Right(Record, frozen=True):
    """One thing that may be done, `limit` times or pages or characters; 0: without limit."""

    item: str
    limit: int


class Degree(Record, frozen=True):
    """What is had for `price`, paid through at least `channels` channels.

    `commitments` are the hashes of the agents' key shares, in the order of the agents. A licence
    ends `lasts_ms` after its confirmation; 0: never.
    """

    price: int
    channels: int
    machines: int
    transferable: bool
    lasts_ms: int
    rights: tuple[Right, ...]
    commitments: tuple[bytes, ...]


class Product(Record, frozen=True):
    """ACTIVE or WITHDRAWN. `code_hash` never changes; degrees count from 1, dearer ones last."""

    seller: bytes
    code_hash: bytes
    name: str
    kind: str
    cur: str
    degrees: tuple[Degree, ...]
    agents: tuple[bytes, ...]
    shares_needed: int
    state: str


class Share(Record, frozen=True):
    """An agent's share for a degree, encrypted to the buyer's key."""

    agent: bytes
    degree: int
    blob: bytes


class Request(Record, frozen=True):
    """A purchase: PENDING, CONFIRMED, RELEASED or REFUNDED.

    `degree` is what was paid for so far, 0 for nothing yet, `released` the degree that the agents
    have opened. Always `paid` = escrow + `to_seller` + `refunded`.
    """

    product: str
    buyer: bytes
    seller: bytes
    buyer_pub: bytes
    nonce: bytes
    cur: str
    wanted: int
    degree: int
    released: int
    paid: int
    to_seller: int
    refunded: int
    channels: tuple[str, ...]
    shares: tuple[Share, ...]
    deadline_ms: int
    confirmed_ms: int
    state: str


class PaymentEvent(Record, frozen=True):
    """A payment that was used, by the reference that the payment itself has."""

    request: bytes
    channel: str
    event_id: str
    amt: int
    readers: tuple[str, ...]


class Machine(Record, frozen=True):
    """An activated machine by its salted fingerprint; `lease_ms` is the end of its offline file."""

    fingerprint: bytes
    lease_ms: int


class Count(Record, frozen=True):
    """How much of a right was used."""

    item: str
    used: int


class Licence(Record, frozen=True):
    """VALID, SUSPENDED or REVOKED. `moves` counts deactivations: machines are not churned."""

    product: str
    holder: bytes
    seller: bytes
    degree: int
    machines: tuple[Machine, ...]
    moves: int
    counts: tuple[Count, ...]
    expires_ms: int
    state: str
    reason: str


class Sale(Record, frozen=True):
    """Says that a request is one of a product's."""

    request: bytes
    seller: bytes


class Sales(Record, frozen=True):
    """How many requests a product has had."""

    last: int
    seller: bytes


def request_readers(one: Request) -> tuple[str, ...]:
    """Buyer, seller, those who release or report, and those who watch."""
    return (
        one.buyer.hex(),
        one.seller.hex(),
        "role:release_agent",
        "role:channel",
        OPERATOR,
        REGULATOR,
    )


def licence_readers(one: Licence) -> tuple[str, ...]:
    """Holder, seller, and those who watch."""
    return (one.holder.hex(), one.seller.hex(), OPERATOR, REGULATOR)


POLICY = Table("licensing/policy", Policy, "the word `policy`")
PRODUCTS = Table("licensing/products", Product, "the product's id in UTF-8")
REQUESTS = Table(
    "licensing/requests", Request, "the request's id, 16 random bytes", request_readers
)
PAYMENTS = Table(
    "licensing/payments",
    PaymentEvent,
    "16 bytes: hash of the payment's own reference",
    lambda one: one.readers,
)
LICENCES = Table(
    "licensing/licences", Licence, "the request's id, 16 random bytes", licence_readers
)
SALES = Table(
    "licensing/sales",
    Sales,
    "16 bytes: hash of the product's id",
    lambda one: (one.seller.hex(), OPERATOR, REGULATOR),
)
SALES_OF = Table(
    "licensing/sales_of",
    Sale,
    "16 bytes: hash of the product's id; a number in 8 bytes",
    lambda one: (one.seller.hex(), OPERATOR, REGULATOR),
)
TABLES = (POLICY, PRODUCTS, REQUESTS, PAYMENTS, LICENCES, SALES, SALES_OF)
POLICY_KEY = b"policy"


def hashed(*parts: bytes) -> bytes:
    """A 16-byte key for what has no random id of its own; the parts with their lengths."""
    state = hashlib.sha256(b"groat/licensing/1")
    for part in parts:
        state.update(len(part).to_bytes(2, "big") + part)
    return state.digest()[:16]


def payment_key(provider_ref: str) -> bytes:
    """The key of `PAYMENTS`: one payment, whichever channel tells of it."""
    return hashed(b"payment", provider_ref.encode())


def sales_key(product: str) -> bytes:
    """The key of `SALES`, and the first part of those of `SALES_OF`."""
    return hashed(b"sales", product.encode())


def sale_key(product: str, number: int) -> bytes:
    """The key of a product's sale `number`, from 1."""
    return sales_key(product) + number.to_bytes(8, "big")
