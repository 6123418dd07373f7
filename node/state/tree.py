"""The state tree: a Merkle tree of fixed depth over the hashes of all records.

A key hash picks one of 16^depth buckets; a bucket is its sorted 64-byte entries. The hashes of
buckets and of the 16-way nodes above them are in memory, one bytearray a level; the entries are
on disk. `update` is pure: it returns a `TreeDelta`, which the caller writes to disk in its own
batch and then gives to `apply`. A delta may stand on another one that is not yet applied, so that
blocks can be executed ahead. Hashing and checking of proofs is in `protocol.proofs`; keys and
values come in hashed, so this module knows no record.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Mapping, Sequence
from typing import Final

from node.protocol.proofs import (
    ARITY,
    ENTRY_BYTES,
    HASH_BYTES,
    TREE_DEPTH_MAX,
    EntryProof,
    LevelProof,
    StateProof,
    bucket_index,
    bucket_root,
    empty_hashes,
    entry_leaves,
    merkle_path,
    node_hash,
)
from node.state.keyvalue import Put, Records
from node.state.layout import BUCKETS, damaged

PROGRESS_EVERY = 50_000
_GROUP_BYTES = ARITY * HASH_BYTES

Changes = Mapping[bytes, bytes | None]
"""Key hash to value hash; None removes the key."""


class TreeDelta:
    """What one update changes. `root` is the state root after it, `base_root` the one before.

    `buckets` has the new entries of each bucket touched, `groups[level]` the new hashes of each
    touched group of sixteen siblings.
    """

    __slots__ = ("base", "base_root", "buckets", "groups", "root")

    def __init__(
        self,
        root: bytes,
        base_root: bytes,
        buckets: dict[int, bytes],
        groups: tuple[dict[int, bytearray], ...],
        base: TreeDelta | None,
    ) -> None:
        self.root: Final = root
        self.base_root: Final = base_root
        self.buckets: Final = buckets
        self.groups: Final = groups
        self.base = base

    @property
    def bucket_writes(self) -> list[Put]:
        """The database writes that belong to this delta."""
        return [(bucket_key(index), entries or None) for index, entries in self.buckets.items()]


class StateTree:
    """The tree as of the last applied delta. `records` holds its buckets under `bucket_key`."""

    def __init__(self, depth: int, records: Records) -> None:
        """An empty tree; `load` makes one of what is on disk."""
        if not 1 <= depth <= TREE_DEPTH_MAX:
            raise ValueError(f"tree depth {depth} is not within 1 and {TREE_DEPTH_MAX}")
        self.depth: Final = depth
        self._records = records
        empties = empty_hashes(depth)
        self._root = empties[0]
        self._applied: TreeDelta | None = None
        # _levels[level] holds the 16^level hashes of that level; the root is apart.
        self._levels = [
            bytearray(empties[level] * ARITY**level) if level else bytearray()
            for level in range(depth + 1)
        ]

    @property
    def root(self) -> bytes:
        """The state root, 32 bytes."""
        return self._root

    def update(self, changes: Changes, base: TreeDelta | None = None) -> TreeDelta:
        """The delta of `changes` on top of `base` (default: of the tree as applied)."""
        pending = self._pending(base)
        by_bucket: dict[int, list[bytes]] = {}
        shift = 32 - 4 * self.depth
        for key in sorted(changes):
            by_bucket.setdefault(int.from_bytes(key[:4], "big") >> shift, []).append(key)
        buckets: dict[int, bytes] = {}
        changed: dict[int, bytes] = {}
        for index, keys in by_bucket.items():
            before = self._entries(index, pending)
            after = _merge(before, keys, changes)
            if after != before:
                buckets[index] = after
                changed[index] = bucket_root(after)
        base_root = pending[0].root if pending else self._root
        groups, root = self._rehash(changed, pending)
        return TreeDelta(root or base_root, base_root, buckets, groups, base)

    def apply(self, delta: TreeDelta, records: Records) -> None:
        """Make `delta` the tree's own; `records` is the database with its `bucket_writes` done."""
        if delta.base_root != self._root:
            raise AssertionError("a tree delta was applied out of order")
        for level, groups in zip(self._levels, delta.groups, strict=True):
            for parent, hashes in groups.items():
                level[parent * _GROUP_BYTES : (parent + 1) * _GROUP_BYTES] = hashes
        self._root = delta.root
        self._applied = delta
        self._records = records
        delta.base = None  # it is part of the tree now; keeping it would chain all deltas ever

    def nodes(self, level: int) -> bytes:
        """The hashes of all nodes of a level, 1 to `depth`, one after the other."""
        return bytes(self._levels[level])

    def read_from(self, records: Records) -> None:
        """Read buckets from here from now on: the same content, opened anew."""
        self._records = records

    def prove(self, key: bytes) -> StateProof:
        """The proof of what the applied tree says about a key hash, be it present or absent."""
        index = bucket_index(key, self.depth)
        entries = self._entries(index, ())
        split, leaves = _split(entries), entry_leaves(entries)
        shown = tuple(
            EntryProof(split[at][:HASH_BYTES], split[at][HASH_BYTES:], merkle_path(leaves, at))
            for at in _find_or_surround(split, key)
        )
        levels = []
        for level in range(self.depth, 0, -1):
            levels.append(self._level_proof(level, index))
            index >>= 4
        return StateProof(shown, tuple(levels))

    def restore_bucket(self, index: int, hashed: bytes) -> None:
        """Set the hash of one bucket while loading."""
        self._levels[self.depth][index * HASH_BYTES : (index + 1) * HASH_BYTES] = hashed

    def restore_nodes(self, parents: set[int]) -> None:
        """Recompute the nodes above restored buckets; `parents` are those one level up."""
        for level in range(self.depth, 0, -1):
            above = self._levels[level - 1]
            for parent in parents:
                hashed = node_hash(self._group(level, parent, ()))
                if level == 1:
                    self._root = hashed
                else:
                    above[parent * HASH_BYTES : (parent + 1) * HASH_BYTES] = hashed
            parents = {parent >> 4 for parent in parents}

    def _pending(self, base: TreeDelta | None) -> list[TreeDelta]:
        """The deltas that `base` stands on and that are not applied, newest first."""
        pending = []
        while base is not None and base is not self._applied:
            pending.append(base)
            base = base.base
        if pending and pending[-1].base_root != self._root:
            raise AssertionError("a tree delta stands on a state that is not this tree's")
        return pending

    def _entries(self, index: int, pending: Sequence[TreeDelta]) -> bytes:
        for delta in pending:
            entries = delta.buckets.get(index)
            if entries is not None:
                return entries
        return self._records.get(bucket_key(index)) or b""

    def _rehash(
        self, changed: dict[int, bytes], pending: Sequence[TreeDelta]
    ) -> tuple[tuple[dict[int, bytearray], ...], bytes | None]:
        """The groups of siblings by level that follow from changed bucket hashes, and the root."""
        all_groups: list[dict[int, bytearray]] = [{}]
        for level in range(self.depth, 0, -1):
            groups: dict[int, bytearray] = {}
            for index, hashed in changed.items():
                parent = index >> 4
                group = groups.get(parent)
                if group is None:
                    group = groups[parent] = self._group(level, parent, pending)
                start = (index & 15) * HASH_BYTES
                group[start : start + HASH_BYTES] = hashed
            changed = {parent: node_hash(group) for parent, group in groups.items()}
            all_groups.insert(1, groups)
        return tuple(all_groups), changed.get(0)

    def _group(self, level: int, parent: int, pending: Sequence[TreeDelta]) -> bytearray:
        """A copy of the sixteen hashes below one node."""
        for delta in pending:
            group = delta.groups[level].get(parent)
            if group is not None:
                return bytearray(group)
        return self._levels[level][parent * _GROUP_BYTES : (parent + 1) * _GROUP_BYTES]

    def _level_proof(self, level: int, index: int) -> LevelProof:
        empty = empty_hashes(self.depth)[level]
        group = bytes(self._group(level, index >> 4, ()))
        present, siblings = 0, []
        for child in range(ARITY):
            hashed = group[child * HASH_BYTES :][:HASH_BYTES]
            if child != index & 15 and hashed != empty:
                present |= 1 << child
                siblings.append(hashed)
        return LevelProof(present, tuple(siblings))


def bucket_key(index: int) -> bytes:
    """The database key of a bucket."""
    return BUCKETS + index.to_bytes(4, "big")


def load_tree(
    depth: int, records: Records, progress: Callable[[int], None] | None = None
) -> StateTree:
    """Rebuild the hashes in memory from the buckets on disk.

    `progress` is told the number of buckets read, now and then. Whether the root is the right one
    is for the caller to compare. Raises `StoreFailure` `DATABASE_DAMAGED` for a malformed bucket.
    """
    tree = StateTree(depth, records)
    parents: set[int] = set()
    stop = bytes([BUCKETS[0] + 1])
    for count, (key, entries) in enumerate(records.iterate(BUCKETS, stop), 1):
        index = int.from_bytes(key[1:], "big")
        if len(key) != 5 or index >= ARITY**depth or not entries or len(entries) % ENTRY_BYTES:
            raise damaged(f"bucket {index} of the state tree is malformed")
        tree.restore_bucket(index, bucket_root(entries))
        parents.add(index >> 4)
        if progress is not None and count % PROGRESS_EVERY == 0:
            progress(count)
    tree.restore_nodes(parents)
    return tree


def _merge(entries: bytes, keys: Sequence[bytes], changes: Changes) -> bytes:
    """A bucket's entries with the changes of these keys made."""
    split = _split(entries)
    for key in keys:
        value = changes[key]
        at = bisect_left(split, key)  # an entry is longer than its key, hence not below it
        found = at < len(split) and split[at].startswith(key)
        if value is None:
            if found:
                del split[at]
        elif found:
            split[at] = key + value
        else:
            split.insert(at, key + value)
    return b"".join(split)


def _split(entries: bytes) -> list[bytes]:
    return [entries[at : at + ENTRY_BYTES] for at in range(0, len(entries), ENTRY_BYTES)]


def _find_or_surround(split: Sequence[bytes], key: bytes) -> list[int]:
    """The index of the key's entry, or of its one or two neighbours."""
    at = bisect_left(split, key)
    if at < len(split) and split[at].startswith(key):
        return [at]
    return [neighbour for neighbour in (at - 1, at) if 0 <= neighbour < len(split)]
