"""Restoring: from a snapshot's files to a database that a node can start on.

Files are taken in a fixed order, manifest first, and each is checked before a record of it is
written. What is to come next is written with every file, so a half-made database can be completed
later; what the database is, it says only with the very last one, so it is never taken for a whole
one. Blocks below the snapshot's window, and balances below its height, are not there: the store
says `PRUNED` of them.
"""

from __future__ import annotations

from collections.abc import Callable

from node.protocol.domain import Chain
from node.protocol.encoding import Codec, Record, encode
from node.protocol.errors import Refused
from node.protocol.history import SetHistory
from node.protocol.messages import (
    BLOCKS_SECTION,
    MANIFEST_FILE,
    STATE_SECTION,
    SnapshotFile,
)
from node.protocol.proofs import ARITY, empty_hashes
from node.protocol.transaction import Hash
from node.state.keyvalue import Put, Records
from node.state.layout import (
    BLOCKS,
    GENESIS_KEY,
    HEAD_KEY,
    HISTORY_TABLE,
    LAYOUT_VERSION,
    OLDEST_KEY,
    RECEIPTS,
    STAGED_CURSOR_KEY,
    STAGED_MANIFEST_KEY,
    VAULT_KEY,
    HeadRecord,
    Oldest,
    Origin,
    block_index_key,
    handover_put,
    number,
    transaction_index_key,
)
from node.state.places import Places
from node.state.sealed import SealedKeyValue
from node.state.snapshot import (
    Manifest,
    StoredBlock,
    ends_window,
    file_level,
    file_name,
    manifest_codec,
)
from node.state.snapshot_check import (
    Subtree,
    check_blocks,
    check_manifest,
    check_state,
)
from node.state.snapshot_files import SnapshotFiles
from node.state.tree import bucket_key
from node.state.trust import Trust
from node.state.vault import Vault

Progress = Callable[[str, int, int], None]


class Cursor(Record, frozen=True):
    """How far a snapshot is put together.

    Which file comes next; if it is one of blocks, the id of its last one. How many changes of
    validators the state has named so far, and how many transactions it and the newest block count.
    """

    file: SnapshotFile
    block_id: Hash
    handovers: int
    transactions: int


cursor_codec: Codec[Cursor] = Codec(Cursor, 1_024)


class Assembly:
    """A snapshot on its way into an empty database of this vault, file by file.

    `following` is the file that is needed next, None once all is there.
    """

    def __init__(
        self, trust: Trust, vault: Vault, manifest: Manifest, cursor: Cursor | None = None
    ) -> None:
        """Begin, or go on at `cursor`; raises `Refused` `BAD_SNAPSHOT` for a false manifest."""
        self.manifest = manifest
        self._trust = trust
        self._vault_id = vault.id
        self._places = Places(vault)
        self._history: SetHistory = check_manifest(
            trust.chain, trust.depth, trust.founders, manifest
        )
        self._files = ARITY ** file_level(trust.depth)
        start = cursor or Cursor(self._after_state(-1), manifest.header.id(trust.chain), 0, 0)
        self._block_id = start.block_id
        self._handovers, self._transactions = start.handovers, start.transactions
        self.following: SnapshotFile | None = start.file
        self.blocks_from = manifest.height

    @classmethod
    def resumed(cls, trust: Trust, vault: Vault, staged: Records) -> Assembly | None:
        """What `staged` holds the beginning of, if that is anything."""
        if staged.get(VAULT_KEY) != vault.id:
            return None
        raw, cursor = staged.get(STAGED_MANIFEST_KEY), staged.get(STAGED_CURSOR_KEY)
        if raw is None or cursor is None:
            return None
        try:
            return cls(trust, vault, manifest_codec.decode(raw), cursor_codec.decode(cursor))
        except Refused:
            return None

    @property
    def validators(self) -> SetHistory:
        """The validators up to the snapshot's height, as proved by its manifest."""
        return self._history

    @property
    def progress(self) -> tuple[str, int, int]:
        """What comes next, how much of that is there, and of how much (0: unknown)."""
        file = self.following
        if file is not None and file.section == STATE_SECTION:
            return "state", file.number, self._files
        return "blocks", self.manifest.height - (file.number if file else self.blocks_from), 0

    def begin(self) -> list[Put]:
        """The first writes, into an empty database."""
        return [
            (VAULT_KEY, self._vault_id),
            (STAGED_MANIFEST_KEY, encode(self.manifest)),
            self._cursor_put(),
        ]

    @property
    def transactions(self) -> int:
        """How many there are in all blocks up to the snapshot's, once it is complete."""
        return self._transactions

    def take(self, raw: bytes) -> list[Put]:
        """Check the file that is needed next; its writes, to be done at once.

        With the last file the database becomes a whole one; that write must be synced. Raises
        `Refused` `BAD_SNAPSHOT`, and still needs the file then, or `BAD_MANIFEST` where the fault
        is not this file's: the certified state knows of other changes of validators.
        """
        if self.following is None:
            raise AssertionError("the snapshot is complete")
        if self.following.section == STATE_SECTION:
            return self._take_state(self.following.number, raw)
        return self._take_blocks(raw)

    def _take_state(self, index: int, raw: bytes) -> list[Put]:
        subtree = check_state(self._trust, self.manifest, index, raw)
        changes = [first for first in subtree.eras if 1 < first <= self.manifest.height + 1]
        if not {first for first, _ in self._history.eras}.issuperset(changes):
            raise Refused("BAD_MANIFEST", "it lacks a change of validators")
        following = self._after_state(index)
        handovers = self._handovers + len(changes)
        if following.section == BLOCKS_SECTION and handovers != len(self.manifest.handovers):
            raise Refused("BAD_MANIFEST", "the state knows of other changes of validators")
        self.following, self._handovers = following, handovers
        self._transactions += subtree.counted or 0
        return [*self._state_puts(subtree), self._cursor_put()]

    def _take_blocks(self, raw: bytes) -> list[Put]:
        trust, top = self._trust, self.manifest.header
        stored = check_blocks(trust, self._history, top, self._block_id, raw)
        lowest, highest = stored[0].header, stored[-1]
        self._block_id, self.blocks_from = lowest.parent, lowest.height
        if highest.header.height == top.height:
            self._transactions += len(highest.receipts)
        puts = _block_puts(trust.chain, stored)
        if not ends_window(top, lowest):
            self.following = SnapshotFile(BLOCKS_SECTION, lowest.height - 1)
            return [*puts, self._cursor_put()]
        self.following = None
        return puts + self._final_puts()

    def _after_state(self, index: int) -> SnapshotFile:
        """The next subtree that is not empty, or else the newest blocks."""
        empty = empty_hashes(self._trust.depth)[file_level(self._trust.depth)]
        for following in range(index + 1, self._files):
            if self.manifest.node(following) != empty:
                return SnapshotFile(STATE_SECTION, following)
        return SnapshotFile(BLOCKS_SECTION, self.manifest.height)

    def _cursor_put(self) -> Put:
        if self.following is None:
            raise AssertionError("the snapshot is complete")
        cursor = Cursor(self.following, self._block_id, self._handovers, self._transactions)
        return STAGED_CURSOR_KEY, encode(cursor)

    def _final_puts(self) -> list[Put]:
        manifest, trust = self.manifest, self._trust
        header = manifest.header
        block_id = header.id(trust.chain)
        head = HeadRecord(header.height, block_id, header.state_root, self._transactions)
        oldest = Oldest(self.blocks_from, header.height)
        origin = Origin(LAYOUT_VERSION, trust.chain.genesis_hash, trust.depth)
        return [
            *(handover_put(handover) for handover in manifest.handovers),
            (STAGED_MANIFEST_KEY, None),
            (STAGED_CURSOR_KEY, None),
            (OLDEST_KEY, encode(oldest)),
            (HEAD_KEY, encode(head)),
            (VAULT_KEY, self._vault_id),
            (GENESIS_KEY, encode(origin)),
        ]

    def _state_puts(self, subtree: Subtree) -> list[Put]:
        puts: list[Put] = []
        places, height = self._places, self.manifest.height
        for table, key, value in subtree.records:
            puts.append((places.record(table, key), value))
            if table == HISTORY_TABLE:
                puts.append((places.balance(key, height), value))
        puts += [(bucket_key(index), entries) for index, entries in subtree.buckets.items()]
        return puts


def read_snapshot(
    files: SnapshotFiles, trust: Trust, database: SealedKeyValue | None, progress: Progress
) -> Assembly:
    """Check all of a snapshot, and write it into an empty database unless that is None.

    The two may be sealed under different storage keys.

    Raises `Refused` `BAD_SNAPSHOT` naming the file; the database is of no use then.
    """
    vault = files.vault if database is None else database.vault
    name = file_name(MANIFEST_FILE)
    try:
        assembly = Assembly(trust, vault, manifest_codec.decode(_read(files, name)))
    except Refused as refusal:
        raise Refused("BAD_SNAPSHOT", f"{name}: {refusal.message}") from None
    while assembly.following is not None:
        name = file_name(assembly.following)
        raw = _read(files, name)
        try:
            puts = assembly.take(raw)
        except Refused as refusal:
            raise Refused("BAD_SNAPSHOT", f"{name}: {refusal.message}") from None
        if database is not None:
            database.write(puts, sync=assembly.following is None)
        progress(*assembly.progress)
    return assembly


def _block_puts(chain: Chain, stored: tuple[StoredBlock, ...]) -> list[Put]:
    puts: list[Put] = []
    for one in stored:
        height = number(one.header.height)
        puts.append((BLOCKS + height, encode(one.block)))
        puts.append((RECEIPTS + height, encode(one.receipts)))
        puts.append((block_index_key(one.header.id(chain)), height))
        for index, receipt in enumerate(one.receipts):
            place = height + index.to_bytes(4, "big")
            puts.append((transaction_index_key(receipt.transaction_id), place))
    return puts


def _read(files: SnapshotFiles, name: str) -> bytes:
    raw = files.read(name)
    if raw is None:
        raise Refused("BAD_SNAPSHOT", f"{files.folder / name} is missing")
    return raw
