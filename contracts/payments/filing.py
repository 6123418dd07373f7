"""Filing: who may pay on the headset, the user's switch, the channels, and the trusted terminals.

The user's own data never stand here in the clear: a salted commitment is public, the record itself
is sealed to the verifier or reviewer. Codes and passwords are checked off chain; the chain learns
the outcome.
"""

from __future__ import annotations

from collections.abc import Mapping

from contracts.kernel.context import Context
from contracts.kernel.contract import Action, Details, Governed
from contracts.kernel.identity import HOLDER
from contracts.payments import rules
from contracts.payments.arguments import (
    CHANNELS_MAX,
    TERMINALS_MAX,
    BindTerminal,
    FileUser,
    LinkChannel,
    ManualReview,
    RegisterChannel,
    SetChannel,
    SetPolicy,
    SetSwitch,
    UnbindTerminal,
    Verify,
)
from contracts.payments.models import (
    CHANNELS,
    FIGURES,
    FILINGS,
    POLICY,
    POLICY_KEY,
    TERMINALS,
    USER_OF,
    USERS,
    Channel,
    Figures,
    Filing,
    Policy,
    Terminal,
    User,
    UserRef,
    figures_key,
    terminal_key,
    user_key,
    user_readers,
)
from contracts.payments.rules import replace

REPLAYED = {"replayed": True}
# What a terminal signs to be trusted, and what another one signs to vouch for it.
BIND, VOUCH = "bind_terminal", "vouch"


# ---- users (R4.1–R4.5)


def file_user(ctx: Context, args: FileUser) -> Details:
    """A holder files, or files again after a rejection; nothing personal in the clear."""
    ref = ctx.state.get(USER_OF, user_key(ctx.sender))
    known = ctx.state.get(USERS, args.user)
    if known is not None and known.owner != ctx.sender:
        ctx.reject("IDEM_CONFLICT", what="user")
    if ref is not None and ref.user != args.user:
        ctx.reject("BAD_STATE", why="this key has filed as another user")
    filing = Filing(args.phone_commit)
    if known is not None and known.state != "REJECTED":
        same = (known.sealed_info, ctx.state.need(FILINGS, args.user)) == (args.sealed_info, filing)
        if not same:
            ctx.reject("BAD_STATE", state=known.state)
        return dict(REPLAYED)
    user = known or User(ctx.sender, b"", "", False, (), 0, b"", False, 0, 0, b"", "")
    user = replace(user, sealed_info=args.sealed_info, state="FILED", decided_by=b"", reason="")
    ctx.state.put(USERS, args.user, user)
    ctx.state.put(FILINGS, args.user, filing)
    ctx.state.put(USER_OF, user_key(ctx.sender), UserRef(args.user, ctx.sender))
    ctx.emit("Filed", {"user": args.user}, user_readers(user))
    return {"state": "FILED"}


def verify(ctx: Context, args: Verify) -> Details:
    """The verifier's word on the phone code; it lifts the lock after wrong passwords, too."""
    return _decide(ctx, args.user, args.ok, "phone code")


def manual_review(ctx: Context, args: ManualReview) -> Details:
    """A person looked at the sealed record."""
    return _decide(ctx, args.user, args.ok, args.reason)


def _decide(ctx: Context, identity: bytes, ok: bool, reason: str) -> Details:
    user = ctx.state.need(USERS, identity)
    if user.owner == ctx.sender:
        ctx.reject("UNAUTHORIZED", why="another person decides")
    state = "VERIFIED" if ok else "REJECTED"
    if user.state == state and not user.locked:
        return {"state": state, **REPLAYED}
    if user.state == "VERIFIED" and not ok:
        ctx.reject("BAD_STATE", state=user.state)
    decided = replace(
        user,
        state=state,
        switched_on=user.switched_on or (ok and user.state != "VERIFIED"),
        failures=0 if ok else user.failures,
        locked=user.locked and not ok,
        decided_by=ctx.sender,
        reason=reason,
    )
    ctx.state.put(USERS, identity, decided)
    ctx.emit("Verified", {"user": identity, "ok": ok, "reason": reason}, user_readers(user))
    return {"state": state}


def set_switch(ctx: Context, args: SetSwitch) -> Details:
    """The user lets payments start, or stops new ones at once."""
    identity, user = rules.own_user(ctx)
    if user.state != "VERIFIED":
        rules.refuse(ctx, "NOT_FILED", "filing", state=user.state)
    if user.switched_on == args.on:
        return {"on": args.on, **REPLAYED}
    ctx.state.put(USERS, identity, replace(user, switched_on=args.on))
    ctx.emit("SwitchChanged", {"user": identity, "on": args.on}, user_readers(user))
    return {"on": args.on}


# ---- channels (R4.6, R4.8)


def register_channel(ctx: Context, args: RegisterChannel) -> Details:
    """The operator adds a channel; it starts enabled."""
    rules.check_asset(ctx, args.asset)
    known = ctx.state.get(CHANNELS, args.channel.encode())
    if known is not None:
        if (known.owner, known.endpoint, known.asset) != (args.owner, args.endpoint, args.asset):
            ctx.reject("IDEM_CONFLICT", what="channel")
        return dict(REPLAYED)
    if "channel" not in ctx.roles_of(args.owner):
        ctx.reject("NOT_FOUND", what="a channel with this key")
    channel = Channel(args.owner, args.endpoint, args.asset, enabled=True)
    ctx.state.insert(CHANNELS, args.channel.encode(), channel)
    ctx.state.insert(FIGURES, figures_key(args.channel), Figures(args.owner, 0, 0, 0))
    ctx.emit("ChannelChanged", {"channel": args.channel, "enabled": True}, ("public",))
    return {}


def set_channel(ctx: Context, args: SetChannel) -> Details:
    """The operator lets charges start there or not; what is under way goes on."""
    channel = rules.channel_of(ctx, args.channel)
    if channel.enabled == args.enabled:
        return dict(REPLAYED)
    ctx.state.put(CHANNELS, args.channel.encode(), replace(channel, enabled=args.enabled))
    ctx.emit("ChannelChanged", {"channel": args.channel, "enabled": args.enabled}, ("public",))
    return {}


def link_channel(ctx: Context, args: LinkChannel) -> Details:
    """The user may pay by this channel from now on."""
    identity, user = rules.own_user(ctx)
    rules.channel_of(ctx, args.channel)
    if args.channel in user.channels:
        return dict(REPLAYED)
    if len(user.channels) >= CHANNELS_MAX:
        ctx.reject("OVERFLOW", what="channels", most=CHANNELS_MAX)
    ctx.state.put(USERS, identity, replace(user, channels=(*user.channels, args.channel)))
    return {"channels": len(user.channels) + 1}


def unlink_channel(ctx: Context, args: LinkChannel) -> Details:
    """The user pays by it no more; what is under way goes on."""
    identity, user = rules.own_user(ctx)
    if args.channel not in user.channels:
        return dict(REPLAYED)
    left = tuple([one for one in user.channels if one != args.channel])
    ctx.state.put(USERS, identity, replace(user, channels=left))
    return {"channels": len(left)}


# ---- trusted terminals (R4.10)


def bind_terminal(ctx: Context, args: BindTerminal) -> Details:
    """The user trusts another device, which signed that it consents.

    The first one counts at once. A later one does if a terminal that is bound vouches for it, else
    after a time in which the user sees it coming: a stolen headset alone binds nothing soon.
    """
    identity, user = rules.own_user(ctx)
    rules.check_may_pay(ctx, user)
    if args.terminal_pub == ctx.sender:
        ctx.reject("BAD_ARG", field="terminal_pub", why="the headset's own key")
    key = terminal_key(args.terminal_pub)
    known = ctx.state.get(TERMINALS, key)
    if known is not None and known.user != identity:
        ctx.reject("BAD_STATE", why="the terminal is another user's")
    if known is not None and not known.unbound:
        return {"active_ms": known.active_ms, **REPLAYED}
    if ctx.time_ms >= args.ticket_until:
        ctx.reject("EXPIRED", what="ticket")
    terms = {
        "user": identity,
        "terminal_pub": args.terminal_pub,
        "kind": args.kind,
        "challenge": args.challenge,
        "ticket_until": args.ticket_until,
    }
    if not ctx.has_signed_in_browser(args.terminal_pub, BIND, terms, args.ticket):
        rules.refuse(ctx, "TERMINAL_UNKNOWN", "terminal", why="its signature does not match")
    if user.terminals >= TERMINALS_MAX:
        ctx.reject("OVERFLOW", what="terminals", most=TERMINALS_MAX)
    vouched = user.terminals == 0 or _is_vouched_for(ctx, identity, args, terms)
    wait_ms = 0 if vouched else ctx.scaled(rules.policy_of(ctx).cooling_ms)
    terminal = Terminal(
        identity, ctx.sender, args.terminal_pub, args.kind, ctx.time_ms + wait_ms, unbound=False
    )
    ctx.state.put(TERMINALS, key, terminal)
    ctx.state.put(USERS, identity, replace(user, terminals=user.terminals + 1))
    data = {"terminal_pub": args.terminal_pub, "active_ms": terminal.active_ms}
    ctx.emit("TerminalBound", data, TERMINALS.readers(terminal))
    return {"active_ms": terminal.active_ms}


def _is_vouched_for(
    ctx: Context, user: bytes, args: BindTerminal, terms: Mapping[str, object]
) -> bool:
    if args.voucher is None or args.voucher_ticket is None:
        return False
    active_terminal(ctx, user, args.voucher)
    if not ctx.has_signed_in_browser(args.voucher, VOUCH, terms, args.voucher_ticket):
        rules.refuse(ctx, "TERMINAL_UNKNOWN", "terminal", why="the voucher does not match")
    return True


def unbind_terminal(ctx: Context, args: UnbindTerminal) -> Details:
    """The user trusts it no longer. It still counts as one that was: the next one has to wait."""
    identity, _ = rules.own_user(ctx)
    terminal = ctx.state.get(TERMINALS, terminal_key(args.terminal_pub))
    if terminal is None or terminal.user != identity:
        ctx.reject("NOT_FOUND", what=TERMINALS.name)
    if terminal.unbound:
        return dict(REPLAYED)
    ctx.state.put(TERMINALS, terminal_key(args.terminal_pub), replace(terminal, unbound=True))
    return {}


def active_terminal(ctx: Context, user: bytes, public_key: bytes) -> Terminal:
    """The user's trusted terminal with this key; `TERMINAL_UNKNOWN` while it may not approve."""
    terminal = ctx.state.get(TERMINALS, terminal_key(public_key))
    if terminal is None or terminal.user != user or terminal.unbound:
        rules.refuse(ctx, "TERMINAL_UNKNOWN", "terminal")
    if ctx.time_ms < terminal.active_ms:
        rules.refuse(ctx, "TERMINAL_UNKNOWN", "terminal", active_ms=terminal.active_ms)
    return terminal


# ---- policy, by two persons


def check_policy(ctx: Context, args: SetPolicy) -> None:
    """One charge is not above what a day allows."""
    if args.mandate_charge_max > args.mandate_day_max:
        ctx.reject("BAD_ARG", field="mandate_charge_max", why="above the day's")


def set_policy(ctx: Context, args: SetPolicy) -> Details:
    """The operator proposed it and the regulator approves."""
    given = args.model_dump(exclude={"proposal", "reason"})
    policy = Policy(allow_clear=rules.policy_of(ctx).allow_clear, **given)
    ctx.state.put(POLICY, POLICY_KEY, policy)
    return {}


ACTIONS = {
    "file_user": Action(FileUser, file_user, (HOLDER,)),
    "verify": Action(Verify, verify, ("verifier",)),
    "manual_review": Action(ManualReview, manual_review, ("reviewer",)),
    "set_switch": Action(SetSwitch, set_switch),
    "register_channel": Action(RegisterChannel, register_channel, ("operator",)),
    "set_channel": Action(SetChannel, set_channel, ("operator",)),
    "link_channel": Action(LinkChannel, link_channel),
    "unlink_channel": Action(LinkChannel, unlink_channel),
    "bind_terminal": Action(BindTerminal, bind_terminal),
    "unbind_terminal": Action(UnbindTerminal, unbind_terminal),
}
GOVERNED = {
    "set_policy": Governed(SetPolicy, check_policy, set_policy, ("operator",), ("regulator",)),
}
