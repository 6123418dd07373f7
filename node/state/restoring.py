"""Restoring: from a snapshot's files to a database that a node can start on.

Every file is checked before a record of it is written, and the database says what it is only at
the very end, so an interrupted one is never taken for a whole one. Blocks below the snapshot's
window, and balances below its height, are not there: the store says `PRUNED` of them.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

from node.protocol.block import BlockHeader
from node.protocol.domain import Chain
from node.protocol.encoding import encode
from node.protocol.errors import Refused
from node.protocol.proofs import ARITY
from node.protocol.validators import ValidatorSet
from node.state.keyvalue import KeyValue, Put
from node.state.layout import (
    BLOCKS,
    GENESIS_KEY,
    HEAD_KEY,
    HISTORY_TABLE,
    LAYOUT_VERSION,
    OLDEST_KEY,
    RECEIPTS,
    HeadRecord,
    Oldest,
    Origin,
    block_index_key,
    handover_put,
    history_prefix,
    number,
    table_prefix,
    transaction_index_key,
)
from node.state.snapshot import (
    MANIFEST,
    Manifest,
    StoredBlock,
    blocks_file,
    manifest_codec,
    state_file,
)
from node.state.snapshot_check import (
    SaltOf,
    Subtree,
    check_blocks,
    check_manifest,
    check_state,
    covers_replay_window,
)
from node.state.snapshot_files import SnapshotFiles
from node.state.tree import bucket_key

Progress = Callable[[str, int, int], None]


class Trust(NamedTuple):
    """What a snapshot is checked against: the network, its founders, and the secret salts."""

    chain: Chain
    depth: int
    founders: ValidatorSet
    salt_of: SaltOf
    receipt_salt: Callable[[bytes], bytes]


def read_snapshot(
    folder: Path, trust: Trust, database: KeyValue | None, progress: Progress
) -> Manifest:
    """Check all of a snapshot, and write it into an empty database unless that is None.

    Raises `Refused` `BAD_SNAPSHOT` naming the file; the database is of no use then.
    """
    files = SnapshotFiles(folder)
    try:
        manifest = manifest_codec.decode(_read(files, MANIFEST))
    except Refused as refusal:
        raise Refused("BAD_SNAPSHOT", f"{MANIFEST}: {refusal.message}") from None
    history = check_manifest(trust.chain, trust.depth, trust.founders, manifest)
    subtrees = ARITY**manifest.level
    for index in range(subtrees):
        subtree = check_state(manifest, index, files.read(state_file(index)) or b"", trust.salt_of)
        if database is not None:
            database.write(_state_puts(subtree, manifest.height), sync=False)
        progress("state", index + 1, subtrees)
    height, parent = manifest.blocks_from, None
    while height <= manifest.height:
        raw = _read(files, blocks_file(height))
        stored = check_blocks(trust.chain, history, raw, trust.receipt_salt, parent)
        if not stored or stored[0].block.header.height != height:
            raise Refused("BAD_SNAPSHOT", f"{blocks_file(height)}: it begins with another block")
        parent = _follow(manifest, stored, parent)
        if database is not None:
            database.write(_block_puts(trust.chain, stored), sync=False)
        height = parent.height + 1
        progress("blocks", parent.height - manifest.blocks_from, manifest.height)
    if parent != manifest.header:
        raise Refused("BAD_SNAPSHOT", "its blocks do not end with the one of its state")
    if database is not None:
        database.write(_final_puts(trust, manifest), sync=True)
    return manifest


def _follow(
    manifest: Manifest, stored: Sequence[StoredBlock], parent: BlockHeader | None
) -> BlockHeader:
    first = stored[0].block.header
    if parent is None and not covers_replay_window(manifest, first):
        raise Refused("BAD_SNAPSHOT", "its blocks do not cover the last ten minutes")
    return stored[-1].block.header


def _state_puts(subtree: Subtree, height: int) -> list[Put]:
    puts: list[Put] = list(subtree.records)
    prefix = table_prefix(HISTORY_TABLE)
    for key, value in subtree.records:
        if key.startswith(prefix):
            puts.append((history_prefix(key[len(prefix) :]) + number(height), value))
    puts += [(bucket_key(index), entries) for index, entries in subtree.buckets.items()]
    return puts


def _block_puts(chain: Chain, stored: Sequence[StoredBlock]) -> list[Put]:
    puts: list[Put] = []
    for one in stored:
        height = number(one.block.header.height)
        puts.append((BLOCKS + height, encode(one.block)))
        puts.append((RECEIPTS + height, encode(one.receipts)))
        puts.append((block_index_key(one.block.header.id(chain)), height))
        for index, receipt in enumerate(one.receipts):
            place = height + index.to_bytes(4, "big")
            puts.append((transaction_index_key(receipt.transaction_id), place))
    return puts


def _final_puts(trust: Trust, manifest: Manifest) -> list[Put]:
    header = manifest.header
    head = HeadRecord(
        header.height, header.id(trust.chain), header.state_root, manifest.transactions
    )
    oldest = Oldest(manifest.blocks_from, header.height)
    origin = Origin(LAYOUT_VERSION, trust.chain.genesis_hash, trust.depth)
    return [
        *(handover_put(handover) for handover in manifest.handovers),
        (OLDEST_KEY, encode(oldest)),
        (HEAD_KEY, encode(head)),
        (GENESIS_KEY, encode(origin)),
    ]


def _read(files: SnapshotFiles, name: str) -> bytes:
    raw = files.read(name)
    if raw is None:
        raise Refused("BAD_SNAPSHOT", f"{files.folder / name} is missing")
    return raw
