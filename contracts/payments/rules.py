"""The rule book of payments: who may pay now, by which channel, and where the money goes.

* Nobody pays who is not filed and verified, or has switched payments off (R4.1, R4.5).
* A channel is usable if the system enables it and the user linked it (R4.6, R4.8). Disabling stops
  starts, never the report on a charge that is under way.
* Each charge has one authorisation, by a trusted terminal or under a mandate (R4.9), which fits the
  intent in every term, and is used once.
* Money a channel takes in stands on its clearing account, which may be negative: it stands for the
  outside. It goes to the payee's receivable; back on refund; aside while contested or too late.
* Always: succeeded at most once, 0 ≤ refunded + disputed ≤ captured ≤ amt, a mandate's day ≤ cap.
"""

from __future__ import annotations

from typing import NoReturn

import msgspec

from contracts.kernel.context import Context, View
from contracts.kernel.ledger import ASSETS, Leg, account_key
from contracts.payments.models import (
    CHANNELS,
    FIGURES,
    INTENTS,
    POLICY,
    POLICY_KEY,
    USER_OF,
    USERS,
    Channel,
    Figures,
    Intent,
    Policy,
    User,
    figures_key,
    user_key,
)

replace = msgspec.structs.replace

CLEARING = "payments.clearing"
RECEIVABLE = "payments.receivable"
CONTESTED = "payments.contested"
SUSPENSE = "payments.suspense"

WAITING = ("REQUIRES_METHOD", "REQUIRES_ACTION", "AUTHORISED")
ATTEMPTS_MAX = 5


def refuse(ctx: Context, code: str, stage: str, **details: object) -> NoReturn:
    """Reject, naming the stage at which the risk control said no (R4.16)."""
    ctx.reject(code, stage=stage, **details)


def policy_of(ctx: Context | View) -> Policy:
    """The policy in force."""
    return ctx.state.need(POLICY, POLICY_KEY)


# ---- users


def own_user(ctx: Context, stage: str = "filing") -> tuple[bytes, User]:
    """The sender's user id and record; `NOT_FILED` if there is none."""
    ref = ctx.state.get(USER_OF, user_key(ctx.sender))
    if ref is None:
        refuse(ctx, "NOT_FILED", stage)
    return ref.user, ctx.state.need(USERS, ref.user)


def check_may_pay(ctx: Context, user: User) -> None:
    """`NOT_FILED` unless verified, `SWITCHED_OFF` while the user's switch is off."""
    if user.state != "VERIFIED":
        refuse(ctx, "NOT_FILED", "filing", state=user.state)
    if not user.switched_on:
        refuse(ctx, "SWITCHED_OFF", "switch")


# ---- channels


def channel_of(ctx: Context, name: str) -> Channel:
    """The channel; `NOT_FOUND`."""
    return ctx.state.need(CHANNELS, name.encode())


def own_channel(ctx: Context, name: str) -> Channel:
    """The channel that the sender reports for; `UNAUTHORIZED` for anybody else."""
    channel = ctx.state.get(CHANNELS, name.encode())
    if channel is None or channel.owner != ctx.sender:
        ctx.reject("UNAUTHORIZED", why="the sender does not report for this channel")
    return channel


def check_usable(ctx: Context, user: User, name: str, asset: str) -> Channel:
    """Enabled by the system and linked by the user, in the intent's currency."""
    channel = channel_of(ctx, name)
    if channel.asset != asset:
        ctx.reject("BAD_ARG", field="channel", why=f"it takes {channel.asset}")
    if not channel.enabled:
        refuse(ctx, "CHANNEL_DISABLED", "channel", channel=name)
    if name not in user.channels:
        refuse(ctx, "CHANNEL_NOT_LINKED", "channel", channel=name)
    return channel


def routed(ctx: Context | View, user: User, asset: str) -> list[str]:
    """The usable channels, the one that succeeds most often first; the user's order decides ties.

    Success is counted as (succeeded + 1) of (succeeded + failed + 2), so that a new channel stands
    in the middle.
    """
    usable = []
    for place, name in enumerate(user.channels):
        channel = ctx.state.get(CHANNELS, name.encode())
        if channel is not None and channel.enabled and channel.asset == asset:
            figures = ctx.state.need(FIGURES, figures_key(name))
            usable.append((_success_ppm(figures), -place, name))
    return [name for _, _, name in sorted(usable, reverse=True)]


def _success_ppm(figures: Figures) -> int:
    done = figures.succeeded + figures.failed + 2
    return (figures.succeeded + 1) * 1_000_000 // done


def count(
    ctx: Context, name: str, *, started: int = 0, succeeded: int = 0, failed: int = 0
) -> None:
    """Keep the channel's figures, which routing goes by."""
    old = ctx.state.need(FIGURES, figures_key(name))
    new = Figures(old.owner, old.started + started, old.succeeded + succeeded, old.failed + failed)
    ctx.state.put(FIGURES, figures_key(name), new)


# ---- intents


def state_at(ctx: Context | View, intent: Intent) -> str:
    """The state as it reads now: time makes a payment EXPIRED, and a silent charge UNKNOWN."""
    if intent.state in WAITING and ctx.time_ms >= intent.expires_ms:
        return "EXPIRED"
    if intent.state == "PROCESSING":
        silent_ms = ctx.scaled(policy_of(ctx).processing_ms)
        if ctx.time_ms >= intent.since_ms + silent_ms:
            return "UNKNOWN"
    if intent.state == "REQUIRES_CAPTURE":
        open_ms = ctx.scaled(policy_of(ctx).capture_ms)
        return "CANCELED" if ctx.time_ms >= intent.since_ms + open_ms else intent.state
    return intent.state


def intent_of(ctx: Context, identity: bytes) -> tuple[Intent, str]:
    """The intent and its state now; `NOT_FOUND`."""
    intent = ctx.state.need(INTENTS, identity)
    return intent, state_at(ctx, intent)


def need_state(ctx: Context, state: str, *allowed: str) -> None:
    """`EXPIRED` or `BAD_STATE` unless the payment stands where this may be done."""
    if state in allowed:
        return
    ctx.reject("EXPIRED" if state == "EXPIRED" else "BAD_STATE", state=state)


# ---- money


def open_accounts(ctx: Context, intent: Intent, identity: bytes) -> None:
    """What this payment moves: the channel's clearing and suspense, the payee's receivable."""
    house = (intent.channel_owner,)
    ctx.ledger.open(intent.channel_owner, intent.cur, CLEARING, house, may_go_negative=True)
    ctx.ledger.open(intent.channel_owner, intent.cur, SUSPENSE, house)
    ctx.ledger.open(intent.payee, intent.cur, RECEIVABLE, (intent.payee,))
    ctx.ledger.open(identity, intent.cur, CONTESTED, (intent.owner, intent.payee))


def clearing(intent: Intent) -> bytes:
    """Stands for the money at the channel."""
    return account_key(intent.channel_owner, intent.cur, CLEARING)


def suspense(intent: Intent) -> bytes:
    """Money that came too late, until somebody decides."""
    return account_key(intent.channel_owner, intent.cur, SUSPENSE)


def receivable(intent: Intent) -> bytes:
    """The payee's."""
    return account_key(intent.payee, intent.cur, RECEIVABLE)


def contested(intent: Intent, identity: bytes) -> bytes:
    """What is set aside while this one payment is contested."""
    return account_key(identity, intent.cur, CONTESTED)


def move(ctx: Context, source: bytes, target: bytes, amount: int) -> None:
    """Post an amount, which may be none."""
    if amount:
        ctx.ledger.transfer(Leg(source, target, amount))


def check_asset(ctx: Context, code: str) -> None:
    """`NOT_FOUND` for a currency that this network does not know."""
    ctx.state.need(ASSETS, code.encode())
