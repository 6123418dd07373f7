"""Payment intents: made by the headset, authorised elsewhere, charged by a channel, reported back.

Two ways to authorise. (a) A page shows the order on a trusted terminal, which signs just what it
shows; the page hands that to the channel, which verifies it here by starting the charge. (b) Under
a mandate the headset asks for the charge and the pay service vouches for the password, see
`mandates`.
"""

from __future__ import annotations

from contracts.kernel.context import Context
from contracts.kernel.contract import Action, Details
from contracts.kernel.identity import HOLDER
from contracts.kernel.ledger import Leg
from contracts.payments import rules
from contracts.payments.arguments import (
    Approval,
    CallbackArgs,
    Capture,
    ChooseChannel,
    CreateIntent,
    IntentOnly,
    IssuePage,
    RejectIntent,
    StartCharge,
)
from contracts.payments.filing import active_terminal
from contracts.payments.mandates import give_back_reserved
from contracts.payments.models import (
    CALLBACKS,
    INTENTS,
    INTENTS_OF,
    USERS,
    Callback,
    Intent,
    IntentRef,
    Page,
    callback_key,
    intent_number_key,
    intent_readers,
)
from contracts.payments.rules import ATTEMPTS_MAX, WAITING, replace

REPLAYED = {"replayed": True}
# What a terminal signs.
APPROVE, REJECT = "approve", "reject"


# ---- the order


def create_intent(ctx: Context, args: CreateIntent) -> Details:
    """The headset uploads an order of its user (R4.1: whoever is not filed gets no further)."""
    identity, user = rules.own_user(ctx)
    known = ctx.state.get(INTENTS, args.intent)
    if known is not None:
        if known.owner != ctx.sender or _order_of(known) != _order_of(args):
            ctx.reject("IDEM_CONFLICT", what="intent")
        return {"state": rules.state_at(ctx, known), **REPLAYED}
    rules.check_may_pay(ctx, user)
    rules.check_asset(ctx, args.cur)
    if args.payee == ctx.sender or not ctx.roles_of(args.payee):
        ctx.reject("BAD_ARG", field="payee", why="not another one's registered key")
    number = user.intents + 1
    intent = Intent(
        user=identity,
        owner=ctx.sender,
        payee=args.payee,
        order=args.order,
        order_hash=args.order_hash,
        cur=args.cur,
        amt=args.amt,
        manual_capture=args.manual_capture,
        expires_ms=ctx.time_ms + ctx.scaled(args.ttl_ms),
        state="REQUIRES_METHOD",
        channel="",
        channel_owner=b"",
        page=None,
        authority=b"",
        by_mandate=False,
        reserved_day=0,
        attempts=0,
        since_ms=ctx.time_ms,
        captured=0,
        refunded=0,
        disputed=0,
        acknowledged=False,
    )
    ctx.state.insert(INTENTS, args.intent, intent)
    ctx.state.insert(
        INTENTS_OF, intent_number_key(identity, number), IntentRef(args.intent, ctx.sender)
    )
    ctx.state.put(USERS, identity, replace(user, intents=number))
    data = {"intent": args.intent, "order": args.order, "amt": args.amt, "cur": args.cur}
    ctx.emit("Created", data, intent_readers(intent))
    return {"state": intent.state, "expires_ms": intent.expires_ms}


def _order_of(one: CreateIntent | Intent) -> tuple[object, ...]:
    return (one.order, one.order_hash, one.payee, one.amt, one.cur, one.manual_capture)


def choose_channel(ctx: Context, args: ChooseChannel) -> Details:
    """The user picks a usable channel, or lets the rules pick; before and after a failed charge."""
    identity, user = rules.own_user(ctx)
    intent = _own_intent(ctx, identity, args.intent)
    rules.check_may_pay(ctx, user)
    rules.need_state(ctx, rules.state_at(ctx, intent), "REQUIRES_METHOD", "REQUIRES_ACTION")
    name = args.channel
    if name is None:
        found = rules.routed(ctx, user, intent.cur)
        if not found:
            rules.refuse(ctx, "CHANNEL_NOT_LINKED", "channel", why="no channel is usable")
        name = found[0]
    channel = rules.check_usable(ctx, user, name, intent.cur)
    chosen = replace(
        intent, state="REQUIRES_ACTION", channel=name, channel_owner=channel.owner, page=None
    )
    rules.open_accounts(ctx, chosen, args.intent)
    ctx.state.put(INTENTS, args.intent, chosen)
    return {"state": chosen.state, "channel": name, "endpoint": channel.endpoint}


def issue_page(ctx: Context, args: IssuePage) -> Details:
    """The server has made the order page for the terminal; it is pushed there by this event."""
    intent, state = rules.intent_of(ctx, args.intent)
    page = Page(args.page_hash, args.nonce, ctx.sender)
    if intent.page == page:
        return dict(REPLAYED)
    rules.need_state(ctx, state, "REQUIRES_ACTION")
    issued = replace(intent, page=page)
    ctx.state.put(INTENTS, args.intent, issued)
    data = {"intent": args.intent, "page_hash": args.page_hash, "nonce": args.nonce}
    ctx.emit("PageIssued", data, intent_readers(issued))
    return {}


def cancel(ctx: Context, args: IntentOnly) -> Details:
    """The user gives the order up before a charge; the payee may release what it has not taken."""
    intent, state = rules.intent_of(ctx, args.intent)
    if ctx.sender not in (intent.owner, intent.payee):
        ctx.reject("UNAUTHORIZED", why="another one's payment")
    if state == "CANCELED":
        return {"state": state, **REPLAYED}
    allowed = WAITING if ctx.sender == intent.owner else ("REQUIRES_CAPTURE",)
    rules.need_state(ctx, state, *allowed)
    if state == "REQUIRES_CAPTURE":
        ctx.ledger.void_pending(args.intent)
    if intent.state == "AUTHORISED":
        give_back_reserved(ctx, intent)
    return _become(ctx, args.intent, replace(intent, state="CANCELED"), "Canceled")


def reject(ctx: Context, args: RejectIntent) -> Details:
    """The terminal's no, brought by the page's server or anybody: its signature counts."""
    intent, state = rules.intent_of(ctx, args.intent)
    if state == "CANCELED":
        return {"state": state, **REPLAYED}
    rules.need_state(ctx, state, "REQUIRES_ACTION")
    active_terminal(ctx, intent.user, args.terminal_pub)
    page = _page_of(ctx, intent)
    terms = {"intent": args.intent, "nonce": args.nonce}
    signed = ctx.has_signed_in_browser(args.terminal_pub, REJECT, terms, args.signature)
    if args.nonce != page.nonce or not signed:
        rules.refuse(ctx, "LINK_MISMATCH", "authorisation", field="nonce")
    return _become(ctx, args.intent, replace(intent, state="CANCELED"), "Canceled")


# ---- the charge


def start_charge(ctx: Context, args: StartCharge) -> Details:
    """The channel is about to charge: only for an intent that its user authorised (R4.9)."""
    intent, state = rules.intent_of(ctx, args.intent)
    if intent.channel_owner != ctx.sender:
        ctx.reject("UNAUTHORIZED", why="another channel was chosen")
    if intent.state == "PROCESSING" and _same_authority(intent, args.approval):
        return {"state": state, **REPLAYED}
    rules.need_state(ctx, state, "AUTHORISED" if args.approval is None else "REQUIRES_ACTION")
    user = ctx.state.need(USERS, intent.user)
    rules.check_may_pay(ctx, user)
    rules.check_usable(ctx, user, intent.channel, intent.cur)
    started = replace(intent, state="PROCESSING", since_ms=ctx.time_ms)
    if args.approval is not None:
        _check_approval(ctx, args.intent, intent, args.approval)
        started = replace(started, authority=args.approval.terminal_pub, by_mandate=False)
        _announce(ctx, "Authorised", args.intent, started, {"by": "TERMINAL"})
    rules.count(ctx, intent.channel, started=1)
    return _become(ctx, args.intent, started, "ChargeStarted")


def _same_authority(intent: Intent, approval: Approval | None) -> bool:
    if approval is None:
        return intent.by_mandate
    page_nonce = intent.page.nonce if intent.page is not None else b""
    return (intent.authority, page_nonce) == (approval.terminal_pub, approval.nonce)


def _check_approval(ctx: Context, identity: bytes, intent: Intent, given: Approval) -> None:
    """Dynamic linking (R4.11): any term that differs from the intent voids the approval."""
    active_terminal(ctx, intent.user, given.terminal_pub)
    page = _page_of(ctx, intent)
    expected: dict[str, object] = {
        "order_hash": intent.order_hash,
        "page_hash": page.page_hash,
        "amt": intent.amt,
        "cur": intent.cur,
        "payee": intent.payee,
        "channel": intent.channel,
        "nonce": page.nonce,
    }
    terms: dict[str, object] = {
        name: value for name, value in given if name not in ("terminal_pub", "signature")
    }
    for name, value in expected.items():
        if terms[name] != value:
            rules.refuse(ctx, "LINK_MISMATCH", "authorisation", field=name)
    if ctx.time_ms >= given.expiry:
        ctx.reject("EXPIRED", what="approval", stage="authorisation")
    signed = {**terms, "intent": identity}
    if not ctx.has_signed_in_browser(given.terminal_pub, APPROVE, signed, given.signature):
        rules.refuse(ctx, "LINK_MISMATCH", "authorisation", field="signature")


def _page_of(ctx: Context, intent: Intent) -> Page:
    if intent.page is None:
        ctx.reject("BAD_STATE", why="no page was issued")
    return intent.page


def callback(ctx: Context, args: CallbackArgs) -> Details:
    """The channel reports, as often as it likes: one event id has one effect (R4.7, B4.6)."""
    channel = rules.own_channel(ctx, args.channel)
    key = callback_key(args.channel, args.event_id)
    known = ctx.state.get(CALLBACKS, key)
    if known is not None:
        if (known.intent, known.status, known.amt) != (args.intent, args.status, args.amt):
            ctx.reject("IDEM_CONFLICT", what="event_id")
        return {"state": known.state, **REPLAYED}
    intent = ctx.state.need(INTENTS, args.intent)
    if intent.channel != args.channel or intent.channel_owner != channel.owner:
        ctx.reject("BAD_STATE", why="this channel does not charge it")
    if intent.state not in ("PROCESSING", "UNKNOWN"):
        ctx.reject("BAD_STATE", state=rules.state_at(ctx, intent))
    if args.amt != intent.amt:
        rules.refuse(ctx, "AMOUNT_MISMATCH", "charge", amt=intent.amt)
    changed = _reported(ctx, args.intent, intent, args.status)
    readers = intent_readers(changed)
    ctx.state.insert(
        CALLBACKS, key, Callback(args.intent, args.status, args.amt, changed.state, readers)
    )
    return _become(ctx, args.intent, changed, "Charged", status=args.status)


def _reported(ctx: Context, identity: bytes, intent: Intent, status: str) -> Intent:
    """The intent after a report; the money moves where it succeeded."""
    if status == "UNKNOWN":
        return replace(intent, state="UNKNOWN")
    if status == "FAILED":
        rules.count(ctx, intent.channel, failed=1)
        if intent.by_mandate:
            give_back_reserved(ctx, intent)
        attempts = intent.attempts + 1
        again = attempts < ATTEMPTS_MAX and ctx.time_ms < intent.expires_ms
        return replace(
            intent,
            state="REQUIRES_METHOD" if again else "CANCELED",
            attempts=attempts,
            page=None,
            authority=b"",
            by_mandate=False,
        )
    rules.count(ctx, intent.channel, succeeded=1)
    if ctx.time_ms >= intent.expires_ms:
        rules.move(ctx, rules.clearing(intent), rules.suspense(intent), intent.amt)
        return replace(intent, state="LATE", since_ms=ctx.time_ms)
    if intent.manual_capture:
        legs = (Leg(rules.clearing(intent), rules.receivable(intent), intent.amt),)
        deadline_ms = ctx.time_ms + ctx.scaled(rules.policy_of(ctx).capture_ms)
        readers = (intent.owner, intent.payee, intent.channel_owner)
        ctx.ledger.reserve(identity, legs, deadline_ms, readers)
        return replace(intent, state="REQUIRES_CAPTURE", since_ms=ctx.time_ms)
    rules.move(ctx, rules.clearing(intent), rules.receivable(intent), intent.amt)
    return replace(intent, state="SUCCEEDED", captured=intent.amt, since_ms=ctx.time_ms)


def capture(ctx: Context, args: Capture) -> Details:
    """The payee takes what it earned of an authorised payment; the rest is given back (B4.8)."""
    intent, state = rules.intent_of(ctx, args.intent)
    if ctx.sender != intent.payee:
        ctx.reject("UNAUTHORIZED", why="another one is paid")
    if state == "SUCCEEDED" and intent.manual_capture:
        if intent.captured != args.amt:
            ctx.reject("IDEM_CONFLICT", what="amt")
        return {"state": state, **REPLAYED}
    rules.need_state(ctx, state, "REQUIRES_CAPTURE")
    if args.amt > intent.amt:
        ctx.reject("INSUFFICIENT", authorised=intent.amt)
    ctx.ledger.post_pending(args.intent, args.amt)
    done = replace(intent, state="SUCCEEDED", captured=args.amt, since_ms=ctx.time_ms)
    return _become(ctx, args.intent, done, "Charged", status="SUCCEEDED")


def ack(ctx: Context, args: IntentOnly) -> Details:
    """The headset was told the result."""
    intent, state = rules.intent_of(ctx, args.intent)
    if ctx.sender != intent.owner:
        ctx.reject("UNAUTHORIZED", why="another one's payment")
    if intent.acknowledged:
        return dict(REPLAYED)
    if state in (*WAITING, "PROCESSING"):
        ctx.reject("BAD_STATE", state=state)
    return _become(ctx, args.intent, replace(intent, acknowledged=True), "Notified")


# ---- inside


def _own_intent(ctx: Context, user: bytes, identity: bytes) -> Intent:
    intent = ctx.state.need(INTENTS, identity)
    if intent.user != user:
        ctx.reject("UNAUTHORIZED", why="another one's payment")
    return intent


def _become(ctx: Context, identity: bytes, intent: Intent, event: str, **more: object) -> Details:
    """Write the intent in its new state, and announce it."""
    ctx.state.put(INTENTS, identity, intent)
    _announce(ctx, event, identity, intent, more)
    return {"state": intent.state}


def _announce(
    ctx: Context, event: str, identity: bytes, intent: Intent, more: dict[str, object]
) -> None:
    data = {
        "intent": identity,
        "order": intent.order,
        "state": intent.state,
        "amt": intent.amt,
        "cur": intent.cur,
        "channel": intent.channel,
        **more,
    }
    ctx.emit(event, data, intent_readers(intent))


ACTIONS = {
    "create_intent": Action(CreateIntent, create_intent, (HOLDER,)),
    "choose_channel": Action(ChooseChannel, choose_channel, (HOLDER,)),
    "issue_page": Action(IssuePage, issue_page, ("page_server",)),
    "cancel": Action(IntentOnly, cancel),
    "reject": Action(RejectIntent, reject),
    "start_charge": Action(StartCharge, start_charge, ("channel",)),
    "callback": Action(CallbackArgs, callback, ("channel",)),
    "capture": Action(Capture, capture),
    "ack": Action(IntentOnly, ack),
}
