"""Prepaid supervision: what people send and ask. Checked by type and range alone.

Times to live and validities are durations in ms; tickets are good until `ticket_until`.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from contracts.kernel.types import (
    AMOUNT_MAX,
    DAY_MS,
    PAGE_DEFAULT,
    Amount,
    AmountOrZero,
    Args,
    Code,
    Id16,
    Limit,
    OptionalTicketArgs,
    Proposing,
    PublicKey,
    Reason,
    Seq,
    TicketArgs,
    TtlMs,
)
from contracts.prepaid.models import FULL_CUSTODY_BPS

KINDS_MAX = 16
DAYS_MAX = 3_660

Bp = Annotated[int, Field(ge=1, le=FULL_CUSTODY_BPS)]
# Thresholds may be beyond the whole: three times what was outstanding, say.
ManyBps = Annotated[int, Field(ge=0, le=1_000 * FULL_CUSTODY_BPS)]
Days = Annotated[int, Field(ge=0, le=DAYS_MAX)]
FaceMax = Annotated[int, Field(ge=1, le=AMOUNT_MAX)]
CustodyKinds = Annotated[dict[Code, Bp], Field(max_length=KINDS_MAX)]
Scope = Literal["ISSUE", "PAYOUT", "ALL"]
RefundReason = Literal["COOLING_OFF", "MERCHANT_FAULT", "ORDINARY"]
CustodyBase = Literal["CURRENT", "PREVIOUS_QUARTER"]
Breakage = Literal["KEPT", "EARNED", "ESCHEAT"]


# ---- genesis, and what two regulators may change of it


class PolicyParameters(Args):
    """The policy at genesis. The defaults follow Chinese rules; they are no legal advice.

    `custody_kinds`: how much of its customers' money each kind of merchant must keep.
    """

    cooling_off_days: Days = 7
    void_ms: TtlMs = DAY_MS
    notice_ms: TtlMs = 30 * DAY_MS
    custody_base: CustodyBase = "CURRENT"
    custody_kinds: CustodyKinds = Field(default={"scale": 2_000, "group": 3_000, "brand": 4_000})
    breakage: Breakage = "KEPT"
    breakage_after_ms: TtlMs = 5 * 365 * DAY_MS
    breakage_bps: Annotated[int, Field(ge=0, lt=FULL_CUSTODY_BPS)] = 0
    alert_issue_bps: ManyBps = 5_000
    alert_refund_bps: ManyBps = 2_000
    alert_dormant_days: Days = 30
    alert_outstanding: AmountOrZero = 0


class ClassParameters(Args):
    """A class of cards."""

    name: Code
    asset: Code
    named: bool
    face_max: FaceMax | None = None
    min_validity_ms: TtlMs | None = None


class Parameters(Args):
    """The contract's parameters in genesis."""

    allow_clear: bool = False
    classes: list[ClassParameters] = Field(default=[])
    policy: PolicyParameters = PolicyParameters()


class SetPolicy(Proposing):
    """A new policy; what is not given stays as it is. A threshold of 0: no alert."""

    cooling_off_days: Days | None = None
    void_ms: TtlMs | None = None
    notice_ms: TtlMs | None = None
    custody_base: CustodyBase | None = None
    custody_kinds: CustodyKinds | None = None
    breakage: Breakage | None = None
    breakage_after_ms: TtlMs | None = None
    breakage_bps: Annotated[int, Field(ge=0, lt=FULL_CUSTODY_BPS)] | None = None
    alert_issue_bps: ManyBps | None = None
    alert_refund_bps: ManyBps | None = None
    alert_dormant_days: Days | None = None
    alert_outstanding: AmountOrZero | None = None


class SetClass(Proposing, ClassParameters):
    """A new class of cards, or new limits of one; its asset and whether it is named stay."""


class SetCustody(Proposing):
    """How much of its customers' money a merchant must keep, by its kind or more."""

    merchant: Id16
    kind: Code | None = None
    custody_bps: Bp


class Unfreeze(Proposing):
    """The end of a stop."""

    merchant: Id16
    scope: Scope


# ---- merchants and their supervision


class FileMerchant(Args):
    """A filing: `merchant` is an id that the merchant chose at random, `custodian` its bank."""

    merchant: Id16
    name: Code
    custodian: PublicKey


class Approve(Args):
    """Admission of a filed merchant to one class of cards.

    All of its customers' money is in custody, unless its `kind` lets it keep less.
    """

    merchant: Id16
    card_class: Code = Field(alias="class")
    kind: Code | None = None
    custody_bps: Bp = FULL_CUSTODY_BPS


class FreezeMerchant(Args):
    """A stop of ISSUE (no openings, no top-ups), PAYOUT (earnings are held) or ALL."""

    merchant: Id16
    scope: Scope
    reason: Reason


class RatifyFreeze(Args):
    """Another regulator's stop."""

    merchant: Id16
    scope: Scope


class MerchantReason(Args):
    """The end of a merchant, and why."""

    merchant: Id16
    reason: Reason


class MerchantPage(Args):
    """The next `limit` cards of a merchant."""

    merchant: Id16
    limit: Limit = PAGE_DEFAULT


class Move(Args):
    """Money that the merchant moves, under an order id chosen at random."""

    merchant: Id16
    order: Id16
    amt: Amount


class Sweep(Args):
    """From the merchant after number `cursor` on; the answer's `next` is where to go on."""

    cursor: AmountOrZero = 0
    limit: Limit = PAGE_DEFAULT


# ---- cards


class OpenCard(TicketArgs):
    """A new card and its first lot. The ticket is the holder's; `paid` and `bonus` may be 0.

    `validity_ms` is how long it is good after each payment; by default as long as its class says.
    """

    card: Id16
    merchant: Id16
    holder_pub: PublicKey
    card_class: Code = Field(alias="class")
    paid: AmountOrZero
    bonus: AmountOrZero = 0
    validity_ms: TtlMs | None = None


class TopUp(TicketArgs):
    """One more lot on a card, under an order id chosen at random. The ticket is the holder's."""

    card: Id16
    order: Id16
    paid: AmountOrZero
    bonus: AmountOrZero = 0

    @model_validator(mode="after")
    def _of_something(self) -> TopUp:
        if self.paid + self.bonus == 0:
            raise ValueError
        return self


class Consume(OptionalTicketArgs):
    """A visit. `seq` counts a card's consumptions, gapless from 1. The ticket is the holder's."""

    card: Id16
    amt: Amount
    seq: Seq


class Refund(OptionalTicketArgs):
    """The holder's money back. The ticket is the holder's, where the merchant sends ORDINARY.

    `line` is the statement line that this will be, `amt` the money: a ticket must name both.
    """

    card: Id16
    reason: RefundReason
    line: Seq | None = None
    amt: AmountOrZero | None = None


class Void(OptionalTicketArgs):
    """Undo statement line `line`: the merchant a visit, the bank a payment with a ticket."""

    card: Id16
    line: Seq


class TransferCard(TicketArgs):
    """The whole balance to a new card of another holder, whose ticket it is."""

    card: Id16
    new_card: Id16
    holder_pub: PublicKey


class Merge(OptionalTicketArgs):
    """The whole balance to another card of the same holder. The ticket is the holder's."""

    card: Id16
    into: Id16


class ReportLoss(Args):
    """A card that must not be used."""

    card: Id16
    reason: Reason


class Replace(TicketArgs):
    """A new card for one that is lost or expired. The ticket is the holder's."""

    card: Id16
    new_card: Id16


class CardArgs(Args):
    """Which card."""

    card: Id16


# ---- questions


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


class MerchantsQuery(Args):
    """A page of the merchants, after merchant number `cursor`."""

    cursor: AmountOrZero = 0
    limit: Limit = PAGE_DEFAULT


class ClassesQuery(Args):
    """A page of the classes of cards, after the name `cursor`."""

    cursor: Code | None = None
    limit: Limit = PAGE_DEFAULT


class NoArgs(Args):
    """Nothing to ask."""
