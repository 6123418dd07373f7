"""Merkle proofs: what a client checks with nothing but a root out of a certified header.

Two trees share the hash and its domain separation (a leaf, a binary node, a bucket and a 16-way
node each start with a byte of their own, so none can pass for another):

* the *list tree* of a block's transactions or receipts: binary, in the shape of RFC 6962, under a
  root that commits to their number: otherwise a list of inner nodes would pass for that of leaves;
* the *state tree*: 16-way and of fixed depth over buckets of hashed keys. A bucket is a list tree
  over its sorted 64-byte entries (key hash ‖ value hash) and commits to their number, so that two
  adjacent entries, an entry at the edge, or an empty bucket prove that a key is absent.

The depth needs no trust: a bucket's hash cannot stand where a node's does. Holding and updating
the state tree is the node's business and not here.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from functools import lru_cache
from typing import Annotated

import msgspec

from node.protocol.block import EMPTY_ROOT
from node.protocol.encoding import Codec, Record
from node.protocol.errors import Refused
from node.protocol.transaction import Hash

ARITY = 16
HASH_BYTES = 32
ENTRY_BYTES = 2 * HASH_BYTES
TREE_DEPTH_MAX = 6
LIST_LENGTH_MAX = 1 << 32
PATH_LENGTH_MAX = 32
PROOF_BYTES_MAX = 8 * 1024

_LEAF = b"\x00"
_PAIR = b"\x01"
_BUCKET = b"\x02"
_NODE = b"\x03"
_LIST = b"\x04"

_sha256 = hashlib.sha256


class ListProof(Record, frozen=True):
    """The place of one leaf in a list of `length`, and its sibling hashes from the leaf upward."""

    index: Annotated[int, msgspec.Meta(ge=0, lt=LIST_LENGTH_MAX)]
    length: Annotated[int, msgspec.Meta(ge=1, le=LIST_LENGTH_MAX)]
    path: Annotated[tuple[Hash, ...], msgspec.Meta(max_length=PATH_LENGTH_MAX)]


class EntryProof(Record, frozen=True):
    """One entry of a bucket and its place in it."""

    key_hash: Hash
    value_hash: Hash
    place: ListProof


class LevelProof(Record, frozen=True):
    """The siblings of one 16-way node: those that `present` (bit i: child i) says are not empty."""

    present: Annotated[int, msgspec.Meta(ge=0, lt=1 << ARITY)]
    siblings: Annotated[tuple[Hash, ...], msgspec.Meta(max_length=ARITY - 1)]


class StateProof(Record, frozen=True):
    """What one bucket says about a key, and the way from that bucket up to the state root.

    `entries` is the key's own entry, or the neighbours between which it would stand (one at an
    edge, none if the bucket is empty). `levels` starts above the bucket and ends at the root.
    """

    entries: Annotated[tuple[EntryProof, ...], msgspec.Meta(max_length=2)]
    levels: Annotated[tuple[LevelProof, ...], msgspec.Meta(min_length=1, max_length=TREE_DEPTH_MAX)]


list_proof_codec: Codec[ListProof] = Codec(ListProof, PROOF_BYTES_MAX)
state_proof_codec: Codec[StateProof] = Codec(StateProof, PROOF_BYTES_MAX)


# ---- hashes


def key_hash(table: str, key: bytes) -> bytes:
    """The place of a record in the state tree, 32 bytes. Table names hold no NUL."""
    return _sha256(table.encode() + b"\x00" + key).digest()


def value_hash(value: bytes, salt: bytes = b"") -> bytes:
    """What the state tree says of a value, 32 bytes; private tables have a 32-byte secret salt."""
    return _sha256(len(salt).to_bytes(1, "big") + salt + value).digest()


def bucket_root(entries: bytes) -> bytes:
    """The hash of a bucket: the number and the list tree of its sorted 64-byte entries."""
    if not entries:
        return EMPTY_ROOT
    if len(entries) == ENTRY_BYTES:  # the usual case in a large tree, made fast
        root = _sha256(_LEAF + entries).digest()
    else:
        root = _top(entry_leaves(entries))
    length = len(entries) // ENTRY_BYTES
    return _sha256(_BUCKET + length.to_bytes(4, "big") + root).digest()


def entry_leaves(entries: bytes) -> list[bytes]:
    """The leaf hashes of a bucket's concatenated entries."""
    return [
        _sha256(_LEAF + entries[start : start + ENTRY_BYTES]).digest()
        for start in range(0, len(entries), ENTRY_BYTES)
    ]


def node_hash(children: bytes | bytearray) -> bytes:
    """The hash of a 16-way node from its children's hashes, 512 bytes."""
    return _sha256(_NODE + children).digest()


def bucket_index(hashed_key: bytes, depth: int) -> int:
    """Which of the 16^depth buckets a key hash belongs to: its first `depth` hex digits."""
    return int.from_bytes(hashed_key[:4], "big") >> (32 - 4 * depth)


@lru_cache(maxsize=TREE_DEPTH_MAX + 1)
def empty_hashes(depth: int) -> tuple[bytes, ...]:
    """The hash of an empty subtree by level: [0] of the whole tree … [depth] of a bucket."""
    hashes = [EMPTY_ROOT]
    for _ in range(depth):
        hashes.append(node_hash(hashes[-1] * ARITY))
    return tuple(reversed(hashes))


# ---- list trees


def merkle_root(leaves: Sequence[bytes]) -> bytes:
    """The root of a list of leaf hashes (each sha256 of 0x00 ‖ data); `EMPTY_ROOT` for none.

    It commits to their number, so whoever has only the hashes knows that they are leaves.
    """
    return _list_root(len(leaves), _top(leaves)) if leaves else EMPTY_ROOT


def merkle_path(leaves: Sequence[bytes], index: int) -> ListProof:
    """The proof that `leaves[index]` stands at `index`."""
    return path_in(merkle_levels(leaves), index)


def merkle_levels(leaves: Sequence[bytes]) -> list[list[bytes]]:
    """Every level of the tree over a list, the leaves first: for several paths in it."""
    levels = [list(leaves)]
    while len(levels[-1]) > 1:
        levels.append(_pair_up(levels[-1]))
    return levels


def path_in(levels: Sequence[Sequence[bytes]], index: int) -> ListProof:
    """`merkle_path`, of a list whose levels are known."""
    length = len(levels[0])
    if not 0 <= index < length:
        raise IndexError(f"leaf {index} of {length}")
    siblings = [(level, (index >> depth) ^ 1) for depth, level in enumerate(levels[:-1])]
    path = tuple(level[at] for level, at in siblings if at < len(level))
    return ListProof(index, length, path)


def path_root(leaf: bytes, proof: ListProof) -> bytes:
    """The top node that `proof` leads to from a leaf hash; raises `Refused` `BAD_PROOF`."""
    if proof.index >= proof.length:
        raise Refused("BAD_PROOF", "the index is beyond the list")
    position, last, used, current = proof.index, proof.length - 1, 0, leaf
    while last:
        if position ^ 1 <= last:  # else the lone node at the end moves up as it is
            if used == len(proof.path):
                raise Refused("BAD_PROOF", "the path is too short")
            sibling = proof.path[used]
            used += 1
            pair = sibling + current if position & 1 else current + sibling
            current = _sha256(_PAIR + pair).digest()
        position, last = position >> 1, last >> 1
    if used != len(proof.path):
        raise Refused("BAD_PROOF", "the path is too long")
    return current


def verify_path(root: bytes, leaf: bytes, proof: ListProof) -> None:
    """Raise `Refused` `BAD_PROOF` unless the leaf hash stands at `proof.index` in this list."""
    if _list_root(proof.length, path_root(leaf, proof)) != root:
        raise Refused("BAD_PROOF", "the path does not lead to the root")


def _list_root(length: int, top: bytes) -> bytes:
    return _sha256(_LIST + length.to_bytes(8, "big") + top).digest()


def _top(leaves: Sequence[bytes]) -> bytes:
    """The topmost node of the list tree over at least one leaf hash."""
    level = list(leaves)
    while len(level) > 1:
        level = _pair_up(level)
    return level[0]


def _pair_up(level: list[bytes]) -> list[bytes]:
    below = iter(level)
    paired = [
        _sha256(_PAIR + left + right).digest() for left, right in zip(below, below, strict=False)
    ]
    if len(level) & 1:
        paired.append(level[-1])
    return paired


# ---- the state tree


def verify_state_proof(
    root: bytes, table: str, key: bytes, value: bytes | None, proof: StateProof, salt: bytes = b""
) -> None:
    """Raise `Refused` `BAD_PROOF` unless the state of `root` holds exactly this under the key.

    `value` None: that the key is absent. `salt` is the one of this value, empty for public tables.
    """
    wanted = key_hash(table, key)
    if value is not None:
        if len(proof.entries) != 1 or proof.entries[0].key_hash != wanted:
            raise Refused("BAD_PROOF", "the proof is not about this key")
        if proof.entries[0].value_hash != value_hash(value, salt):
            raise Refused("BAD_PROOF", "the proof is for another value")
    else:
        _check_absence(wanted, proof.entries)
    if _climb(bucket_index(wanted, len(proof.levels)), proof) != root:
        raise Refused("BAD_PROOF", "the proof does not lead to the state root")


def _check_absence(wanted: bytes, entries: tuple[EntryProof, ...]) -> None:
    """Raise unless no entry can stand between these: they are adjacent, or one is at the edge."""
    if len(entries) == 2:
        below, above = entries
        absent = (
            below.key_hash < wanted < above.key_hash and below.place.index + 1 == above.place.index
        )
    elif len(entries) == 1:
        place = entries[0].place
        first = wanted < entries[0].key_hash and place.index == 0
        last = wanted > entries[0].key_hash and place.index == place.length - 1
        absent = first or last
    else:
        absent = True
    if not absent:
        raise Refused("BAD_PROOF", "the entries do not prove that the key is absent")


def _climb(index: int, proof: StateProof) -> bytes:
    """The state root that the bucket at `index` and the levels above it lead to."""
    empties = empty_hashes(len(proof.levels))
    current = _bucket_hash(proof.entries)
    for level, empty in zip(proof.levels, reversed(empties), strict=False):
        position = index & (ARITY - 1)
        if level.present >> position & 1 or level.present.bit_count() != len(level.siblings):
            raise Refused("BAD_PROOF", "a level names the wrong siblings")
        if empty in level.siblings:
            raise Refused("BAD_PROOF", "an empty sibling is spelt out")
        children = [empty] * ARITY
        children[position] = current
        present = [child for child in range(ARITY) if level.present >> child & 1]
        for child, sibling in zip(present, level.siblings, strict=True):
            children[child] = sibling
        current = node_hash(b"".join(children))
        index >>= 4
    return current


def _bucket_hash(entries: tuple[EntryProof, ...]) -> bytes:
    """The bucket hash that all given entries lead to."""
    if not entries:
        return EMPTY_ROOT
    hashes = []
    for entry in entries:
        leaf = _sha256(_LEAF + entry.key_hash + entry.value_hash).digest()
        length = entry.place.length.to_bytes(5, "big")[1:]
        hashes.append(_sha256(_BUCKET + length + path_root(leaf, entry.place)).digest())
    if hashes[0] != hashes[-1]:
        raise Refused("BAD_PROOF", "the entries are of different buckets")
    return hashes[0]
