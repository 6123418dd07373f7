"""What a channel must remember of its charges, on disk before it acts: open ones, and notices.

A notice is something the provider said of a charge. It is stored first and told to the chain later,
one by one; what came of it is kept. Nothing is decided here.
"""

from __future__ import annotations

import os
import sqlite3
from pathlib import Path
from typing import NamedTuple

from node.protocol.errors import Misconfigured, Refused

NOTICES_MAX = 50
_SCHEMA = """
CREATE TABLE IF NOT EXISTS charges (
    reference TEXT PRIMARY KEY, intent BLOB NOT NULL, amt INTEGER NOT NULL, cur TEXT NOT NULL,
    done INTEGER NOT NULL DEFAULT 0
);
CREATE TABLE IF NOT EXISTS notices (
    number INTEGER PRIMARY KEY, reference TEXT NOT NULL, status TEXT NOT NULL, amt INTEGER NOT NULL,
    outcome TEXT NOT NULL DEFAULT ''
);
CREATE INDEX IF NOT EXISTS notices_open ON notices (outcome, number);
CREATE INDEX IF NOT EXISTS charges_of ON charges (intent);
"""


class Charge(NamedTuple):
    """A charge under way or done; `reference` is the one that the provider knows it by."""

    reference: str
    intent: bytes
    amt: int
    cur: str


class Notice(NamedTuple):
    """SUCCEEDED, FAILED or UNKNOWN, as the chain calls it. `outcome` is the chain's code, or ''."""

    number: int
    reference: str
    status: str
    amt: int
    outcome: str


class Charges:
    """The file of one channel."""

    def __init__(self, path: Path | str) -> None:
        try:
            if isinstance(path, Path):
                path.parent.mkdir(parents=True, exist_ok=True)
                os.close(os.open(path, os.O_CREAT | os.O_RDWR, 0o600))
            self._database = sqlite3.connect(path, isolation_level=None)
            self._database.execute("PRAGMA synchronous = FULL")
            self._database.executescript(_SCHEMA)
        except (sqlite3.Error, OSError) as error:
            raise Misconfigured("BAD_JOURNAL", f"{path}: {error}; name another file") from None

    def close(self) -> None:
        """Give the file free."""
        self._database.close()

    def open(self, charge: Charge) -> None:
        """Remember a charge before the provider is asked; the same again changes nothing."""
        self._database.execute(
            "INSERT INTO charges (reference, intent, amt, cur) VALUES (?, ?, ?, ?) "
            "ON CONFLICT DO NOTHING",
            charge,
        )

    def find(self, reference: str) -> Charge | None:
        """The charge of this reference."""
        row = self._database.execute(
            "SELECT reference, intent, amt, cur FROM charges WHERE reference = ?", (reference,)
        ).fetchone()
        return None if row is None else Charge(*row)

    def newest_of(self, intent: bytes) -> Charge | None:
        """The last charge of an intent."""
        row = self._database.execute(
            "SELECT reference, intent, amt, cur FROM charges WHERE intent = ? "
            "ORDER BY rowid DESC LIMIT 1",
            (intent,),
        ).fetchone()
        return None if row is None else Charge(*row)

    def unfinished(self, limit: int) -> list[Charge]:
        """Charges that the chain has no final word on."""
        rows = self._database.execute(
            "SELECT reference, intent, amt, cur FROM charges WHERE done = 0 ORDER BY rowid LIMIT ?",
            (limit,),
        )
        return [Charge(*row) for row in rows]

    def finish(self, reference: str) -> None:
        """The chain has its final word."""
        self._database.execute("UPDATE charges SET done = 1 WHERE reference = ?", (reference,))

    def note(self, reference: str, status: str, amt: int) -> None:
        """Store what was said; raises `Refused` `TOO_MANY` where a charge is told of too often."""
        (count,) = self._database.execute(
            "SELECT count(*) FROM notices WHERE reference = ?", (reference,)
        ).fetchone()
        if count >= NOTICES_MAX:
            raise Refused("TOO_MANY", f"more than {NOTICES_MAX} notices of one charge")
        self._database.execute(
            "INSERT INTO notices (reference, status, amt) VALUES (?, ?, ?)",
            (reference, status, amt),
        )

    def untold(self, limit: int) -> list[Notice]:
        """Notices that the chain does not know, oldest first."""
        return self._notices("WHERE outcome = '' ORDER BY number LIMIT ?", limit)

    def notices(self, limit: int) -> list[Notice]:
        """All, newest first."""
        return self._notices("ORDER BY number DESC LIMIT ?", limit)

    def told(self, number: int, outcome: str) -> None:
        """The chain answered with this code."""
        self._database.execute("UPDATE notices SET outcome = ? WHERE number = ?", (outcome, number))

    def _notices(self, rest: str, limit: int) -> list[Notice]:
        columns = "number, reference, status, amt, outcome"
        rows = self._database.execute(f"SELECT {columns} FROM notices {rest}", (limit,))  # noqa: S608
        return [Notice(*row) for row in rows]
