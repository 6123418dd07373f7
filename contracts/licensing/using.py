"""Using: machines, counters, offline files, transfer, suspension.

A licence has the id of the purchase that it came from. What a holder does counts here; what a
machine may do without a network stands in a file that ends by itself.
"""

from __future__ import annotations

from contracts.kernel.context import Context
from contracts.kernel.contract import Action, Details
from contracts.licensing import rules
from contracts.licensing.arguments import Activate, Checkout, SuspendLicence, Transfer, Use
from contracts.licensing.models import LICENCES, Count, Licence, Machine, licence_readers
from contracts.licensing.rules import replace

REPLAYED = {"replayed": True}


def activate(ctx: Context, args: Activate) -> Details:
    """One machine more, as many as the degree allows."""
    licence = rules.licence_for(ctx, args.licence)
    if _machine(licence, args.fingerprint) is not None:
        return {"machines": len(licence.machines), **REPLAYED}
    product = rules.product_of(ctx, licence.product)
    most = rules.degree_of(product, licence.degree).machines
    if len(licence.machines) >= most:
        ctx.reject("TOO_MANY_MACHINES", most=most)
    machines = (*licence.machines, Machine(args.fingerprint, 0))
    ctx.state.put(LICENCES, args.licence, replace(licence, machines=machines))
    data = {"licence": args.licence, "machines": len(machines)}
    ctx.emit("Activated", data, licence_readers(licence))
    return {"machines": len(machines)}


def deactivate(ctx: Context, args: Activate) -> Details:
    """One machine less, once its offline file has ended, and not as often as one likes."""
    licence = rules.licence_for(ctx, args.licence)
    machine = _machine(licence, args.fingerprint)
    if machine is None:
        return {"machines": len(licence.machines), **REPLAYED}
    if ctx.time_ms < machine.lease_ms:
        ctx.reject("BAD_STATE", why="its offline file still counts", until_ms=machine.lease_ms)
    most = rules.policy_of(ctx).moves_max
    if licence.moves >= most:
        ctx.reject("TOO_MANY_MACHINES", why="machines were changed too often", moves_max=most)
    machines = tuple([one for one in licence.machines if one != machine])
    moved = replace(licence, machines=machines, moves=licence.moves + 1)
    ctx.state.put(LICENCES, args.licence, moved)
    return {"machines": len(machines), "moves_left": most - moved.moves}


def use(ctx: Context, args: Use) -> Details:
    """Use so much of a right on an activated machine; the counter only rises."""
    licence = rules.licence_for(ctx, args.licence)
    if _machine(licence, args.fingerprint) is None:
        ctx.reject("BAD_STATE", why="the machine is not activated")
    product = rules.product_of(ctx, licence.product)
    limit = rules.limit_of(ctx, product, licence, args.item)
    used = used_of(licence, args.item)
    if args.total == used and args.n <= used:
        return {"used": used, **REPLAYED}
    if args.total != used + args.n:
        ctx.reject("BAD_STATE", why="the counter stands elsewhere", used=used)
    if limit and args.total > limit:
        ctx.reject("RIGHT_EXHAUSTED", limit=limit, used=used)
    others = tuple([one for one in licence.counts if one.item != args.item])
    counts = (*others, Count(args.item, args.total))
    ctx.state.put(LICENCES, args.licence, replace(licence, counts=counts))
    data = {"licence": args.licence, "item": args.item, "n": args.n, "used": args.total}
    ctx.emit("RightsUsed", data, licence_readers(licence))
    return {"used": args.total, "left": limit - args.total if limit else None}


def checkout(ctx: Context, args: Checkout) -> Details:
    """An offline file for an activated machine; it ends by itself, before the licence does."""
    licence = rules.licence_for(ctx, args.licence)
    machine = _machine(licence, args.fingerprint)
    if machine is None:
        ctx.reject("BAD_STATE", why="the machine is not activated")
    longest = rules.policy_of(ctx).lease_max_ms
    lease_ms = ctx.time_ms + ctx.scaled(min(args.ttl_ms, longest))
    if licence.expires_ms:
        lease_ms = min(lease_ms, licence.expires_ms)
    leased = replace(machine, lease_ms=max(lease_ms, machine.lease_ms))
    machines = tuple([leased if one == machine else one for one in licence.machines])
    ctx.state.put(LICENCES, args.licence, replace(licence, machines=machines))
    return {"until_ms": leased.lease_ms, "degree": licence.degree}


def transfer(ctx: Context, args: Transfer) -> Details:
    """Somebody else's from now on, who agrees; no machine stays active behind."""
    licence = rules.licence_for(ctx, args.licence)
    product = rules.product_of(ctx, licence.product)
    if not rules.degree_of(product, licence.degree).transferable:
        ctx.reject("DEGREE_LOW", degree=licence.degree, item="transfer")
    if licence.machines:
        ctx.reject("BAD_STATE", why="machines are still active", machines=len(licence.machines))
    if not ctx.roles_of(args.to):
        ctx.reject("NOT_FOUND", what="a registered key")
    ctx.check_ticket(args.to, args)
    given = replace(licence, holder=args.to)
    ctx.state.put(LICENCES, args.licence, given)
    data = {"licence": args.licence}
    ctx.emit("Transferred", data, (*licence_readers(given), licence.holder.hex()))
    return {}


def suspend(ctx: Context, args: SuspendLicence) -> Details:
    """The seller stops a licence, or lets it go on, and says why."""
    licence = ctx.state.need(LICENCES, args.licence)
    if licence.seller != ctx.sender:
        rules.unauthorised(ctx, "another seller's product")
    state, before = ("SUSPENDED", "VALID") if args.suspended else ("VALID", "SUSPENDED")
    if licence.state == state:
        return {"state": state, **REPLAYED}
    if licence.state != before:
        ctx.reject("BAD_STATE", state=licence.state)
    ctx.state.put(LICENCES, args.licence, replace(licence, state=state, reason=args.reason))
    data = {"licence": args.licence, "state": state, "reason": args.reason}
    ctx.emit("Suspended", data, licence_readers(licence))
    return {"state": state}


def used_of(licence: Licence, item: str) -> int:
    """What of a right was used."""
    return next((one.used for one in licence.counts if one.item == item), 0)


def _machine(licence: Licence, fingerprint: bytes) -> Machine | None:
    return next((one for one in licence.machines if one.fingerprint == fingerprint), None)


ACTIONS = {
    "activate": Action(Activate, activate),
    "deactivate": Action(Activate, deactivate),
    "use": Action(Use, use),
    "checkout": Action(Checkout, checkout),
    "transfer": Action(Transfer, transfer),
    "suspend": Action(SuspendLicence, suspend),
}
