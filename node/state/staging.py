"""Staging: the database beside the node's own in which a snapshot is put together, as sealed.

It is opened when something is to be written, or if a node that was stopped had begun one. Once it
is whole it takes the place of the node's own, which is not for this module to do.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final

from node.state.keyvalue import KeyValue, Put, Records
from node.state.layout import STAGED_MANIFEST_KEY
from node.state.sealed import SealedKeyValue
from node.state.vault import Vault

WIPED_AT_ONCE = 10_000


class Staging:
    """See the module. `open_database` makes it if it is not there."""

    def __init__(self, open_database: Callable[[], KeyValue], vault: Vault, exists: bool) -> None:
        self.vault: Final = vault
        self._open = open_database
        self._database = self._opened() if exists else None

    @property
    def records(self) -> Records | None:
        """What was written before this node started, if anything was."""
        database = self._database
        return None if database is None or database.get(STAGED_MANIFEST_KEY) is None else database

    def begin(self, puts: Sequence[Put]) -> None:
        """Forget what is there and write the first records."""
        database = self._needed()
        while stale := [
            (key, None) for key, _ in database.iterate(b"", b"\xff", False, WIPED_AT_ONCE)
        ]:
            database.write(stale, sync=False)
        database.write(puts, sync=True)

    def write(self, puts: Sequence[Put], is_last: bool) -> None:
        """Add records; durable when this returns if they are the last ones."""
        self._needed().write(puts, sync=is_last)

    def reopen(self) -> None:
        """After a failed write, before it is tried again."""
        if self._database is not None:
            self._database.reopen()

    def close(self) -> None:
        """Give it free."""
        if self._database is not None:
            self._database.close()
            self._database = None

    def _needed(self) -> SealedKeyValue:
        if self._database is None:
            self._database = self._opened()
        return self._database

    def _opened(self) -> SealedKeyValue:
        return SealedKeyValue(self._open(), self.vault)
