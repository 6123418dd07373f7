"""Deposit modes: the arguments of all actions and queries, and the parameters in genesis."""

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
    Proposing,
    PublicKey,
    Reason,
    TtlMs,
)

HOUR_MS = 3_600_000
PPM = 1_000_000
WEIGHTS_MAX = 8
SALT_BYTES_MIN = 16

Ppm = Annotated[int, Field(ge=0, le=PPM)]
Text = Annotated[str, Field(min_length=1, max_length=200)]
SealedInfo = Annotated[
    bytes,
    Field(min_length=1, max_length=2_048),
    WithJsonSchema({"type": "string", "format": "bytes"}),
]
Salt = Annotated[
    bytes,
    Field(min_length=SALT_BYTES_MIN, max_length=64),
    WithJsonSchema({"type": "string", "format": "bytes"}),
]
Side = Literal["SELL", "BUY"]
Category = Literal["GOODS", "FREIGHT", "DUES", "RIGHTS"]
Duration = Literal["GTC", "IOC", "FOK"]
ModeName = Literal["SALES", "PURCHASE", "LOGISTICS", "FINANCE", "MEMBERSHIP", "RIGHTS"]
Feature = Literal[
    "sales_30",
    "sales_90",
    "purchases_90",
    "prepaid_90",
    "freight_90",
    "dues_90",
    "rights_90",
    "idle_days",
    "cash",
    "settled_90",
    "sale_days_90",
]
Days = Annotated[int, Field(ge=1, le=3_650)]


class WeightParameters(Args):
    """A line of a scorecard."""

    feature: Feature
    unit: Amount
    points: Annotated[int, Field(ge=1, le=1_000)]
    most: Annotated[int, Field(ge=1, le=10_000)]


class ModeParameters(Args):
    """A deposit mode, as genesis or a later decision declares it."""

    mode: ModeName
    weights: Annotated[list[WeightParameters], Field(min_length=1, max_length=WEIGHTS_MAX)]
    base: Feature
    share_ppm: Ppm
    step: Amount
    amount_min: Amount
    amount_max: Amount
    terms_days: Annotated[list[Days], Field(min_length=1, max_length=16)]
    rate_ppm: Ppm
    early_rate_ppm: Ppm
    purposes: Annotated[list[Code], Field(min_length=1, max_length=16)]


class Parameters(Args):
    """The contract's parameters in genesis."""

    allow_clear: bool = False
    currency: Code = "CNY"
    fee_ppm: Ppm = 1_000
    release_ms: TtlMs = 7 * DAY_MS
    review_ms: TtlMs = 14 * DAY_MS
    recommendation_ms: TtlMs = 7 * DAY_MS
    facts_min: Annotated[int, Field(ge=1, le=100)] = 3
    modes: Annotated[list[ModeParameters], Field(max_length=6)] = Field(default=[])


class SetMode(Proposing, ModeParameters):
    """Another scorecard and other terms for one mode."""


# ---- members


class Qualifications(Args):
    """Licences, and the unified social credit code (GB 32100)."""

    uscc: Annotated[str, Field(max_length=32)]
    licences: Text | None = None


class Information(Args):
    """The seven fields (R2.13); one that is missing makes the registration incomplete."""

    name: Text | None = None
    location: Text | None = None
    legal_representative: Text | None = None
    registered_capital: Text | None = None
    business_scope: Text | None = None
    qualifications: Qualifications | None = None
    contacts: Text | None = None


class Register(Args):
    """A registration. Of `info` only a commitment with `salt` is kept, and the sealed record."""

    enterprise: Id16
    info: Information
    salt: Salt
    sealed_info: SealedInfo
    docs_hash: Hash32


class ReviewEnterprise(Args):
    """The reviewer's decision."""

    enterprise: Id16
    ok: bool
    reason: Reason


class Suspend(Args):
    """A stop for a member, or its end."""

    enterprise: Id16
    suspended: bool
    reason: Reason


class GrantData(Args):
    """A bank that may read the sender's facts for a time."""

    bank: PublicKey
    ttl_ms: Annotated[int, Field(ge=HOUR_MS, le=366 * DAY_MS)]


class RevokeGrant(Args):
    """A bank that may not any more."""

    bank: PublicKey


class PayIn(Args):
    """Money that an enterprise brought to the bank, under an id."""

    payment: Id16
    enterprise: Id16
    amt: Amount


class PayOut(Args):
    """Money that an enterprise takes out at its bank."""

    payment: Id16
    bank: PublicKey
    amt: Amount


# ---- trading


class Publish(Args):
    """Supply or demand; matched at once with what rests, at the resting price."""

    listing: Id16
    side: Side
    sku: Code
    category: Category = "GOODS"
    qty: Amount
    price: Amount
    region: Code
    ttl_ms: Annotated[int, Field(ge=HOUR_MS, le=366 * DAY_MS)]
    min_fill: Amount = 1
    prepaid: bool = False
    duration: Duration = "GTC"


class ListingOnly(Args):
    """Which listing?"""

    listing: Id16


class TradeOnly(Args):
    """Which trade?"""

    trade: Id16


class Ship(Args):
    """The seller has sent the goods: a hash of the papers."""

    trade: Id16
    doc_hash: Hash32


class Confirm(Args):
    """The buyer takes over a quantity."""

    trade: Id16
    qty: Amount


class DisputeTrade(Args):
    """One side contests what is still in escrow."""

    trade: Id16
    reason: Reason


class ResolveTrade(Args):
    """How what is in escrow is divided, exactly."""

    trade: Id16
    buyer_amt: AmountOrZero
    seller_amt: AmountOrZero


class CommitReview(Args):
    """A score that nobody can read yet."""

    trade: Id16
    commitment: Hash32


class RevealReview(Args):
    """The score behind the commitment."""

    trade: Id16
    score: Annotated[int, Field(ge=1, le=5)]
    salt: Salt


# ---- deposits


class Analyse(Args):
    """An analysis of an enterprise's facts, under an id."""

    analysis: Id16
    enterprise: Id16


class Recommend(Args):
    """Push the result to the enterprise; another mode needs the reason of a person."""

    recommendation: Id16
    analysis: Id16
    mode: ModeName | None = None
    override: Reason | None = None


class Accept(Args):
    """The deposit as the enterprise wants it: mode, amount, term and purpose are its own choice."""

    recommendation: Id16
    deposit: Id16
    mode: ModeName
    amt: Amount
    term_days: Days
    purpose: Code


class Decline(Args):
    """No, thank you."""

    recommendation: Id16


class Release(Args):
    """Money out of a deposit into the escrow of a trade that it is meant for."""

    deposit: Id16
    trade: Id16


class DepositOnly(Args):
    """Which deposit?"""

    deposit: Id16


# ---- queries


class EnterpriseQuery(Args):
    """Which enterprise?"""

    enterprise: Id16


class PageQuery(Args):
    """A page of an enterprise's facts or recommendations, behind number `cursor`."""

    enterprise: Id16
    cursor: AmountOrZero = 0
    limit: Limit = PAGE_DEFAULT


class BookQuery(Args):
    """One side of a book, best first."""

    sku: Code
    region: Code
    side: Side
    limit: Limit = PAGE_DEFAULT


class AnalysisQuery(Args):
    """Which analysis?"""

    analysis: Id16


class RecommendationQuery(Args):
    """Which recommendation?"""

    recommendation: Id16


class WhatIf(Args):
    """The facts of an enterprise under another scorecard for one mode."""

    enterprise: Id16
    change: ModeParameters | None = None


class NoArgs(Args):
    """Nothing to ask."""
