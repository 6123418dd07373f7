"""Digital products: the arguments of all actions and queries, and the parameters in genesis."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, WithJsonSchema

from contracts.kernel.types import (
    DAY_MS,
    PAGE_DEFAULT,
    Amount,
    AmountOrZero,
    Args,
    Code,
    Hash32,
    Id16,
    Limit,
    OptionalTicketArgs,
    PublicKey,
    Reason,
    TtlMs,
)
from contracts.licensing.models import DEGREES_MAX

AGENTS_MAX = 8
RIGHTS_MAX = 16
MACHINES_MAX = 32
BLOB_BYTES_MAX = 512
MINUTE_MS = 60_000

Kind = Literal["CONTENT", "TICKET", "PROCESS"]
DegreeNumber = Annotated[int, Field(ge=1, le=DEGREES_MAX)]
Blob = Annotated[
    bytes,
    Field(min_length=1, max_length=BLOB_BYTES_MAX),
    WithJsonSchema({"type": "string", "format": "bytes"}),
]


class Parameters(Args):
    """The contract's parameters in genesis."""

    allow_clear: bool = False
    release_ms: TtlMs = DAY_MS
    lease_max_ms: TtlMs = 30 * DAY_MS
    moves_max: Annotated[int, Field(ge=0, le=1_000)] = 6


class RightGiven(Args):
    """A right and its limit; 0 is without limit."""

    item: Code
    limit: AmountOrZero


class DegreeGiven(Args):
    """A degree as its seller offers it; one share commitment for each agent."""

    price: Amount
    channels: Annotated[int, Field(ge=1, le=4)] = 1
    machines: Annotated[int, Field(ge=1, le=MACHINES_MAX)] = 1
    transferable: bool = False
    lasts_ms: Annotated[int, Field(ge=0, le=3_660 * DAY_MS)] = 0
    rights: Annotated[list[RightGiven], Field(min_length=1, max_length=RIGHTS_MAX)]
    commitments: Annotated[list[Hash32], Field(max_length=AGENTS_MAX)]


class Publish(Args):
    """A product, by its code's hash."""

    product: Code
    code_hash: Hash32
    name: Code
    kind: Kind
    cur: Code
    degrees: Annotated[list[DegreeGiven], Field(min_length=1, max_length=DEGREES_MAX)]
    agents: Annotated[list[PublicKey], Field(min_length=1, max_length=AGENTS_MAX)]
    shares_needed: Annotated[int, Field(ge=1, le=AGENTS_MAX)]


class ProductOnly(Args):
    """Which product?"""

    product: Code


class RequestPayment(Args):
    """A purchase of what was scanned, by its `code_hash`; `buyer_pub` opens the shares."""

    request: Id16
    product: Code
    code_hash: Hash32
    degree: DegreeNumber
    buyer_pub: PublicKey
    nonce: Id16


class PayIn(Args):
    """Money that a buyer brought to the bank, under an id."""

    payment: Id16
    buyer: PublicKey
    cur: Code
    amt: Amount


class PayOut(Args):
    """Money that leaves at a bank: a buyer's cash, or a seller's revenue."""

    payment: Id16
    bank: PublicKey
    purpose: Literal["CASH", "REVENUE"] = "CASH"
    cur: Code
    amt: Amount


class Pay(Args):
    """Pay on chain, out of what the bank took in."""

    request: Id16
    payment: Id16
    amt: Amount


class ReportPayment(Args):
    """A channel was paid: its own event id, and the reference that the payment itself has."""

    request: Id16
    channel: Code
    event_id: Code
    provider_ref: Code
    amt: Amount


class ReleaseShare(Args):
    """An agent's key share for a degree, encrypted to the buyer."""

    request: Id16
    degree: DegreeNumber
    blob: Blob


class RequestOnly(Args):
    """Which request?"""

    request: Id16


class Upgrade(Args):
    """The same purchase in a higher degree; the difference is paid."""

    request: Id16
    degree: DegreeNumber


class Activate(Args):
    """A machine, by its fingerprint salted with the licence's id."""

    licence: Id16
    fingerprint: Hash32


class Use(Args):
    """So much of a right on an activated machine; `total` is what is used with it, so that a
    repetition counts once."""

    licence: Id16
    item: Code
    n: Amount
    total: Amount
    fingerprint: Hash32


class Checkout(Args):
    """An offline file for a machine, for a time."""

    licence: Id16
    fingerprint: Hash32
    ttl_ms: Annotated[int, Field(ge=MINUTE_MS, le=366 * DAY_MS)]


class Transfer(OptionalTicketArgs):
    """The licence to somebody else, who consents by ticket."""

    licence: Id16
    to: PublicKey


class RefundLicence(Args):
    """The seller takes the product back, and gives back what it got, or a part of it."""

    request: Id16
    amt: AmountOrZero
    reason: Reason


class SuspendLicence(Args):
    """A stop, or its end."""

    licence: Id16
    suspended: bool
    reason: Reason


class LicenceQuery(Args):
    """Which licence?"""

    licence: Id16


class ProductsQuery(Args):
    """A page of the products, after the id `cursor`."""

    cursor: Code | None = None
    limit: Limit = PAGE_DEFAULT


class SalesQuery(Args):
    """A page of a product's sales, behind number `cursor`."""

    product: Code
    cursor: AmountOrZero = 0
    limit: Limit = PAGE_DEFAULT


class NoArgs(Args):
    """Nothing to ask."""
