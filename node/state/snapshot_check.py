"""The check of a snapshot's files, each alone, whoever gave it.

The manifest's handovers lead from the founders to the validators who sealed its header, its hashes
to the state root of that header; a state file's records must lead to the one hash of its subtree;
blocks must lead down from the header and be what their own headers say. Every fault is `Refused`
`BAD_SNAPSHOT`: whoever gave the file is to blame.
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
from node.protocol.validators import ValidatorSet
from node.state.snapshot import (
    Manifest,
    StoredBlock,
    blocks_codec,
    file_level,
    is_last_of_file,
)
from node.state.trust import SaltOf, Trust


class Subtree(msgspec.Struct, frozen=True):
    """Checked records of one subtree, as (table, key, value), and the buckets that they make.

    `eras` are the first heights of the validator sets among them, `counted` the number of
    transactions up to the height before the snapshot's, if that is among them.
    """

    records: Sequence[tuple[str, bytes, bytes]]
    buckets: Mapping[int, bytes]
    eras: Sequence[int]
    counted: int | None


def check_manifest(
    chain: Chain, depth: int, founders: ValidatorSet, manifest: Manifest
) -> SetHistory:
    """The validators up to the state that it describes; raises `Refused` `BAD_SNAPSHOT`."""
    level = file_level(depth)
    if len(manifest.nodes) != HASH_BYTES * ARITY**level:
        raise Refused("BAD_SNAPSHOT", "it has the wrong number of subtrees")
    if _fold(manifest.nodes, level) != manifest.header.state_root:
        raise Refused("BAD_SNAPSHOT", "its subtrees do not lead to its state root")
    try:
        history = SetHistory.proved(chain, founders, manifest.handovers)
    except Refused as refusal:
        raise Refused("BAD_SNAPSHOT", refusal.message) from None
    _check_certified(chain, manifest.header, manifest.certificate, history)
    if history.eras[-1][0] > manifest.height + 1:
        raise Refused("BAD_SNAPSHOT", "its validators are those of a later height")
    return history


def check_state(trust: Trust, manifest: Manifest, index: int, raw: bytes) -> Subtree:
    """The records of one state file; raises `Refused` `BAD_SNAPSHOT` unless they are genuine."""
    depth, level = trust.depth, file_level(trust.depth)
    records: list[tuple[str, bytes, bytes]] = []
    entries: dict[int, list[bytes]] = {}
    eras, totals = [], {}
    for own, value in records_in(raw):
        table_raw, separator, key = own.partition(b"\x00")
        table = table_raw.decode(errors="replace")
        hashed = key_hash(table, key)
        if not separator or bucket_index(hashed, level) != index:
            raise Refused("BAD_SNAPSHOT", "a record stands in the wrong file")
        bucket = entries.setdefault(bucket_index(hashed, depth), [])
        bucket.append(hashed + value_hash(value, _salt(trust.salt_of, table, key, value)))
        records.append((table, key, value))
    buckets = {bucket: b"".join(sorted(of)) for bucket, of in entries.items()}
    if _subtree_hash(depth, buckets) != manifest.node(index):
        raise Refused("BAD_SNAPSHOT", f"the records of subtree {index} are not the certified ones")
    for table, key, value in records:
        if (era := trust.era_of(table, key)) is not None:
            eras.append(era)
        if (total := trust.counted_in(table, value)) is not None:
            totals[total[0]] = total[1]
    return Subtree(records, buckets, eras, totals.get(manifest.height - 1))


def check_blocks(
    trust: Trust, history: SetHistory, top: BlockHeader, block_id: bytes, raw: bytes
) -> tuple[StoredBlock, ...]:
    """The blocks of one file, up to that of `block_id`; raises `Refused` `BAD_SNAPSHOT`.

    `top` is the header whose state the snapshot is.
    """
    try:
        stored = blocks_codec.decode(raw)
    except Refused as refusal:
        raise Refused("BAD_SNAPSHOT", f"blocks cannot be read ({refusal.code})") from None
    chain = trust.chain
    size, whole = 0, False
    for one in reversed(stored):
        header = one.header
        if whole or header.id(chain) != block_id:
            raise Refused("BAD_SNAPSHOT", f"block {header.height} does not belong here")
        _check_certified(chain, header, one.block.certificate, history)
        _check_body(one, trust.receipt_salt)
        block_id = header.parent
        size += one.size
        whole = is_last_of_file(top, header, size)
    if not whole:
        raise Refused("BAD_SNAPSHOT", "a file lacks blocks")
    return stored


def _check_body(stored: StoredBlock, receipt_salt: Callable[[bytes], bytes]) -> None:
    header = stored.header
    leaves = [sha256(b"\x00" + transaction) for transaction in stored.block.transactions]
    results = [receipt_hash(r, receipt_salt(r.transaction_id)) for r in stored.receipts]
    if (
        len(leaves) != len(results)
        or merkle_root(leaves) != header.transactions_root
        or merkle_root(results) != header.receipts_root
    ):
        raise Refused("BAD_SNAPSHOT", f"block {header.height} is not what its header says")


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


def records_in(raw: bytes) -> Iterator[tuple[bytes, bytes]]:
    """The records of a state file, each as table, NUL and key, and value."""
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


def _salt(salt_of: SaltOf, table: str, key: bytes, value: bytes) -> bytes:
    try:
        return salt_of(table, key, value)
    except LookupError:
        raise Refused("BAD_SNAPSHOT", f"there is no table {table!r}") from None


def _subtree_hash(depth: int, buckets: Mapping[int, bytes]) -> bytes:
    """The hash of the one subtree that holds these buckets."""
    empties = empty_hashes(depth)
    hashes = {index: bucket_root(entries) for index, entries in buckets.items()}
    for level in range(depth, file_level(depth), -1):
        groups: dict[int, bytearray] = {}
        for index, hashed in hashes.items():
            group = groups.setdefault(index >> 4, bytearray(empties[level] * ARITY))
            start = (index & (ARITY - 1)) * HASH_BYTES
            group[start : start + HASH_BYTES] = hashed
        hashes = {parent: node_hash(group) for parent, group in groups.items()}
    return next(iter(hashes.values()), empties[file_level(depth)])


def _fold(nodes: bytes, level: int) -> bytes:
    """The root over all hashes of one level."""
    group = ARITY * HASH_BYTES
    for _ in range(level):
        nodes = b"".join(node_hash(nodes[at : at + group]) for at in range(0, len(nodes), group))
    return nodes
