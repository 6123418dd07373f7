"""Where records stand in the database: the keys of `layout`, with secrets hidden by the vault."""

from __future__ import annotations

from node.state.layout import (
    HISTORY_TABLE,
    RECORDS,
    damaged,
    history_prefix,
    number,
    successor,
    table_prefix,
)
from node.state.vault import Unopened, Vault


class Places:
    """The places of one node's database; another node's differ."""

    def __init__(self, vault: Vault) -> None:
        self._vault = vault
        self._hide = vault.hide

    def record(self, table: str, key: bytes) -> bytes:
        """Where a record of the current state stands."""
        return table_prefix(table) + self._hide(table, key)

    def span(self, table: str, prefix: bytes, after: bytes | None) -> tuple[bytes, bytes]:
        """Start and stop of the records whose key starts with `prefix` and that come after `after`.

        `prefix` is empty or holds the whole secret, within which order is that of the keys.
        """
        secret = self._vault.secret_bytes(table)
        if 0 < len(prefix) < secret:
            raise AssertionError(f"{table} is scanned by a part of a secret")
        start = self.record(table, prefix)
        stop = successor(start)
        if after is None:
            return start, stop
        if prefix and after[:secret] != prefix[:secret]:
            return (start if after < prefix else stop), stop
        return max(start, self.record(table, after) + b"\x00"), stop

    def own(self, place: bytes) -> tuple[str, bytes]:
        """Table and key of the record that stands there; raises `StoreFailure`."""
        table_raw, separator, hidden = place[len(RECORDS) :].partition(b"\x00")
        try:
            table = table_raw.decode()
            if separator:
                return table, self._vault.show(table, hidden)
        except (UnicodeDecodeError, Unopened):
            pass
        raise damaged(f"the key {place[:64].hex()} is none of a record")

    def hashed(self, place: bytes) -> bytes:
        """Table, NUL and key of the record there, which is what the tree hashes."""
        table, key = self.own(place)
        return table.encode() + b"\x00" + key

    def history(self, key: bytes) -> bytes:
        """What the keys of the history of one `HISTORY_TABLE` record start with."""
        return history_prefix(self._hide(HISTORY_TABLE, key))

    def balance(self, key: bytes, height: int) -> bytes:
        """Where that record stands as it was after the block of `height`."""
        return self.history(key) + number(height)
