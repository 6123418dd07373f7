"""Snapshots: the whole state at one height in files, each of which can be checked alone.

Every node makes one at the same heights, from a view of its database that stays as it is, while
blocks go on. A folder named by the height holds:

| file             | content                                                                    |
|------------------|----------------------------------------------------------------------------|
| `manifest`       | `Manifest`: certified header, handovers, hashes of all subtrees of a level |
| `state-` index   | that subtree's records, in any order, as (length, key, length, value)      |
| `blocks-` height | blocks with their receipts, ascending up to that height                    |

The manifest's hashes lead to the state root of its header; a state file's records must lead to the
one hash of its subtree; an empty subtree has no file. The blocks are those of the last ten minutes
before the header: so long can a transaction be valid, so their ids are the replay set, and each
block proves its own by its certificate. The handovers lead from the founders to the validators who
sealed the header. What file holds what follows from the state and the chain alone, so that the
files of all nodes fit together. Checking is `snapshot_check`'s part; when snapshots are made is for
others to know.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Protocol

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
from node.protocol.messages import (
    BLOCKS_SECTION,
    MANIFEST_FILE,
    SNAPSHOT_FILE_BYTES_MAX,
    STATE_SECTION,
    SnapshotFile,
)
from node.protocol.proofs import HASH_BYTES, bucket_index
from node.protocol.transaction import VALID_FOR_MS_MAX
from node.state.keyvalue import Records
from node.state.layout import BLOCKS, RECEIPTS, RECORDS, damaged, decoded, number, successor
from node.state.places import Places
from node.state.snapshot_files import SnapshotFiles
from node.state.vault import Vault

SNAPSHOT_VERSION = 2
SNAPSHOTS_KEPT = 2
# A state file holds 16^2 buckets, a file of blocks ends with the one that exceeds these bytes.
FILE_LEVELS = 2
BLOCKS_BYTES_TARGET = 512 << 10
BLOCK_OVERHEAD = 1_024
MANIFEST_BYTES_MAX = 16 << 20
RECORDS_PER_STEP = 500
BUFFERED_BYTES_MAX = 16 << 20
MANIFEST = "manifest"
PARTIAL_SUFFIX = ".partial"


class Manifest(Record, frozen=True):
    """What a snapshot is of. `nodes` are the hashes of all subtrees, one after the other.

    `handovers` are all changes of validators up to the header.
    """

    version: Annotated[int, msgspec.Meta(ge=SNAPSHOT_VERSION, le=SNAPSHOT_VERSION)]
    header: BlockHeader
    certificate: CommitCertificate
    handovers: tuple[Handover, ...]
    nodes: bytes

    @property
    def height(self) -> int:
        """The height after whose block this is the state."""
        return self.header.height

    def node(self, index: int) -> bytes:
        """The hash of one subtree."""
        return self.nodes[index * HASH_BYTES : (index + 1) * HASH_BYTES]


class StoredBlock(Record, frozen=True):
    """A block with what executing it gave."""

    block: CertifiedBlock
    receipts: tuple[Receipt, ...]

    @property
    def header(self) -> BlockHeader:
        """The block's header."""
        return self.block.header

    @property
    def size(self) -> int:
        """About its bytes, the same with every node."""
        return BLOCK_OVERHEAD + sum(map(len, self.block.transactions))


class Source(msgspec.Struct, frozen=True):
    """What a snapshot is made of: the database right after `block`, which nobody changes.

    `nodes` are the hashes of the tree's level `file_level(depth)`.
    """

    view: Records
    vault: Vault
    block: CertifiedBlock
    handovers: tuple[Handover, ...]
    depth: int
    nodes: bytes


class FileWriter(Protocol):
    """Where files are written: `SnapshotFiles`, or in memory."""

    def write(self, name: str, content: bytes) -> None:
        """A whole file, durably."""

    def append(self, name: str, content: bytes) -> None:
        """More of a file."""

    def sync(self, name: str) -> None:
        """Make durable what was appended."""


manifest_codec: Codec[Manifest] = Codec(Manifest, MANIFEST_BYTES_MAX)
blocks_codec: Codec[tuple[StoredBlock, ...]] = Codec(
    tuple[StoredBlock, ...], SNAPSHOT_FILE_BYTES_MAX + BLOCK_BYTES_MAX
)


def is_snapshot_height(height: int, every: int) -> bool:
    """Whether all nodes make a snapshot after this block."""
    return height > 0 and height % every == 0


def file_level(depth: int) -> int:
    """The level of the tree whose subtrees have a file each."""
    return max(1, depth - FILE_LEVELS)


def file_name(file: SnapshotFile) -> str:
    """The name of a file in a folder."""
    if file.section == STATE_SECTION:
        return f"state-{file.number:06d}"
    if file.section == BLOCKS_SECTION:
        return f"blocks-{file.number:012d}"
    return MANIFEST


def ends_window(top: BlockHeader, header: BlockHeader) -> bool:
    """Whether a snapshot of `top` has no blocks below that of `header`.

    It is in to show by its time that nothing of the last ten minutes is left out.
    """
    return header.height == 1 or header.time_ms < top.time_ms - VALID_FOR_MS_MAX


def is_last_of_file(top: BlockHeader, header: BlockHeader, size: int) -> bool:
    """Whether a file whose blocks down to that of `header` have this size holds no more."""
    return size > BLOCKS_BYTES_TARGET or ends_window(top, header)


def make_snapshot(source: Source, folder: Path, kept: int = SNAPSHOTS_KEPT) -> Iterator[None]:
    """Write the snapshot of `source` into `folder`, a few records at each step of the iterator.

    At the end the oldest ones beyond `kept` are removed. Raises `StoreFailure` `DISK_FAILED` or
    `DATABASE_DAMAGED`.
    """
    height = source.block.header.height
    final = folder / str(height)
    if final.exists():
        os.utime(final / MANIFEST)  # whoever waits for it sees that it is the newest
        return
    partial = folder / f"{height}{PARTIAL_SUFFIX}"
    try:
        shutil.rmtree(partial, ignore_errors=True)
        partial.mkdir(parents=True)
        yield from write_snapshot(source, SnapshotFiles(partial, source.vault))
        os.replace(partial, final)
        for old in snapshot_heights(folder)[:-kept]:
            shutil.rmtree(folder / str(old))
    except OSError as error:
        shutil.rmtree(partial, ignore_errors=True)
        raise StoreFailure("DISK_FAILED", f"{folder}: {error.strerror}") from None


def write_snapshot(source: Source, files: FileWriter) -> Iterator[None]:
    """Write all files of a snapshot, the manifest last, a few records at each step."""
    block = source.block
    yield from _write_state(source, files)
    yield from _write_blocks(source.view, block.header, files)
    manifest = Manifest(
        SNAPSHOT_VERSION,
        block.header,
        block.certificate,
        source.handovers,
        source.nodes,
    )
    files.write(file_name(MANIFEST_FILE), encode(manifest))


def snapshot_heights(folder: Path) -> list[int]:
    """The heights of the complete snapshots in `folder`, ascending."""
    if not folder.is_dir():
        return []
    names = [path.name for path in folder.iterdir() if (path / MANIFEST).is_file()]
    return sorted(int(name) for name in names if name.isascii() and name.isdecimal())


def _write_state(source: Source, files: FileWriter) -> Iterator[None]:
    level = file_level(source.depth)
    buffers: dict[int, bytearray] = {}
    names: dict[str, None] = {}
    buffered = 0
    places = Places(source.vault)
    for count, (place, value) in enumerate(source.view.iterate(RECORDS, successor(RECORDS)), 1):
        own = places.hashed(place)
        buffer = buffers.setdefault(bucket_index(sha256(own), level), bytearray())
        buffer += len(own).to_bytes(4, "big") + own + len(value).to_bytes(4, "big") + value
        buffered += len(own) + len(value) + 8
        if buffered > BUFFERED_BYTES_MAX:
            names |= _append(buffers, files)
            buffered = 0
        if count % RECORDS_PER_STEP == 0:
            yield
    names |= _append(buffers, files)
    for name in names:  # one by one, since votes want the disk too
        files.sync(name)
        yield


def _append(buffers: dict[int, bytearray], files: FileWriter) -> dict[str, None]:
    names: dict[str, None] = {}
    for index, buffer in buffers.items():
        name = file_name(SnapshotFile(STATE_SECTION, index))
        files.append(name, bytes(buffer))
        names[name] = None
    buffers.clear()
    return names


def _write_blocks(view: Records, top: BlockHeader, files: FileWriter) -> Iterator[None]:
    """The blocks of the replay window, from the newest down."""
    pending: list[StoredBlock] = []
    size = 0
    for height in range(top.height, 0, -1):
        pending.append(_stored_block(view, height))
        header = pending[-1].header
        size += pending[-1].size
        if is_last_of_file(top, header, size):
            name = file_name(SnapshotFile(BLOCKS_SECTION, pending[0].header.height))
            files.write(name, encode(tuple(reversed(pending))))
            pending, size = [], 0
        yield
        if ends_window(top, header):
            return


def _stored_block(view: Records, height: int) -> StoredBlock:
    block = decoded(block_codec, view.get(BLOCKS + number(height)))
    receipts = decoded(receipts_codec, view.get(RECEIPTS + number(height)))
    if block is None or receipts is None:
        raise damaged(f"block {height} is missing")
    return StoredBlock(block, receipts)
