"""Payment passwords at rest: six digits, and all that makes them hard to guess from the file.

Each is stretched by argon2id over an HMAC with a pepper that lies in another file: whoever steals
the table alone has nothing to test a guess against. With both files a million guesses are soon
made, so keep them apart. How many guesses are allowed is not decided here; nothing of this is ever
put on a ledger.
"""

from __future__ import annotations

import hashlib
import hmac
import os
import re
import secrets
import sqlite3
from pathlib import Path
from types import TracebackType
from typing import Self

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError

from node.protocol.errors import Misconfigured, Refused
from node.protocol.keystore import read_private_file, write_private_file

PEPPER_BYTES = 32
_PASSWORD = re.compile(r"[0-9]{6}")
_SCHEMA = """
CREATE TABLE IF NOT EXISTS passwords (user BLOB PRIMARY KEY, stretched TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS attempts (id BLOB PRIMARY KEY);
CREATE TABLE IF NOT EXISTS owed (user BLOB PRIMARY KEY, raw BLOB NOT NULL);
"""


def pepper_of(path: Path) -> bytes:
    """The pepper in a file of its own, made on first use; raises `Misconfigured`."""
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        write_private_file(path, secrets.token_hex(PEPPER_BYTES) + "\n")
    try:
        pepper = bytes.fromhex(read_private_file(path).decode("ascii").strip())
    except ValueError:
        pepper = b""
    if len(pepper) != PEPPER_BYTES:
        raise Misconfigured("BAD_PEPPER", f"{path} is not {PEPPER_BYTES} bytes in hex; restore it")
    return pepper


class Vault:
    """The table of one pay service. `close` it, or use it as a context."""

    def __init__(self, path: Path, pepper: bytes) -> None:
        self._pepper = pepper
        self._hasher = PasswordHasher()
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            os.close(os.open(path, os.O_CREAT | os.O_RDWR, 0o600))
            self._database = sqlite3.connect(path, isolation_level=None)
            self._database.execute("PRAGMA synchronous = FULL")
            self._database.executescript(_SCHEMA)
        except (sqlite3.Error, OSError) as error:
            raise Misconfigured("BAD_VAULT", f"{path}: {error}; name another file") from None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Give the file free."""
        self._database.close()

    # ---- passwords

    def knows(self, user: bytes) -> bool:
        """Whether this user has set one."""
        return self._stretched(user) is not None

    def set(self, user: bytes, password: str) -> None:
        """Keep a password instead of any earlier one; raises `Refused` `BAD_ARG`."""
        if not _PASSWORD.fullmatch(password):
            raise Refused("BAD_ARG", "a payment password is six digits", field="password")
        stretched = self._hasher.hash(self._peppered(user, password))
        self._database.execute(
            "INSERT INTO passwords (user, stretched) VALUES (?, ?) "
            "ON CONFLICT (user) DO UPDATE SET stretched = excluded.stretched",
            (user, stretched),
        )

    def is_right(self, user: bytes, password: str) -> bool:
        """Whether this is the user's password; False where none is set."""
        stretched = self._stretched(user)
        if stretched is None:
            return False
        try:
            return self._hasher.verify(stretched, self._peppered(user, password))
        except (VerificationError, InvalidHashError):
            return False

    # ---- attempts

    def take(self, attempt: bytes) -> bool:
        """Whether an attempt is new; from now on it is not."""
        added = self._database.execute(
            "INSERT INTO attempts (id) VALUES (?) ON CONFLICT DO NOTHING", (attempt,)
        )
        return added.rowcount == 1

    def owe(self, user: bytes, raw: bytes) -> None:
        """Remember a failure that the chain has not counted yet: the transaction that tells it."""
        self._database.execute(
            "INSERT INTO owed (user, raw) VALUES (?, ?) "
            "ON CONFLICT (user) DO UPDATE SET raw = excluded.raw",
            (user, raw),
        )

    def owed(self, user: bytes) -> bytes | None:
        """What `owe` remembers of this user."""
        row = self._database.execute("SELECT raw FROM owed WHERE user = ?", (user,)).fetchone()
        return None if row is None else bytes(row[0])

    def settle(self, user: bytes) -> None:
        """The chain has counted it."""
        self._database.execute("DELETE FROM owed WHERE user = ?", (user,))

    def _stretched(self, user: bytes) -> str | None:
        row = self._database.execute(
            "SELECT stretched FROM passwords WHERE user = ?", (user,)
        ).fetchone()
        return None if row is None else str(row[0])

    def _peppered(self, user: bytes, password: str) -> bytes:
        return hmac.digest(self._pepper, user + password.encode(), hashlib.sha256)
