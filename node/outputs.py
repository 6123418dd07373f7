"""What goes into the engine and what comes out of it, as values.

The driver (or the simulator) turns sockets, timers and disk into inputs, and performs the outputs
one by one in the given order: whatever must be on disk before a message leaves stands before it.
"""

from __future__ import annotations

from typing import Any

import msgspec

from node.admission import Verdict
from node.protocol.block import Receipt
from node.protocol.errors import PeerFault
from node.protocol.messages import Message


class Value(msgspec.Struct, frozen=True):
    """Base of inputs and outputs: compared by value, never mutated."""


# ---- inputs


class PeerConnected(Value, frozen=True):
    """An authenticated peer can be reached from now on."""

    peer: bytes


class PeerDisconnected(Value, frozen=True):
    """A peer is gone."""

    peer: bytes


class PeerMessage(Value, frozen=True):
    """A decoded message from an authenticated peer; transaction batches go through `Examined`."""

    peer: bytes
    message: Message


class Examined(Value, frozen=True):
    """Raw transactions with the verdicts of the verifier. `origin`: peer, or None for a client.

    `request` names the client's request, so that `Submitted` can answer it; 0 for gossip.
    """

    items: tuple[tuple[bytes, Verdict], ...]
    origin: bytes | None
    request: int


class TimerElapsed(Value, frozen=True):
    """The timer armed under this token has run out."""

    token: int


class BlockWritten(Value, frozen=True):
    """The block of `WriteBlock` is durably stored."""

    height: int


class Tick(Value, frozen=True):
    """Comes about once a second."""


Input = (
    PeerConnected | PeerDisconnected | PeerMessage | Examined | TimerElapsed | BlockWritten | Tick
)

# ---- outputs


class WriteVote(Value, frozen=True):
    """Append to the vote log and sync, before anything that follows."""

    height: int
    record: bytes


class TrimVotes(Value, frozen=True):
    """Vote records of lower heights are no longer needed."""

    below_height: int


class WriteBlock(Value, frozen=True):
    """Store one block with all its effects in one synced batch, then feed `BlockWritten`."""

    height: int
    batch: Any


class StageSnapshot(Value, frozen=True):
    """Write records into the staging database: after wiping it if they are the first ones, synced
    if they are the last."""

    puts: Any
    is_first: bool
    is_last: bool


class AdoptSnapshot(Value, frozen=True):
    """The staging database is whole: end this core, put it in the place of the state, begin anew.

    The votes stay as they are.
    """

    height: int


class SendTo(Value, frozen=True):
    """Send a message to one peer, if it is connected."""

    peer: bytes
    message: Message


class SendToAll(Value, frozen=True):
    """Send a message to every connected peer."""

    message: Message


class Gossip(Value, frozen=True):
    """Spread a client's newly admitted transactions, with their content hashes, to all peers."""

    transactions: tuple[tuple[bytes, bytes], ...]


class Verify(Value, frozen=True):
    """Examine these raw transactions and feed `Examined`."""

    raws: tuple[bytes, ...]
    origin: bytes | None


class SetTimer(Value, frozen=True):
    """Feed `TimerElapsed(token)` after `delay_ms`."""

    token: int
    delay_ms: int


class CancelTimer(Value, frozen=True):
    """Forget a timer."""

    token: int


class PunishPeer(Value, frozen=True):
    """Disconnect a peer that broke the protocol."""

    peer: bytes
    fault: PeerFault


class SubmitResult(Value, frozen=True):
    """What became of one submitted transaction: `PENDING`, `KNOWN`, `COMMITTED`, or a refusal."""

    transaction_id: bytes | None
    code: str
    message: str


class Submitted(Value, frozen=True):
    """Answers the client request of `Examined`, result by result."""

    request: int
    results: tuple[SubmitResult, ...]


class Committed(Value, frozen=True):
    """A block is final and stored: wake whoever waits for it."""

    height: int
    receipts: tuple[Receipt, ...]


class Dropped(Value, frozen=True):
    """These wait no more, as their epoch has ended: tell whoever waits with `WRONG_EPOCH`."""

    transaction_ids: tuple[bytes, ...]


class Alarm(Value, frozen=True):
    """An operator should look at this."""

    code: str
    message: str


class Halt(Value, frozen=True):
    """Stop the node now: going on could sign or store something wrong."""

    code: str
    message: str


Output = (
    WriteVote
    | TrimVotes
    | WriteBlock
    | StageSnapshot
    | AdoptSnapshot
    | SendTo
    | SendToAll
    | Gossip
    | Verify
    | SetTimer
    | CancelTimer
    | PunishPeer
    | Submitted
    | Committed
    | Dropped
    | Alarm
    | Halt
)
