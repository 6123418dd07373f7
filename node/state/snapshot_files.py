"""The files of one snapshot: the only place that reads and writes their bytes.

What a file means is `snapshot`'s part. Whoever sends a file to another node sends what `read`
gives, and whoever receives it writes it here again: on the disk files are sealed under the node's
own storage key, in segments of length (4) and sealed bytes, each for its file and its offset there.
That no segment is missing at the end is for the content to show.
"""

from __future__ import annotations

import os
from pathlib import Path

from node.protocol.errors import Refused
from node.protocol.messages import SNAPSHOT_FILE_BYTES_MAX
from node.state.vault import Unopened, Vault

# Seals and lengths of the segments of one file, of which there are few.
SEALS_BYTES_MAX = 1 << 20


class SnapshotFiles:
    """A folder with the files of one snapshot, sealed under the storage key of `vault`."""

    def __init__(self, folder: Path, vault: Vault) -> None:
        self.folder = folder
        self.vault = vault

    def write(self, name: str, content: bytes) -> None:
        """Write a whole file, on the disk when this returns. Raises OSError."""
        with (self.folder / name).open("wb") as file:
            file.write(self._segment(name, 0, content))
            file.flush()
            os.fsync(file.fileno())

    def append(self, name: str, content: bytes) -> None:
        """Add to a file, which is made if it is not there; `sync` must follow. Raises OSError."""
        with (self.folder / name).open("ab") as file:
            file.write(self._segment(name, file.tell(), content))

    def sync(self, name: str) -> None:
        """Have what was appended on the disk. Raises OSError."""
        with (self.folder / name).open("ab") as file:
            os.fsync(file.fileno())

    def read(self, name: str) -> bytes | None:
        """The content of a file, None if there is none; raises `Refused` `BAD_SNAPSHOT`."""
        path = self.folder / name
        bytes_max = SNAPSHOT_FILE_BYTES_MAX + SEALS_BYTES_MAX
        try:
            with path.open("rb") as file:
                raw = file.read(bytes_max + 1)
        except FileNotFoundError:
            return None
        except OSError as error:
            raise Refused("BAD_SNAPSHOT", f"{path}: {error.strerror}") from None
        if len(raw) > bytes_max:
            raise Refused("BAD_SNAPSHOT", f"{path} is too large")
        try:
            return self._opened(name, raw)
        except Unopened:
            raise Refused(
                "BAD_SNAPSHOT", f"{path} was altered, or is not sealed under this storage key"
            ) from None

    def _segment(self, name: str, offset: int, content: bytes) -> bytes:
        sealed = self.vault.sealer().seal(_place(name, offset), content)
        return len(sealed).to_bytes(4, "big") + sealed

    def _opened(self, name: str, raw: bytes) -> bytes:
        parts = []
        at = 0
        while at < len(raw):
            start = at + 4
            stop = start + int.from_bytes(raw[at:start], "big")
            if stop > len(raw):
                raise Unopened
            parts.append(self.vault.open(_place(name, at), raw[start:stop]))
            at = stop
        return b"".join(parts)


def _place(name: str, offset: int) -> bytes:
    """Where a segment belongs; no key of a database begins like this."""
    return f"file {name} ".encode() + offset.to_bytes(8, "big")
