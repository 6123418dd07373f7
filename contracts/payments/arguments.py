"""Payments on a headset: the arguments of all actions and queries."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, WithJsonSchema

from contracts.kernel.types import (
    AMOUNT_MAX,
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
    Signature,
    TimeMs,
    TtlMs,
)

SEALED_INFO_BYTES_MAX = 2_048
ENDPOINT_CHARS_MAX = 200
MINUTE_MS = 60_000
CHANNELS_MAX = 16
# Ever bound by one user, those unbound since included.
TERMINALS_MAX = 100

SealedInfo = Annotated[
    bytes,
    Field(min_length=1, max_length=SEALED_INFO_BYTES_MAX),
    WithJsonSchema({"type": "string", "format": "bytes"}),
]
Endpoint = Annotated[str, Field(pattern=r"^https?://[!-~]{1,190}$")]
Kind = Literal["phone", "tablet", "computer", "watch", "other"]
Status = Literal["SUCCEEDED", "FAILED", "UNKNOWN"]


class Parameters(Args):
    """The contract's parameters in genesis. Caps are of CNY, after the central bank's tiers."""

    allow_clear: bool = False
    mandate_charge_max: Amount = 100_000
    mandate_day_max: Amount = 500_000
    failures_max: Annotated[int, Field(ge=1, le=10)] = 5
    processing_ms: TtlMs = 2 * MINUTE_MS
    cooling_ms: TtlMs = DAY_MS
    capture_ms: TtlMs = 7 * DAY_MS
    dispute_ms: TtlMs = 120 * DAY_MS
    respond_ms: TtlMs = 14 * DAY_MS


class SetPolicy(Proposing):
    """Another policy; `allow_clear` stays as genesis has it."""

    mandate_charge_max: Amount
    mandate_day_max: Amount
    failures_max: Annotated[int, Field(ge=1, le=10)]
    processing_ms: TtlMs
    cooling_ms: TtlMs
    capture_ms: TtlMs
    dispute_ms: TtlMs
    respond_ms: TtlMs


# ---- users


class FileUser(Args):
    """A filing: commitment to the phone with 16 random bytes of salt, the record sealed."""

    user: Id16
    phone_commit: Hash32
    sealed_info: SealedInfo


class Verify(Args):
    """A verifier's word: the user showed the code sent to the phone, or did not."""

    user: Id16
    ok: bool


class ManualReview(Args):
    """A reviewer's decision, with the reason."""

    user: Id16
    ok: bool
    reason: Reason


class SetSwitch(Args):
    """The user's switch for payments."""

    on: bool


# ---- channels and terminals


class RegisterChannel(Args):
    """A channel, the key that reports for it, and where it takes approvals."""

    channel: Code
    owner: PublicKey
    endpoint: Endpoint
    asset: Code


class SetChannel(Args):
    """Whether charges may start there."""

    channel: Code
    enabled: bool


class LinkChannel(Args):
    """A channel that the user may pay by."""

    channel: Code


class BindTerminal(Args):
    """A terminal that consents to be trusted: its ES256 signature over the other fields.

    `voucher` is another bound terminal of the user that vouches for it, with its signature.
    """

    terminal_pub: PublicKey
    kind: Kind
    challenge: Id16
    ticket_until: TimeMs
    ticket: Signature
    voucher: PublicKey | None = None
    voucher_ticket: Signature | None = None


class UnbindTerminal(Args):
    """A terminal that is trusted no longer."""

    terminal_pub: PublicKey


# ---- intents


class CreateIntent(Args):
    """An order, as the headset has it. `order_hash` binds what was ordered."""

    intent: Id16
    order: Code
    order_hash: Hash32
    payee: PublicKey
    amt: Amount
    cur: Code
    ttl_ms: Annotated[int, Field(ge=MINUTE_MS, le=DAY_MS)] = 15 * MINUTE_MS
    manual_capture: bool = False


class ChooseChannel(Args):
    """The channel to pay by; without one the routing rules choose."""

    intent: Id16
    channel: Code | None = None


class IssuePage(Args):
    """The order page that the terminal will show."""

    intent: Id16
    page_hash: Hash32
    nonce: Id16


class Approval(Args):
    """What a terminal signs, computed from what it shows, and its signature."""

    terminal_pub: PublicKey
    order_hash: Hash32
    page_hash: Hash32
    amt: Amount
    cur: Code
    payee: PublicKey
    channel: Code
    nonce: Id16
    expiry: TimeMs
    signature: Signature


class StartCharge(Args):
    """The channel is about to charge; by mandate there is no approval."""

    intent: Id16
    approval: Approval | None = None


class RejectIntent(Args):
    """The terminal's no: its signature over the intent and the page's nonce."""

    intent: Id16
    terminal_pub: PublicKey
    nonce: Id16
    signature: Signature


class CallbackArgs(Args):
    """What became of a charge, under the channel's own event id."""

    channel: Code
    event_id: Code
    intent: Id16
    status: Status
    amt: Amount


class IntentOnly(Args):
    """Which intent?"""

    intent: Id16


class Capture(Args):
    """How much of an authorised payment is taken; the rest is given back."""

    intent: Id16
    amt: Amount


class RefundArgs(Args):
    """Money back to the user, under an id chosen at random."""

    refund: Id16
    intent: Id16
    amt: Amount


class Reconcile(Args):
    """What to do with a payment that succeeded too late."""

    intent: Id16
    accept: bool
    reason: Reason


# ---- mandates


class GrantMandate(Args):
    """One channel, an upper limit for each charge and for each day, and an end."""

    mandate: Id16
    channel: Code
    per_cap: Amount
    day_cap: Amount
    ttl_ms: Annotated[int, Field(ge=MINUTE_MS, le=366 * DAY_MS)]


class RevokeMandate(Args):
    """The user takes it back."""

    mandate: Id16


class ProxyCharge(Args):
    """A payment under a mandate, with the pay service's word that the password was right."""

    intent: Id16
    mandate: Id16
    service: PublicKey
    expiry: TimeMs
    assertion: Signature


class AuthFailed(Args):
    """A wrong password, told by the pay service, which numbers a user's attempts by an id."""

    user: Id16
    attempt: Id16


# ---- disputes


class OpenDispute(Args):
    """The user contests a payment."""

    intent: Id16
    reason: Reason


class Respond(Args):
    """The payee answers: a hash of its evidence."""

    intent: Id16
    evidence: Hash32


class Resolve(Args):
    """How the contested money is divided; the two add up to it."""

    intent: Id16
    to_user: AmountOrZero
    to_payee: Annotated[int, Field(ge=0, le=AMOUNT_MAX)]


# ---- queries


class UserQuery(Args):
    """Which user?"""

    user: Id16


class IntentsQuery(Args):
    """A page of a user's intents, newest number after `cursor` first."""

    user: Id16
    cursor: AmountOrZero = 0
    limit: Limit = PAGE_DEFAULT


class MandateQuery(Args):
    """Which mandate?"""

    mandate: Id16


class TerminalQuery(Args):
    """Which terminal?"""

    terminal_pub: PublicKey


class ChannelsQuery(Args):
    """A page of the channels, after the id `cursor`."""

    cursor: Code | None = None
    limit: Limit = PAGE_DEFAULT


class NoArgs(Args):
    """Nothing to ask."""
