"""A `KeyValue` whose values rest sealed: above it are values, below it is ciphertext.

Only the values under the given first bytes of keys are sealed, by default those of a state
database; numbers and hashes need no seal.
Keys are as they stand on disk (see `vault` and `layout`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

from node.protocol.errors import StoreFailure
from node.state.keyvalue import KeyValue, Put, Records
from node.state.layout import SEALED, damaged
from node.state.vault import Unopened, Vault

Failure = Callable[[str], StoreFailure]
"""What to raise, given what is wrong in a few words."""


class SealedRecords:
    """The reading half. A value that does not open is a `failure`: `DATABASE_DAMAGED` or other."""

    def __init__(
        self, records: Records, vault: Vault, prefixes: bytes = SEALED, failure: Failure = damaged
    ) -> None:
        self._records = records
        self._prefixes = prefixes
        self._failure = failure
        self.vault = vault

    def get(self, key: bytes) -> bytes | None:
        """The value of `key`, or None."""
        value = self._records.get(key)
        return None if value is None else self._open(key, value)

    def iterate(
        self, start: bytes, stop: bytes, reverse: bool = False, limit: int | None = None
    ) -> Iterator[tuple[bytes, bytes]]:
        """Pairs with start ≤ key < stop, ascending unless `reverse`, as they are at the call."""
        pairs = self._records.iterate(start, stop, reverse, limit)
        return ((key, self._open(key, value)) for key, value in pairs)

    def _open(self, key: bytes, value: bytes) -> bytes:
        if key[0] not in self._prefixes:
            return value
        try:
            return self.vault.open(key, value)
        except Unopened:
            return self._on_unopened(key)

    def _on_unopened(self, key: bytes) -> bytes:
        raise self._failure(f"the value of {key[:48].hex()} does not open")


class SealedKeyValue(SealedRecords):
    """The whole of it."""

    def __init__(
        self, database: KeyValue, vault: Vault, prefixes: bytes = SEALED, failure: Failure = damaged
    ) -> None:
        super().__init__(database, vault, prefixes, failure)
        self._database = database

    def write(self, puts: Sequence[Put], sync: bool) -> None:
        """All or nothing; with `sync` it is on the disk when this returns. Later puts win."""
        seal, prefixes = self.vault.sealer().seal, self._prefixes
        sealed: list[Put] = [
            (key, seal(key, value) if value is not None and key[0] in prefixes else value)
            for key, value in puts
        ]
        self._database.write(sealed, sync)

    def snapshot(self) -> SealedRecords:
        """What is there now, for readers that must not see a write in progress."""
        return SealedRecords(self._database.snapshot(), self.vault, self._prefixes, self._failure)

    def compact(self, start: bytes, stop: bytes) -> None:
        """Give back the room of what was deleted within start ≤ key < stop; takes a while."""
        self._database.compact(start, stop)

    def reopen(self) -> None:
        """Make it writable again after a failed write, of which all or nothing is there now."""
        self._database.reopen()

    def close(self) -> None:
        """Give the database free."""
        self._database.close()
