"""The vote log: what this validator has signed, in order, in a database of its own.

A record is synced before the message it is about is sent, so that a restarted node never
contradicts itself. Records are opaque here; each is kept with the height it is about, so that the
log can be trimmed once the block of that height is stored.

| key                   | value                                                      |
|-----------------------|------------------------------------------------------------|
| `k`                   | which storage key it is sealed under: `Vault.id`           |
| `f`                   | sequence of the first record that was not trimmed, 8 bytes |
| `v` ‖ sequence (8)    | sealed: height (8) ‖ record                                |
| `h`                   | below this height votes may have been trimmed, 8 bytes     |

Sequences have no gap between `f` and the last one: a gap means that votes were lost, and a node
that goes on without knowing its own votes may sign the opposite of one.
"""

from __future__ import annotations

from collections import deque
from pathlib import Path
from typing import Final

from node.protocol.errors import StoreFailure
from node.state.keyvalue import KeyValue, Put
from node.state.layout import wrong_key
from node.state.level import open_level
from node.state.sealed import SealedKeyValue
from node.state.vault import Vault

VOTE_RECORD_BYTES_MAX = 32 << 20
WRITE_BUFFER_BYTES = 4 << 20
CACHE_BYTES = 1 << 20
OPEN_FILES_MAX = 32
_VAULT = b"k"
_FIRST = b"f"
_FLOOR = b"h"
_VOTE = b"v"
_VOTES_END = b"w"


class VoteLog:
    """The votes of one validator, oldest first."""

    def __init__(self, database: KeyValue, vault: Vault) -> None:
        """Read and check the log.

        Raises `StoreFailure` `DAMAGED_VOTES` if a record is missing, or `WRONG_STORAGE_KEY`.
        """
        self._database = records = SealedKeyValue(database, vault, _VOTE, _damaged)
        first = records.get(_FIRST)
        self.is_new: Final = first is None
        if first is None:
            first = _number(0)
            records.write([(_FIRST, first), (_VAULT, vault.id)], sync=True)
        if records.get(_VAULT) != vault.id:
            raise wrong_key("the vote database is")
        self._heights: deque[int] = deque()
        self._first = _parsed(first)
        self._floor = _parsed(records.get(_FLOOR) or _number(0))
        for expected, (key, value) in enumerate(
            records.iterate(_VOTE, _VOTES_END), start=self._first
        ):
            if key != _VOTE + _number(expected) or len(value) < 8:
                raise _damaged(f"record {expected} is missing")
            self._heights.append(_parsed(value[:8]))

    @property
    def vote_from(self) -> int:
        """The lowest height all of whose votes are here: of earlier ones some are forgotten."""
        return max(self._floor, max(self._heights, default=0))

    def load(self) -> list[bytes]:
        """All records that are not trimmed, oldest first."""
        return [value[8:] for _, value in self._database.iterate(_VOTE, _VOTES_END)]

    def append(self, record: bytes, height: int) -> None:
        """Store one record about `height`; it is on the disk when this returns."""
        if len(record) > VOTE_RECORD_BYTES_MAX:
            raise AssertionError(f"a vote record of {len(record)} bytes")
        sequence = self._first + len(self._heights)
        value = _number(height) + record
        self._database.write([(_VOTE + _number(sequence), value)], sync=True)
        self._heights.append(height)

    def trim(self, below_height: int) -> None:
        """Drop the leading records about lower heights. Not synced: losing a trim loses nothing."""
        count = 0
        while count < len(self._heights) and self._heights[count] < below_height:
            count += 1
        if not count:
            return
        first = self._first + count
        puts: list[Put] = [(_VOTE + _number(at), None) for at in range(self._first, first)]
        self._floor = max(self._floor, below_height)
        puts += [(_FIRST, _number(first)), (_FLOOR, _number(self._floor))]
        self._database.write(puts, sync=False)
        for _ in range(count):
            self._heights.popleft()
        self._first = first

    def raise_floor(self, height: int) -> None:
        """Note that votes below `height` may be lost, whatever became of them."""
        self._floor = max(self._floor, height)
        self._database.write([(_FLOOR, _number(self._floor))], sync=True)

    def reopen(self) -> None:
        """After a failed write, before it is tried again."""
        self._database.reopen()

    def close(self) -> None:
        """Give the database free."""
        self._database.close()


def open_vote_database(path: Path) -> KeyValue:
    """Open or create the database of a vote log in folder `path`.

    Raises `StoreFailure` `DAMAGED_VOTES`, `DATABASE_IN_USE` or `DISK_FAILED`.
    """
    try:
        return open_level(path, WRITE_BUFFER_BYTES, CACHE_BYTES, OPEN_FILES_MAX)
    except StoreFailure as failure:
        if failure.code == "DATABASE_DAMAGED":
            raise _damaged(failure.message.partition(";")[0]) from None
        raise


def _number(value: int) -> bytes:
    return value.to_bytes(8, "big")


def _parsed(raw: bytes) -> int:
    if len(raw) != 8:
        raise _damaged("a number has the wrong size")
    return int.from_bytes(raw, "big")


def _damaged(reason: str) -> StoreFailure:
    return StoreFailure(
        "DAMAGED_VOTES",
        f"the vote database is damaged ({reason}); without its own votes this validator could sign "
        "twice: `groat node repair --votes-lost` keeps it silent for as long as that is so",
    )
