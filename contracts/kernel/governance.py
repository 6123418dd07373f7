"""Governance: who may connect and who validates, as changes that two administrators make.

Each is checked when it is proposed and again when its approval executes it, each time against the
newest set, in force or not. Only one change of the set is under way at a time: it counts two
heights after its approval. A node becomes a validator in two steps: admitted as an observer it
fetches the chain, and by signing a recent state root it shows that it has. A removed validator
stays as an observer until it is dismissed, but its removal brings the committee's next epoch, whose
secret it does not get: it follows the chain until that epoch is in force.
"""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from contracts.kernel.context import Context
from contracts.kernel.contract import Details, Governed
from contracts.kernel.epochs import (
    EPOCH_WRAPS,
    EPOCHS,
    NEWEST,
    EpochNumber,
    EpochWrap,
    NextEpoch,
    Wrap,
    await_acknowledgements,
    check_next_epoch,
    check_wrapped,
    has_acknowledged,
    wrap_key,
)
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
from contracts.kernel.types import (
    AMOUNT_MAX,
    Hash32,
    Proposing,
    PublicKey,
    Signature,
)

GOVERNANCE_ERRORS = ("NOT_READY", "QUORUM_LOW", "TOO_MANY_NODES", "BAD_TICKET")
# What a node signs, as a ticket of this contract, to show that it has the state.
READY = "ready"

NodeName = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9_.-]{0,31}$")]
Address = Annotated[str, Field(pattern=r"^[A-Za-z0-9.-]{1,253}:[0-9]{1,5}$")]
Height = Annotated[int, Field(ge=0, le=AMOUNT_MAX)]
Members = tuple[bytes, ...]


class AdmitObserver(Proposing):
    """A node that may connect; `wrap` is the newest epoch's secret sealed to it by a member."""

    node_key: PublicKey
    name: NodeName
    address: Address
    tls_fingerprint: Hash32
    epoch: EpochNumber
    wrap: Wrap


class DismissObserver(Proposing):
    """An observer that may no longer connect."""

    node_key: PublicKey


class AddValidator(Proposing):
    """An observer, and its signature over the state root of a recent height."""

    node_key: PublicKey
    ready_height: Height
    ready_root: Hash32
    ready_signature: Signature


class RemoveValidator(NextEpoch):
    """A validator, and the committee's next epoch, whose secret it does not get."""

    node_key: PublicKey


class ReplaceValidator(AddValidator, NextEpoch):
    """An observer that is ready, and the validator that it stands in for.

    With the committee's next epoch, whose secret the one replaced does not get.
    """

    replaced: PublicKey


# ---- observers


def check_admission(ctx: Context, args: AdmitObserver) -> None:
    """No two nodes share a key, a name, an address or a certificate; the epoch is the newest."""
    newest = ctx.state.need(EPOCHS, NEWEST).number
    if args.epoch != newest:
        ctx.reject("BAD_STATE", why="not the newest epoch; seal its secret anew", newest=newest)
    nodes = [node for _, node in ctx.state.scan(NODES, b"", None, NODES_MAX)]
    for node in nodes:
        for field, taken, wanted in (
            ("node_key", node.public_key, args.node_key),
            ("name", node.name, args.name),
            ("address", node.address, args.address),
            ("tls_fingerprint", node.tls_fingerprint, args.tls_fingerprint),
        ):
            if taken == wanted:
                ctx.reject("BAD_STATE", why="another node has it", field=field)
    if len(nodes) >= NODES_MAX:
        ctx.reject("TOO_MANY_NODES", nodes_max=NODES_MAX)


def admit_observer(ctx: Context, args: AdmitObserver) -> Details:
    """A node may connect and follow the chain; it does not vote."""
    node = Node(args.node_key, args.name, args.address, args.tls_fingerprint, ctx.height)
    ctx.state.insert(NODES, args.node_key, node)
    ctx.state.put(EPOCH_WRAPS, wrap_key(args.epoch, args.node_key), EpochWrap(args.wrap, 0))
    return {}


def check_dismissal(ctx: Context, args: DismissObserver) -> None:
    """An observer that has no heights left to decide."""
    ctx.state.need(NODES, args.node_key)
    leaving = args.node_key in deciding(ctx.state, ctx.height + 1).members
    if args.node_key in newest_validators(ctx.state).members or leaving:
        ctx.reject("BAD_STATE", why="it is a validator; remove it first")


def dismiss_observer(ctx: Context, args: DismissObserver) -> Details:
    """An observer may no longer connect."""
    ctx.state.delete(NODES, args.node_key)
    return {}


# ---- validators


def check_addition(ctx: Context, args: AddValidator) -> None:
    """An observer that is ready, and room for it."""
    _added(ctx, args)
    _check_ready(ctx, args)


def add_validator(ctx: Context, args: AddValidator) -> Details:
    """An observer becomes a validator, the last in the order."""
    return _change(ctx, _added(ctx, args))


def check_removal(ctx: Context, args: RemoveValidator) -> None:
    """A validator that the others can do without, and an epoch for these."""
    check_next_epoch(ctx, args, without=args.node_key)
    check_wrapped(ctx, args, _without(ctx, args))


def remove_validator(ctx: Context, args: RemoveValidator) -> Details:
    """A validator stops voting, and can read no call sealed to the next epoch."""
    return _rotated(ctx, args, _change(ctx, _without(ctx, args)))


def check_replacement(ctx: Context, args: ReplaceValidator) -> None:
    """An observer that is ready, a validator, and an epoch for the others."""
    check_next_epoch(ctx, args, without=args.replaced)
    check_wrapped(ctx, args, _replaced(ctx, args))
    _check_ready(ctx, args)


def replace_validator(ctx: Context, args: ReplaceValidator) -> Details:
    """An observer takes the place of a validator, which cannot read the next epoch's calls."""
    return _rotated(ctx, args, _change(ctx, _replaced(ctx, args)))


def _added(ctx: Context, args: AddValidator) -> Members:
    members = _members_without_newcomer(ctx, args)
    return _checked_size(ctx, len(members), (*members, args.node_key))


def _without(ctx: Context, args: RemoveValidator) -> Members:
    ctx.state.need(NODES, args.node_key)
    members = newest_validators(ctx.state).members
    _need_member(ctx, args.node_key, members)
    return _checked_size(ctx, len(members), tuple([one for one in members if one != args.node_key]))


def _replaced(ctx: Context, args: ReplaceValidator) -> Members:
    members = _members_without_newcomer(ctx, args)
    _need_member(ctx, args.replaced, members)
    changed = tuple([args.node_key if one == args.replaced else one for one in members])
    return _checked_size(ctx, len(members), changed)


def _members_without_newcomer(ctx: Context, args: AddValidator) -> Members:
    ctx.state.need(NODES, args.node_key)
    members = newest_validators(ctx.state).members
    if args.node_key in members:
        ctx.reject("BAD_STATE", why="it is a validator already")
    return members


def _need_member(ctx: Context, node: bytes, members: Members) -> None:
    if node not in members:
        ctx.reject("BAD_STATE", why="it is no validator")


def _checked_size(ctx: Context, before: int, members: Members) -> Members:
    """Too few could not survive one fault, or not make more confirmations than are preset."""
    more_than = newest_validators(ctx.state).confirmations_more_than
    after = len(members)
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
    return members


def _check_ready(ctx: Context, args: AddValidator) -> None:
    """The node holds the newest secret, and signed a root less than 100 blocks ago.

    An approval may bring a newer signature.
    """
    epoch = ctx.state.need(EPOCHS, NEWEST).number
    if not has_acknowledged(ctx.state, epoch, args.node_key):
        ctx.reject("NOT_READY", why=f"it has not acknowledged epoch {epoch}")
    height, root = args.ready_height, args.ready_root
    if not ctx.height - STATE_ROOTS_KEPT < height < ctx.height:
        ctx.reject("NOT_READY", why=f"not one of the last {STATE_ROOTS_KEPT} heights; sign anew")
    if not is_recent_root(ctx.state, height, root):
        ctx.reject("NOT_READY", why="another state root")
    if not ctx.has_signed(
        args.node_key, READY, {"height": height, "root": root}, args.ready_signature
    ):
        ctx.reject("NOT_READY", why="the node's signature does not match")


def _change(ctx: Context, members: Members) -> Details:
    newest = newest_validators(ctx.state)
    if newest.first_height > ctx.height:
        ctx.reject("BAD_STATE", why="another change is under way", first_height=newest.first_height)
    changed = change_validators(ctx.state, members, ctx.height)
    return {"first_height": changed.first_height, "validators": len(members)}


def _rotated(ctx: Context, args: NextEpoch, details: Details) -> Details:
    """Whoever goes knows the epoch in force, so it is not accepted beside the next one."""
    await_acknowledgements(ctx, args, grace_ms=0)
    return {**details, "epoch": args.epoch}


_TWO = ((ADMINISTRATOR,), (ADMINISTRATOR,))
GOVERNED = {
    "admit_observer": Governed(AdmitObserver, check_admission, admit_observer, *_TWO),
    "dismiss_observer": Governed(DismissObserver, check_dismissal, dismiss_observer, *_TWO),
    "add_validator": Governed(AddValidator, check_addition, add_validator, *_TWO),
    "remove_validator": Governed(RemoveValidator, check_removal, remove_validator, *_TWO),
    "replace_validator": Governed(ReplaceValidator, check_replacement, replace_validator, *_TWO),
}
