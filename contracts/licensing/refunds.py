"""Money back: where the agents are silent, of what bought nothing, and where the seller agrees.

It goes to the buyer's account on chain, from which a bank pays it out. A licence that is refunded
ends.
"""

from __future__ import annotations

from contracts.kernel.context import Context
from contracts.kernel.contract import Action, Details
from contracts.licensing import rules
from contracts.licensing.arguments import RefundLicence, RequestOnly
from contracts.licensing.models import LICENCES, REQUESTS, Request, request_readers
from contracts.licensing.rules import replace

REPLAYED = {"replayed": True}


def claim_refund(ctx: Context, args: RequestOnly) -> Details:
    """Anybody, where the agents let the time pass; the buyer, of what has bought nothing yet.

    A licence that was open before stays so, in the degree that it had.
    """
    request = ctx.state.need(REQUESTS, args.request)
    late = request.state == "CONFIRMED" and ctx.time_ms >= request.deadline_ms
    if not late and request.state not in ("PENDING", "RELEASED"):
        ctx.reject("BAD_STATE", state=request.state, deadline_ms=request.deadline_ms)
    if not late and request.buyer != ctx.sender:
        ctx.reject("WRONG_BUYER")
    held = rules.escrowed(request)
    if held == 0:
        return {"refunded": request.refunded, **REPLAYED}
    if late:
        state = "RELEASED" if request.released else "REFUNDED"
        request = replace(request, state=state, degree=request.released)
    return _give_back(ctx, args.request, request, held)


def refund(ctx: Context, args: RefundLicence) -> Details:
    """The seller gives back all that is in escrow and `amt` of what it got; the licence ends."""
    request = ctx.state.need(REQUESTS, args.request)
    if request.seller != ctx.sender:
        rules.unauthorised(ctx, "another seller's product")
    if request.state == "REFUNDED":
        return {"refunded": request.refunded, **REPLAYED}
    if args.amt > request.to_seller:
        ctx.reject("INSUFFICIENT", received=request.to_seller)
    source, target = (
        rules.earned(ctx, request.seller, request.cur),
        rules.escrow(ctx, args.request, request),
    )
    rules.move(ctx, source, target, args.amt)
    changed = replace(
        request, state="REFUNDED", degree=0, released=0, to_seller=request.to_seller - args.amt
    )
    licence = ctx.state.get(LICENCES, args.request)
    if licence is not None:
        revoked = replace(licence, state="REVOKED", reason=args.reason)
        ctx.state.put(LICENCES, args.request, revoked)
        data = {"licence": args.request, "reason": args.reason}
        ctx.emit("Revoked", data, LICENCES.readers(revoked))
    return _give_back(ctx, args.request, changed, rules.escrowed(changed))


def _give_back(ctx: Context, identity: bytes, request: Request, amount: int) -> Details:
    """To the buyer's account on chain, from which the bank pays it out."""
    source, target = (
        rules.escrow(ctx, identity, request),
        rules.cash(ctx, request.buyer, request.cur),
    )
    rules.move(ctx, source, target, amount)
    changed = replace(request, refunded=request.refunded + amount)
    ctx.state.put(REQUESTS, identity, changed)
    data = {"request": identity, "amt": amount, "state": changed.state}
    ctx.emit("Refunded", data, request_readers(changed))
    return {"refunded": changed.refunded}


ACTIONS = {
    "claim_refund": Action(RequestOnly, claim_refund),
    "refund": Action(RefundLicence, refund),
}
