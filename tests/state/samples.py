"""Blocks, receipts and a chain that grows: what the store's tests feed it."""

from __future__ import annotations

import hashlib

from node.protocol.block import BlockHeader, CertifiedBlock, CommitCertificate, Receipt
from node.protocol.domain import Chain
from node.protocol.proofs import key_hash, value_hash
from node.state.keyvalue import KeyValue
from node.state.store import Batch, Store, Writes
from node.state.vault import Vault

GENESIS_HASH = hashlib.sha256(b"genesis").digest()
CHAIN = Chain("test", GENESIS_HASH)
DEPTH = 2
ACCOUNTS = "kernel/accounts"
CARDS = "prepaid/cards"
VAULT = Vault(b"v" * 32)


def digest(text: str) -> bytes:
    """Thirty-two bytes named by a text."""
    return hashlib.sha256(text.encode()).digest()


def leaf_changes(writes: Writes) -> dict[bytes, bytes | None]:
    """The tree's view of writes to public tables."""
    return {
        key_hash(table, key): None if value is None else value_hash(value)
        for (table, key), value in writes.items()
    }


def new_store(database: KeyValue, writes: Writes | None = None) -> Store:
    """A store at height 0."""
    store = Store(database, VAULT, DEPTH, GENESIS_HASH)
    delta = store.tree.update(leaf_changes(writes or {}))
    store.commit(store.genesis_batch(writes or {}, delta))
    return store


def receipt(name: str) -> Receipt:
    """The receipt of the transaction of this name."""
    return Receipt(digest(name), "OK", {"name": name}, (), ("public",))


def next_block(store: Store, writes: Writes, names: tuple[str, ...] = ()) -> Batch:
    """The batch of a block on top of the head, with one transaction for each name."""
    delta = store.tree.update(leaf_changes(writes))
    head = store.head
    height = head.height + 1
    root = digest(f"root of {names}")
    header = BlockHeader(
        1, height, height * 1_000, head.block_id, root, root, delta.root, root, b"\x02" + bytes(32)
    )
    block_id = header.id(CHAIN)
    raws = tuple(name.encode() for name in names)
    block = CertifiedBlock(header, raws, CommitCertificate(height, 0, block_id, ()))
    return store.block_batch(block, [receipt(name) for name in names], writes, delta)


def grow(store: Store, writes: Writes, names: tuple[str, ...] = ()) -> None:
    """Commit that block."""
    store.commit(next_block(store, writes, names))
