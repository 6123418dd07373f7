"""Payments on a headset: records and who may read them.

A user files, is verified, and links payment channels. The headset makes an *intent*; the user
authorises it on a trusted terminal, or lets the system charge under a *mandate* with a password. A
channel charges outside and reports back. Arguments are in `arguments`, what must hold in `rules`.
"""

from __future__ import annotations

import hashlib

from contracts.kernel.access import REGULATOR
from contracts.kernel.state import Table
from contracts.kernel.types import Record

VERIFIER, REVIEWER, SERVER = "role:verifier", "role:reviewer", "role:page_server"
PAY_SERVICE, OPERATOR, ARBITER = "role:pay_service", "role:operator", "role:arbiter"


class Policy(Record, frozen=True):
    """What counts on this network; amounts in minor units, durations before scaling.

    A charge that was started and not reported on for `processing_ms` is UNKNOWN. `cooling_ms` is
    how long a terminal waits that no other one vouches for.
    """

    allow_clear: bool
    mandate_charge_max: int
    mandate_day_max: int
    failures_max: int
    processing_ms: int
    cooling_ms: int
    capture_ms: int
    dispute_ms: int
    respond_ms: int


class Channel(Record, frozen=True):
    """A way to pay: whoever reports for it, where it listens, and whether charges may start."""

    owner: bytes
    endpoint: str
    asset: str
    enabled: bool


class Figures(Record, frozen=True):
    """How a channel has done: charges started, succeeded, failed."""

    owner: bytes
    started: int
    succeeded: int
    failed: int


class Filing(Record, frozen=True):
    """The public trace of a filing: a salted commitment to the user's phone, 32 bytes."""

    phone_commit: bytes


class User(Record, frozen=True):
    """Who files: FILED, VERIFIED or REJECTED. `failures` counts wrong passwords in a row.

    `attempt` is the id of the last one counted.
    """

    owner: bytes
    sealed_info: bytes
    state: str
    switched_on: bool
    channels: tuple[str, ...]
    failures: int
    attempt: bytes
    locked: bool
    terminals: int
    intents: int
    decided_by: bytes
    reason: str


class UserRef(Record, frozen=True):
    """Which user a key is."""

    user: bytes
    owner: bytes


class Terminal(Record, frozen=True):
    """A trusted terminal's P-256 key; it approves from `active_ms` until it is `unbound`."""

    user: bytes
    owner: bytes
    public_key: bytes
    kind: str
    active_ms: int
    unbound: bool


class Page(Record, frozen=True):
    """The order page that was issued: what it shows is bound by `page_hash`, once by `nonce`."""

    page_hash: bytes
    nonce: bytes
    server: bytes


class Intent(Record, frozen=True):
    """One payment. The states are Stripe's, and UNKNOWN, EXPIRED and LATE beside them.

    REQUIRES_METHOD, REQUIRES_ACTION (a channel is chosen), AUTHORISED (by mandate), PROCESSING (the
    channel charges), then REQUIRES_CAPTURE, SUCCEEDED or CANCELED. LATE: it succeeded after its
    time. `authority` is the terminal's key or the mandate's id that allowed the charge;
    `reserved_day` is the day of the mandate that the amount counts for.
    """

    user: bytes
    owner: bytes
    payee: bytes
    order: str
    order_hash: bytes
    cur: str
    amt: int
    manual_capture: bool
    expires_ms: int
    state: str
    channel: str
    channel_owner: bytes
    page: Page | None
    authority: bytes
    by_mandate: bool
    reserved_day: int
    attempts: int
    since_ms: int
    captured: int
    refunded: int
    disputed: int
    acknowledged: bool


class IntentRef(Record, frozen=True):
    """Says that an intent is one of a user's."""

    intent: bytes
    owner: bytes


class Mandate(Record, frozen=True):
    """A user lets the system have one channel charged, within caps; `used` is of day `day`."""

    user: bytes
    owner: bytes
    channel: str
    per_cap: int
    day_cap: int
    until_ms: int
    revoked: bool
    day: int
    used: int


class Callback(Record, frozen=True):
    """A channel's report, by its event id; what it led to."""

    intent: bytes
    status: str
    amt: int
    state: str
    readers: tuple[str, ...]


class Refund(Record, frozen=True):
    """Money given back, by the refund's id."""

    intent: bytes
    amt: int
    readers: tuple[str, ...]


class Dispute(Record, frozen=True):
    """A contested payment: OPEN, ANSWERED or CLOSED; the payee answers before `respond_ms`."""

    intent: bytes
    owner: bytes
    payee: bytes
    amt: int
    reason: str
    evidence: bytes
    state: str
    respond_ms: int


# ---- who may read what


def user_readers(user: User) -> tuple[str, ...]:
    """The user, those who decide on the filing, the pay service, and the regulator."""
    return (user.owner.hex(), VERIFIER, REVIEWER, PAY_SERVICE, REGULATOR)


def intent_readers(intent: Intent) -> tuple[str, ...]:
    """The user, the payee, the chosen channel, those who serve and watch."""
    channel = (intent.channel_owner.hex(),) if intent.channel_owner else ()
    return (
        intent.owner.hex(),
        intent.payee.hex(),
        *channel,
        SERVER,
        PAY_SERVICE,
        OPERATOR,
        REGULATOR,
    )


POLICY = Table("payments/policy", Policy, "the word `policy`")
CHANNELS = Table("payments/channels", Channel, "the channel's id in UTF-8")
FIGURES = Table(
    "payments/figures",
    Figures,
    "16 bytes: hash of the channel's id",
    lambda one: (one.owner.hex(), OPERATOR, REGULATOR),
)
FILINGS = Table("payments/filings", Filing, "the user's id, 16 random bytes")
USERS = Table("payments/users", User, "the user's id, 16 random bytes", user_readers)
USER_OF = Table(
    "payments/user_of",
    UserRef,
    "16 bytes: hash of the user's key",
    lambda ref: (ref.owner.hex(), REGULATOR),
)
TERMINALS = Table(
    "payments/terminals",
    Terminal,
    "16 bytes: hash of the terminal's key",
    lambda one: (one.owner.hex(), SERVER, REGULATOR),
)
INTENTS = Table("payments/intents", Intent, "the intent's id, 16 random bytes", intent_readers)
INTENTS_OF = Table(
    "payments/intents_of",
    IntentRef,
    "the user's id, then a number in 8 bytes",
    lambda ref: (ref.owner.hex(), REGULATOR),
)
MANDATES = Table(
    "payments/mandates",
    Mandate,
    "the mandate's id, 16 random bytes",
    lambda one: (one.owner.hex(), PAY_SERVICE, REGULATOR),
)
CALLBACKS = Table(
    "payments/callbacks",
    Callback,
    "16 bytes: hash of channel and event id",
    lambda one: one.readers,
)
REFUNDS = Table(
    "payments/refunds", Refund, "the refund's id, 16 random bytes", lambda one: one.readers
)
DISPUTES = Table(
    "payments/disputes",
    Dispute,
    "the intent's id, 16 random bytes",
    lambda one: (one.owner.hex(), one.payee.hex(), ARBITER, OPERATOR, REGULATOR),
)
TABLES = (
    POLICY,
    CHANNELS,
    FIGURES,
    FILINGS,
    USERS,
    USER_OF,
    TERMINALS,
    INTENTS,
    INTENTS_OF,
    MANDATES,
    CALLBACKS,
    REFUNDS,
    DISPUTES,
)
POLICY_KEY = b"policy"


def hashed(*parts: bytes) -> bytes:
    """A 16-byte key for what has no random id of its own; the parts with their lengths."""
    state = hashlib.sha256(b"groat/payments/1")
    for part in parts:
        state.update(len(part).to_bytes(2, "big") + part)
    return state.digest()[:16]


def user_key(owner: bytes) -> bytes:
    """The key of `USER_OF`."""
    return hashed(b"user", owner)


def terminal_key(public_key: bytes) -> bytes:
    """The key of `TERMINALS`."""
    return hashed(b"terminal", public_key)


def figures_key(channel: str) -> bytes:
    """The key of `FIGURES`."""
    return hashed(b"channel", channel.encode())


def callback_key(channel: str, event_id: str) -> bytes:
    """The key of `CALLBACKS`."""
    return hashed(b"callback", channel.encode(), event_id.encode())


def intent_number_key(user: bytes, number: int) -> bytes:
    """The key of a user's intent `number`, from 1."""
    return user + number.to_bytes(8, "big")
