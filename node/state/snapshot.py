"""Snapshots: the whole state at one height in files, each of which can be checked alone.

Every node makes one at the same heights, from a view of its database that stays as it is, while
blocks go on. A folder named by the height holds:

| file              | content                                                                   |
|-------------------|---------------------------------------------------------------------------|
| `manifest`        | `Manifest`: certified header, handovers, hashes of subtrees of one level  |
| `state-` index    | the records of that subtree's buckets, as (length, key, length, value)    |
| `blocks-` height  | blocks with their receipts, ascending from that height                    |

The manifest's hashes lead to the state root of its header; a state file's records must lead to the
one hash of its subtree. The blocks are those of the last ten minutes before the header: so long can
a transaction be valid, so their ids are the replay set, and each block proves its own by its
certificate. The handovers lead from the founders to the validators who sealed the header. Checking
is `snapshot_check`'s part; when snapshots are made is for others to know.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Generator, Iterator, Sequence
from pathlib import Path
from typing import Annotated

import msgspec

from node.protocol.block import (
    BLOCK_BYTES_MAX,
    BlockHeader,
    CertifiedBlock,
    CommitCertificate,
    Receipt,
    block_codec,
    receipts_codec,
)
from node.protocol.encoding import Codec, Record, encode, sha256
from node.protocol.errors import StoreFailure
from node.protocol.history import Handover
from node.protocol.proofs import ARITY, HASH_BYTES, TREE_DEPTH_MAX, bucket_index
from node.protocol.transaction import VALID_FOR_MS_MAX, Height
from node.state.keyvalue import Records
from node.state.layout import BLOCKS, RECEIPTS, RECORDS, damaged, decoded, number, successor
from node.state.snapshot_files import FILE_BYTES_MAX, SnapshotFiles

SNAPSHOT_VERSION = 2
SNAPSHOT_EVERY = 4_096
SNAPSHOTS_KEPT = 2
FILE_BYTES_TARGET = 512 << 10
MANIFEST_BYTES_MAX = 16 << 20
LEVEL_MAX = 4
RECORDS_PER_STEP = 500
BUFFERED_BYTES_MAX = 16 << 20
MANIFEST = "manifest"
PARTIAL_SUFFIX = ".partial"


class Manifest(Record, frozen=True):
    """What a snapshot is of. `nodes` are the hashes of the 16^level subtrees, one after the other.

    `handovers` are all changes of validators up to the header, `transactions` counts those of all
    blocks up to it.
    """

    version: Annotated[int, msgspec.Meta(ge=SNAPSHOT_VERSION, le=SNAPSHOT_VERSION)]
    header: BlockHeader
    certificate: CommitCertificate
    handovers: tuple[Handover, ...]
    depth: Annotated[int, msgspec.Meta(ge=1, le=TREE_DEPTH_MAX)]
    level: Annotated[int, msgspec.Meta(ge=1, le=LEVEL_MAX)]
    nodes: Annotated[bytes, msgspec.Meta(max_length=HASH_BYTES * ARITY**LEVEL_MAX)]
    transactions: Annotated[int, msgspec.Meta(ge=0)]
    blocks_from: Height

    @property
    def height(self) -> int:
        """The height after whose block this is the state."""
        return self.header.height


class StoredBlock(Record, frozen=True):
    """A block with what executing it gave."""

    block: CertifiedBlock
    receipts: tuple[Receipt, ...]


class Source(msgspec.Struct, frozen=True):
    """What a snapshot is made of: the database right after `block`, which nobody changes.

    `nodes[level]` has the hashes of the tree's level, from 1 to `LEVEL_MAX` or the `depth`.
    """

    view: Records
    block: CertifiedBlock
    handovers: tuple[Handover, ...]
    depth: int
    nodes: Sequence[bytes]
    transactions: int


manifest_codec: Codec[Manifest] = Codec(Manifest, MANIFEST_BYTES_MAX)
blocks_codec: Codec[tuple[StoredBlock, ...]] = Codec(
    tuple[StoredBlock, ...], FILE_BYTES_MAX + BLOCK_BYTES_MAX
)


def is_snapshot_height(height: int, every: int = SNAPSHOT_EVERY) -> bool:
    """Whether all nodes make a snapshot after this block."""
    return height > 0 and height % every == 0


def state_file(index: int) -> str:
    """The name of a subtree's file."""
    return f"state-{index:06d}"


def blocks_file(height: int) -> str:
    """The name of the file whose first block is this one."""
    return f"blocks-{height:012d}"


def make_snapshot(
    source: Source,
    folder: Path,
    kept: int = SNAPSHOTS_KEPT,
) -> Iterator[None]:
    """Write the snapshot of `source` into `folder`, a few records at each step of the iterator.

    At the end the oldest ones beyond `kept` are removed. Raises `StoreFailure` `DISK_FAILED` or
    `DATABASE_DAMAGED`.
    """
    view, block, nodes = source.view, source.block, source.nodes
    height = block.header.height
    final = folder / str(height)
    if final.exists():
        os.utime(final / MANIFEST)  # whoever waits for it sees that it is the newest
        return
    partial = folder / f"{height}{PARTIAL_SUFFIX}"
    try:
        shutil.rmtree(partial, ignore_errors=True)
        partial.mkdir(parents=True)
        files = SnapshotFiles(partial)
        level = 1
        for size in _sizes(view):
            yield
            while level < len(nodes) - 1 and size > FILE_BYTES_TARGET * ARITY**level:
                level += 1
        yield from _write_state(view, level, files)
        blocks_from = yield from _write_blocks(view, block, files)
        manifest = Manifest(
            SNAPSHOT_VERSION,
            block.header,
            block.certificate,
            source.handovers,
            source.depth,
            level,
            nodes[level],
            source.transactions,
            blocks_from,
        )
        files.write(MANIFEST, encode(manifest))
        os.replace(partial, final)
        for old in snapshot_heights(folder)[:-kept]:
            shutil.rmtree(folder / str(old))
    except OSError as error:
        shutil.rmtree(partial, ignore_errors=True)
        raise StoreFailure("DISK_FAILED", f"{folder}: {error.strerror}") from None


def snapshot_heights(folder: Path) -> list[int]:
    """The heights of the complete snapshots in `folder`, ascending."""
    if not folder.is_dir():
        return []
    names = [path.name for path in folder.iterdir() if (path / MANIFEST).is_file()]
    return sorted(int(name) for name in names if name.isascii() and name.isdecimal())


def _sizes(view: Records) -> Iterator[int]:
    """The bytes of all records, as far as they are counted."""
    total = 0
    for count, (key, value) in enumerate(view.iterate(RECORDS, successor(RECORDS)), 1):
        total += len(key) + len(value)
        if count % RECORDS_PER_STEP == 0:
            yield total
    yield total


def _write_state(view: Records, level: int, files: SnapshotFiles) -> Iterator[None]:
    buffers: dict[int, bytearray] = {}
    buffered = 0
    for count, (key, value) in enumerate(view.iterate(RECORDS, successor(RECORDS)), 1):
        own = key[1:]
        # A database key is the table, a NUL and the key: just what the tree hashes.
        buffer = buffers.setdefault(bucket_index(sha256(own), level), bytearray())
        buffer += len(own).to_bytes(4, "big") + own + len(value).to_bytes(4, "big") + value
        buffered += len(own) + len(value) + 8
        if buffered > BUFFERED_BYTES_MAX:
            _append(buffers, files)
            buffered = 0
        if count % RECORDS_PER_STEP == 0:
            yield
    _append(buffers, files)


def _append(buffers: dict[int, bytearray], files: SnapshotFiles) -> None:
    for index, buffer in buffers.items():
        files.append(state_file(index), bytes(buffer))
    buffers.clear()


def _write_blocks(
    view: Records, last: CertifiedBlock, files: SnapshotFiles
) -> Generator[None, None, int]:
    """The blocks of the replay window up to `last`; the height of the first of them."""
    first = last.header.height
    oldest_ms = last.header.time_ms - VALID_FOR_MS_MAX
    while first > 1:
        first -= 1
        below = decoded(block_codec, view.get(BLOCKS + number(first)))
        if below is None:
            raise damaged(f"block {first} is missing")
        if below.header.time_ms < oldest_ms:
            break  # it is in, to show by its time that nothing of the window is left out
        yield
    pending: list[StoredBlock] = []
    size = 0
    for height in range(first, last.header.height + 1):
        block = decoded(block_codec, view.get(BLOCKS + number(height)))
        receipts = decoded(receipts_codec, view.get(RECEIPTS + number(height)))
        if block is None or receipts is None:
            raise damaged(f"block {height} is missing")
        pending.append(StoredBlock(block, receipts))
        size += sum(map(len, block.transactions))
        if size > FILE_BYTES_TARGET or height == last.header.height:
            files.write(blocks_file(pending[0].block.header.height), encode(tuple(pending)))
            pending, size = [], 0
        yield
    return first
