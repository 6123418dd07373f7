"""A contract for tests of the kernel: taps that two persons set, and that regulators freeze.

It shows how a business contract uses `Governed` and `freezing`, in as few lines as it takes.
"""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from contracts.catalog import CONTRACTS
from contracts.kernel import freezing
from contracts.kernel.context import Context, View
from contracts.kernel.contract import Action, Contract, Details, Governed, Query
from contracts.kernel.freezing import Freeze
from contracts.kernel.state import Table
from contracts.kernel.types import Args, Code, Proposing, Reason, Record

REGULATORS = ("regulator",)


class Tap(Record, frozen=True):
    """How far it is open, and what is stopped."""

    level: int
    freezes: tuple[Freeze, ...]


TAPS = Table("taps/taps", Tap, "the tap's name in UTF-8")
NEW = Tap(0, ())


class Set(Proposing):
    """A tap and its level."""

    tap: Code
    level: Annotated[int, Field(ge=0, le=9)]
    notes: list[Code] = Field(default=[])


class Turn(Args):
    """A tap and its level."""

    tap: Code
    level: Annotated[int, Field(ge=0, le=9)]


class Stop(Args):
    """A tap, what of it, and why."""

    tap: Code
    scope: Code
    reason: Reason


class Scope(Args):
    """A tap and what of it."""

    tap: Code
    scope: Code


class Unfreeze(Proposing):
    """A tap and what of it."""

    tap: Code
    scope: Code


def check_set(ctx: Context, args: Set) -> None:
    """Not while it is frozen, and not to where it stands."""
    tap = of(ctx, args.tap)
    freezing.check_not_frozen(tap.freezes, "FLOW", ctx)
    if tap.level == args.level:
        ctx.reject("BAD_STATE", why="it stands there", saw=f"{ctx.contract} {ctx.action}")


def set_level(ctx: Context, args: Set) -> Details:
    """A tap is set to a level."""
    put(ctx, args.tap, Tap(args.level, of(ctx, args.tap).freezes))
    ctx.emit("LevelSet", {"tap": args.tap, "by": ctx.sender}, ("public",))
    return {"level": args.level, "did": f"{ctx.contract} {ctx.action}"}


def turn(ctx: Context, args: Turn) -> Details:
    """Turn a tap to a level, alone."""
    before = of(ctx, args.tap)
    put(ctx, args.tap, Tap(args.level, before.freezes))
    return {"before": before.level}


def freeze(ctx: Context, args: Stop) -> Details:
    """One regulator stops a tap."""
    tap = of(ctx, args.tap)
    return freezes(ctx, args.tap, freezing.freeze(ctx, tap.freezes, args.scope, args.reason))


def ratify(ctx: Context, args: Scope) -> Details:
    """Another regulator makes the stop last."""
    return freezes(ctx, args.tap, freezing.ratify(ctx, of(ctx, args.tap).freezes, args.scope))


def check_unfreeze(ctx: Context, args: Unfreeze) -> None:
    """It is stopped."""
    freezing.check_lift(ctx, of(ctx, args.tap).freezes, args.scope)


def unfreeze(ctx: Context, args: Unfreeze) -> Details:
    """A stop is lifted."""
    return freezes(ctx, args.tap, freezing.lift(ctx, of(ctx, args.tap).freezes, args.scope))


def frozen(view: View, args: Scope) -> Details:
    """Whether that much of a tap is stopped."""
    return {"frozen": freezing.in_force(view.need(TAPS, b"a").freezes, args.scope, view)}


def of(ctx: Context, name: str) -> Tap:
    """The tap, new or not."""
    return ctx.state.get(TAPS, name.encode()) or NEW


def put(ctx: Context, name: str, tap: Tap) -> None:
    """Write a tap."""
    ctx.state.put(TAPS, name.encode(), tap)


def freezes(ctx: Context, name: str, new: tuple[Freeze, ...]) -> Details:
    """Write a tap's stops; the same ones are a replay."""
    tap = of(ctx, name)
    put(ctx, name, Tap(tap.level, new))
    return {"replayed": True} if new == tap.freezes else {}


def merchant_and_regulators(ctx: Context, _args: Set) -> tuple[str, ...]:
    """For proposals that are not public."""
    return (ctx.sender.hex(), "role:regulator")


_SET = (Set, check_set, set_level, ("merchant", "operator"), ("regulator", "operator"))
TAP_CONTRACT = Contract(
    name="taps",
    actions={
        "freeze": Action(Stop, freeze, REGULATORS),
        "turn": Action(Turn, turn),
        "ratify": Action(Scope, ratify, REGULATORS),
    },
    governed={
        "set": Governed(*_SET),
        "set_quietly": Governed(*_SET, merchant_and_regulators),
        "unfreeze": Governed(Unfreeze, check_unfreeze, unfreeze, REGULATORS, REGULATORS),
    },
    queries={"frozen": Query(Scope, frozen)},
    tables=(TAPS,),
)
WITH_TAPS = {**CONTRACTS, "taps": TAP_CONTRACT}
