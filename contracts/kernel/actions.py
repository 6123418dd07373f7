"""The kernel's own actions: enrolling identities, and releasing what has expired."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from contracts.kernel.context import Context
from contracts.kernel.contract import Action, Details
from contracts.kernel.identity import ENROLLING_ROLES, IDENTITIES, Identity, may_enrol, register
from contracts.kernel.types import (
    CODE_CHARS_MAX,
    PAGE_DEFAULT,
    ROLES_MAX,
    Args,
    Code,
    Limit,
    PublicKey,
)

Name = Annotated[str, Field(max_length=CODE_CHARS_MAX)]


class Enrol(Args):
    """A new identity. Holders are persons and get no name."""

    public_key: PublicKey
    roles: Annotated[list[Code], Field(min_length=1, max_length=ROLES_MAX)]
    name: Name = ""


class ExpirePending(Args):
    """How many to release at most."""

    limit: Limit = PAGE_DEFAULT


def enrol(ctx: Context, args: Enrol) -> Details:
    """Register a key so that it may send; a bank may enrol holders only."""
    roles = tuple(sorted(dict.fromkeys(args.roles)))
    if not may_enrol(ctx.roles, roles):
        ctx.reject("UNAUTHORIZED", roles=list(roles))
    identity = Identity(args.public_key, args.name, roles, ctx.sender, ctx.time_ms)
    if not register(ctx.state, identity):
        return {"replayed": True}
    data = {"public_key": identity.public_key, "name": identity.name, "roles": list(roles)}
    ctx.emit("Enrolled", data, IDENTITIES.readers(identity))
    return {}


def expire_pending(ctx: Context, args: ExpirePending) -> Details:
    """Give back what pending transfers past their deadline still reserve; anybody may."""
    expired = ctx.ledger.void_expired(args.limit)
    return {"expired": expired, "done": expired < args.limit}


ACTIONS = {
    "enrol": Action(Enrol, enrol, ENROLLING_ROLES),
    "expire_pending": Action(ExpirePending, expire_pending),
}
