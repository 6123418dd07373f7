"""The keys and the small records of a node's database; `store` says when they are written.

Numbers in keys are big-endian, so that byte order is their order.

| key                                       | value                                                |
|-------------------------------------------|------------------------------------------------------|
| `m` `genesis`                             | `Origin`: layout version, genesis hash, tree depth   |
| `m` `vault`                               | which storage key it is sealed under: `Vault.id`     |
| `m` `head`                                | `HeadRecord`: height, block id, root, transactions   |
| `m` `oldest`                              | `Oldest`, unless everything since genesis is here    |
| `m` `staged…`                             | of a half-made database: see `restoring`             |
| `s` table ‖ 00 ‖ hidden key               | sealed: the record's bytes                           |
| `t` bucket (4)                            | entries of a bucket of the state tree (see `tree`)   |
| `b` height (8)                            | sealed: `CertifiedBlock`                             |
| `r` height (8)                            | sealed: the receipts of that block, in order         |
| `i` first 16 bytes of a transaction id    | height (8) ‖ index in the block (4)                  |
| `n` first 16 bytes of a block id          | height (8)                                           |
| `e` first height (8)                      | `Handover`: the set from that height, and its proof  |
| `h` length (2) ‖ hidden key ‖ height (8)  | sealed: a `HISTORY_TABLE` record then, or empty      |

What is sealed, and how the keys of private records are hidden, is said in `vault`. What records
mean, and which tables are private, is for execution and query to know.
"""

from __future__ import annotations

from functools import lru_cache
from typing import TypeVar

from node.protocol.encoding import Codec, Record, encode
from node.protocol.errors import Refused, StoreFailure
from node.protocol.history import Handover
from node.protocol.transaction import Hash, Height
from node.state.keyvalue import Put

LAYOUT_VERSION = 3
HISTORY_TABLE = "kernel/accounts"
INDEX_KEY_BYTES = 16
HEIGHT_BYTES = 8

GENESIS_KEY = b"mgenesis"
VAULT_KEY = b"mvault"
HEAD_KEY = b"mhead"
OLDEST_KEY = b"moldest"
STAGED_MANIFEST_KEY = b"mstaged manifest"
STAGED_CURSOR_KEY = b"mstaged cursor"
RECORDS, BUCKETS, BLOCKS, RECEIPTS = b"s", b"t", b"b", b"r"
TRANSACTION_INDEX, BLOCK_INDEX, HANDOVERS, HISTORY = b"i", b"n", b"e", b"h"
SEALED = RECORDS + BLOCKS + RECEIPTS + HISTORY

T = TypeVar("T")


class Origin(Record, frozen=True):
    """Which network a database belongs to, and how it is laid out."""

    layout: int
    genesis_hash: Hash
    tree_depth: int


class HeadRecord(Record, frozen=True):
    """The last stored block; `transactions` counts those of all blocks up to it."""

    height: Height
    block_id: Hash
    state_root: Hash
    transactions: int


class Oldest(Record, frozen=True):
    """What a database that began with a snapshot has: blocks, and balances, from these heights."""

    block: Height
    history: Height


EVERYTHING = Oldest(1, 0)

origin_codec: Codec[Origin] = Codec(Origin, 1_024)
head_codec: Codec[HeadRecord] = Codec(HeadRecord, 1_024)
oldest_codec: Codec[Oldest] = Codec(Oldest, 1_024)


def number(value: int) -> bytes:
    """A height as it stands in keys, 8 bytes."""
    return value.to_bytes(8, "big")


@lru_cache(maxsize=256)
def table_prefix(table: str) -> bytes:
    """What the keys of a table's records start with."""
    return RECORDS + table.encode() + b"\x00"


def history_prefix(hidden: bytes) -> bytes:
    """What the keys of one record's history start with; the height follows."""
    return HISTORY + len(hidden).to_bytes(2, "big") + hidden


def number_in(key: bytes) -> int:
    """The height at the end of a key."""
    return int.from_bytes(key[-HEIGHT_BYTES:], "big")


def block_index_key(block_id: bytes) -> bytes:
    """Where the height of a block is found."""
    return BLOCK_INDEX + block_id[:INDEX_KEY_BYTES]


def transaction_index_key(transaction_id: bytes) -> bytes:
    """Where the place of a transaction is found.

    Only 16 bytes of the id are indexed: 128 bits of a hash are enough not to meet by chance.
    """
    return TRANSACTION_INDEX + transaction_id[:INDEX_KEY_BYTES]


def handover_put(handover: Handover) -> Put:
    """The write that keeps a change of validators."""
    return HANDOVERS + number(handover.first_height), encode(handover)


def successor(prefix: bytes) -> bytes:
    """The lowest key above all that start with `prefix`, which never is all FF here."""
    stem = prefix.rstrip(b"\xff")
    return stem[:-1] + bytes([stem[-1] + 1])


def decoded(codec: Codec[T], raw: bytes | None) -> T | None:
    """The record in `raw`, None for None; raises `StoreFailure` `DATABASE_DAMAGED`."""
    if raw is None:
        return None
    try:
        return codec.decode(raw)
    except Refused as refusal:
        raise damaged(f"a record cannot be read: {refusal.code}") from None


def damaged(reason: str) -> StoreFailure:
    """The one line for an operator whose database holds something impossible."""
    return StoreFailure("DATABASE_DAMAGED", f"the database is damaged ({reason}); {WHAT_TO_DO}")


def wrong_key(what: str) -> StoreFailure:
    """The one line for an operator who gave a node another's storage key."""
    return StoreFailure(
        "WRONG_STORAGE_KEY",
        f"{what} not sealed under this storage key; put back the storage.key.json of this node",
    )


WHAT_TO_DO = (
    "`groat node check` says where, and `groat node repair` fetches the chain from the peers again"
)
