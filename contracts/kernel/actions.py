"""The kernel's upkeep: releasing what has expired, which anybody may do.

A sweep is an action without roles that needs no argument and takes a `limit`; it does at most so
much, and answers how much it did and whether it is `done`. Whoever calls, such as the keeper, calls
until it is. Nothing depends on sweeps: what
has expired counts as expired when it is touched.
"""

from __future__ import annotations

from contracts.kernel.context import Context
from contracts.kernel.contract import Action, Details
from contracts.kernel.types import PAGE_DEFAULT, Args, Limit


class ExpirePending(Args):
    """How many to release at most."""

    limit: Limit = PAGE_DEFAULT


def expire_pending(ctx: Context, args: ExpirePending) -> Details:
    """Give back what pending transfers past their deadline still reserve; anybody may."""
    expired = ctx.ledger.void_expired(args.limit)
    return {"expired": expired, "done": expired < args.limit}


ACTIONS = {"expire_pending": Action(ExpirePending, expire_pending)}
