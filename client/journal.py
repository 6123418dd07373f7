"""A connector's journal: what it has handled, and what it has signed and must see through.

One SQLite file, written durably before anything leaves: whoever starts again after a crash sends
the very same transaction once more, whose id makes that harmless. It belongs to one network and
one key. What an event means is not known here.
"""

from __future__ import annotations

import os
import sqlite3
from pathlib import Path
from typing import NamedTuple, Self

from node.protocol.errors import Misconfigured

KEPT_MAX = 10_000
PATIENCE_SECONDS = 2.0
_SCHEMA = """
CREATE TABLE IF NOT EXISTS facts (name TEXT PRIMARY KEY, value TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS handled (
    number INTEGER PRIMARY KEY AUTOINCREMENT,
    event TEXT NOT NULL UNIQUE,
    raw BLOB NOT NULL,
    outcome TEXT NOT NULL
);
"""


class Entry(NamedTuple):
    """An event in hand: `raw` is the transaction that reports on it, empty for none.

    `outcome` is empty until that transaction is final, then its code.
    """

    event: str
    raw: bytes
    outcome: str


class Journal:
    """See the module. `close` it, or use it as a context."""

    def __init__(self, path: Path, owner: str, patience_seconds: float = PATIENCE_SECONDS) -> None:
        """`owner` names network and key; raises `Misconfigured` `BAD_JOURNAL`."""
        self._path = path
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            os.close(os.open(path, os.O_CREAT | os.O_RDWR, 0o600))
            self._database = sqlite3.connect(path, timeout=patience_seconds, isolation_level=None)
            self._database.execute("PRAGMA locking_mode = EXCLUSIVE")
            self._database.execute("PRAGMA synchronous = FULL")
            self._database.executescript(_SCHEMA)
            self._database.execute("BEGIN IMMEDIATE")
            self._database.execute("COMMIT")
            known = self._fact("owner")
        except (sqlite3.Error, OSError) as error:
            raise self._bad(str(error)) from None
        if known is None:
            self._set_fact("owner", owner)
        elif known != owner:
            self._database.close()
            raise self._bad("it belongs to another network or key")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Give the file free."""
        self._database.close()

    @property
    def height(self) -> int:
        """Blocks below this height are done with; 0 at the start."""
        return int(self._fact("height") or 0)

    def start_at(self, height: int) -> None:
        """A journal that has nothing yet: what was before this height is none of its business."""
        if self.height == 0:
            self._set_fact("height", str(height))

    def entry(self, event: str) -> Entry | None:
        """What is known of an event."""
        row = self._database.execute(
            "SELECT event, raw, outcome FROM handled WHERE event = ?", (event,)
        ).fetchone()
        return None if row is None else Entry(*row)

    def record(self, event: str, raw: bytes) -> None:
        """Before a transaction is sent: this is what reports on the event."""
        self._database.execute(
            "INSERT INTO handled (event, raw, outcome) VALUES (?, ?, '') "
            "ON CONFLICT (event) DO UPDATE SET raw = excluded.raw, outcome = ''",
            (event, raw),
        )

    def finish(self, event: str, height: int, outcome: str) -> None:
        """An event of the block of `height` is done with; old entries are forgotten."""
        self._database.execute("BEGIN IMMEDIATE")
        self._database.execute("UPDATE handled SET outcome = ? WHERE event = ?", (outcome, event))
        self._set_fact("height", str(height))
        self._database.execute(
            "DELETE FROM handled WHERE number <= (SELECT max(number) FROM handled) - ?", (KEPT_MAX,)
        )
        self._database.execute("COMMIT")

    def entries(self, limit: int) -> list[Entry]:
        """The newest entries, newest first."""
        rows = self._database.execute(
            "SELECT event, raw, outcome FROM handled ORDER BY number DESC LIMIT ?", (limit,)
        )
        return [Entry(*row) for row in rows]

    def _fact(self, name: str) -> str | None:
        row = self._database.execute("SELECT value FROM facts WHERE name = ?", (name,)).fetchone()
        return None if row is None else str(row[0])

    def _set_fact(self, name: str, value: str) -> None:
        self._database.execute(
            "INSERT INTO facts (name, value) VALUES (?, ?) "
            "ON CONFLICT (name) DO UPDATE SET value = excluded.value",
            (name, value),
        )

    def _bad(self, why: str) -> Misconfigured:
        return Misconfigured("BAD_JOURNAL", f"{self._path}: {why}; name another file or mend it")
