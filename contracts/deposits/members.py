"""Membership: registration, review, suspension, consent to be analysed, money in and out.

The seven fields (R2.13) pass through a sealed call and are checked; what stays is a commitment with
a salt, the record sealed to the reviewer, and a hash that tells enterprises of one person apart.
"""

from __future__ import annotations

import hashlib

import msgspec

from contracts.deposits import rules
from contracts.deposits.arguments import (
    GrantData,
    Information,
    PayIn,
    PayOut,
    Register,
    ReviewEnterprise,
    RevokeGrant,
    Suspend,
)
from contracts.deposits.models import (
    ENTERPRISE_OF,
    ENTERPRISES,
    GRANTS,
    INBOXES,
    Enterprise,
    EnterpriseRef,
    Grant,
    Inbox,
    bank_readers,
    controller_of,
    enterprise_key,
    enterprise_readers,
    grant_key,
)
from contracts.deposits.rules import replace
from contracts.deposits.uscc import check_digit, is_valid
from contracts.kernel.context import Context
from contracts.kernel.contract import Action, Details
from contracts.kernel.identity import HOLDER
from contracts.kernel.state import Table
from contracts.kernel.types import Record

REPLAYED = {"replayed": True}
FIELDS = tuple(Information.model_fields)

_encode = msgspec.msgpack.Encoder(order="deterministic").encode


class Payment(Record, frozen=True):
    """Money that came in or went out, by its id."""

    enterprise: bytes
    owner: bytes
    bank: bytes
    amt: int
    inward: bool


PAYMENTS = Table(
    "deposits/payments",
    Payment,
    "the payment's id, 16 random bytes",
    lambda one: (one.owner.hex(), one.bank.hex(), "role:regulator"),
)


def commitment_of(info: Information, salt: bytes) -> bytes:
    """What the chain keeps of the seven fields, 32 bytes; salted, so that none can be guessed."""
    return hashlib.sha256(b"groat/deposits/info/1" + _encode([salt, info.model_dump()])).digest()


def register(ctx: Context, args: Register) -> Details:
    """An applicant registers, or registers again after a rejection."""
    known = ctx.state.get(ENTERPRISES, args.enterprise)
    if known is not None and known.owner != ctx.sender:
        ctx.reject("IDEM_CONFLICT", what="enterprise")
    ref = ctx.state.get(ENTERPRISE_OF, enterprise_key(ctx.sender))
    if ref is not None and ref.enterprise != args.enterprise:
        ctx.reject("BAD_STATE", why="this key registered another enterprise")
    commitment = commitment_of(args.info, args.salt)
    if known is not None and known.state != "REJECTED":
        if (known.commitment, known.docs_hash) != (commitment, args.docs_hash):
            ctx.reject("BAD_STATE", state=known.state)
        return {"state": known.state, **REPLAYED}
    _check_information(ctx, args.info)
    assert args.info.legal_representative is not None, "checked just now"
    new = Enterprise(
        owner=ctx.sender,
        state="SUBMITTED",
        commitment=commitment,
        sealed_info=args.sealed_info,
        docs_hash=args.docs_hash,
        controller=controller_of(args.info.legal_representative),
        facts=0 if known is None else known.facts,
        since_ms=ctx.time_ms,
        decided_by=b"",
        reason="",
    )
    ctx.state.put(ENTERPRISES, args.enterprise, new)
    if known is None:
        owner = EnterpriseRef(args.enterprise, ctx.sender)
        ctx.state.insert(ENTERPRISE_OF, enterprise_key(ctx.sender), owner)
        ctx.state.insert(INBOXES, args.enterprise, Inbox(0, ctx.sender))
    ctx.emit("Submitted", {"enterprise": args.enterprise}, enterprise_readers(new))
    return {"state": new.state, "commitment": commitment}


def _check_information(ctx: Context, info: Information) -> None:
    """All seven fields, and a code whose check digit is right."""
    missing = [name for name in FIELDS if getattr(info, name) is None]
    if missing:
        ctx.reject("INCOMPLETE_INFO", missing=missing)
    assert info.qualifications is not None, "not among the missing ones"
    code = info.qualifications.uscc
    if not is_valid(code):
        ctx.reject("BAD_USCC", check_digit=check_digit(code[:17]))


def review(ctx: Context, args: ReviewEnterprise) -> Details:
    """A reviewer who is not the applicant admits it or not, and says why."""
    one = ctx.state.need(ENTERPRISES, args.enterprise)
    if one.owner == ctx.sender:
        ctx.reject("UNAUTHORIZED", why="another person reviews")
    state = "MEMBER" if args.ok else "REJECTED"
    if one.state == state and one.reason == args.reason:
        return {"state": state, **REPLAYED}
    if one.state != "SUBMITTED":
        ctx.reject("BAD_STATE", state=one.state)
    return _decide(ctx, args.enterprise, one, state, args.reason)


def suspend(ctx: Context, args: Suspend) -> Details:
    """The platform's operator stops a member, or lets it go on; open trades end as agreed."""
    one = ctx.state.need(ENTERPRISES, args.enterprise)
    state, before = ("SUSPENDED", "MEMBER") if args.suspended else ("MEMBER", "SUSPENDED")
    if one.state == state:
        return {"state": state, **REPLAYED}
    if one.state != before:
        ctx.reject("BAD_STATE", state=one.state)
    return _decide(ctx, args.enterprise, one, state, args.reason)


def _decide(ctx: Context, identity: bytes, one: Enterprise, state: str, reason: str) -> Details:
    decided = replace(one, state=state, reason=reason, decided_by=ctx.sender, since_ms=ctx.time_ms)
    ctx.state.put(ENTERPRISES, identity, decided)
    data = {"enterprise": identity, "state": state, "reason": reason}
    ctx.emit("Reviewed", data, enterprise_readers(decided))
    return {"state": state}


# ---- consent to be analysed (R2.3)


def grant_data(ctx: Context, args: GrantData) -> Details:
    """A member lets one bank read its facts, until it revokes that or time passes."""
    identity, _ = rules.own_member(ctx)
    if "bank" not in ctx.roles_of(args.bank):
        ctx.reject("NOT_FOUND", what="a bank with this key")
    key = grant_key(identity, args.bank)
    known = ctx.state.get(GRANTS, key)
    until_ms = ctx.time_ms + ctx.scaled(args.ttl_ms)
    reads = 0 if known is None else known.reads
    grant = Grant(ctx.sender, args.bank, until_ms, False, reads)
    ctx.state.put(GRANTS, key, grant)
    data = {"enterprise": identity, "bank": args.bank, "until_ms": until_ms}
    ctx.emit("Granted", data, bank_readers(grant))
    return {"until_ms": until_ms}


def revoke_grant(ctx: Context, args: RevokeGrant) -> Details:
    """No longer; what was recommended stays."""
    identity, _ = rules.own_enterprise(ctx)
    key = grant_key(identity, args.bank)
    known = ctx.state.get(GRANTS, key)
    if known is None:
        ctx.reject("NOT_FOUND", what=GRANTS.name)
    if known.revoked:
        return dict(REPLAYED)
    ctx.state.put(GRANTS, key, replace(known, revoked=True))
    ctx.emit("Revoked", {"enterprise": identity, "bank": args.bank}, bank_readers(known))
    return {}


def use_grant(ctx: Context, enterprise: bytes) -> Grant:
    """The sender's consent to read, counted as used once more; `UNAUTHORIZED` without one."""
    key = grant_key(enterprise, ctx.sender)
    grant = ctx.state.get(GRANTS, key)
    if grant is None or grant.revoked or ctx.time_ms >= grant.until_ms:
        ctx.reject("UNAUTHORIZED", why="the enterprise did not grant its data")
    used = replace(grant, reads=grant.reads + 1)
    ctx.state.put(GRANTS, key, used)
    return used


# ---- money in and out


def pay_in(ctx: Context, args: PayIn) -> Details:
    """The bank took an enterprise's money in."""
    one = ctx.state.need(ENTERPRISES, args.enterprise)
    payment = Payment(args.enterprise, one.owner, ctx.sender, args.amt, inward=True)
    if not _is_new(ctx, args.payment, payment):
        return dict(REPLAYED)
    cash = rules.cash_of(ctx, args.enterprise, one)
    rules.move(ctx, rules.outside_of(ctx, ctx.sender), cash, args.amt)
    return {"balance": ctx.ledger.balance(cash)}


def pay_out(ctx: Context, args: PayOut) -> Details:
    """An enterprise takes money out at a bank."""
    identity, one = rules.own_enterprise(ctx)
    if "bank" not in ctx.roles_of(args.bank):
        ctx.reject("NOT_FOUND", what="a bank with this key")
    payment = Payment(identity, ctx.sender, args.bank, args.amt, inward=False)
    if not _is_new(ctx, args.payment, payment):
        return dict(REPLAYED)
    cash = rules.cash_of(ctx, identity, one)
    rules.move(ctx, cash, rules.outside_of(ctx, args.bank), args.amt)
    rules.add_fact(ctx, identity, "PAID_OUT", "", args.amt, args.payment)
    return {"balance": ctx.ledger.balance(cash)}


def _is_new(ctx: Context, identity: bytes, payment: Payment) -> bool:
    known = ctx.state.get(PAYMENTS, identity)
    if known is None:
        ctx.state.insert(PAYMENTS, identity, payment)
        return True
    if known != payment:
        ctx.reject("IDEM_CONFLICT", what="payment")
    return False


ACTIONS = {
    "register": Action(Register, register, (HOLDER, "enterprise")),
    "review": Action(ReviewEnterprise, review, ("reviewer",)),
    "suspend": Action(Suspend, suspend, ("operator",)),
    "grant_data": Action(GrantData, grant_data),
    "revoke_grant": Action(RevokeGrant, revoke_grant),
    "pay_in": Action(PayIn, pay_in, ("bank",)),
    "pay_out": Action(PayOut, pay_out),
}
