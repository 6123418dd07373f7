"""Enrolment: how identities come, change roles and keys, are suspended and come back.

An administrator or operator enrols whom it likes but for the offices that supervise, a bank its
holders. Offices are given, taken and suspended by two administrators. Anybody else is suspended at
once by one administrator or operator, or by itself; coming back takes two persons. A key is rotated
by its owner, with the new key's consent; a lost one is replaced by two persons.
"""

from __future__ import annotations

from typing import Annotated

import msgspec
from pydantic import AfterValidator, Field

from contracts.kernel.context import Context
from contracts.kernel.contract import Action, Details, Governed
from contracts.kernel.identity import (
    ADMINISTRATOR,
    BANK,
    HOLDER,
    IDENTITIES,
    LATER_KEYS,
    OFFICES,
    OPERATOR,
    Identity,
    LaterKey,
    identity_of,
    identity_readers,
    new_identity,
    officers,
    put_identity,
    register,
    roles_in,
)
from contracts.kernel.types import (
    CODE_CHARS_MAX,
    ROLES_MAX,
    Args,
    Code,
    Hash32,
    Proposing,
    PublicKey,
    Reason,
    TicketArgs,
    without_nul,
)

ENROLLING_ROLES = (ADMINISTRATOR, OPERATOR, BANK)
ADMINISTRATORS_MIN = 2
ENROLMENT_EVENTS = (
    "Enrolled",
    "RoleGranted",
    "RoleRevoked",
    "Suspended",
    "Reinstated",
    "KeyReplaced",
)

Name = Annotated[str, Field(max_length=CODE_CHARS_MAX), AfterValidator(without_nul)]

replace = msgspec.structs.replace


class Enrol(Args):
    """A new identity. `commitment` is a salted hash of what is known of it off the chain.

    Holders are persons and get no name.
    """

    public_key: PublicKey
    roles: Annotated[list[Code], Field(min_length=1, max_length=ROLES_MAX)]
    name: Name = ""
    commitment: Hash32 | None = None


class OneIdentity(Proposing):
    """An identity."""

    public_key: PublicKey


class GrantRole(OneIdentity):
    """An identity and a role. A key that is new is enrolled with it, under `name`."""

    role: Code
    name: Name = ""


class RevokeRole(OneIdentity):
    """An identity and one of its roles."""

    role: Code


class Suspend(Args):
    """An identity, and why it may not act."""

    public_key: PublicKey
    reason: Reason


class RotateKey(TicketArgs):
    """The sender as records name it, and its new key, whose ticket this carries."""

    identity: PublicKey
    new_key: PublicKey


class RecoverKey(OneIdentity):
    """An identity whose key is lost, and the key that is to sign for it."""

    new_key: PublicKey


# ---- coming


def enrol(ctx: Context, args: Enrol) -> Details:
    """Register a key so that it may send; a bank may enrol holders only."""
    identity = new_identity(
        args.public_key,
        args.name,
        tuple(args.roles),
        ctx.sender,
        ctx.time_ms,
        args.commitment or b"",
    )
    if not _may_enrol(ctx.roles, identity.roles):
        ctx.reject("UNAUTHORIZED", roles=list(identity.roles))
    if args.name and not identity.name:
        ctx.reject("BAD_ARG", field="name", why="a holder has no name")
    if not register(ctx.state, identity):
        return {"replayed": True}
    _announce(ctx, "Enrolled", identity, name=identity.name, roles=list(identity.roles))
    return {}


def _may_enrol(enroller_roles: tuple[str, ...], roles: tuple[str, ...]) -> bool:
    if ADMINISTRATOR in enroller_roles or OPERATOR in enroller_roles:
        return not _holds_office(roles)
    return roles == (HOLDER,)


def _holds_office(roles: tuple[str, ...]) -> bool:
    return any(role in OFFICES for role in roles)


# ---- roles


def check_grant(ctx: Context, args: GrantRole) -> None:
    """A role that it does not have, and room for it."""
    known = identity_of(ctx.state, args.public_key)
    if known is None:
        return
    if known.public_key != args.public_key:
        ctx.reject("BAD_STATE", why="it is a later key of an identity")
    if args.role in known.roles:
        ctx.reject("BAD_STATE", why="it has the role")
    if args.name not in ("", known.name):
        ctx.reject("BAD_STATE", why="it has another name")
    if len(known.roles) >= ROLES_MAX:
        ctx.reject("BAD_STATE", why="it has as many roles as may be", roles_max=ROLES_MAX)


def grant_role(ctx: Context, args: GrantRole) -> Details:
    """An identity gets a role, an office too; a new key is enrolled with it."""
    known = ctx.state.get(IDENTITIES, args.public_key)
    if known is None:
        granted = new_identity(args.public_key, args.name, (args.role,), ctx.sender, ctx.time_ms)
    else:
        granted = replace(known, roles=tuple(sorted([*known.roles, args.role])))
    put_identity(ctx.state, known, granted)
    _announce(ctx, "RoleGranted", granted, role=args.role)
    return {}


def check_revocation(ctx: Context, args: RevokeRole) -> None:
    """A role that it has, and two administrators left."""
    known = ctx.state.need(IDENTITIES, args.public_key)
    if args.role not in known.roles:
        ctx.reject("BAD_STATE", why="it does not have the role")
    if args.role == ADMINISTRATOR:
        _need_two_other_administrators(ctx, args.public_key)


def revoke_role(ctx: Context, args: RevokeRole) -> Details:
    """An identity loses a role."""
    known = ctx.state.need(IDENTITIES, args.public_key)
    revoked = replace(known, roles=tuple([one for one in known.roles if one != args.role]))
    put_identity(ctx.state, known, revoked)
    _announce(ctx, "RoleRevoked", revoked, role=args.role)
    return {}


def _need_two_other_administrators(ctx: Context, public_key: bytes) -> None:
    """Two who may act must remain, or nothing could be decided any more."""
    others = [one for one in officers(ctx.state, ADMINISTRATOR) if one != public_key]
    able = [one for one in others if roles_in(ctx.state, one)]
    if len(able) < ADMINISTRATORS_MIN:
        ctx.reject("BAD_STATE", why="two administrators must remain")


# ---- suspension


def suspend(ctx: Context, args: Suspend) -> Details:
    """Stop an identity at once: it neither sends nor reads. Who holds an office is stopped by two.

    Anybody may stop itself.
    """
    known = identity_of(ctx.state, args.public_key)
    oneself = known is not None and known.public_key == ctx.sender
    if not oneself:
        ctx.need_role((ADMINISTRATOR, OPERATOR))
    if known is None:
        ctx.reject("NOT_FOUND", what=IDENTITIES.name)
    if not oneself and _holds_office(known.roles):
        ctx.reject("UNAUTHORIZED", why="it holds an office; propose suspend_officer")
    if ADMINISTRATOR in known.roles:
        _need_two_other_administrators(ctx, known.public_key)
    return _suspend(ctx, known, args.reason)


def check_suspension(ctx: Context, args: OneIdentity) -> None:
    """Somebody in office who may act; two administrators must remain."""
    known = ctx.state.need(IDENTITIES, args.public_key)
    if not _holds_office(known.roles):
        ctx.reject("BAD_STATE", why="it holds no office; suspend it")
    if known.suspended_by:
        ctx.reject("BAD_STATE", why="it is suspended")
    if ADMINISTRATOR in known.roles:
        _need_two_other_administrators(ctx, args.public_key)


def suspend_officer(ctx: Context, args: OneIdentity) -> Details:
    """Somebody in office is stopped: it neither sends nor reads."""
    return _suspend(ctx, ctx.state.need(IDENTITIES, args.public_key), args.reason)


def _suspend(ctx: Context, known: Identity, reason: str) -> Details:
    if known.suspended_by:
        return {"replayed": True}
    suspended = replace(known, suspended_by=ctx.sender, suspended_for=reason)
    ctx.state.put(IDENTITIES, known.public_key, suspended)
    _announce(ctx, "Suspended", suspended, reason=reason)
    return {}


def check_reinstatement(ctx: Context, args: OneIdentity) -> None:
    """Somebody suspended; for an office both persons are administrators."""
    known = ctx.state.need(IDENTITIES, args.public_key)
    _need_rank(ctx, known)
    if not known.suspended_by:
        ctx.reject("BAD_STATE", why="it is not suspended")


def reinstate(ctx: Context, args: OneIdentity) -> Details:
    """A suspended identity may act again."""
    known = ctx.state.need(IDENTITIES, args.public_key)
    ctx.state.put(IDENTITIES, args.public_key, replace(known, suspended_by=b"", suspended_for=""))
    _announce(ctx, "Reinstated", known)
    return {}


def _need_rank(ctx: Context, known: Identity) -> None:
    if _holds_office(known.roles):
        ctx.need_role((ADMINISTRATOR,))


# ---- keys


def rotate_key(ctx: Context, args: RotateKey) -> Details:
    """Sign with a new key from now on; the one in use is never used again.

    Cards, accounts and rights stay: they name the identity. The ticket is the new key's.
    """
    if args.identity != ctx.sender:
        ctx.reject("UNAUTHORIZED", why="the identity is not the sender's")
    known = ctx.state.need(IDENTITIES, ctx.sender)
    if known.key == args.new_key:
        return {"replayed": True}
    ctx.check_ticket(args.new_key, args)
    return _replace_key(ctx, known, args.new_key)


def check_recovery(ctx: Context, args: RecoverKey) -> None:
    """A key that nobody has used; a bank proposes for its own holders only."""
    known = ctx.state.get(IDENTITIES, args.public_key)
    if not any(role in (ADMINISTRATOR, OPERATOR) for role in ctx.roles) and (
        known is None or known.enrolled_by != ctx.sender
    ):
        ctx.reject("UNAUTHORIZED", why="not a holder of this bank")
    if known is None:
        ctx.reject("NOT_FOUND", what=IDENTITIES.name)
    _need_rank(ctx, known)
    _need_unknown_key(ctx, args.new_key)


def recover_key(ctx: Context, args: RecoverKey) -> Details:
    """An identity whose key is lost signs with a new one; the lost one is never used again."""
    return _replace_key(ctx, ctx.state.need(IDENTITIES, args.public_key), args.new_key)


def concerned(ctx: Context, args: OneIdentity) -> tuple[str, ...]:
    """Who sees a proposal on one identity: its own readers, and those who may decide."""
    known = ctx.state.need(IDENTITIES, args.public_key)
    return (*identity_readers(known), f"role:{OPERATOR}", f"role:{ADMINISTRATOR}")


def _replace_key(ctx: Context, known: Identity, new_key: bytes) -> Details:
    _need_unknown_key(ctx, new_key)
    ctx.state.put(IDENTITIES, known.public_key, replace(known, key=new_key))
    later = LaterKey(known.public_key, identity_readers(known))
    ctx.state.insert(LATER_KEYS, new_key, later)
    _announce(ctx, "KeyReplaced", known, key=new_key)
    return {}


def _need_unknown_key(ctx: Context, key: bytes) -> None:
    if identity_of(ctx.state, key) is not None:
        ctx.reject("BAD_STATE", why="the new key is in use, or was")


def _announce(ctx: Context, event: str, identity: Identity, **data: object) -> None:
    ctx.emit(event, {"public_key": identity.public_key, **data}, identity_readers(identity))


_ADMINISTRATORS = ((ADMINISTRATOR,), (ADMINISTRATOR,))
_STAFF = (ADMINISTRATOR, OPERATOR)
ACTIONS = {
    "enrol": Action(Enrol, enrol, ENROLLING_ROLES),
    "suspend": Action(Suspend, suspend),
    "rotate_key": Action(RotateKey, rotate_key),
}
GOVERNED = {
    "grant_role": Governed(GrantRole, check_grant, grant_role, *_ADMINISTRATORS),
    "revoke_role": Governed(RevokeRole, check_revocation, revoke_role, *_ADMINISTRATORS),
    "suspend_officer": Governed(OneIdentity, check_suspension, suspend_officer, *_ADMINISTRATORS),
    "reinstate": Governed(OneIdentity, check_reinstatement, reinstate, _STAFF, _STAFF, concerned),
    "recover_key": Governed(
        RecoverKey, check_recovery, recover_key, (*_STAFF, BANK), _STAFF, concerned
    ),
}
