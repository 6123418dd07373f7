"""The store: blocks, receipts, records and the state tree in one ordered database.

A block becomes durable in one synced batch with all its effects, so a crash leaves it whole or
absent. `block_batch` computes that batch as a value, `write` makes it durable, and only then
`adopt` moves the head, the tree in memory and the snapshot that all reads go through: readers
never see a block in the making. What the keys are is laid down in `layout`; on the disk
values are sealed and secrets of keys hidden under the node's storage key (see `vault`).

What records mean, and which tables are private, is for execution and query to know.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Final, NamedTuple

from node.protocol.block import (
    BlockHeader,
    CertifiedBlock,
    Receipt,
    block_codec,
    receipts_codec,
)
from node.protocol.encoding import encode
from node.protocol.errors import Refused, StoreFailure
from node.protocol.history import Handover, handover_codec
from node.protocol.proofs import StateProof, key_hash
from node.protocol.validators import ValidatorSet
from node.state.cache import RecentReads
from node.state.keyvalue import KeyValue, Put, Records
from node.state.layout import (
    BLOCKS,
    EVERYTHING,
    GENESIS_KEY,
    HANDOVERS,
    HEAD_KEY,
    HEIGHT_BYTES,
    HISTORY,
    HISTORY_TABLE,
    LAYOUT_VERSION,
    OLDEST_KEY,
    RECEIPTS,
    VAULT_KEY,
    HeadRecord,
    Oldest,
    Origin,
    block_index_key,
    damaged,
    decoded,
    handover_put,
    head_codec,
    number,
    number_in,
    oldest_codec,
    origin_codec,
    successor,
    transaction_index_key,
    wrong_key,
)
from node.state.places import Places
from node.state.sealed import SealedKeyValue
from node.state.snapshot import Source, file_level
from node.state.tree import TreeDelta, load_tree
from node.state.vault import Vault

SCAN_MAX = 10_000

Writes = Mapping[tuple[str, bytes], bytes | None]
"""(table, key) to the record's bytes; None deletes it."""


class Head(NamedTuple):
    """The last stored block. At height 0 it is the genesis state: no header, the genesis hash."""

    height: int
    block_id: bytes
    header: BlockHeader | None
    state_root: bytes
    transactions: int


class Batch(NamedTuple):
    """Everything that one block changes, ready to be written at once."""

    puts: Sequence[Put]
    delta: TreeDelta
    head: Head


class Store:
    """The durable state of one node, read by everybody and written by `commit` alone."""

    def __init__(
        self,
        database: KeyValue,
        vault: Vault,
        depth: int,
        genesis_hash: bytes,
        progress: Callable[[int], None] | None = None,
    ) -> None:
        """Open what is there and rebuild the tree in memory (3 s a million records).

        Raises `StoreFailure` `WRONG_GENESIS`, `WRONG_LAYOUT`, `WRONG_STORAGE_KEY` or
        `DATABASE_DAMAGED`.
        """
        self._database = SealedKeyValue(database, vault)
        self._places = Places(vault)
        self._vault = vault
        self._view = self._database.snapshot()
        self._recent = RecentReads(self._view)
        self._genesis_hash = genesis_hash
        self._is_new = _check_origin(self._view, vault.id, depth, genesis_hash)
        self.tree: Final = load_tree(depth, self._recent, progress)
        self._head = self._load_head()
        self._oldest = decoded(oldest_codec, self._view.get(OLDEST_KEY)) or EVERYTHING

    # ---- reading

    @property
    def is_new(self) -> bool:
        """Whether the genesis batch is still to be committed."""
        return self._is_new

    @property
    def head(self) -> Head:
        """The last committed block."""
        return self._head

    @property
    def oldest(self) -> Oldest:
        """From which heights on blocks, and balances, are kept."""
        return self._oldest

    def get(self, table: str, key: bytes) -> bytes | None:
        """The record under `key` at the head, or None."""
        return self._recent.get(self._places.record(table, key))

    def scan(
        self, table: str, prefix: bytes, after: bytes | None, limit: int
    ) -> list[tuple[bytes, bytes]]:
        """Up to `limit` records at the head whose key starts with `prefix`, after `after`.

        Ascending, but for the secrets of keys: those in an order of this node's own.
        """
        start, stop = self._places.span(table, prefix, after)
        pairs = self._view.iterate(start, stop, limit=min(limit, SCAN_MAX))
        return [(self._places.own(place)[1], value) for place, value in pairs]

    def prove(self, table: str, key: bytes) -> StateProof:
        """What the state root of the head says about `key`, present or absent."""
        return self.tree.prove(key_hash(table, key))

    def block(self, height: int) -> CertifiedBlock | None:
        """The block of a height, or None above the head and at 0."""
        return decoded(block_codec, self._view.get(BLOCKS + number(height)))

    def height_of(self, block_id: bytes) -> int | None:
        """The height of a final block, or None."""
        height = self._view.get(block_index_key(block_id))
        return None if height is None else int.from_bytes(height, "big")

    def blocks_before(self, height: int, limit: int) -> Iterator[CertifiedBlock]:
        """Up to `limit` blocks of lower heights, newest first; lazily, since blocks are large."""
        last = min(height - 1, self._head.height)
        for lower in range(last, max(self.oldest.block - 1, last - limit), -1):
            block = self.block(lower)
            if block is None:
                raise damaged(f"block {lower} is missing")
            yield block

    def handover(self, first_height: int) -> Handover | None:
        """The change of validators that decide from `first_height` on, or None; never pruned."""
        return decoded(handover_codec, self._view.get(HANDOVERS + number(first_height)))

    def handovers(self) -> tuple[Handover, ...]:
        """All changes of validators up to the head, in order."""
        pairs = self._view.iterate(HANDOVERS, successor(HANDOVERS))
        found = [decoded(handover_codec, raw) for _, raw in pairs]
        return tuple(handover for handover in found if handover is not None)

    def receipts(self, height: int) -> tuple[Receipt, ...]:
        """The receipts of a block in its order; empty above the head."""
        return decoded(receipts_codec, self._view.get(RECEIPTS + number(height))) or ()

    def find(self, transaction_id: bytes) -> tuple[int, int] | None:
        """Height and index of a final transaction, or None: the replay check, one index read."""
        place = self._view.get(transaction_index_key(transaction_id))
        if place is None:
            return None
        return int.from_bytes(place[:8], "big"), int.from_bytes(place[8:], "big")

    def balance_at(self, key: bytes, height: int) -> bytes | None:
        """The `HISTORY_TABLE` record under `key` as it was after the block of `height`, or None.

        Raises `Refused` `NO_SUCH_HEIGHT` outside 0 and the head, `PRUNED` for what is not kept.
        """
        if 0 <= height < self.oldest.history:
            raise Refused("PRUNED", f"balances before height {self.oldest.history} are not here")
        if not 0 <= height <= self._head.height:
            raise Refused("NO_SUCH_HEIGHT", f"heights from 0 to {self._head.height} are known")
        start, stop = self._places.history(key), self._places.balance(key, height + 1)
        newest = self._view.iterate(start, stop, reverse=True, limit=1)
        return next((value or None for _, value in newest), None)

    def history(self) -> Iterator[tuple[bytes, int, bytes]]:
        """Each kept state of each `HISTORY_TABLE` record: key, height, bytes (empty: deleted).

        Records in the order of their keys, each one's states in the order of heights.
        """
        for place, value in self._view.iterate(HISTORY, successor(HISTORY)):
            yield place[len(HISTORY) + 2 : -HEIGHT_BYTES], number_in(place), value

    # ---- writing

    def genesis_batch(self, writes: Writes, delta: TreeDelta) -> Batch:
        """The batch of height 0: the genesis state, into a store that `is_new`."""
        head = Head(0, self._genesis_hash, None, delta.root, 0)
        origin = Origin(LAYOUT_VERSION, self._genesis_hash, self.tree.depth)
        puts: list[Put] = [(GENESIS_KEY, encode(origin)), (VAULT_KEY, self._vault.id)]
        return Batch(puts + self._state_puts(writes, 0, delta, head), delta, head)

    def block_batch(
        self,
        block: CertifiedBlock,
        receipts: Sequence[Receipt],
        writes: Writes,
        delta: TreeDelta,
        new_validators: ValidatorSet | None = None,
        base: Head | None = None,
    ) -> Batch:
        """The batch of the block after `base` (default: the head); `delta` has the same base.

        `new_validators` decide the next height, where that is another set than decided this one.
        """
        before = base or self._head
        header, block_id = block.header, block.certificate.block_id
        if header.height != before.height + 1 or header.parent != before.block_id:
            raise AssertionError(f"block {header.height} does not follow {before.height}")
        if header.state_root != delta.root or len(receipts) != len(block.transactions):
            raise AssertionError(f"the results of block {header.height} are of another block")
        transactions = before.transactions + len(receipts)
        head = Head(header.height, block_id, header, delta.root, transactions)
        height = number(header.height)
        puts = self._state_puts(writes, header.height, delta, head)
        puts.append((block_index_key(block_id), height))
        puts.append((BLOCKS + height, encode(block)))
        puts.append((RECEIPTS + height, encode(tuple(receipts))))
        for index, receipt in enumerate(receipts):
            place = height + index.to_bytes(4, "big")
            puts.append((transaction_index_key(receipt.transaction_id), place))
        if new_validators is not None:
            puts.append(handover_put(Handover(header, block.certificate, new_validators)))
        return Batch(puts, delta, head)

    def write(self, batch: Batch) -> None:
        """Write a batch durably, all of it or none. Any thread may; `adopt` must follow."""
        height = -1 if self._is_new else self._head.height
        if batch.head.height != height + 1 or batch.delta.base_root != self.tree.root:
            raise AssertionError(f"block {batch.head.height} is committed after {height}")
        self._database.write(batch.puts, sync=True)

    def adopt(self, batch: Batch) -> None:
        """Move tree and head in memory to what was written; for the thread of the readers."""
        self._view = self._database.snapshot()
        self._recent.move(self._view, batch.puts)
        self.tree.apply(batch.delta, self._recent)
        self._head = batch.head
        self._is_new = False

    def commit(self, batch: Batch) -> None:
        """`write` and `adopt` in one."""
        self.write(batch)
        self.adopt(batch)

    def forget(self, oldest: Oldest) -> None:
        """What is older is about to be pruned: say so from now on."""
        self._oldest = oldest

    def refresh(self) -> None:
        """Read what is there now, so that nothing that was pruned is held on to."""
        self._view = self._database.snapshot()
        self._recent.move(self._view, ())

    def snapshot_source(self) -> Source:
        """What a snapshot of the head is made of; raises `StoreFailure` `NO_BLOCK_YET`."""
        block = self.block(self._head.height)
        if block is None:
            raise StoreFailure("NO_BLOCK_YET", "there is no snapshot of the genesis state")
        depth = self.tree.depth
        nodes = self.tree.nodes(file_level(depth))
        return Source(self._view, self._vault, block, self.handovers(), depth, nodes)

    def reopen(self) -> None:
        """After a failed `write`, before it is tried again; for the thread of the readers."""
        self._database.reopen()
        self._view = self._database.snapshot()
        self._recent = RecentReads(self._view)
        self.tree.read_from(self._recent)

    def close(self) -> None:
        """Give the database free."""
        self._database.close()

    def _state_puts(self, writes: Writes, height: int, delta: TreeDelta, head: Head) -> list[Put]:
        """The writes of records, their history, the tree and the head."""
        puts: list[Put] = []
        places = self._places
        for (table, key), value in writes.items():
            puts.append((places.record(table, key), value))
            if table == HISTORY_TABLE:
                puts.append((places.balance(key, height), value or b""))
        puts += delta.bucket_writes
        record = HeadRecord(head.height, head.block_id, head.state_root, head.transactions)
        puts.append((HEAD_KEY, encode(record)))
        return puts

    def _load_head(self) -> Head:
        if self._is_new:
            return Head(0, self._genesis_hash, None, self.tree.root, 0)
        record = decoded(head_codec, self._view.get(HEAD_KEY))
        if record is None:
            raise damaged("it has no head")
        if record.state_root != self.tree.root:
            raise damaged("its state is not the one of its head")
        block = self.block(record.height)
        if block is None and record.height:
            raise damaged(f"block {record.height} is missing")
        header = block.header if block else None
        return Head(record.height, record.block_id, header, record.state_root, record.transactions)


def _check_origin(database: Records, vault_id: bytes, depth: int, genesis_hash: bytes) -> bool:
    """Whether the database is new; raises `StoreFailure` if it was made for something else."""
    origin = decoded(origin_codec, database.get(GENESIS_KEY))
    if origin is None:
        if next(database.iterate(b"", b"\xff", limit=1), None) is not None:
            raise damaged("it does not say which network it belongs to")
        return True
    if origin.layout != LAYOUT_VERSION:
        raise StoreFailure(
            "WRONG_LAYOUT",
            f"the database has layout {origin.layout}, this version writes {LAYOUT_VERSION}; "
            "`groat node repair` fetches the chain from the peers again",
        )
    if origin.genesis_hash != genesis_hash or origin.tree_depth != depth:
        raise StoreFailure(
            "WRONG_GENESIS",
            f"the database belongs to the network of genesis {origin.genesis_hash.hex()[:16]}…, "
            f"genesis.json is {genesis_hash.hex()[:16]}…; use the right genesis.json or another "
            "data folder",
        )
    if database.get(VAULT_KEY) != vault_id:
        raise wrong_key("the database is")
    return False
