"""Anchors: each day's head of the log in which a node notes what regulators read there.

The log itself rests with its node; what stands here is its length and hash at some moment of a day,
so that nobody, not even the node's own operator, can change or forget what was noted before. Each
anchor names the day of the one before it: they can be followed back, by proof, without a gap. What
the log says is not known here.
"""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from contracts.kernel.access import PUBLIC
from contracts.kernel.context import Context
from contracts.kernel.contract import Action, Details
from contracts.kernel.identity import NODE
from contracts.kernel.state import Reader, State, Table
from contracts.kernel.types import AMOUNT_MAX, Amount, Args, Hash32, Record

ANCHOR_EVENTS = ("ReadsAnchored",)
NEVER = -1

Day = Annotated[int, Field(ge=0, le=AMOUNT_MAX)]


class ReadAnchor(Record, frozen=True):
    """The first `count` entries of a node's log had this hash on that day (UTC+8).

    `previous_day` is that of the anchor before, -1 for none.
    """

    day: int
    head: bytes
    count: int
    previous_day: int


READ_ANCHORS = Table(
    "kernel/read_anchors", ReadAnchor, "a node's public key, and for older ones a day, 8 bytes"
)


class AnchorReads(Args):
    """The current day, and how long the sender's log is with what hash."""

    day: Day
    head: Hash32
    count: Amount


def anchor_of(reader: Reader, node: bytes) -> ReadAnchor | None:
    """The newest anchor of a node."""
    raw = reader.get(READ_ANCHORS.name, node)
    return None if raw is None else READ_ANCHORS.decode(raw)


def anchor_reads(ctx: Context, args: AnchorReads) -> Details:
    """Fix what a node has noted of regulators' reads so far; at most once a day."""
    latest = ctx.state.get(READ_ANCHORS, ctx.sender)
    previous_day, known = (NEVER, 0) if latest is None else (latest.day, latest.count)
    if latest is not None and args.day == latest.day:
        if (args.head, args.count) != (latest.head, latest.count):
            ctx.reject("IDEM_CONFLICT", what=READ_ANCHORS.name)
        return {"replayed": True}
    if not previous_day < args.day <= ctx.today():
        ctx.reject("BAD_STATE", why="not a later day than the last, or one to come")
    if args.count <= known:
        ctx.reject("BAD_STATE", why="a log never becomes shorter", count=known)
    _keep(ctx.state, ctx.sender, ReadAnchor(args.day, args.head, args.count, previous_day))
    data = {"node": ctx.sender, "day": args.day, "head": args.head, "count": args.count}
    ctx.emit("ReadsAnchored", data, (PUBLIC,))
    return {}


def _keep(state: State, node: bytes, anchor: ReadAnchor) -> None:
    state.put(READ_ANCHORS, node, anchor)
    state.put(READ_ANCHORS, node + anchor.day.to_bytes(8, "big"), anchor)


ACTIONS = {"anchor_reads": Action(AnchorReads, anchor_reads, (NODE,))}
