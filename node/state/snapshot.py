"""Snapshots: the whole state at one height in files, each of which can be checked alone.

Every node makes one at the same heights, from a view of its database that stays as it is, while
blocks go on. A folder named by the height holds:

| file              | content                                                                   |
|-------------------|---------------------------------------------------------------------------|
| `manifest`        | `Manifest`: certified header, hashes of all subtrees of one level         |
| `state-` index    | the records of that subtree's buckets, as (length, key, length, value)    |
| `blocks-` height  | blocks with their receipts, ascending from that height                    |

The manifest's hashes lead to the state root of its header; a state file's records must lead to the
one hash of its subtree. The blocks are those of the last ten minutes before the header: so long can
a transaction be valid, so their ids are the replay set, and each block proves its own by its
certificate. Where files come from and when they are made is for others to know.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
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
    check_certificate,
    receipt_hash,
    receipts_codec,
)
from node.protocol.domain import Chain
from node.protocol.encoding import Codec, Record, encode, sha256
from node.protocol.errors import Refused, StoreFailure
from node.protocol.proofs import (
    ARITY,
    HASH_BYTES,
    TREE_DEPTH_MAX,
    bucket_index,
    bucket_root,
    empty_hashes,
    key_hash,
    merkle_root,
    node_hash,
    value_hash,
)
from node.protocol.transaction import VALID_FOR_MS_MAX, Height
from node.protocol.validators import ValidatorSet
from node.state.keyvalue import Records
from node.state.layout import BLOCKS, RECEIPTS, RECORDS, damaged, decoded, number, successor

SNAPSHOT_VERSION = 1
SNAPSHOT_EVERY = 4_096
SNAPSHOTS_KEPT = 2
FILE_BYTES_TARGET = 512 << 10
FILE_BYTES_MAX = 64 << 20
LEVEL_MAX = 4
RECORDS_PER_STEP = 500
BUFFERED_BYTES_MAX = 16 << 20
MANIFEST = "manifest"
PARTIAL_SUFFIX = ".partial"


class Manifest(Record, frozen=True):
    """What a snapshot is of. `nodes` are the hashes of the 16^level subtrees, one after the other.

    `transactions` counts those of all blocks up to the header's.
    """

    version: Annotated[int, msgspec.Meta(ge=SNAPSHOT_VERSION, le=SNAPSHOT_VERSION)]
    header: BlockHeader
    certificate: CommitCertificate
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
    depth: int
    nodes: Sequence[bytes]
    transactions: int


class Subtree(msgspec.Struct, frozen=True):
    """Checked records of one subtree, by database key, and the buckets that they make."""

    records: Sequence[tuple[bytes, bytes]]
    buckets: Mapping[int, bytes]


SaltOf = Callable[[str, bytes, bytes], bytes]
"""The secret salt of a record's value, by table, key and value; empty for public tables."""

manifest_codec: Codec[Manifest] = Codec(Manifest, 4 << 20)
_blocks_codec: Codec[tuple[StoredBlock, ...]] = Codec(
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


# ---- making


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
        level = 1
        for size in _sizes(view):
            yield
            while level < len(nodes) - 1 and size > FILE_BYTES_TARGET * ARITY**level:
                level += 1
        yield from _write_state(view, level, partial)
        blocks_from = yield from _write_blocks(view, block, partial)
        manifest = Manifest(
            SNAPSHOT_VERSION,
            block.header,
            block.certificate,
            source.depth,
            level,
            nodes[level],
            source.transactions,
            blocks_from,
        )
        _write_synced(partial / MANIFEST, encode(manifest))
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


def _write_state(view: Records, level: int, folder: Path) -> Iterator[None]:
    buffers: dict[int, bytearray] = {}
    buffered = 0
    for count, (key, value) in enumerate(view.iterate(RECORDS, successor(RECORDS)), 1):
        own = key[1:]
        # A database key is the table, a NUL and the key: just what the tree hashes.
        buffer = buffers.setdefault(bucket_index(sha256(own), level), bytearray())
        buffer += len(own).to_bytes(4, "big") + own + len(value).to_bytes(4, "big") + value
        buffered += len(own) + len(value) + 8
        if buffered > BUFFERED_BYTES_MAX:
            _append(buffers, folder)
            buffered = 0
        if count % RECORDS_PER_STEP == 0:
            yield
    _append(buffers, folder)


def _append(buffers: dict[int, bytearray], folder: Path) -> None:
    for index, buffer in buffers.items():
        with (folder / state_file(index)).open("ab") as file:
            file.write(buffer)
    buffers.clear()


def _write_blocks(view: Records, last: CertifiedBlock, folder: Path) -> Generator[None, None, int]:
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
            _write_synced(
                folder / blocks_file(pending[0].block.header.height), encode(tuple(pending))
            )
            pending, size = [], 0
        yield
    return first


def _write_synced(path: Path, content: bytes) -> None:
    with path.open("wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())


# ---- checking


def check_manifest(
    chain: Chain, depth: int, validators: Sequence[ValidatorSet], manifest: Manifest
) -> None:
    """Raise `Refused` `BAD_SNAPSHOT` unless one of these sets certified the state it describes."""
    if manifest.depth != depth or manifest.level > depth:
        raise Refused("BAD_SNAPSHOT", "its tree has another depth")
    if len(manifest.nodes) != HASH_BYTES * ARITY**manifest.level:
        raise Refused("BAD_SNAPSHOT", "it has the wrong number of subtrees")
    if _fold(manifest.nodes, manifest.level) != manifest.header.state_root:
        raise Refused("BAD_SNAPSHOT", "its subtrees do not lead to its state root")
    if not 1 <= manifest.blocks_from <= manifest.height:
        raise Refused("BAD_SNAPSHOT", "its blocks do not end at its height")
    _check_certified(chain, manifest.header, manifest.certificate, validators)


def check_state(manifest: Manifest, index: int, raw: bytes, salt_of: SaltOf) -> Subtree:
    """The records of one state file; raises `Refused` `BAD_SNAPSHOT` unless they are genuine.

    An empty subtree has no file; its `raw` is b"".
    """
    records = list(_records(raw))
    entries: dict[int, list[bytes]] = {}
    for own, value in records:
        table_raw, separator, key = own.partition(b"\x00")
        table = table_raw.decode(errors="replace")
        try:
            salt = salt_of(table, key, value)
        except LookupError:
            raise Refused("BAD_SNAPSHOT", f"there is no table {table!r}") from None
        hashed = key_hash(table, key)
        if not separator or bucket_index(hashed, manifest.level) != index:
            raise Refused("BAD_SNAPSHOT", "a record stands in the wrong file")
        bucket = entries.setdefault(bucket_index(hashed, manifest.depth), [])
        bucket.append(hashed + value_hash(value, salt))
    buckets = {bucket: b"".join(sorted(of)) for bucket, of in entries.items()}
    wanted = manifest.nodes[index * HASH_BYTES : (index + 1) * HASH_BYTES]
    if _subtree_hash(manifest, buckets) != wanted:
        raise Refused("BAD_SNAPSHOT", f"the records of subtree {index} are not the certified ones")
    return Subtree([(RECORDS + own, value) for own, value in records], buckets)


def check_blocks(
    chain: Chain,
    validators: Sequence[ValidatorSet],
    raw: bytes,
    receipt_salt: Callable[[bytes], bytes],
    parent: BlockHeader | None,
) -> tuple[StoredBlock, ...]:
    """The blocks of one file, which follow `parent`; raises `Refused` `BAD_SNAPSHOT`."""
    try:
        stored = _blocks_codec.decode(raw)
    except Refused as refusal:
        raise Refused("BAD_SNAPSHOT", f"blocks cannot be read ({refusal.code})") from None
    for one in stored:
        header = one.block.header
        if parent is not None and header.parent != parent.id(chain):
            raise Refused("BAD_SNAPSHOT", f"block {header.height} does not follow the one before")
        _check_certified(chain, header, one.block.certificate, validators)
        leaves = [sha256(b"\x00" + transaction) for transaction in one.block.transactions]
        results = [receipt_hash(r, receipt_salt(r.transaction_id)) for r in one.receipts]
        if (
            len(leaves) != len(results)
            or merkle_root(leaves) != header.transactions_root
            or merkle_root(results) != header.receipts_root
        ):
            raise Refused("BAD_SNAPSHOT", f"block {header.height} is not what its header says")
        parent = header
    return stored


def covers_replay_window(manifest: Manifest, first: BlockHeader) -> bool:
    """Whether blocks from `first` on hold every id that a later block could hold again.

    The first block of all does; else `first` itself must be older than the window.
    """
    return first.height == 1 or first.time_ms < manifest.header.time_ms - VALID_FOR_MS_MAX


def _check_certified(
    chain: Chain,
    header: BlockHeader,
    certificate: CommitCertificate,
    validators: Sequence[ValidatorSet],
) -> None:
    reason = "nobody's"
    for one in validators:
        try:
            check_certificate(chain, header, certificate, one)
            return
        except Refused as refusal:
            reason = refusal.message
    raise Refused("BAD_SNAPSHOT", f"the certificate of block {header.height}: {reason}")


def _records(raw: bytes) -> Iterator[tuple[bytes, bytes]]:
    at, end = 0, len(raw)
    while at < end:
        parts = []
        for _ in range(2):
            start = at + 4
            at = start + int.from_bytes(raw[at:start], "big")
            parts.append(raw[start:at])
        if at > end:
            raise Refused("BAD_SNAPSHOT", "a file is cut off")
        yield parts[0], parts[1]


def _subtree_hash(manifest: Manifest, buckets: Mapping[int, bytes]) -> bytes:
    """The hash of the one subtree that holds these buckets."""
    empties = empty_hashes(manifest.depth)
    hashes = {index: bucket_root(entries) for index, entries in buckets.items()}
    for level in range(manifest.depth, manifest.level, -1):
        groups: dict[int, bytearray] = {}
        for index, hashed in hashes.items():
            group = groups.setdefault(index >> 4, bytearray(empties[level] * ARITY))
            start = (index & (ARITY - 1)) * HASH_BYTES
            group[start : start + HASH_BYTES] = hashed
        hashes = {parent: node_hash(group) for parent, group in groups.items()}
    return next(iter(hashes.values()), empties[manifest.level])


def _fold(nodes: bytes, level: int) -> bytes:
    """The root over all hashes of one level."""
    group = ARITY * HASH_BYTES
    for _ in range(level):
        nodes = b"".join(node_hash(nodes[at : at + group]) for at in range(0, len(nodes), group))
    return nodes
