"""The files of one snapshot: the only place that reads and writes their bytes.

What a file means is `snapshot`'s part. Whoever sends a file to another node sends what `read`
gives, and whoever receives it writes it here again.
"""

from __future__ import annotations

import os
from pathlib import Path

from node.protocol.errors import Refused
from node.protocol.messages import SNAPSHOT_FILE_BYTES_MAX as FILE_BYTES_MAX


class SnapshotFiles:
    """A folder with the files of one snapshot."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def write(self, name: str, content: bytes) -> None:
        """Write a whole file, on the disk when this returns. Raises OSError."""
        with (self.folder / name).open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())

    def append(self, name: str, content: bytes) -> None:
        """Add to a file, which is made if it is not there; `sync` must follow. Raises OSError."""
        with (self.folder / name).open("ab") as file:
            file.write(content)

    def sync(self, name: str) -> None:
        """Have what was appended on the disk. Raises OSError."""
        with (self.folder / name).open("ab") as file:
            os.fsync(file.fileno())

    def read(self, name: str) -> bytes | None:
        """The content of a file, None if there is none; raises `Refused` `BAD_SNAPSHOT`."""
        path = self.folder / name
        try:
            with path.open("rb") as file:
                raw = file.read(FILE_BYTES_MAX + 1)
        except FileNotFoundError:
            return None
        except OSError as error:
            raise Refused("BAD_SNAPSHOT", f"{path}: {error.strerror}") from None
        if len(raw) > FILE_BYTES_MAX:
            raise Refused("BAD_SNAPSHOT", f"{path} is too large")
        return raw
