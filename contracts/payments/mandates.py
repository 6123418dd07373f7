"""Charges by the system under a mandate, with a payment password and no second device.

See R4.14 and R4.15. The password itself never comes here: six digits could be guessed from any copy
of a ledger. The pay service checks it off chain and vouches for one charge; the chain counts
failures and holds the lock. A mandate's day is reserved when a charge is asked for, given back if
it fails, and kept while its outcome is unknown; refunds do not restore it.
"""

from __future__ import annotations

from contracts.kernel.context import Context
from contracts.kernel.contract import Action, Details
from contracts.kernel.identity import HOLDER
from contracts.payments import rules
from contracts.payments.arguments import AuthFailed, GrantMandate, ProxyCharge, RevokeMandate
from contracts.payments.models import (
    INTENTS,
    MANDATES,
    USERS,
    Intent,
    Mandate,
    intent_readers,
    user_readers,
)
from contracts.payments.rules import replace

REPLAYED = {"replayed": True}
# What the pay service signs.
ASSERT = "assert"


def grant_mandate(ctx: Context, args: GrantMandate) -> Details:
    """The user lets one linked channel be charged, within caps that policy bounds (B4.7)."""
    identity, user = rules.own_user(ctx)
    known = ctx.state.get(MANDATES, args.mandate)
    if known is not None:
        same = (known.owner, known.channel, known.per_cap, known.day_cap)
        if same != (ctx.sender, args.channel, args.per_cap, args.day_cap):
            ctx.reject("IDEM_CONFLICT", what="mandate")
        return {"until_ms": known.until_ms, **REPLAYED}
    rules.check_may_pay(ctx, user)
    if args.channel not in user.channels:
        rules.refuse(ctx, "CHANNEL_NOT_LINKED", "channel", channel=args.channel)
    policy = rules.policy_of(ctx)
    if args.per_cap > policy.mandate_charge_max or args.day_cap > policy.mandate_day_max:
        rules.refuse(
            ctx,
            "CAP_EXCEEDED",
            "mandate",
            charge_max=policy.mandate_charge_max,
            day_max=policy.mandate_day_max,
        )
    until_ms = ctx.time_ms + ctx.scaled(args.ttl_ms)
    mandate = Mandate(
        identity, ctx.sender, args.channel, args.per_cap, args.day_cap, until_ms, False, 0, 0
    )
    ctx.state.insert(MANDATES, args.mandate, mandate)
    return {"until_ms": until_ms}


def revoke_mandate(ctx: Context, args: RevokeMandate) -> Details:
    """No new charge under it; one that is under way goes on."""
    mandate = ctx.state.need(MANDATES, args.mandate)
    if mandate.owner != ctx.sender:
        ctx.reject("UNAUTHORIZED", why="another one's mandate")
    if mandate.revoked:
        return dict(REPLAYED)
    ctx.state.put(MANDATES, args.mandate, replace(mandate, revoked=True))
    return {}


def proxy_charge(ctx: Context, args: ProxyCharge) -> Details:
    """The headset asks for the charge; the pay service says that the password was right."""
    identity, user = rules.own_user(ctx)
    intent, state = rules.intent_of(ctx, args.intent)
    if intent.user != identity:
        ctx.reject("UNAUTHORIZED", why="another one's payment")
    if intent.by_mandate and intent.authority == args.mandate and intent.state != "REQUIRES_METHOD":
        return {"state": state, **REPLAYED}
    mandate = ctx.state.need(MANDATES, args.mandate)
    if mandate.user != identity:
        ctx.reject("UNAUTHORIZED", why="another one's mandate")
    if mandate.revoked or ctx.time_ms >= mandate.until_ms or ctx.time_ms >= args.expiry:
        ctx.reject("EXPIRED", what="mandate" if ctx.time_ms < args.expiry else "assertion")
    rules.need_state(ctx, state, "REQUIRES_ACTION")
    rules.check_may_pay(ctx, user)
    rules.check_usable(ctx, user, intent.channel, intent.cur)
    if intent.channel != mandate.channel:
        rules.refuse(ctx, "LINK_MISMATCH", "mandate", field="channel")
    _check_assertion(ctx, identity, intent, args)
    if user.locked:
        rules.refuse(ctx, "AUTH_LOCKED", "authorisation")
    ctx.state.put(MANDATES, args.mandate, _reserved(ctx, mandate, intent.amt))
    if user.failures:
        ctx.state.put(USERS, identity, replace(user, failures=0))
    authorised = replace(
        intent,
        state="AUTHORISED",
        authority=args.mandate,
        by_mandate=True,
        reserved_day=ctx.today(),
        since_ms=ctx.time_ms,
    )
    ctx.state.put(INTENTS, args.intent, authorised)
    data = {"intent": args.intent, "by": "MANDATE", "amt": intent.amt, "channel": intent.channel}
    ctx.emit("Authorised", data, intent_readers(authorised))
    return {"state": authorised.state}


def _check_assertion(ctx: Context, user: bytes, intent: Intent, args: ProxyCharge) -> None:
    """The pay service's word fits this one charge; it can be used once, as the intent moves on."""
    terms = {
        "user": user,
        "intent": args.intent,
        "amt": intent.amt,
        "cur": intent.cur,
        "payee": intent.payee,
        "channel": intent.channel,
        "expiry": args.expiry,
    }
    serves = "pay_service" in ctx.roles_of(args.service)
    if not serves or not ctx.has_signed(args.service, ASSERT, terms, args.assertion):
        rules.refuse(ctx, "AUTH_FAILED", "authorisation")


def _reserved(ctx: Context, mandate: Mandate, amount: int) -> Mandate:
    """The mandate with `amount` of today used; `CAP_EXCEEDED` above either cap."""
    today = ctx.today()
    used = mandate.used if mandate.day == today else 0
    if amount > mandate.per_cap:
        rules.refuse(ctx, "CAP_EXCEEDED", "mandate", per_cap=mandate.per_cap)
    if used + amount > mandate.day_cap:
        rules.refuse(ctx, "CAP_EXCEEDED", "mandate", day_cap=mandate.day_cap, used=used)
    return replace(mandate, day=today, used=used + amount)


def give_back_reserved(ctx: Context, intent: Intent) -> None:
    """A charge under a mandate did not take place: its part of that day is free again."""
    mandate = ctx.state.need(MANDATES, intent.authority)
    if mandate.day == intent.reserved_day:
        ctx.state.put(MANDATES, intent.authority, replace(mandate, used=mandate.used - intent.amt))


def auth_failed(ctx: Context, args: AuthFailed) -> Details:
    """A wrong password, counted for the user over all intents; the last one allowed locks."""
    user = ctx.state.need(USERS, args.user)
    if user.attempt == args.attempt:
        return {"failures": user.failures, "locked": user.locked, **REPLAYED}
    if user.locked:
        rules.refuse(ctx, "AUTH_LOCKED", "authorisation")
    failures = user.failures + 1
    locked = failures >= rules.policy_of(ctx).failures_max
    changed = replace(user, failures=failures, locked=locked, attempt=args.attempt)
    ctx.state.put(USERS, args.user, changed)
    if locked:
        ctx.emit("AuthLocked", {"user": args.user}, user_readers(user))
    return {"failures": failures, "locked": locked}


ACTIONS = {
    "grant_mandate": Action(GrantMandate, grant_mandate, (HOLDER,)),
    "revoke_mandate": Action(RevokeMandate, revoke_mandate, (HOLDER,)),
    "proxy_charge": Action(ProxyCharge, proxy_charge, (HOLDER,)),
    "auth_failed": Action(AuthFailed, auth_failed, ("pay_service",)),
}
