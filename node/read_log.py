"""The read log: what regulators read at this node because they are regulators, noted before told.

Each entry is sealed under the node's storage key, since it names cards and persons, and hashed
together with all before it; the chain's anchors (`kernel/read_anchors`) fix that hash day by day,
and whoever has the file can hold it against them without any key. What a regulator's own node
decrypts inside is not an API read and is not noted. Which reads these are is decided in
`node.http.routing`.

The file holds entries one after the other: length (4 bytes), sealed entry.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import NamedTuple

from node.protocol.domain import Chain
from node.protocol.encoding import Codec, Record, encode, sha256
from node.protocol.errors import Refused
from node.state.vault import Unopened, Vault

READ_LOG_FILE = "reads.log"
WHAT_CHARS_MAX = 4_096
ENTRY_BYTES_MAX = 1 << 15
_LENGTH_BYTES = 4


class ReadEntry(Record, frozen=True):
    """Who read what, at which height of this node. Times are ms since 1970."""

    time_ms: int
    height: int
    reader: bytes
    what: str


class Noted(NamedTuple):
    """An entry as it stands in the file, and the hash of the log up to it."""

    sealed: bytes
    before: bytes
    head: bytes


_entry_codec: Codec[ReadEntry] = Codec(ReadEntry, ENTRY_BYTES_MAX)


class ReadLog:
    """The log of a running node, which alone writes it."""

    def __init__(self, path: Path, chain: Chain, node: bytes, vault: Vault) -> None:
        """Raises OSError. An entry that was cut short by a power failure is taken away."""
        self._path = path
        self._vault = vault
        self._empty = self.head = empty_log(chain, node)
        self.count = 0
        self._size = 0
        if path.exists():
            for noted in read_log(path, self.head):
                self.head, self.count = noted.head, self.count + 1
                self._size += _LENGTH_BYTES + len(noted.sealed)
        self._file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o600)
        os.ftruncate(self._file, self._size)
        self._synced = self.count

    def note(self, entry: ReadEntry) -> None:
        """Write an entry; raises `Refused` `READ_LOG_FAILED`, and then nothing may be told."""
        text = entry.what[:WHAT_CHARS_MAX]
        content = encode(ReadEntry(entry.time_ms, entry.height, entry.reader, text))
        sealed = self._vault.sealer().seal(_place(self.head), content)
        framed = len(sealed).to_bytes(_LENGTH_BYTES, "big") + sealed
        try:
            written = os.write(self._file, framed)
            if written < len(framed):
                os.ftruncate(self._file, self._size)
                raise OSError("no room")
        except OSError:
            raise Refused(
                "READ_LOG_FAILED", "this node cannot note the read; ask another one"
            ) from None
        self._size += len(framed)
        self.head, self.count = _next(self.head, sealed), self.count + 1

    def head_at(self, count: int) -> bytes | None:
        """The hash of the first `count` entries; None if there are fewer. Raises OSError."""
        if count > self.count:
            return None
        head = self._empty
        for noted in islice(read_log(self._path, head), count):
            head = noted.head
        return head

    def sync(self) -> None:
        """Bring what was noted onto the disk; raises OSError."""
        if self._synced < self.count:
            count = self.count
            os.fdatasync(self._file)
            self._synced = count

    def close(self) -> None:
        """Write no more."""
        os.close(self._file)


def empty_log(chain: Chain, node: bytes) -> bytes:
    """The hash of a node's log before its first entry."""
    return sha256(chain.prefix("read log") + node)


def read_log(path: Path, head: bytes) -> Iterator[Noted]:
    """The entries of a file one after the other, as far as they are whole; raises OSError.

    `head` is the hash before the first.
    """
    with path.open("rb") as file:
        while True:
            size = int.from_bytes(file.read(_LENGTH_BYTES), "big")
            sealed = file.read(min(size, ENTRY_BYTES_MAX))
            if not size or len(sealed) < size:
                return
            noted = Noted(sealed, head, _next(head, sealed))
            yield noted
            head = noted.head


def opened(vault: Vault, noted: Noted) -> ReadEntry | None:
    """What an entry says; None where it was sealed under another storage key, or altered."""
    try:
        return _entry_codec.decode(vault.open(_place(noted.before), noted.sealed))
    except (Unopened, Refused):
        return None


def _place(head: bytes) -> bytes:
    return b"groat/reads/" + head


def _next(head: bytes, sealed: bytes) -> bytes:
    return sha256(head + sha256(sealed))
