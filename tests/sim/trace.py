"""The record of a run: a digest that two equal runs share, and on demand the story in lines."""

from __future__ import annotations

import hashlib
from collections.abc import Callable

from node.protocol.domain import Chain
from node.protocol.messages import (
    BlockRange,
    BlockRequest,
    CertifiedHeader,
    Commit,
    Dissent,
    Evidence,
    Head,
    Message,
    Prepare,
    PrePrepare,
    SnapshotPart,
    SnapshotRequest,
    TransactionRequest,
    Transactions,
    ViewChange,
)

ID_CHARS = 8


class Trace:
    """Takes note of everything that happens, in order."""

    def __init__(self, start_ms: int, sink: Callable[[str], None] | None = None) -> None:
        self._start_ms = start_ms
        self._sink = sink
        self._hash = hashlib.sha256()

    def note(self, now_ms: int, place: str, what: str) -> None:
        """`what` happened at `place`."""
        line = f"{now_ms - self._start_ms:>7} {place:<6} {what}"
        self._hash.update(line.encode())
        if self._sink is not None:
            self._sink(line)

    @property
    def digest(self) -> str:
        """What has happened so far, in 64 hex digits."""
        return self._hash.hexdigest()


def short(identity: bytes) -> str:
    """The first digits of a hash or key."""
    return identity.hex()[:ID_CHARS]


def describe(chain: Chain, message: Message) -> str:
    """One message in a few words, with what tells it from others of its kind."""
    name = type(message).__name__
    match message:
        case Prepare() | Commit() | Dissent():
            return f"{name} h={message.height} v={message.view} {short(message.block_id)}"
        case PrePrepare():
            size = f"txs={len(message.transaction_hashes)} vcs={len(message.view_changes)}"
            block_id = short(message.header.id(chain))
            return f"{name} h={message.height} v={message.view} {block_id} {size}"
        case ViewChange():
            prepared = f"prepared={message.prepared_view} {short(message.prepared_block)}"
            return f"{name} h={message.height} v={message.view} {prepared}"
        case CertifiedHeader():
            return f"{name} h={message.header.height} v={message.certificate.view}"
        case Transactions(raws):
            ids = " ".join(short(raw[-64:]) for raw in raws[:4])
            return f"{name} n={len(raws)} {ids}"
        case TransactionRequest(hashes):
            return f"{name} n={len(hashes)} {' '.join(short(one) for one in hashes[:4])}"
        case BlockRequest(height, count):
            return f"{name} h={height} n={count}"
        case BlockRange(blocks, head):
            heights = [block.header.height for block in blocks]
            return f"{name} {heights[:1]}…{heights[-1:]} head={head}"
        case Head(height):
            return f"{name} {height}"
        case SnapshotRequest(height, file, offset):
            return f"{name} h={height} {file.section}/{file.number} at {offset}"
        case SnapshotPart(height, file, offset, size):
            return f"{name} h={height} {file.section}/{file.number} at {offset} of {size}"
        case Evidence():
            return name
