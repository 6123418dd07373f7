"""Membership: the validator set of each height, the nodes that may connect, recent state roots.

Sets are kept for ever, each under the first height that it decides, and name the one before, so
the set of any height can be found and a light client can follow them from genesis. Nodes are the
validators and the observers: whoever is listed may speak to the others. Who may change any of it is
`governance`'s part.
"""

from __future__ import annotations

import msgspec

from contracts.kernel.state import Overlay, Reader, State, Table
from contracts.kernel.types import Record

VALIDATORS_MIN = 4
VALIDATORS_MAX = 64
NODES_MAX = 100
ACTIVATION_HEIGHTS = 2
STATE_ROOTS_KEPT = 100
FIRST_HEIGHT = 1

_encode = msgspec.msgpack.Encoder(order="deterministic").encode


class Validators(Record, frozen=True):
    """A validator set and the number of confirmations that must be exceeded.

    It decides the heights from `first_height` on; `before` is the first height of the set that it
    follows, 0 for the founders.
    """

    members: tuple[bytes, ...]
    confirmations_more_than: int
    first_height: int
    before: int


class Node(Record, frozen=True):
    """A node that may connect."""

    public_key: bytes
    name: str
    address: str
    tls_fingerprint: bytes
    admitted_height: int


class StateRoot(Record, frozen=True):
    """The state root after the block of `height`; `transactions` counts those of all blocks so far.

    So the count is certified too, and a node that begins with a snapshot need not believe it.
    """

    height: int
    root: bytes
    transactions: int


VALIDATORS = Table(
    "kernel/validators", Validators, "the word `newest`, or a set's first height, 8 bytes"
)
NODES = Table("kernel/nodes", Node, "the node's public key, 33 bytes")
STATE_ROOTS = Table("kernel/state_roots", StateRoot, "the height modulo 100, one byte")
NEWEST = b"newest"


def validators_at(reader: Reader, height: int) -> Validators:
    """The set that decides `height`, as far as it is settled by what `reader` holds."""
    key = NEWEST
    while True:
        raw = reader.get(VALIDATORS.name, key)
        assert raw is not None, f"no validators for height {height}"
        found = VALIDATORS.decode(raw)
        if found.first_height <= height or not found.before:
            return found
        key = _era_key(found.before)


def next_validators(reader: Reader, height: int) -> tuple[tuple[bytes, ...], int]:
    """Members and `confirmations_more_than` for the block of `height`."""
    found = validators_at(reader, height)
    return found.members, found.confirmations_more_than


def is_node(reader: Reader, public_key: bytes) -> bool:
    """Whether this is the ledger key of a node that may connect."""
    return reader.get(NODES.name, public_key) is not None


def nodes_of(reader: Reader) -> tuple[Node, ...]:
    """All nodes that may connect, ascending by public key."""
    found = reader.scan(NODES.name, b"", None, NODES_MAX)
    return tuple([NODES.decode(raw) for _, raw in found])


def newest_validators(state: State) -> Validators:
    """The newest set, in force or about to be."""
    return state.need(VALIDATORS, NEWEST)


def deciding(state: State, height: int) -> Validators:
    """The set that decides `height`, which is the next one or a later one."""
    newest = newest_validators(state)
    if newest.first_height <= height:
        return newest
    return state.need(VALIDATORS, _era_key(newest.before))


def found_validators(
    state: State, members: tuple[bytes, ...], more_than: int, nodes: tuple[Node, ...]
) -> None:
    """Write the founders."""
    _put_validators(state, Validators(members, more_than, FIRST_HEIGHT, 0))
    for node in nodes:
        state.put(NODES, node.public_key, node)


def change_validators(state: State, members: tuple[bytes, ...], height: int) -> Validators:
    """Let `members` follow the newest set, two heights after `height`."""
    newest = newest_validators(state)
    changed = Validators(
        members,
        newest.confirmations_more_than,
        height + ACTIVATION_HEIGHTS,
        newest.first_height,
    )
    _put_validators(state, changed)
    return changed


def begin_block(overlay: Overlay, height: int, parent_root: bytes, transactions: int) -> None:
    """What is written before the first transaction of a block: the state root that it starts from.

    `transactions` counts those of all blocks before it.

    A header's root is not known while its block is executed, so that of the parent is kept.
    """
    place = (STATE_ROOTS.name, _root_key(height - 1))
    overlay.writes[place] = _encode(StateRoot(height - 1, parent_root, transactions))


def is_recent_root(state: State, height: int, root: bytes) -> bool:
    """Whether `root` is the state root of a height that is still remembered."""
    kept = state.get(STATE_ROOTS, _root_key(height))
    return kept is not None and (kept.height, kept.root) == (height, root)


def era_of(table: str, key: bytes) -> int | None:
    """The first height of the set that stands under `key`, or None for any other record."""
    is_set = table == VALIDATORS.name and key != NEWEST
    return int.from_bytes(key, "big") if is_set else None


def counted_in(table: str, value: bytes) -> tuple[int, int] | None:
    """A height and the number of transactions up to its block, or None for any other record."""
    if table != STATE_ROOTS.name:
        return None
    kept = STATE_ROOTS.decode(value)
    return kept.height, kept.transactions


def _put_validators(state: State, validators: Validators) -> None:
    state.put(VALIDATORS, NEWEST, validators)
    state.put(VALIDATORS, _era_key(validators.first_height), validators)


def _era_key(first_height: int) -> bytes:
    return first_height.to_bytes(8, "big")


def _root_key(height: int) -> bytes:
    return bytes([height % STATE_ROOTS_KEPT])
