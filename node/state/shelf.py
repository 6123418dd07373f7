"""The shelf: the snapshots that a node has ready for its peers, and what it reads of them.

Reading is all that happens here; `node.snapshots` makes them.
"""

from __future__ import annotations

from pathlib import Path
from typing import Protocol

from node.protocol.errors import Refused
from node.protocol.messages import SnapshotFile
from node.state.snapshot import file_name, snapshot_heights
from node.state.snapshot_files import SnapshotFiles
from node.state.vault import Vault


class Shelf(Protocol):
    """What the engine needs of it."""

    def heights(self) -> tuple[int, ...]:
        """The heights of the snapshots that are here, ascending."""

    def read(self, height: int, file: SnapshotFile) -> bytes | None:
        """A file of one of them, or None."""


class FolderShelf:
    """The snapshots in a folder, sealed under the storage key of `vault`."""

    def __init__(self, folder: Path, vault: Vault) -> None:
        self._folder = folder
        self._vault = vault

    def heights(self) -> tuple[int, ...]:
        """The heights of the snapshots that are here, ascending."""
        return tuple(snapshot_heights(self._folder))

    def read(self, height: int, file: SnapshotFile) -> bytes | None:
        """A file of one of them, or None: it may have gone, or be damaged, at any time."""
        try:
            return SnapshotFiles(self._folder / str(height), self._vault).read(file_name(file))
        except Refused:
            return None


class EmptyShelf:
    """No snapshots."""

    def heights(self) -> tuple[int, ...]:
        """None."""
        return ()

    def read(self, height: int, file: SnapshotFile) -> bytes | None:
        """Nothing."""
        return None


NO_SNAPSHOTS = EmptyShelf()
