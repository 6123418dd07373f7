"""Governance: who may connect and who validates; one administrator proposes, another approves.

A proposal gives a reason and lapses if nobody approves it in time. It is checked when it is made
and again when its approval executes it, each time against the newest set, in force or not. Only one
change of the set is under way at a time: it counts two heights after its approval. A node becomes a
validator in two steps: admitted as an observer it fetches the chain, and by signing a recent state
root it shows that it has. A removed validator stays as an observer until it is dismissed.
"""

from __future__ import annotations

from typing import Annotated

import msgspec
from pydantic import Field, WithJsonSchema

from contracts.kernel.access import PUBLIC
from contracts.kernel.context import Context
from contracts.kernel.contract import Action, Details
from contracts.kernel.identity import ADMINISTRATOR
from contracts.kernel.membership import (
    NODES,
    NODES_MAX,
    STATE_ROOTS_KEPT,
    VALIDATORS_MAX,
    VALIDATORS_MIN,
    Node,
    change_validators,
    deciding,
    is_recent_root,
    newest_validators,
)
from contracts.kernel.state import Table
from contracts.kernel.types import (
    AMOUNT_MAX,
    DAY_MS,
    Args,
    Hash32,
    Id16,
    PublicKey,
    Reason,
    Record,
    Signature,
)

GOVERNANCE_ERRORS = ("NOT_READY", "QUORUM_LOW", "TOO_MANY_NODES")
GOVERNANCE_EVENTS = ("Proposed", "Approved")
PROPOSAL_TTL_MS = 7 * DAY_MS
WRAP_BYTES_MAX = 512
OPEN = "OPEN"
EXECUTED = "EXECUTED"
# What a node signs, as a ticket of this contract, to show that it has the state.
READY = "ready"

NodeName = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9_.-]{0,31}$")]
Address = Annotated[str, Field(pattern=r"^[A-Za-z0-9.-]{1,253}:[0-9]{1,5}$")]
Wrap = Annotated[
    bytes,
    Field(min_length=1, max_length=WRAP_BYTES_MAX),
    WithJsonSchema({"type": "string", "format": "bytes"}),
]
Height = Annotated[int, Field(ge=0, le=AMOUNT_MAX)]


class Proposal(Record, frozen=True):
    """A change that waits for a second administrator, or has been made.

    `node` is the one that comes or goes, `replaced` the one in whose place it comes. Name, address,
    certificate and wrap are an observer's. `ready_height` is that of the state the node has shown.
    """

    kind: str
    node: bytes
    replaced: bytes
    name: str
    address: str
    tls_fingerprint: bytes
    wrap: bytes
    reason: str
    proposer: bytes
    ready_height: int
    expires_ms: int
    state: str
    approver: bytes


PROPOSALS = Table("kernel/proposals", Proposal, "the proposal's id, 16 bytes")


class Proposing(Args):
    """Every proposal has an id, chosen by the proposer, and a reason."""

    proposal: Id16
    reason: Reason


class AdmitObserver(Proposing):
    """A node that may connect; `wrap` is the committee's secret sealed to it by a member."""

    node: PublicKey
    name: NodeName
    address: Address
    tls_fingerprint: Hash32
    wrap: Wrap


class DismissObserver(Proposing):
    """An observer that may no longer connect."""

    node: PublicKey


class AddValidator(Proposing):
    """An observer, and its signature over the state root of a recent height."""

    node: PublicKey
    ready_height: Height
    ready_root: Hash32
    ready_signature: Signature


class RemoveValidator(Proposing):
    """A validator."""

    node: PublicKey


class ReplaceValidator(AddValidator):
    """The same with the validator that the observer stands in for."""

    replaced: PublicKey


class Approve(Args):
    """The proposal, and where a newer one is needed, the node's signature that it is ready."""

    proposal: Id16
    ready_height: Height | None = None
    ready_root: Hash32 | None = None
    ready_signature: Signature | None = None


# ---- proposing


def admit_observer(ctx: Context, args: AdmitObserver) -> Details:
    """Propose that a node may connect and follow the chain; it does not vote."""
    return _propose(
        ctx,
        args,
        Proposal(
            ctx.action,
            args.node,
            b"",
            args.name,
            args.address,
            args.tls_fingerprint,
            args.wrap,
            *_signed_off(ctx, args, 0),
        ),
    )


def dismiss_observer(ctx: Context, args: DismissObserver) -> Details:
    """Propose that an observer may no longer connect."""
    return _propose(ctx, args, _about(ctx, args, args.node))


def add_validator(ctx: Context, args: AddValidator) -> Details:
    """Propose that an observer becomes a validator, the last in the order."""
    return _propose(ctx, args, _about(ctx, args, args.node, ready_height=args.ready_height))


def remove_validator(ctx: Context, args: RemoveValidator) -> Details:
    """Propose that a validator stops voting; it stays connected as an observer."""
    return _propose(ctx, args, _about(ctx, args, args.node))


def replace_validator(ctx: Context, args: ReplaceValidator) -> Details:
    """Propose that an observer takes the place of a validator, which becomes an observer."""
    return _propose(
        ctx, args, _about(ctx, args, args.node, args.replaced, ready_height=args.ready_height)
    )


def _about(
    ctx: Context, args: Proposing, node: bytes, replaced: bytes = b"", *, ready_height: int = 0
) -> Proposal:
    return Proposal(
        ctx.action, node, replaced, "", "", b"", b"", *_signed_off(ctx, args, ready_height)
    )


def _signed_off(
    ctx: Context, args: Proposing, ready_height: int
) -> tuple[str, bytes, int, int, str, bytes]:
    """The rest of a proposal, from its reason on."""
    expires_ms = ctx.time_ms + ctx.scaled(PROPOSAL_TTL_MS)
    return args.reason, ctx.sender, ready_height, expires_ms, OPEN, b""


def _propose(ctx: Context, args: Proposing, proposal: Proposal) -> Details:
    known = ctx.state.get(PROPOSALS, args.proposal)
    if known is not None:
        if _wish(known) != _wish(proposal):
            ctx.reject("IDEM_CONFLICT", what=PROPOSALS.name)
        return {"expires_ms": known.expires_ms, "replayed": True}
    if isinstance(args, AddValidator):
        _check_ready(ctx, args.node, args.ready_height, args.ready_root, args.ready_signature)
    _check(ctx, proposal)
    ctx.state.insert(PROPOSALS, args.proposal, proposal)
    data = {"proposal": args.proposal, "kind": proposal.kind, "node": proposal.node}
    ctx.emit("Proposed", {**data, "reason": proposal.reason}, (PUBLIC,))
    return {"expires_ms": proposal.expires_ms}


def _wish(proposal: Proposal) -> Proposal:
    """What was asked for and by whom, whatever became of it since."""
    return msgspec.structs.replace(proposal, ready_height=0, expires_ms=0, state=OPEN, approver=b"")


# ---- approving


def approve(ctx: Context, args: Approve) -> Details:
    """Approve another administrator's proposal, which is thereby carried out."""
    proposal = ctx.state.need(PROPOSALS, args.proposal)
    if proposal.proposer == ctx.sender:
        ctx.reject("UNAUTHORIZED", why="another administrator must approve")
    if proposal.state == EXECUTED and proposal.approver == ctx.sender:
        return {"replayed": True}
    if proposal.state == EXECUTED:
        ctx.reject("BAD_STATE", why="approved already")
    if ctx.time_ms >= proposal.expires_ms:
        ctx.reject("EXPIRED", what=PROPOSALS.name)
    ready_height = _newest_ready(ctx, args, proposal)
    members = _check(ctx, proposal)
    details = _carry_out(ctx, proposal, ready_height, members)
    done = msgspec.structs.replace(
        proposal, state=EXECUTED, approver=ctx.sender, ready_height=ready_height
    )
    ctx.state.put(PROPOSALS, args.proposal, done)
    data = {"proposal": args.proposal, "kind": proposal.kind, "node": proposal.node, **details}
    ctx.emit("Approved", data, (PUBLIC,))
    return details


def _newest_ready(ctx: Context, args: Approve, proposal: Proposal) -> int:
    """The height that the node has shown to have reached, at the proposal or now."""
    given = (args.ready_height, args.ready_root, args.ready_signature)
    height, root, signature = given
    if height is None and root is None and signature is None:
        return proposal.ready_height
    if height is None or root is None or signature is None:
        ctx.reject("BAD_ARG", field="ready_height", why="height, root and signature go together")
    _check_ready(ctx, proposal.node, height, root, signature)
    return max(height, proposal.ready_height)


def _carry_out(
    ctx: Context, proposal: Proposal, ready_height: int, members: tuple[bytes, ...]
) -> Details:
    if proposal.kind == "admit_observer":
        node = Node(
            proposal.node,
            proposal.name,
            proposal.address,
            proposal.tls_fingerprint,
            proposal.wrap,
            ctx.height,
        )
        ctx.state.insert(NODES, proposal.node, node)
        return {}
    if proposal.kind == "dismiss_observer":
        ctx.state.delete(NODES, proposal.node)
        return {}
    newest = newest_validators(ctx.state)
    if newest.first_height > ctx.height:
        ctx.reject("BAD_STATE", why="another change is under way", first_height=newest.first_height)
    if proposal.node in members and ctx.height - ready_height >= STATE_ROOTS_KEPT:
        ctx.reject("NOT_READY", why="its signature is too old; give a newer one")
    changed = change_validators(ctx.state, members, ctx.height)
    return {"first_height": changed.first_height, "validators": len(members)}


# ---- what may be


def _check(ctx: Context, proposal: Proposal) -> tuple[bytes, ...]:
    """Reject unless the change may be made; the members of the set after it."""
    members = newest_validators(ctx.state).members
    if proposal.kind == "admit_observer":
        _check_new_node(ctx, proposal)
        return members
    ctx.state.need(NODES, proposal.node)
    if proposal.kind == "dismiss_observer":
        if proposal.node in members or _is_leaving(ctx, proposal.node):
            ctx.reject("BAD_STATE", why="it is a validator; remove it first")
        return members
    if proposal.kind == "remove_validator":
        _check_member(ctx, proposal.node, members)
        changed = tuple([member for member in members if member != proposal.node])
    else:
        if proposal.node in members:
            ctx.reject("BAD_STATE", why="it is a validator already")
        if proposal.kind == "add_validator":
            changed = (*members, proposal.node)
        else:
            _check_member(ctx, proposal.replaced, members)
            changed = tuple([proposal.node if one == proposal.replaced else one for one in members])
    _check_size(ctx, len(members), len(changed))
    return changed


def _check_new_node(ctx: Context, proposal: Proposal) -> None:
    nodes = [node for _, node in ctx.state.scan(NODES, b"", None, NODES_MAX)]
    for node in nodes:
        for field, taken, wanted in (
            ("node", node.public_key, proposal.node),
            ("name", node.name, proposal.name),
            ("address", node.address, proposal.address),
            ("tls_fingerprint", node.tls_fingerprint, proposal.tls_fingerprint),
        ):
            if taken == wanted:
                ctx.reject("BAD_STATE", why="another node has it", field=field)
    if len(nodes) >= NODES_MAX:
        ctx.reject("TOO_MANY_NODES", nodes_max=NODES_MAX)


def _check_member(ctx: Context, node: bytes, members: tuple[bytes, ...]) -> None:
    if node not in members:
        ctx.reject("BAD_STATE", why="it is no validator")


def _check_size(ctx: Context, before: int, after: int) -> None:
    """Too few could not survive one fault, or not make more confirmations than are preset."""
    more_than = newest_validators(ctx.state).confirmations_more_than
    if after < before and after < VALIDATORS_MIN:
        ctx.reject("QUORUM_LOW", why="fewer than four cannot survive a fault", validators=after)
    if more_than >= after:
        ctx.reject(
            "QUORUM_LOW",
            why="there must be more validators than confirmations_more_than",
            validators=after,
            confirmations_more_than=more_than,
        )
    if after > VALIDATORS_MAX:
        ctx.reject("TOO_MANY_NODES", validators_max=VALIDATORS_MAX)


def _is_leaving(ctx: Context, node: bytes) -> bool:
    """Whether a removed validator still has heights to decide."""
    return node in deciding(ctx.state, ctx.height + 1).members


def _check_ready(ctx: Context, node: bytes, height: int, root: bytes, signature: bytes) -> None:
    if not ctx.height - STATE_ROOTS_KEPT < height < ctx.height:
        ctx.reject("NOT_READY", why=f"not one of the last {STATE_ROOTS_KEPT} heights")
    if not is_recent_root(ctx.state, height, root):
        ctx.reject("NOT_READY", why="another state root")
    if not ctx.has_signed(node, READY, {"height": height, "root": root}, signature):
        ctx.reject("NOT_READY", why="the node's signature does not match")


_BY_ADMINISTRATORS = (ADMINISTRATOR,)
ACTIONS = {
    "admit_observer": Action(AdmitObserver, admit_observer, _BY_ADMINISTRATORS),
    "dismiss_observer": Action(DismissObserver, dismiss_observer, _BY_ADMINISTRATORS),
    "add_validator": Action(AddValidator, add_validator, _BY_ADMINISTRATORS),
    "remove_validator": Action(RemoveValidator, remove_validator, _BY_ADMINISTRATORS),
    "replace_validator": Action(ReplaceValidator, replace_validator, _BY_ADMINISTRATORS),
    "approve": Action(Approve, approve, _BY_ADMINISTRATORS),
}
