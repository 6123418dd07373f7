"""The inspection of a whole database: does everything in it follow from the certified blocks?

Unlike the store it takes nothing for granted and opens what is damaged: it goes on after each
fault and names the places. Chain, certificates, transactions and receipts hang on the genesis hash;
the state hangs on the root in the last header: each record must have its entry in its bucket and
each entry its record, and the buckets must lead to that root. Of the balances of earlier heights no
root speaks: the newest ones must be those of the state, and all must be of heights of the chain.
A value that does not open under the storage key is a fault
of its place. Memory grows with the depth of the tree only.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import pairwise

from node.protocol.block import (
    CertifiedBlock,
    Receipt,
    block_codec,
    check_certificate,
    receipt_hash,
    receipts_codec,
)
from node.protocol.encoding import encode, sha256
from node.protocol.errors import Refused, StoreFailure
from node.protocol.history import SetHistory, handover_codec
from node.protocol.keys import SIGNATURE_BYTES
from node.protocol.proofs import (
    ENTRY_BYTES,
    HASH_BYTES,
    bucket_index,
    key_hash,
    merkle_root,
    value_hash,
)
from node.state.findings import Faults, Finding, missing, read
from node.state.keyvalue import Records
from node.state.layout import (
    BLOCK_INDEX,
    BLOCKS,
    BUCKETS,
    EVERYTHING,
    GENESIS_KEY,
    HANDOVERS,
    HEAD_KEY,
    HISTORY,
    HISTORY_TABLE,
    LAYOUT_VERSION,
    OLDEST_KEY,
    RECEIPTS,
    RECORDS,
    TRANSACTION_INDEX,
    VAULT_KEY,
    HeadRecord,
    block_index_key,
    head_codec,
    history_prefix,
    number,
    oldest_codec,
    origin_codec,
    successor,
    table_prefix,
    transaction_index_key,
    wrong_key,
)
from node.state.places import Places
from node.state.sealed import SealedRecords
from node.state.tree import bucket_key, load_tree
from node.state.trust import Trust
from node.state.vault import Vault

PROGRESS_EVERY = 1_000

Progress = Callable[[str, int, int], None]
"""Told the check, how far it is, and how far it will go (0: unknown), now and then."""


class Inspection:
    """One pass over a database. `run` gives a finding for each check, in the order of the work."""

    def __init__(self, trust: Trust, vault: Vault, records: Records, progress: Progress) -> None:
        self._chain = trust.chain
        self._depth = trust.depth
        self._trust = trust
        self._history = SetHistory(trust.founders)
        self._records = _Tolerant(records, vault, self._on_unopened)
        self._places = Places(vault)
        self._progress = progress
        self._head: HeadRecord | None = None
        self._oldest = EVERYTHING
        self._blocks = 0
        self._transactions = 0
        self._findings: list[Finding] = []
        self._faults = Faults()

    def run(self) -> list[Finding]:
        """Everything, to the end, whatever is found."""
        with self._check("origin") as faults:
            self._inspect_origin(faults)
        with self._check("oldest") as faults:
            raw = self._records.get(OLDEST_KEY) or encode(EVERYTHING)
            self._oldest = read(oldest_codec, raw, "the oldest height", faults) or EVERYTHING
        with self._check("head") as faults:
            self._inspect_head(faults)
        with self._check("validators", lambda: f"{len(self._history.eras):,} sets") as faults:
            self._inspect_handovers(faults)
        with self._check("chain", lambda: f"{self._blocks:,} blocks") as faults:
            self._inspect_chain(faults)
        with self._check("receipts", lambda: f"{self._transactions:,} transactions") as faults:
            self._inspect_receipts(faults)
        with self._check("index") as faults:
            self._inspect_index(faults)
        entries = -1
        with self._check("tree", lambda: f"{entries:,} entries") as faults:
            entries = self._inspect_tree(faults)
        count = 0
        with self._check("records", lambda: f"{count:,} records") as faults:
            count = self._inspect_records(faults, entries)
        with self._check("history") as faults:
            self._inspect_history(faults)
        with self._check("strays") as faults:
            self._inspect_strays(faults)
        return self._findings

    @contextmanager
    def _check(self, name: str, seen: Callable[[], str] = lambda: "") -> Iterator[Faults]:
        faults = self._faults = Faults()
        try:
            yield faults
        except StoreFailure as failure:
            faults.add(failure.message.partition(";")[0])
        self._findings.append(Finding(name, seen(), tuple(faults.shown), faults.count))

    def _on_unopened(self, key: bytes) -> None:
        self._faults.add(f"{key[:1].decode()} {key[1:].hex()[:64]}: its value does not open")

    @property
    def _top(self) -> int:
        return 0 if self._head is None else self._head.height

    # ---- the chain

    def _inspect_origin(self, faults: Faults) -> None:
        origin = read(origin_codec, self._records.get(GENESIS_KEY), "the origin", faults)
        if origin is None:
            return
        if self._records.get(VAULT_KEY) != self._records.vault.id:
            faults.add(wrong_key("it is").message)
        if origin.layout != LAYOUT_VERSION:
            faults.add(f"layout {origin.layout}, this version reads {LAYOUT_VERSION}")
        if origin.genesis_hash != self._chain.genesis_hash or origin.tree_depth != self._depth:
            faults.add(f"made for the network of genesis {origin.genesis_hash.hex()[:16]}…")

    def _inspect_head(self, faults: Faults) -> None:
        self._head = read(head_codec, self._records.get(HEAD_KEY), "the head", faults)
        if self._head is None or not self._top:
            return
        raw = self._records.get(BLOCKS + number(self._top))
        block = read(block_codec, raw, f"block {self._top}", faults)
        if block is None:
            return
        if block.header.id(self._chain) != self._head.block_id:
            faults.add(f"it is not the id of block {self._top}")
        if block.header.state_root != self._head.state_root:
            faults.add(f"its state root is not the one of block {self._top}")

    def _inspect_handovers(self, faults: Faults) -> None:
        """Each set must be vouched for by the one before it, from the founders on."""
        for key, raw in self._records.iterate(HANDOVERS, successor(HANDOVERS)):
            first = int.from_bytes(key[1:], "big")
            handover = read(handover_codec, raw, f"the validators from height {first} on", faults)
            if handover is None:
                continue
            if handover.first_height != first or not 1 < first <= self._top + 1:
                faults.add(f"the validators from height {first} on are out of place")
                continue
            try:
                self._history.follow(self._chain, handover)
            except Refused as refusal:
                faults.add(refusal.message)

    def _inspect_chain(self, faults: Faults) -> None:
        """Every block from genesis to the head: links, times, sets, certificates, bodies."""
        expected, time_ms = self._oldest.block, 0
        parent: bytes | None = self._chain.genesis_hash if expected == 1 else None
        for key, raw in self._records.iterate(BLOCKS, successor(BLOCKS)):
            height = int.from_bytes(key[1:], "big")
            if len(key) != 9 or not self._oldest.block <= height <= self._top:
                continue  # the strays' check names it
            if height > expected:
                missing("block", expected, height, faults)
                parent = None
            expected = height + 1
            block = read(block_codec, raw, f"block {height}", faults)
            if block is None:
                parent = None
                continue
            header = block.header
            if header.height != height:
                faults.add(f"block {height} says that it is {header.height}")
            if parent is not None and (header.parent != parent or header.time_ms <= time_ms):
                faults.add(f"block {height} does not follow block {height - 1}")
            self._inspect_block(block, height, faults)
            parent, time_ms = header.id(self._chain), header.time_ms
            self._blocks += 1
            if height % PROGRESS_EVERY == 0:
                self._progress("chain", height, self._top)
        missing("block", expected, self._top + 1, faults)

    def _inspect_block(self, block: CertifiedBlock, height: int, faults: Faults) -> None:
        header, history = block.header, self._history
        leaves = [sha256(b"\x00" + raw) for raw in block.transactions]
        if merkle_root(leaves) != header.transactions_root:
            faults.add(f"the transactions of block {height} are not those of its header")
        if header.next_validators_hash != history.at(height + 1).hash:
            faults.add(f"block {height} names validators that are not known")
        try:
            check_certificate(self._chain, header, block.certificate, history.at(height))
        except Refused as refusal:
            faults.add(f"the certificate of block {height}: {refusal.message}")

    def _inspect_receipts(self, faults: Faults) -> None:
        """Receipts against headers and transactions, and both indexes at every place."""
        get = self._records.get
        for height in range(self._oldest.block, self._top + 1):
            raw_block, raw = get(BLOCKS + number(height)), get(RECEIPTS + number(height))
            receipts = read(receipts_codec, raw, f"the receipts of block {height}", faults)
            try:
                block = None if raw_block is None else block_codec.decode(raw_block)
            except Refused:
                block = None
            if block is None or receipts is None:
                continue
            self._inspect_receipts_of(block, height, receipts, faults)
            if get(block_index_key(block.header.id(self._chain))) != number(height):
                faults.add(f"the index does not find block {height}")
            self._transactions += len(receipts)
            if height % PROGRESS_EVERY == 0:
                self._progress("receipts", height, self._top)

    def _inspect_receipts_of(
        self, block: CertifiedBlock, height: int, receipts: tuple[Receipt, ...], faults: Faults
    ) -> None:
        leaves = [
            receipt_hash(one, self._trust.receipt_salt(one.transaction_id)) for one in receipts
        ]
        if merkle_root(leaves) != block.header.receipts_root:
            faults.add(f"the receipts of block {height} are not those of its header")
        bodies = [raw[:-SIGNATURE_BYTES] for raw in block.transactions]
        ids = [self._chain.digest("transaction", body) for body in bodies]
        if [one.transaction_id for one in receipts] != ids:
            faults.add(f"the receipts of block {height} are of other transactions")
        for index, identity in enumerate(ids):
            place = number(height) + index.to_bytes(4, "big")
            if self._records.get(transaction_index_key(identity)) != place:
                faults.add(f"the index does not find transaction {index} of block {height}")

    def _inspect_index(self, faults: Faults) -> None:
        """With one entry for each block and transaction found above, none may be left over."""
        blocks, transactions = self._blocks, self._transactions
        found = ((BLOCK_INDEX, "blocks", blocks), (TRANSACTION_INDEX, "transactions", transactions))
        for prefix, name, expected in found:
            count = sum(1 for _ in self._records.iterate(prefix, successor(prefix)))
            if count != expected:
                faults.add(f"{count} entries for {expected} {name}")

    # ---- the state

    def _inspect_tree(self, faults: Faults) -> int:
        """The number of entries in all buckets, which must lead to the root of the head."""
        entries = 0
        for key, raw in self._records.iterate(BUCKETS, successor(BUCKETS)):
            index = int.from_bytes(key[1:], "big")
            entries += len(raw) // ENTRY_BYTES
            keys = [raw[at : at + HASH_BYTES] for at in range(0, len(raw), ENTRY_BYTES)]
            if any(low >= high for low, high in pairwise(keys)) or any(
                bucket_index(one, self._depth) != index for one in keys if len(one) == HASH_BYTES
            ):
                faults.add(f"bucket {index}: its entries are out of order or out of place")
        tree = load_tree(self._depth, self._records, lambda count: self._progress("tree", count, 0))
        if self._head is not None and tree.root != self._head.state_root:
            faults.add(f"its root is {tree.root.hex()[:16]}…, not the head's")
        return entries

    def _inspect_records(self, faults: Faults, entries: int) -> int:
        """Each record against its entry; distinct keys and equal numbers do the rest."""
        count = 0
        eras = {first for first, _ in self._history.eras}
        for place, value in self._records.iterate(RECORDS, successor(RECORDS)):
            count += 1
            record = self._record_at(place)
            if record is None or not self._has_entry(*record, value):
                table, _, hidden = place[1:].partition(b"\x00")
                where = f"{table.decode(errors='replace')} {hidden.hex()[:64]}"
                faults.add(f"{where}: its value is not the one of the state root")
                continue
            name, own = record
            era, total = self._trust.era_of(name, own), self._trust.counted_in(name, value)
            if era is not None and era <= self._top + 1 and era not in eras:
                faults.add(f"the change of validators at height {era} is not proved here")
            if total is not None and self._head is not None and total[0] == self._top - 1:
                self._inspect_count(self._head, total[1], faults)
            if count % PROGRESS_EVERY == 0:
                self._progress("records", count, max(entries, 0))
        if entries >= 0 and count != entries:
            faults.add(f"{count} records for {entries} entries of the tree")
        return count

    def _inspect_count(self, head: HeadRecord, before: int, faults: Faults) -> None:
        """The head counts what the state counts before its block, and that block's transactions."""
        raw = self._records.get(RECEIPTS + number(self._top))
        last = read(receipts_codec, raw, f"the receipts of block {self._top}", faults) or ()
        if head.transactions != before + len(last):
            faults.add(
                f"the head counts {head.transactions} transactions, the state another number"
            )

    def _record_at(self, place: bytes) -> tuple[str, bytes] | None:
        """Table and key of what stands there, if that is a record's place."""
        try:
            return self._places.own(place)
        except StoreFailure:
            return None

    def _has_entry(self, table: str, key: bytes, value: bytes) -> bool:
        hashed = key_hash(table, key)
        try:
            salt = self._trust.salt_of(table, key, value)
        except LookupError:
            return False
        wanted = hashed + value_hash(value, salt)
        bucket = self._records.get(bucket_key(bucket_index(hashed, self._depth))) or b""
        return any(bucket.startswith(wanted, start) for start in range(0, len(bucket), ENTRY_BYTES))

    def _inspect_history(self, faults: Faults) -> None:
        """The newest balance of each account is that of the state, and no height is unheard of."""
        prefix = table_prefix(HISTORY_TABLE)
        for key, value in self._records.iterate(prefix, successor(prefix)):
            start = history_prefix(key[len(prefix) :])
            newest = self._records.iterate(start, start + b"\xff" * 9, reverse=True, limit=1)
            if [value] != [one for _, one in newest]:
                faults.add(f"account {key[len(prefix) :].hex()}: the newest balance is not in it")
        last: tuple[bytes, bytes] | None = None
        for key, value in self._records.iterate(HISTORY, successor(HISTORY)):
            own, height = key[3:-8], int.from_bytes(key[-8:], "big")
            if len(own) != int.from_bytes(key[1:3], "big") or height > self._top:
                faults.add(f"account {own.hex()} at height {height}: there is no such place")
            if last is not None and last[0] != own:
                self._inspect_last_balance(*last, faults)
            last = own, value
        if last is not None:
            self._inspect_last_balance(*last, faults)

    def _inspect_last_balance(self, key: bytes, value: bytes, faults: Faults) -> None:
        """An account that is gone from the state must have ended with nothing."""
        if value and self._records.get(table_prefix(HISTORY_TABLE) + key) is None:
            faults.add(f"account {key.hex()}: it has a balance but is not in the state")

    def _inspect_strays(self, faults: Faults) -> None:
        """Whatever no check above has looked at does not belong here."""
        for prefix, name in ((BLOCKS, "block"), (RECEIPTS, "receipts")):
            low, high = prefix + number(self._oldest.block), prefix + number(self._top + 1)
            for start, stop in ((prefix, low), (high, successor(prefix))):
                for key, _ in self._records.iterate(start, stop):
                    faults.add(f"{name} {int.from_bytes(key[1:], 'big')}: beyond the head")
        known = {GENESIS_KEY, VAULT_KEY, HEAD_KEY, OLDEST_KEY}
        prefixes = [RECORDS, BUCKETS, BLOCKS, RECEIPTS, HANDOVERS, HISTORY]
        prefixes += [BLOCK_INDEX, TRANSACTION_INDEX]
        start = b""
        for prefix in [*sorted(prefixes), b"\xff"]:
            for key, _ in self._records.iterate(start, prefix):
                if key not in known:
                    faults.add(f"key {key[:40].hex()}: of no known kind")
            start = successor(prefix) if prefix != b"\xff" else prefix


class _Tolerant(SealedRecords):
    """Reads on past a value that does not open: it is told, and taken for an empty one."""

    def __init__(self, records: Records, vault: Vault, tell: Callable[[bytes], None]) -> None:
        super().__init__(records, vault)
        self._tell = tell

    def _on_unopened(self, key: bytes) -> bytes:
        self._tell(key)
        return b""
