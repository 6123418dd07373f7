"""The check of a snapshot's parts, each alone, whoever gave it.

The manifest's handovers lead from the founders to the validators who sealed its header, its hashes
to the state root of that header; a state file's records must lead to the one hash of its subtree;
blocks must follow each other and be what their headers say. Every fault is `Refused`
`BAD_SNAPSHOT`: whoever gave the part is to blame.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence

import msgspec

from node.protocol.block import (
    BlockHeader,
    CommitCertificate,
    check_certificate,
    receipt_hash,
)
from node.protocol.domain import Chain
from node.protocol.encoding import sha256
from node.protocol.errors import Refused
from node.protocol.history import SetHistory
from node.protocol.proofs import (
    ARITY,
    HASH_BYTES,
    bucket_index,
    bucket_root,
    empty_hashes,
    key_hash,
    merkle_root,
    node_hash,
    value_hash,
)
from node.protocol.transaction import VALID_FOR_MS_MAX
from node.protocol.validators import ValidatorSet
from node.state.layout import RECORDS
from node.state.snapshot import Manifest, StoredBlock, blocks_codec


class Subtree(msgspec.Struct, frozen=True):
    """Checked records of one subtree, by database key, and the buckets that they make."""

    records: Sequence[tuple[bytes, bytes]]
    buckets: Mapping[int, bytes]


SaltOf = Callable[[str, bytes, bytes], bytes]
"""The secret salt of a record's value, by table, key and value; empty for public tables."""


def check_manifest(
    chain: Chain, depth: int, founders: ValidatorSet, manifest: Manifest
) -> SetHistory:
    """The validators up to the state that it describes; raises `Refused` `BAD_SNAPSHOT`."""
    if manifest.depth != depth or manifest.level > depth:
        raise Refused("BAD_SNAPSHOT", "its tree has another depth")
    if len(manifest.nodes) != HASH_BYTES * ARITY**manifest.level:
        raise Refused("BAD_SNAPSHOT", "it has the wrong number of subtrees")
    if _fold(manifest.nodes, manifest.level) != manifest.header.state_root:
        raise Refused("BAD_SNAPSHOT", "its subtrees do not lead to its state root")
    if not 1 <= manifest.blocks_from <= manifest.height:
        raise Refused("BAD_SNAPSHOT", "its blocks do not end at its height")
    try:
        history = SetHistory.proved(chain, founders, manifest.handovers)
    except Refused as refusal:
        raise Refused("BAD_SNAPSHOT", refusal.message) from None
    _check_certified(chain, manifest.header, manifest.certificate, history)
    if history.eras[-1][0] > manifest.height + 1:
        raise Refused("BAD_SNAPSHOT", "its validators are those of a later height")
    return history


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
    history: SetHistory,
    raw: bytes,
    receipt_salt: Callable[[bytes], bytes],
    parent: BlockHeader | None,
) -> tuple[StoredBlock, ...]:
    """The blocks of one file, which follow `parent`; raises `Refused` `BAD_SNAPSHOT`."""
    try:
        stored = blocks_codec.decode(raw)
    except Refused as refusal:
        raise Refused("BAD_SNAPSHOT", f"blocks cannot be read ({refusal.code})") from None
    for one in stored:
        header = one.block.header
        if parent is not None and header.parent != parent.id(chain):
            raise Refused("BAD_SNAPSHOT", f"block {header.height} does not follow the one before")
        _check_certified(chain, header, one.block.certificate, history)
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
    chain: Chain, header: BlockHeader, certificate: CommitCertificate, history: SetHistory
) -> None:
    height = header.height
    try:
        check_certificate(chain, header, certificate, history.at(height))
    except Refused as refusal:
        raise Refused(
            "BAD_SNAPSHOT", f"the certificate of block {height}: {refusal.message}"
        ) from None
    if header.next_validators_hash != history.at(height + 1).hash:
        raise Refused("BAD_SNAPSHOT", f"block {height} names validators that are not proved")


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
