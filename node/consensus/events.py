"""What goes into the replica and what comes out of it, as values.

Events carry everything the replica may know of time, chance, disk and network; effects are carried
out by the caller one by one, in order. All `Persist` effects of one step stand first, so that the
caller may sync them together. Nothing here decides anything.
"""

from __future__ import annotations

from enum import Enum
from typing import Any

import msgspec

from node.protocol.block import BlockHeader, CommitCertificate
from node.protocol.messages import ConsensusMessage, Dissent
from node.protocol.validators import ValidatorSet


class Item(msgspec.Struct, frozen=True):
    """Base of events and effects: immutable, compared by value."""


class Timeouts(Item, frozen=True):
    """How long view 0 may take, doubled in each further view up to the cap. Milliseconds."""

    base_ms: int
    cap_ms: int

    def delay_ms(self, view: int) -> int:
        """How long this view may take."""
        return min(self.cap_ms, self.base_ms << min(view, 32))


class Outcome(Enum):
    """What executing a proposal showed."""

    MATCHES = "matches"
    """Our result is the header's."""
    DIFFERS = "differs"
    """The block is admissible, but our result is another."""
    INVALID = "invalid"
    """No honest member would have proposed this block."""
    UNAVAILABLE = "unavailable"
    """It cannot be executed here: poison, or a contract version that we lack."""


# ---- events


class MessageReceived(Item, frozen=True):
    """`sender` is the authenticated peer that delivered it; votes are checked by their signer."""

    sender: bytes
    message: ConsensusMessage


class ProposalBuilt(Item, frozen=True):
    """Answers `BuildProposal`. No header: nothing to order, or building failed."""

    height: int
    view: int
    header: BlockHeader | None
    transaction_hashes: tuple[bytes, ...]


class ProposalExecuted(Item, frozen=True):
    """Answers `ExecuteProposal`. `own_root` is our state root where the outcome is DIFFERS."""

    block_id: bytes
    outcome: Outcome
    own_root: bytes = b""


class PendingChanged(Item, frozen=True):
    """Whether an admissible transaction waits. Repeating True makes a leader try again to build."""

    pending: bool


class TimerFired(Item, frozen=True):
    """The timer set under this token has run out."""

    token: int


class BlockCommitted(Item, frozen=True):
    """The block is durably stored, by our own commit or by catch-up: its successor opens.

    `next_validators` is the set of height + 1; `certificate` lets us answer who is behind.
    """

    header: BlockHeader
    next_validators: ValidatorSet
    certificate: CommitCertificate | None = None


class PeerConnected(Item, frozen=True):
    """An authenticated peer can be reached from now on."""

    peer: bytes


class Tick(Item, frozen=True):
    """Comes about once a second: what stalls is sent again."""


Event = (
    MessageReceived
    | ProposalBuilt
    | ProposalExecuted
    | PendingChanged
    | TimerFired
    | BlockCommitted
    | PeerConnected
    | Tick
)

# ---- effects


class Persist(Item, frozen=True):
    """Append to the vote log and sync before anything that follows.

    `block_id`, where given, names the executed block whose transactions must become durable with
    the record: whoever prepared a block serves its body, restart or not.
    """

    record: bytes
    block_id: bytes | None = None


class Broadcast(Item, frozen=True):
    """Send to all peers; the replica has taken its own copy already."""

    message: ConsensusMessage


class Send(Item, frozen=True):
    """Send to one peer."""

    to: bytes
    message: ConsensusMessage


class BuildProposal(Item, frozen=True):
    """Order and execute what waits on top of `parent` (None: genesis); answer `ProposalBuilt`."""

    height: int
    view: int
    parent: BlockHeader | None
    allow_empty: bool


class ExecuteProposal(Item, frozen=True):
    """Execute this block on an overlay; answer `ProposalExecuted`. It replaces an earlier one.

    `from_peer` can serve missing transactions. May be asked again for a block executed before.
    """

    header: BlockHeader
    transaction_hashes: tuple[bytes, ...]
    from_peer: bytes


class CommitBlock(Item, frozen=True):
    """The block is final: store it. It is the one that was executed (MATCHES) or built last."""

    header: BlockHeader
    transaction_hashes: tuple[bytes, ...]
    certificate: CommitCertificate


class SetTimer(Item, frozen=True):
    """Give `TimerFired(token)` after `delay_ms`. At most one timer runs."""

    token: int
    delay_ms: int


class CancelTimer(Item, frozen=True):
    """Forget the timer."""

    token: int


class ForwardPending(Item, frozen=True):
    """Send the oldest waiting transactions to all: perhaps only we know them."""


class RequestCatchUp(Item, frozen=True):
    """`peer` shows or claims that `height` is final. Without a certificate it is a hint only."""

    peer: bytes
    height: int


class ReportEvidence(Item, frozen=True):
    """Two messages of one signer for the same (type, height, view) with different content."""

    first: ConsensusMessage
    second: ConsensusMessage


class ReportDissent(Item, frozen=True):
    """A member, perhaps ourselves, signed that its own result differs from the proposal's."""

    dissent: Dissent


class ReportPeer(Item, frozen=True):
    """`peer` sent what no honest node sends."""

    peer: bytes
    code: str
    message: str


class Alarm(Item, frozen=True):
    """An operator should look at this."""

    code: str
    message: str
    details: dict[str, Any] = {}


class Halt(Item, frozen=True):
    """Stop at once: going on could contradict our own signature. Nothing follows it, ever."""

    code: str
    message: str


class TrimVotes(Item, frozen=True):
    """Vote records of lower heights are no longer needed."""

    below_height: int


Effect = (
    Persist
    | Broadcast
    | Send
    | BuildProposal
    | ExecuteProposal
    | CommitBlock
    | SetTimer
    | CancelTimer
    | ForwardPending
    | RequestCatchUp
    | ReportEvidence
    | ReportDissent
    | ReportPeer
    | Alarm
    | Halt
    | TrimVotes
)
