"""What the actions and queries of the exchange take, and its parameters in genesis."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, WithJsonSchema

from contracts.exchange.models import (
    BONUSES_MAX,
)
from contracts.kernel.types import (
    PAGE_DEFAULT,
    Amount,
    AmountOrZero,
    Args,
    Code,
    Hash32,
    Id16,
    Limit,
    Proposing,
    PublicKey,
    Reason,
    Seq,
    TtlMs,
)

QUOTE_TTL_MS = 120_000
CONFIRM_TTL_MS = 600_000
FACTOR_MAX = 10**12
BPS_MAX = 5_000
QUANTITY_MAX = 10_000
RAW_CHARS_MAX = 16_384
SEALED_BYTES_MAX = 3_072
LINES_MAX = 100

Factor = Annotated[int, Field(ge=1, le=FACTOR_MAX)]
Bps = Annotated[int, Field(ge=0, le=BPS_MAX)]
Quantity = Annotated[int, Field(ge=1, le=QUANTITY_MAX)]
Raw = Annotated[str, Field(max_length=RAW_CHARS_MAX)]
Scale = Annotated[int, Field(ge=0, le=18)]
Sealed = Annotated[
    bytes,
    Field(min_length=1, max_length=SEALED_BYTES_MAX),
    WithJsonSchema({"type": "string", "format": "bytes"}),
]
Side = Literal["BUY", "SELL"]
Scope = Literal["ISSUE", "EXCHANGE", "ALL"]


class Parameters(Args):
    """The contract's parameters in genesis."""

    allow_clear: bool = False
    general: Code = "GP"
    currency: Code = "CNY"
    quote_ttl_ms: TtlMs = QUOTE_TTL_MS
    confirm_ttl_ms: TtlMs = CONFIRM_TTL_MS


# ---- changes that take two persons


class RegisterPlatform(Proposing):
    """An asset and its platform; again: other limits or prices for the same. Optional: no limit."""

    asset: Code
    platform: PublicKey
    scale: Scale = 0
    min_lot: Amount = 1
    step: Amount = 1
    daily_cap: Amount | None = None
    wallet_max: Amount | None = None
    lot_ttl_ms: TtlMs | None = None
    settle_price: AmountOrZero = 0
    settle_per: Factor = 1


class BonusRow(Args):
    """`extra` asset units for every full `per` general units of one order."""

    per: Amount
    extra: Factor


class SetRate(Proposing):
    """BUY: `num` asset units for `den` general ones; SELL: `num` general ones for `den` units."""

    asset: Code
    side: Side = "BUY"
    num: Factor
    den: Factor
    ttl_ms: TtlMs
    spread_bps: Bps = 0
    bonuses: Annotated[list[BonusRow], Field(max_length=BONUSES_MAX)] = Field(default=[])


class SetProduct(Proposing):
    """A row of the product table. `stock` is what there is now; left out: no limit."""

    product: Code
    title: Reason
    asset: Code
    price: Amount
    stock: AmountOrZero | None = None
    fulfil_ttl_ms: TtlMs
    quantity_max: Quantity = 1


class Unfreeze(Proposing):
    """The end of a stop."""

    asset: Code
    scope: Scope


# ---- acts of one


class Freeze(Args):
    """ISSUE stops new units, EXCHANGE quotes and exchanges, ALL these and deliveries."""

    asset: Code
    scope: Scope
    reason: Reason


class Ratify(Args):
    """A stop that shall last beyond a day."""

    asset: Code
    scope: Scope


class Restock(Args):
    """What there is now of a product; left out: no limit."""

    product: Code
    stock: AmountOrZero | None = None


class Issue(Args):
    """New units for a person, under an id that the issuer chose at random."""

    supply: Id16
    asset: Code
    user: PublicKey
    amt: Amount


class Provide(Args):
    """Units for the pool of `pool`: of that asset itself, or of the general one."""

    supply: Id16
    asset: Code
    pool: Code
    amt: Amount


class Redeem(Args):
    """Units that a peripheral earned, under an id that it chose at random."""

    supply: Id16
    asset: Code
    amt: Amount


class SubmitRequest(Args):
    """A request in JSON, under an order id chosen at random.

    {"product": CODE, "quantity": "1", "own": "0", "user": {"reader": KEY, "details": TEXT}} or
    {"exchange": {"from": ASSET, "to": ASSET, "amt": "1"}}. Only product or exchange are needed.
    """

    order: Id16
    raw: Raw


class OrderArgs(Args):
    """Which order?"""

    order: Id16


class Execute(Args):
    """An order and the number of the quote that is accepted."""

    order: Id16
    quote: Seq


class PlatformConfirm(Args):
    """An order, and the reference under which the platform booked it in its own system."""

    order: Id16
    ext_ref: Code


class Because(Args):
    """An order, and why it cannot be."""

    order: Id16
    reason: Reason


class Fulfil(Args):
    """The product sealed to the person's reading key, and the hash of the clear one."""

    order: Id16
    receipt_hash: Hash32
    sealed_product: Sealed


class Page(Args):
    """How many at most; call until done."""

    limit: Limit = PAGE_DEFAULT


class Settle(Args):
    """The period to close, by any name; it holds all that was not settled before."""

    period: Code


class StatementLine(Args):
    """One line: a success, or the reversal of one, under the platform's reference."""

    ext_ref: Code
    amt: Amount
    kind: Literal["SUCCESS", "REVERSAL"] = "SUCCESS"


class Reconcile(Args):
    """A platform's statement of what it booked in its own system."""

    statement: Id16
    asset: Code
    lines: Annotated[list[StatementLine], Field(min_length=1, max_length=LINES_MAX)]


# ---- questions


class NoArgs(Args):
    """Nothing to ask."""


class AssetQuery(Args):
    """Which asset?"""

    asset: Code


class CodePage(Args):
    """A page of a public list, after the code `cursor`."""

    cursor: Code | None = None
    limit: Limit = PAGE_DEFAULT


class ProductQuery(Args):
    """Which product?"""

    product: Code


class VersionPage(Args):
    """A page of the versions of a product's row, after version `cursor`."""

    product: Code
    cursor: AmountOrZero = 0
    limit: Limit = PAGE_DEFAULT


class RatePage(Args):
    """A page of the versions of a rate, after version `cursor`."""

    asset: Code
    side: Side = "BUY"
    cursor: AmountOrZero = 0
    limit: Limit = PAGE_DEFAULT


class PriceQuery(Args):
    """A request as for `submit_request`."""

    raw: Raw


class HoldingsQuery(Args):
    """Whose? Left out: one's own."""

    user: PublicKey | None = None


class PartyPage(Args):
    """A page of the orders of a person, platform or peripheral, after order number `cursor`."""

    party: PublicKey | None = None
    cursor: AmountOrZero = 0
    limit: Limit = PAGE_DEFAULT


class AssetPage(Args):
    """A page of what belongs to an asset, after number `cursor`."""

    asset: Code
    cursor: AmountOrZero = 0
    limit: Limit = PAGE_DEFAULT


class StatementQuery(Args):
    """Which statement?"""

    statement: Id16
