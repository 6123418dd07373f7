"""After the charge: refunds, payments that came too late, and contested ones.

Refunds are entries of their own, bounded by what was captured. Contested money is set aside until
an arbiter divides it; a payee that does not answer in time loses it to the user.
"""

from __future__ import annotations

from contracts.kernel.context import Context
from contracts.kernel.contract import Action, Details
from contracts.kernel.identity import HOLDER
from contracts.payments import rules
from contracts.payments.arguments import (
    OpenDispute,
    Reconcile,
    RefundArgs,
    Resolve,
    Respond,
)
from contracts.payments.models import (
    DISPUTES,
    INTENTS,
    REFUNDS,
    Dispute,
    Intent,
    Refund,
    intent_readers,
)
from contracts.payments.rules import replace

REPLAYED = {"replayed": True}


def refund(ctx: Context, args: RefundArgs) -> Details:
    """The payee gives money back, in parts if need be; the channel carries it out."""
    intent, state = rules.intent_of(ctx, args.intent)
    if ctx.sender != intent.payee:
        ctx.reject("UNAUTHORIZED", why="another one was paid")
    known = ctx.state.get(REFUNDS, args.refund)
    if known is not None:
        if (known.intent, known.amt) != (args.intent, args.amt):
            ctx.reject("IDEM_CONFLICT", what="refund")
        return {"refunded": intent.refunded, **REPLAYED}
    rules.need_state(ctx, state, "SUCCEEDED")
    left = intent.captured - intent.refunded - intent.disputed
    if args.amt > left:
        ctx.reject("INSUFFICIENT", left=left)
    rules.move(ctx, rules.receivable(intent), rules.clearing(intent), args.amt)
    readers = intent_readers(intent)
    ctx.state.insert(REFUNDS, args.refund, Refund(args.intent, args.amt, readers))
    changed = replace(intent, refunded=intent.refunded + args.amt)
    ctx.state.put(INTENTS, args.intent, changed)
    _announce_refund(ctx, args.intent, changed, args.amt)
    return {"refunded": changed.refunded}


def reconcile(ctx: Context, args: Reconcile) -> Details:
    """The operator decides on a payment that succeeded after its time: take it, or give it back."""
    intent, state = rules.intent_of(ctx, args.intent)
    done = "SUCCEEDED" if args.accept else "CANCELED"
    if intent.state == done:
        return {"state": done, **REPLAYED}
    rules.need_state(ctx, state, "LATE")
    target = rules.receivable(intent) if args.accept else rules.clearing(intent)
    rules.move(ctx, rules.suspense(intent), target, intent.amt)
    captured = intent.amt if args.accept else 0
    changed = replace(intent, state=done, captured=captured, since_ms=ctx.time_ms)
    ctx.state.put(INTENTS, args.intent, changed)
    data = {"intent": args.intent, "accepted": args.accept, "reason": args.reason}
    ctx.emit("Reconciled", data, intent_readers(changed))
    return {"state": done}


def dispute(ctx: Context, args: OpenDispute) -> Details:
    """The user contests what was not given back yet; it is set aside at once."""
    intent, state = rules.intent_of(ctx, args.intent)
    if ctx.sender != intent.owner:
        ctx.reject("UNAUTHORIZED", why="another one's payment")
    known = ctx.state.get(DISPUTES, args.intent)
    if known is not None:
        if known.reason != args.reason:
            ctx.reject("IDEM_CONFLICT", what="dispute")
        return {"disputed": known.amt, **REPLAYED}
    rules.need_state(ctx, state, "SUCCEEDED")
    policy = rules.policy_of(ctx)
    if ctx.time_ms >= intent.since_ms + ctx.scaled(policy.dispute_ms):
        ctx.reject("EXPIRED", what="dispute")
    amount = intent.captured - intent.refunded
    if amount == 0:
        ctx.reject("BAD_STATE", why="all was given back")
    rules.move(ctx, rules.receivable(intent), rules.contested(intent, args.intent), amount)
    respond_ms = ctx.time_ms + ctx.scaled(policy.respond_ms)
    opened = Dispute(
        args.intent, intent.owner, intent.payee, amount, args.reason, b"", "OPEN", respond_ms
    )
    ctx.state.insert(DISPUTES, args.intent, opened)
    ctx.state.put(INTENTS, args.intent, replace(intent, disputed=amount))
    data = {"intent": args.intent, "amt": amount, "respond_ms": respond_ms, "reason": args.reason}
    ctx.emit("Disputed", data, DISPUTES.readers(opened))
    return {"disputed": amount, "respond_ms": respond_ms}


def respond(ctx: Context, args: Respond) -> Details:
    """The payee answers in time; its evidence is named by a hash."""
    found = ctx.state.need(DISPUTES, args.intent)
    if ctx.sender != found.payee:
        ctx.reject("UNAUTHORIZED", why="another one was paid")
    if found.state == "ANSWERED" and found.evidence == args.evidence:
        return dict(REPLAYED)
    if ctx.time_ms >= found.respond_ms:
        ctx.reject("EXPIRED", what="response")
    rules.need_state(ctx, found.state, "OPEN")
    answered = replace(found, evidence=args.evidence, state="ANSWERED")
    ctx.state.put(DISPUTES, args.intent, answered)
    ctx.emit("Answered", {"intent": args.intent}, DISPUTES.readers(answered))
    return {}


def resolve(ctx: Context, args: Resolve) -> Details:
    """An arbiter divides the contested money exactly.

    Anybody may give all of it to the user once the payee has let the time for its answer pass.
    """
    found = ctx.state.need(DISPUTES, args.intent)
    defaulted = found.state == "OPEN" and ctx.time_ms >= found.respond_ms
    if "arbiter" not in ctx.roles and not (defaulted and args.to_payee == 0):
        ctx.reject("UNAUTHORIZED", why="an arbiter decides")
    if ctx.sender in (found.owner, found.payee) and not defaulted:
        ctx.reject("UNAUTHORIZED", why="a party does not decide")
    rules.need_state(ctx, found.state, "OPEN", "ANSWERED")
    if args.to_user + args.to_payee != found.amt:
        rules.refuse(ctx, "AMOUNT_MISMATCH", "dispute", amt=found.amt)
    intent = ctx.state.need(INTENTS, args.intent)
    held = rules.contested(intent, args.intent)
    rules.move(ctx, held, rules.clearing(intent), args.to_user)
    rules.move(ctx, held, rules.receivable(intent), args.to_payee)
    changed = replace(intent, refunded=intent.refunded + args.to_user, disputed=0)
    ctx.state.put(INTENTS, args.intent, changed)
    ctx.state.put(DISPUTES, args.intent, replace(found, state="CLOSED"))
    if args.to_user:
        _announce_refund(ctx, args.intent, changed, args.to_user)
    data = {"intent": args.intent, "to_user": args.to_user, "to_payee": args.to_payee}
    ctx.emit("Resolved", data, DISPUTES.readers(found))
    return {}


def _announce_refund(ctx: Context, identity: bytes, intent: Intent, amount: int) -> None:
    data = {
        "intent": identity,
        "amt": amount,
        "refunded": intent.refunded,
        "channel": intent.channel,
    }
    ctx.emit("Refunded", data, intent_readers(intent))


ACTIONS = {
    "refund": Action(RefundArgs, refund),
    "reconcile": Action(Reconcile, reconcile, ("operator",)),
    "dispute": Action(OpenDispute, dispute, (HOLDER,)),
    "respond": Action(Respond, respond),
    "resolve": Action(Resolve, resolve),
}
