"""Freezes: one regulator stops something at once; without a second one the stop lapses in a day.

A record that can be frozen holds a tuple of `Freeze`, at most one for each scope; the functions
here take such a tuple and give the next one, the same if that was done before. Lifting takes two:
a contract declares it as `Governed` for regulators and calls `lift`. A stop that lapsed unratified
is not renewed by the same regulator alone for a week, so that one person cannot make it last.
What a scope stops is the contract's part; `ALL` stops everything.
"""

from __future__ import annotations

import msgspec

from contracts.kernel.context import Context, View
from contracts.kernel.types import DAY_MS, Record

ALL = "ALL"
LAPSE_MS = DAY_MS
RENEWAL_MS = 7 * DAY_MS


class Freeze(Record, frozen=True):
    """A stop of one scope, ordered by `by`; `ratified_by` is the second regulator, or empty."""

    scope: str
    reason: str
    by: bytes
    at_ms: int
    ratified_by: bytes


Freezes = tuple[Freeze, ...]


def in_force(freezes: Freezes, scope: str, ctx: Context | View) -> bool:
    """Whether `scope` is stopped now, by itself or with everything."""
    return any(one.scope in (scope, ALL) and not _lapsed(one, ctx) for one in freezes)


def check_not_frozen(freezes: Freezes, scope: str, ctx: Context) -> None:
    """Reject with `FROZEN` while `scope` is stopped."""
    if in_force(freezes, scope, ctx):
        ctx.reject("FROZEN", scope=scope)


def freeze(ctx: Context, freezes: Freezes, scope: str, reason: str) -> Freezes:
    """The sender stops `scope` at once.

    Rejects: `UNAUTHORIZED` if the sender's own stop lapsed of late, `IDEM_CONFLICT` if the scope is
    stopped for another reason.
    """
    known = _of(freezes, scope)
    new = Freeze(scope, reason, ctx.sender, ctx.time_ms, b"")
    if known is None:
        return (*freezes, new)
    if not _lapsed(known, ctx):
        if known.reason != reason:
            ctx.reject("IDEM_CONFLICT", scope=scope)
        return freezes
    if known.by == ctx.sender and ctx.time_ms < known.at_ms + ctx.scaled(LAPSE_MS + RENEWAL_MS):
        ctx.reject("UNAUTHORIZED", why="it lapsed unratified; another regulator must freeze")
    return _replaced(freezes, new)


def ratify(ctx: Context, freezes: Freezes, scope: str) -> Freezes:
    """The sender, another regulator, makes a stop last until it is lifted.

    Rejects: `UNAUTHORIZED` for whoever froze, `NOT_FOUND`, `EXPIRED` if the stop has lapsed.
    """
    known = _of(freezes, scope)
    if known is None:
        ctx.reject("NOT_FOUND", what="freeze", scope=scope)
    if known.by == ctx.sender:
        ctx.reject("UNAUTHORIZED", why="another regulator must ratify")
    if known.ratified_by:
        return freezes
    if _lapsed(known, ctx):
        ctx.reject("EXPIRED", what="freeze", scope=scope)
    return _replaced(freezes, msgspec.structs.replace(known, ratified_by=ctx.sender))


def check_lift(ctx: Context, freezes: Freezes, scope: str) -> None:
    """Reject with `BAD_STATE` unless just this scope is stopped."""
    known = _of(freezes, scope)
    if known is None or _lapsed(known, ctx):
        ctx.reject("BAD_STATE", why="it is not frozen", scope=scope)


def lift(ctx: Context, freezes: Freezes, scope: str) -> Freezes:
    """Without the stop of `scope`; for the second of two persons."""
    check_lift(ctx, freezes, scope)
    return tuple([one for one in freezes if one.scope != scope])


def _of(freezes: Freezes, scope: str) -> Freeze | None:
    for one in freezes:
        if one.scope == scope:
            return one
    return None


def _lapsed(one: Freeze, ctx: Context | View) -> bool:
    return not one.ratified_by and ctx.time_ms >= one.at_ms + ctx.scaled(LAPSE_MS)


def _replaced(freezes: Freezes, new: Freeze) -> Freezes:
    return tuple([new if one.scope == new.scope else one for one in freezes])
