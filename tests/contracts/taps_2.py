"""The second version of the test contract: taps go up to 11, have an owner, and can be shut.

It reads what the first version wrote: the new field stands at the end and has a default.
"""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from contracts.kernel.context import Context
from contracts.kernel.contract import Action, Contract, Details
from contracts.kernel.freezing import Freeze
from contracts.kernel.state import Table
from contracts.kernel.types import Args, Code, Record

LEVEL_MAX = 11


class Tap(Record, frozen=True):
    """How far it is open, what is stopped, and who used it last."""

    level: int
    freezes: tuple[Freeze, ...]
    used_by: bytes = b""


TAPS = Table("taps/taps", Tap, "the tap's name in UTF-8")


class Turn(Args):
    """A tap and its level."""

    tap: Code
    level: Annotated[int, Field(ge=0, le=LEVEL_MAX)]


class Shut(Args):
    """A tap."""

    tap: Code


def turn(ctx: Context, args: Turn) -> Details:
    """Turn a tap to a level."""
    key = args.tap.encode()
    before = ctx.state.get(TAPS, key)
    freezes = () if before is None else before.freezes
    ctx.state.put(TAPS, key, Tap(args.level, freezes, ctx.sender))
    return {"before": 0 if before is None else before.level}


def shut(ctx: Context, args: Shut) -> Details:
    """Turn a tap to zero."""
    return turn(ctx, Turn(tap=args.tap, level=0))


TAP_CONTRACT_2 = Contract(
    name="taps",
    actions={"turn": Action(Turn, turn), "shut": Action(Shut, shut)},
    queries={},
    tables=(TAPS,),
)
