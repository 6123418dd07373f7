"""Peer messages: the consensus votes, the gossip and the catch-up requests, each with a size limit.

A frame carries one canonical, tagged, positional record. Votes are signed one by one over
(tag, chain, genesis, height, view, …), so that they stand as evidence and in certificates without
the connection they came over. Who may send what, and when, is decided by consensus and by net.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Annotated, Any, TypeVar

import msgspec

from node.protocol.block import (
    BLOCK_BYTES_MAX,
    BLOCK_TRANSACTIONS_MAX,
    BlockHeader,
    CertifiedBlock,
    CommitCertificate,
    View,
    vote_digest,
)
from node.protocol.domain import Chain
from node.protocol.encoding import Codec, Record, encode
from node.protocol.errors import PeerFault, Refused
from node.protocol.keys import PrivateKey, is_valid
from node.protocol.transaction import TRANSACTION_BYTES_MAX, Hash, Height, PublicKey, Signature
from node.protocol.validators import VALIDATORS_MAX

BATCH_TRANSACTIONS_MAX = 250
BATCH_BYTES_MAX = 512 * 1024
BLOCK_RANGE_MAX = 64
MESSAGE_BYTES_MAX = BLOCK_BYTES_MAX + (2 << 20)
VOTE_BYTES_MAX = 1_024
SNAPSHOTS_OFFERED_MAX = 4
SNAPSHOT_FILE_BYTES_MAX = 64 << 20
SNAPSHOT_PART_BYTES = 1 << 20
# What the least part counts for, where parts are rationed by bytes.
SNAPSHOT_PART_COST = 8 << 10

FileSize = Annotated[int, msgspec.Meta(ge=0, le=SNAPSHOT_FILE_BYTES_MAX)]
Hashes = Annotated[tuple[Hash, ...], msgspec.Meta(max_length=BLOCK_TRANSACTIONS_MAX)]


class Prepare(Record, frozen=True, tag=1):
    """I executed this block and my result equals its header."""

    height: Height
    view: View
    block_id: Hash
    signer: PublicKey
    signature: Signature


class Commit(Record, frozen=True, tag=2):
    """I hold q PREPAREs of this view for this block."""

    height: Height
    view: View
    block_id: Hash
    signer: PublicKey
    signature: Signature


class PreparedProof(Record, frozen=True):
    """The block that a VIEW-CHANGE claims as prepared, with the q PREPAREs that prove it."""

    header: BlockHeader
    transaction_hashes: Hashes
    prepares: Annotated[tuple[Prepare, ...], msgspec.Meta(max_length=VALIDATORS_MAX)]


class ViewChange(Record, frozen=True, tag=3):
    """I left all lower views of this height: `prepared_*` are signed, `proof` is attached.

    Nothing prepared: `prepared_view` -1, `prepared_block` empty, `proof` None. Inside a
    justification `proof` is None too, since the PRE-PREPARE carries the one that counts.
    """

    height: Height
    view: View
    prepared_view: Annotated[int, msgspec.Meta(ge=-1, le=(1 << 32) - 1)]
    prepared_block: Annotated[bytes, msgspec.Meta(max_length=32)]
    signer: PublicKey
    signature: Signature
    proof: PreparedProof | None


class PrePrepare(Record, frozen=True, tag=4):
    """The leader's proposal. In view ≥ 1 it carries q VIEW-CHANGEs, and q PREPAREs if any."""

    view: View
    header: BlockHeader
    transaction_hashes: Hashes
    signer: PublicKey
    signature: Signature
    view_changes: Annotated[tuple[ViewChange, ...], msgspec.Meta(max_length=VALIDATORS_MAX)]
    prepares: Annotated[tuple[Prepare, ...], msgspec.Meta(max_length=VALIDATORS_MAX)]

    @property
    def height(self) -> int:
        """The height proposed for."""
        return self.header.height


class Dissent(Record, frozen=True, tag=5):
    """My own execution gives another state root than this proposal."""

    height: Height
    view: View
    block_id: Hash
    proposed_root: Hash
    own_root: Hash
    signer: PublicKey
    signature: Signature


class CertifiedHeader(Record, frozen=True, tag=6):
    """The answer to a vote for a height that is final here: its header and certificate."""

    header: BlockHeader
    certificate: CommitCertificate


class Transactions(Record, frozen=True, tag=16):
    """A batch of raw signed transactions: gossip, or the answer to a request."""

    raws: Annotated[
        tuple[Annotated[bytes, msgspec.Meta(max_length=TRANSACTION_BYTES_MAX)], ...],
        msgspec.Meta(max_length=BATCH_TRANSACTIONS_MAX),
    ]


class TransactionRequest(Record, frozen=True, tag=17):
    """Asks for transactions by content hash; unknown ones are left out of the answer."""

    hashes: Annotated[tuple[Hash, ...], msgspec.Meta(max_length=BATCH_TRANSACTIONS_MAX)]


class BlockRequest(Record, frozen=True, tag=18):
    """Asks for final blocks from `height` on, at most `count`."""

    height: Height
    count: Annotated[int, msgspec.Meta(ge=1, le=BLOCK_RANGE_MAX)]


class BlockRange(Record, frozen=True, tag=19):
    """Consecutive certified blocks, and the sender's head height, which is a hint only."""

    blocks: Annotated[tuple[CertifiedBlock, ...], msgspec.Meta(max_length=BLOCK_RANGE_MAX)]
    head: Height


class Head(Record, frozen=True, tag=20):
    """The sender's head height, the first block that it has, and the heights of its snapshots.

    All of it is a hint, sent on connection and now and then.
    """

    height: Height
    blocks_from: Height = 1
    snapshots: Annotated[tuple[Height, ...], msgspec.Meta(max_length=SNAPSHOTS_OFFERED_MAX)] = ()


class Evidence(Record, frozen=True, tag=21):
    """Two signed messages of one member that contradict each other, each encoded."""

    first: Annotated[bytes, msgspec.Meta(max_length=64 * 1024)]
    second: Annotated[bytes, msgspec.Meta(max_length=64 * 1024)]


class SnapshotFile(Record, frozen=True):
    """One file of a snapshot: what kind it is, and which of that kind."""

    section: Annotated[int, msgspec.Meta(ge=0, le=2)]
    number: Height


class SnapshotRequest(Record, frozen=True, tag=22):
    """Asks for `SNAPSHOT_PART_BYTES` of a file, from `offset` on, of the snapshot of `height`."""

    height: Height
    file: SnapshotFile
    offset: FileSize


class SnapshotPart(Record, frozen=True, tag=23):
    """The answer: these bytes of a file of `size` bytes; None: that snapshot is not here."""

    height: Height
    file: SnapshotFile
    offset: FileSize
    size: FileSize | None
    data: Annotated[bytes, msgspec.Meta(max_length=SNAPSHOT_PART_BYTES)]


MANIFEST_SECTION, STATE_SECTION, BLOCKS_SECTION = range(3)
MANIFEST_FILE = SnapshotFile(MANIFEST_SECTION, 0)

Vote = Prepare | Commit
ConsensusMessage = Prepare | Commit | ViewChange | PrePrepare | Dissent | CertifiedHeader
Message = (
    ConsensusMessage
    | Transactions
    | TransactionRequest
    | BlockRequest
    | BlockRange
    | Head
    | Evidence
    | SnapshotRequest
    | SnapshotPart
)

SignedMessage = TypeVar("SignedMessage", Prepare, Commit, ViewChange, PrePrepare, Dissent)

BYTES_MAX: dict[type[Any], int] = {
    Prepare: VOTE_BYTES_MAX,
    Commit: VOTE_BYTES_MAX,
    ViewChange: 128 * 1024,
    PrePrepare: 256 * 1024,
    Dissent: VOTE_BYTES_MAX,
    CertifiedHeader: 32 * 1024,
    Transactions: 4 << 20,
    TransactionRequest: 16 * 1024,
    BlockRequest: VOTE_BYTES_MAX,
    BlockRange: MESSAGE_BYTES_MAX,
    Head: VOTE_BYTES_MAX,
    Evidence: 160 * 1024,
    SnapshotRequest: VOTE_BYTES_MAX,
    SnapshotPart: SNAPSHOT_PART_BYTES + 1_024,
}

_codec: Codec[Message] = Codec(Message, MESSAGE_BYTES_MAX)


def decode_message(raw: bytes) -> Message:
    """The message in one frame; raises `PeerFault` `BAD_MESSAGE` or `TOO_LARGE`."""
    try:
        message = _codec.decode(raw)
    except Refused as refusal:
        raise PeerFault("BAD_MESSAGE", f"{refusal.code}: {refusal.message}") from None
    if len(raw) > BYTES_MAX[type(message)]:
        raise PeerFault("TOO_LARGE", f"{type(message).__name__} of {len(raw)} bytes")
    return message


def encode_message(message: Message) -> bytes:
    """Canonical bytes of one message."""
    return encode(message)


def in_batches(raws: Iterable[bytes]) -> Iterator[Transactions]:
    """Raw transactions in order, in messages within the limits of count and bytes."""
    batch: list[bytes] = []
    size = 0
    for raw in raws:
        if batch and (len(batch) >= BATCH_TRANSACTIONS_MAX or size + len(raw) > BATCH_BYTES_MAX):
            yield Transactions(tuple(batch))
            batch, size = [], 0
        batch.append(raw)
        size += len(raw)
    if batch:
        yield Transactions(tuple(batch))


def message_digest(chain: Chain, message: ConsensusMessage) -> bytes:
    """What the signer of a vote signs, 32 bytes. Attachments are not part of it."""
    match message:
        case Prepare():
            return vote_digest(chain, "prepare", message.height, message.view, message.block_id)
        case Commit():
            return vote_digest(chain, "commit", message.height, message.view, message.block_id)
        case PrePrepare():
            block_id = message.header.id(chain)
            return vote_digest(chain, "pre_prepare", message.height, message.view, block_id)
        case ViewChange():
            claim = [message.height, message.view, message.prepared_view, message.prepared_block]
            return chain.digest("view_change", encode(claim))
        case Dissent():
            roots = [message.proposed_root, message.own_root]
            content = [message.height, message.view, message.block_id, *roots]
            return chain.digest("dissent", encode(content))
        case CertifiedHeader():
            raise ValueError("a certified header is proved by its certificate, not signed")


def sign_message(chain: Chain, key: PrivateKey, unsigned: SignedMessage) -> SignedMessage:
    """`unsigned` (its signature is ignored) with the signer's signature filled in."""
    signature = key.sign(message_digest(chain, unsigned))
    return msgspec.structs.replace(unsigned, signature=signature)


def has_valid_signature(chain: Chain, message: ConsensusMessage) -> bool:
    """Whether `signer` signed this message; membership is for the caller to check."""
    if isinstance(message, CertifiedHeader):
        raise ValueError("a certified header is proved by its certificate, not signed")
    return is_valid(message.signer, message_digest(chain, message), message.signature)
