"""Epochs: the committee's keys to which calls are sealed, one after the other.

An epoch is proposed with its public key and its secret sealed to each node, its *wraps*. A node
acknowledges that its own wrap opened; once every member of the newest set has done so, the epoch
is in force from the next block on. Calls sealed to the one before it are then accepted for some
minutes of header time, or not at all where it was made because a validator goes. Which epochs a
block accepts follows from the state before it alone, never from what a node can open. Epochs and
their wraps are kept for ever: whoever executes the chain anew needs them. No secret and no
cryptography is known here.
"""

from __future__ import annotations

from typing import Annotated

import msgspec
from pydantic import AfterValidator, Field, WithJsonSchema

from contracts.kernel.access import PUBLIC
from contracts.kernel.context import Context
from contracts.kernel.contract import Action, Details, Governed
from contracts.kernel.identity import ADMINISTRATOR, NODE
from contracts.kernel.membership import FIRST_HEIGHT, NODES, NODES_MAX, newest_validators
from contracts.kernel.state import Reader, State, Table
from contracts.kernel.types import Args, Proposing, PublicKey, Record

GRACE_MS = 10 * 60 * 1000
EPOCH_MAX = (1 << 32) - 1
WRAP_BYTES_MAX = 512
EPOCH_EVENTS = ("EpochAcknowledged", "EpochActivated")


def _key_in_hex(text: str) -> str:
    if len(text) != 66 or text[:2] not in ("02", "03") or text.strip("0123456789abcdef"):
        raise ValueError
    return text


NodeKey = Annotated[str, AfterValidator(_key_in_hex)]
EpochNumber = Annotated[int, Field(ge=0, le=EPOCH_MAX)]
Wrap = Annotated[
    bytes,
    Field(min_length=1, max_length=WRAP_BYTES_MAX),
    WithJsonSchema({"type": "string", "format": "bytes"}),
]


class Epoch(Record, frozen=True):
    """One key of the committee.

    `first_height` is the first block that accepts it, 0 while acknowledgements are missing. Calls
    sealed to epoch `previous` are accepted by blocks of a time before `previous_until_ms`, which is
    its activation's plus `grace_ms`.
    """

    number: int
    public_key: bytes
    proposed_height: int
    first_height: int
    grace_ms: int
    previous: int
    previous_until_ms: int


class EpochWrap(Record, frozen=True):
    """An epoch's secret sealed to one node; `acknowledged_height` is 0 until that opened it.

    A founder's wrap of the first epoch is empty here.
    """

    wrap: bytes
    acknowledged_height: int


EPOCHS = Table(
    "kernel/epochs", Epoch, "the word `current` or `newest`, or an epoch's number, 4 bytes"
)
EPOCH_WRAPS = Table(
    "kernel/epoch_wraps", EpochWrap, "an epoch's number, 4 bytes, and a node's public key"
)
CURRENT = b"current"
NEWEST = b"newest"


class NextEpoch(Proposing):
    """An epoch with the number after the newest one's, and its secret's wraps by node key in hex.

    Every member of the set has one, and every other node that shall go on following the chain.
    """

    epoch: EpochNumber
    epoch_key: PublicKey
    wraps: Annotated[dict[NodeKey, Wrap], Field(min_length=1, max_length=NODES_MAX)]

    def by_node(self) -> dict[bytes, bytes]:
        """The wraps by the nodes' public keys."""
        return {bytes.fromhex(node): wrap for node, wrap in self.wraps.items()}


class AcknowledgeEpoch(Args):
    """The newest epoch, and its key, whose secret came out of the sender's own wrap."""

    epoch: EpochNumber
    epoch_key: PublicKey


def accepted_epochs(reader: Reader, time_ms: int) -> tuple[int, ...]:
    """The epochs that a block of `time_ms` on top of this state accepts, the current one first."""
    current = current_epoch(reader)
    if time_ms < current.previous_until_ms:
        return current.number, current.previous
    return (current.number,)


def current_epoch(reader: Reader) -> Epoch:
    """The epoch in force, to which calls are to be sealed."""
    raw = reader.get(EPOCHS.name, CURRENT)
    assert raw is not None, "no epoch"
    return EPOCHS.decode(raw)


def wrap_key(number: int, node: bytes) -> bytes:
    """Where a node's wrap of an epoch is kept."""
    return number_key(number) + node


def epoch_of(reader: Reader, number: int) -> Epoch | None:
    """An epoch by its number."""
    raw = reader.get(EPOCHS.name, number_key(number))
    return None if raw is None else EPOCHS.decode(raw)


def newest_epoch(reader: Reader) -> Epoch:
    """The epoch that was proposed last, in force or about to be."""
    raw = reader.get(EPOCHS.name, NEWEST)
    assert raw is not None, "no epoch"
    return EPOCHS.decode(raw)


def wrap_of(reader: Reader, number: int, node: bytes) -> EpochWrap | None:
    """A node's wrap of an epoch."""
    raw = reader.get(EPOCH_WRAPS.name, wrap_key(number, node))
    return None if raw is None else EPOCH_WRAPS.decode(raw)


def found_epoch(state: State, number: int, public_key: bytes, nodes: tuple[bytes, ...]) -> None:
    """Write the founders' epoch, which all of them hold: their wraps are in the genesis file."""
    epoch = Epoch(number, public_key, 0, FIRST_HEIGHT, 0, number, 0)
    _put(state, epoch)
    state.put(EPOCHS, CURRENT, epoch)
    for node in nodes:
        state.put(EPOCH_WRAPS, wrap_key(number, node), EpochWrap(b"", FIRST_HEIGHT))


def check_next_epoch(ctx: Context, args: NextEpoch, without: bytes = b"") -> None:
    """Reject unless it is the next epoch, sealed to nodes that hold the newest, not to `without`.

    So whoever was removed gets no later secret, unless it is dismissed and admitted again.
    """
    holders = args.by_node()
    if without in holders:
        ctx.reject("BAD_ARG", field="wraps", why="whoever goes must not get the next secret")
    for holder in holders:
        ctx.state.need(NODES, holder)
    newest = ctx.state.need(EPOCHS, NEWEST).number
    if args.epoch != newest + 1:
        ctx.reject("BAD_STATE", why="not the next epoch; seal its secret anew", newest=newest)
    for holder in holders:
        if ctx.state.get(EPOCH_WRAPS, wrap_key(newest, holder)) is None:
            ctx.reject("BAD_STATE", why="a node was removed; it gets no wrap", node_key=holder)


def check_wrapped(ctx: Context, args: NextEpoch, members: tuple[bytes, ...]) -> None:
    """Reject unless each of `members` gets the secret."""
    holders = args.by_node()
    for member in members:
        if member not in holders:
            ctx.reject("BAD_STATE", why="a validator gets no wrap", node_key=member)


def await_acknowledgements(ctx: Context, args: NextEpoch, grace_ms: int) -> None:
    """Make an epoch known; one before it that was not in force yet is given up.

    `grace_ms` is for how long the epoch in force shall be accepted beside it.
    """
    newest = ctx.state.need(EPOCHS, NEWEST)
    if not newest.first_height:
        # What was to be without grace remains so, whatever takes its place.
        grace_ms = min(grace_ms, newest.grace_ms)
    _put(ctx.state, Epoch(args.epoch, args.epoch_key, ctx.height, 0, grace_ms, 0, 0))
    for node, wrap in args.by_node().items():
        ctx.state.put(EPOCH_WRAPS, wrap_key(args.epoch, node), EpochWrap(wrap, 0))


def check_rotation(ctx: Context, args: NextEpoch) -> None:
    """The next epoch, for all members of the newest set."""
    check_next_epoch(ctx, args)
    check_wrapped(ctx, args, newest_validators(ctx.state).members)


def rotate_epoch(ctx: Context, args: NextEpoch) -> Details:
    """A new key of the committee, in force when every validator has acknowledged its wrap."""
    await_acknowledgements(ctx, args, ctx.scaled(GRACE_MS))
    return {"epoch": args.epoch}


def acknowledge_epoch(ctx: Context, args: AcknowledgeEpoch) -> Details:
    """A node has opened its wrap of the newest epoch and holds the secret of its key."""
    epoch = ctx.state.need(EPOCHS, NEWEST)
    key = wrap_key(args.epoch, ctx.sender)
    share = ctx.state.need(EPOCH_WRAPS, key)
    if share.acknowledged_height:
        return {"replayed": True}
    if (epoch.number, epoch.public_key) != (args.epoch, args.epoch_key):
        ctx.reject("BAD_STATE", why="it is not the newest epoch", newest=epoch.number)
    done = msgspec.structs.replace(share, acknowledged_height=ctx.height)
    ctx.state.put(EPOCH_WRAPS, key, done)
    ctx.emit("EpochAcknowledged", {"epoch": epoch.number, "node": ctx.sender}, (PUBLIC,))
    if not epoch.first_height and not missing_acknowledgements(ctx.state, epoch.number):
        _activate(ctx, epoch)
    return {}


def missing_acknowledgements(state: State, number: int) -> tuple[bytes, ...]:
    """The members of the newest set that have not acknowledged this epoch."""
    members = newest_validators(state).members
    return tuple([member for member in members if not has_acknowledged(state, number, member)])


def has_acknowledged(state: State, number: int, node: bytes) -> bool:
    """Whether a node said that it holds the secret of this epoch."""
    share = state.get(EPOCH_WRAPS, wrap_key(number, node))
    return share is not None and share.acknowledged_height > 0


def _activate(ctx: Context, epoch: Epoch) -> None:
    """In force from the next block on: what a block accepts is settled before it begins."""
    active = msgspec.structs.replace(
        epoch,
        first_height=ctx.height + 1,
        previous=ctx.state.need(EPOCHS, CURRENT).number,
        previous_until_ms=ctx.time_ms + epoch.grace_ms if epoch.grace_ms else 0,
    )
    _put(ctx.state, active)
    ctx.state.put(EPOCHS, CURRENT, active)
    data = {
        "epoch": active.number,
        "first_height": active.first_height,
        "previous_until_ms": active.previous_until_ms,
    }
    ctx.emit("EpochActivated", data, (PUBLIC,))


def _put(state: State, epoch: Epoch) -> None:
    state.put(EPOCHS, NEWEST, epoch)
    state.put(EPOCHS, number_key(epoch.number), epoch)


def number_key(number: int) -> bytes:
    """Where an epoch is kept."""
    return number.to_bytes(4, "big")


ACTIONS = {
    "acknowledge_epoch": Action(AcknowledgeEpoch, acknowledge_epoch, (NODE,)),
}
GOVERNED = {
    "rotate_epoch": Governed(
        NextEpoch, check_rotation, rotate_epoch, (ADMINISTRATOR,), (ADMINISTRATOR,)
    ),
}
