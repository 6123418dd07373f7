"""What can be asked about payments; each answer is cut to what its viewer may see."""

from __future__ import annotations

from typing import Any

from contracts.kernel.access import may_read
from contracts.kernel.context import View
from contracts.kernel.contract import Details, Query
from contracts.kernel.types import reject
from contracts.payments import rules
from contracts.payments.arguments import (
    ChannelsQuery,
    IntentOnly,
    IntentsQuery,
    MandateQuery,
    NoArgs,
    TerminalQuery,
    UserQuery,
)
from contracts.payments.models import (
    CHANNELS,
    DISPUTES,
    FIGURES,
    INTENTS,
    INTENTS_OF,
    MANDATES,
    POLICY,
    POLICY_KEY,
    TERMINALS,
    USER_OF,
    USERS,
    Intent,
    figures_key,
    intent_number_key,
    terminal_key,
    user_key,
)


def me(view: View, _: NoArgs) -> Details:
    """The viewer's own user: state, switch, channels in the order of routing for each currency."""
    if view.viewer.public_key is None:
        reject("NOT_FOUND", what=USER_OF.name)
    ref = view.need(USER_OF, user_key(view.viewer.public_key))
    return _user_view(view, ref.user)


def user(view: View, args: UserQuery) -> Details:
    """A user, for itself and those who decide on it."""
    return _user_view(view, args.user)


def _user_view(view: View, identity: bytes) -> Details:
    found = view.need(USERS, identity)
    return {
        "user": identity,
        "owner": found.owner,
        "state": found.state,
        "reason": found.reason,
        "switched_on": found.switched_on,
        "channels": list(found.channels),
        "failures": found.failures,
        "locked": found.locked,
        "intents": found.intents,
        "sealed_info": found.sealed_info,
    }


def intent(view: View, args: IntentOnly) -> Details:
    """A payment as it stands now, for those whom it concerns."""
    return _intent_view(view, args.intent, view.need(INTENTS, args.intent))


def _intent_view(view: View, identity: bytes, one: Intent) -> Details:
    answer: dict[str, Any] = {
        "intent": identity,
        "state": rules.state_at(view, one),
        "order": one.order,
        "order_hash": one.order_hash,
        "payee": one.payee,
        "amt": one.amt,
        "cur": one.cur,
        "channel": one.channel,
        "expires_ms": one.expires_ms,
        "captured": one.captured,
        "refunded": one.refunded,
        "disputed": one.disputed,
        "attempts": one.attempts,
        "acknowledged": one.acknowledged,
        "authorised_by": "" if not one.authority else ("MANDATE" if one.by_mandate else "TERMINAL"),
        "page_hash": one.page.page_hash if one.page else None,
        "nonce": one.page.nonce if one.page else None,
    }
    return answer


def intents(view: View, args: IntentsQuery) -> Details:
    """A user's payments in the order in which they were made."""
    found = view.need(USERS, args.user)
    after = intent_number_key(args.user, args.cursor)
    page = view.page(INTENTS_OF, args.user, after, args.limit)
    items = [_intent_view(view, ref.intent, view.need(INTENTS, ref.intent)) for _, ref in page]
    last = args.cursor + len(page)
    more = bool(page) and last < found.intents
    return {"items": items, "next": last if more else None, "as_of": view.block.height}


def channels(view: View, args: ChannelsQuery) -> Details:
    """The channels of this network; their figures for those who may see them."""
    after = args.cursor.encode() if args.cursor is not None else None
    page = view.page(CHANNELS, b"", after, args.limit)
    items = []
    for key, one in page:
        item: dict[str, Any] = {
            "channel": key.decode(),
            "owner": one.owner,
            "endpoint": one.endpoint,
            "asset": one.asset,
            "enabled": one.enabled,
        }
        figures = view.state.need(FIGURES, figures_key(key.decode()))
        if may_read(view.viewer, FIGURES.readers(figures)):
            item |= {
                "started": figures.started,
                "succeeded": figures.succeeded,
                "failed": figures.failed,
            }
        items.append(item)
    more = len(page) == args.limit
    return {"items": items, "next": items[-1]["channel"] if more else None}


def mandate(view: View, args: MandateQuery) -> Details:
    """A mandate and what is left of today."""
    found = view.need(MANDATES, args.mandate)
    used = found.used if found.day == view.today() else 0
    return {
        "mandate": args.mandate,
        "channel": found.channel,
        "per_cap": found.per_cap,
        "day_cap": found.day_cap,
        "left_today": found.day_cap - used,
        "until_ms": found.until_ms,
        "usable": not found.revoked and view.time_ms < found.until_ms,
    }


def terminal(view: View, args: TerminalQuery) -> Details:
    """A trusted terminal, and whether it may approve now."""
    found = view.need(TERMINALS, terminal_key(args.terminal_pub))
    usable = not found.unbound and view.time_ms >= found.active_ms
    return {
        "user": found.user,
        "kind": found.kind,
        "active_ms": found.active_ms,
        "unbound": found.unbound,
        "usable": usable,
    }


def dispute(view: View, args: IntentOnly) -> Details:
    """A contested payment, for its parties and those who decide."""
    found = view.need(DISPUTES, args.intent)
    return {
        "intent": args.intent,
        "amt": found.amt,
        "reason": found.reason,
        "evidence": found.evidence or None,
        "state": found.state,
        "respond_ms": found.respond_ms,
    }


def policy(view: View, _: NoArgs) -> Details:
    """What counts on this network."""
    found = view.need(POLICY, POLICY_KEY)
    return {name: getattr(found, name) for name in found.__struct_fields__}


QUERIES = {
    "me": Query(NoArgs, me),
    "user": Query(UserQuery, user, rests_on=(USERS, "user")),
    "intent": Query(IntentOnly, intent, rests_on=(INTENTS, "intent")),
    "intents": Query(IntentsQuery, intents),
    "channels": Query(ChannelsQuery, channels),
    "mandate": Query(MandateQuery, mandate, rests_on=(MANDATES, "mandate")),
    "terminal": Query(TerminalQuery, terminal),
    "dispute": Query(IntentOnly, dispute, rests_on=(DISPUTES, "intent")),
    "policy": Query(NoArgs, policy),
}
