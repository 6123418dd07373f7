"""Proposals: what one person wants changed, and why, until another one has decided.

Any contract declares `Governed` changes; calling one leaves a proposal here, which lapses if nobody
approves it in time. Approving carries it out, after the same check as before. The proposer never
approves, in whatever role, and must still be entitled when another does. What a change means is
its contract's part.
"""

from __future__ import annotations

from typing import Annotated, Any

import msgspec
from pydantic import Field

from contracts.kernel.context import Context, Event
from contracts.kernel.contract import Action, Details, Governed
from contracts.kernel.state import Table
from contracts.kernel.types import (
    AMOUNT_MAX,
    DAY_MS,
    Args,
    Hash32,
    Id16,
    Proposing,
    Reason,
    Record,
    Signature,
)
from contracts.kernel.validation import parse_arguments

PROPOSAL_EVENTS = ("Proposed", "Approved", "Withdrawn", "Refused")
PROPOSAL_TTL_MS = 7 * DAY_MS
OPEN = "OPEN"
EXECUTED = "EXECUTED"
WITHDRAWN = "WITHDRAWN"
REFUSED = "REFUSED"
KERNEL = "kernel"

Height = Annotated[int, Field(ge=0, le=AMOUNT_MAX)]

_encode = msgspec.msgpack.Encoder(order="deterministic").encode
_decode = msgspec.msgpack.Decoder(dict[str, Any]).decode


class Proposal(Record, frozen=True):
    """A change that waits for a second person (OPEN), or what became of it.

    EXECUTED, WITHDRAWN by its proposer, or REFUSED by an approver, whose reason is `refusal`.
    `args` are the change's own arguments in canonical msgpack.
    """

    contract: str
    kind: str
    args: bytes
    reason: str
    proposer: bytes
    proposed_ms: int
    expires_ms: int
    state: str
    decided_by: bytes
    decided_ms: int
    refusal: str
    readers: tuple[str, ...]

    def arguments(self) -> dict[str, Any]:
        """The change's own arguments."""
        return _decode(self.args)

    def state_at(self, time_ms: int) -> str:
        """The state as it is to be read at a time: an open proposal lapses by itself."""
        return "EXPIRED" if self.state == OPEN and time_ms >= self.expires_ms else self.state


PROPOSALS = Table(
    "kernel/proposals",
    Proposal,
    "the proposal's id, 16 bytes",
    lambda proposal: proposal.readers,
    secret=0,
)


class Approve(Args):
    """The proposal; for a new validator, where it is needed, a newer signature that it is ready."""

    proposal: Id16
    ready_height: Height | None = None
    ready_root: Hash32 | None = None
    ready_signature: Signature | None = None


class Withdraw(Args):
    """A proposal of the sender's own."""

    proposal: Id16


class Refuse(Args):
    """A proposal, and why it shall not be."""

    proposal: Id16
    reason: Reason


def proposer_of(ctx: Context, args: Proposing) -> bytes:
    """Who proposes this, for `Governed.check` and `apply`, which run at the approval too."""
    known = ctx.state.get(PROPOSALS, args.proposal)
    return ctx.sender if known is None else known.proposer


def propose(ctx: Context, governed: Governed, args: Proposing) -> Details:
    """Keep a change for another person to decide; the same again is a replay."""
    own = args.model_dump(by_alias=True, exclude_none=True, exclude={"proposal", "reason"})
    wanted = (ctx.contract, ctx.action, _encode(own), args.reason, ctx.sender)
    known = ctx.state.get(PROPOSALS, args.proposal)
    if known is not None:
        if (known.contract, known.kind, known.args, known.reason, known.proposer) != wanted:
            ctx.reject("IDEM_CONFLICT", what=PROPOSALS.name)
        return {"expires_ms": known.expires_ms, "state": known.state, "replayed": True}
    governed.check(ctx, args)
    expires_ms = ctx.time_ms + ctx.scaled(PROPOSAL_TTL_MS)
    readers = governed.readers(ctx, args)
    proposal = Proposal(*wanted, ctx.time_ms, expires_ms, OPEN, b"", 0, "", readers)
    ctx.state.insert(PROPOSALS, args.proposal, proposal)
    _announce(ctx, "Proposed", args.proposal, proposal, {"args": own, "reason": args.reason})
    return {"expires_ms": expires_ms}


def approve(ctx: Context, args: Approve) -> Details:
    """Approve what another person proposed; the change is made at once."""
    proposal, governed = _decidable(ctx, args.proposal)
    if proposal.state == EXECUTED and proposal.decided_by == ctx.sender:
        return {"replayed": True}
    _need_open(ctx, proposal)
    if not any(role in governed.proposers for role in ctx.roles_of(proposal.proposer)):
        ctx.reject("BAD_STATE", why="whoever proposed it no longer may")
    given = {**proposal.arguments(), "proposal": args.proposal, "reason": proposal.reason}
    change = _with_newer(ctx, parse_arguments(governed.args, given), args)
    called = ctx.contract, ctx.action
    ctx.enter(proposal.contract, proposal.kind)
    governed.check(ctx, change)
    details = governed.apply(ctx, change)
    ctx.enter(*called)
    _close(ctx, args.proposal, proposal, EXECUTED)
    _announce(ctx, "Approved", args.proposal, proposal, {"details": details})
    return details


def withdraw(ctx: Context, args: Withdraw) -> Details:
    """Take back a proposal of one's own that nobody has decided yet."""
    proposal = ctx.state.need(PROPOSALS, args.proposal)
    if proposal.proposer != ctx.sender:
        ctx.reject("UNAUTHORIZED", why="only its proposer withdraws it")
    if proposal.state == WITHDRAWN:
        return {"replayed": True}
    _need_open(ctx, proposal)
    _close(ctx, args.proposal, proposal, WITHDRAWN)
    _announce(ctx, "Withdrawn", args.proposal, proposal, {})
    return {}


def refuse(ctx: Context, args: Refuse) -> Details:
    """Decide, as one who might approve it, that a proposal shall not be, and say why."""
    proposal, _ = _decidable(ctx, args.proposal)
    if (proposal.state, proposal.decided_by, proposal.refusal) == (
        REFUSED,
        ctx.sender,
        args.reason,
    ):
        return {"replayed": True}
    _need_open(ctx, proposal)
    _close(ctx, args.proposal, proposal, REFUSED, args.reason)
    _announce(ctx, "Refused", args.proposal, proposal, {"reason": args.reason})
    return {}


def _decidable(ctx: Context, identity: bytes) -> tuple[Proposal, Governed]:
    """The proposal and its kind of change, for one who may decide it."""
    proposal = ctx.state.need(PROPOSALS, identity)
    contract = ctx.contracts.get(proposal.contract)
    governed = None if contract is None else contract.governed.get(proposal.kind)
    if governed is None:
        ctx.reject("NOT_FOUND", what=f"{proposal.contract} {proposal.kind}")
    ctx.need_role(governed.approvers)
    if proposal.proposer == ctx.sender:
        ctx.reject("UNAUTHORIZED", why="another person must decide")
    return proposal, governed


def _need_open(ctx: Context, proposal: Proposal) -> None:
    state = proposal.state_at(ctx.time_ms)
    if state == "EXPIRED":
        ctx.reject("EXPIRED", what=PROPOSALS.name)
    if state != OPEN:
        ctx.reject("BAD_STATE", state=state)


def _with_newer(ctx: Context, change: Proposing, args: Approve) -> Proposing:
    """The change with the newer signature of a node, where the approval brings one."""
    newer = {
        "ready_height": args.ready_height,
        "ready_root": args.ready_root,
        "ready_signature": args.ready_signature,
    }
    given = [value for value in newer.values() if value is not None]
    if not given:
        return change
    if "ready_height" not in type(change).model_fields:
        ctx.reject("BAD_ARG", field="ready_height", why="this proposal takes none")
    if len(given) < len(newer):
        ctx.reject("BAD_ARG", field="ready_height", why="height, root and signature go together")
    return change.model_copy(update=newer)


def _close(
    ctx: Context, identity: bytes, proposal: Proposal, state: str, refusal: str = ""
) -> None:
    closed = msgspec.structs.replace(
        proposal, state=state, decided_by=ctx.sender, decided_ms=ctx.time_ms, refusal=refusal
    )
    ctx.state.put(PROPOSALS, identity, closed)


def _announce(
    ctx: Context, name: str, identity: bytes, proposal: Proposal, more: dict[str, Any]
) -> None:
    data = {"proposal": identity, "contract": proposal.contract, "kind": proposal.kind, **more}
    ctx.events.append(Event(KERNEL, name, data, proposal.readers))


ACTIONS = {
    "approve": Action(Approve, approve),
    "withdraw": Action(Withdraw, withdraw),
    "refuse": Action(Refuse, refuse),
}
