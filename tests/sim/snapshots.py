"""The snapshots of one machine: those it has made, and the disk on which it puts one together.

They outlive its incarnations. Making one takes no time; what is made at a height is the same with
every honest node. `alter` lets a byzantine machine give others than it has made.
"""

from __future__ import annotations

from collections.abc import Callable

from node.protocol.messages import SnapshotFile
from node.state.snapshot import (
    SNAPSHOTS_KEPT,
    Source,
    file_name,
    is_snapshot_height,
    write_snapshot,
)
from node.state.staging import Staging
from node.state.vault import Vault
from tests.sim.disk import SimDisk

Alter = Callable[[int, SnapshotFile, bytes | None], bytes | None]
"""What is given of a file, by height, file and genuine content; None: that it is not here."""


class MemoryFiles:
    """The files of one snapshot, by name."""

    def __init__(self) -> None:
        self.content: dict[str, bytes] = {}

    def write(self, name: str, content: bytes) -> None:
        """A whole file."""
        self.content[name] = content

    def append(self, name: str, content: bytes) -> None:
        """More of a file."""
        self.content[name] = self.content.get(name, b"") + content

    def sync(self, name: str) -> None:
        """Nothing to do."""


class MachineSnapshots:
    """A `Shelf`, and the staging of the same machine."""

    def __init__(self, disk: SimDisk, every: int) -> None:
        self.disk = disk
        self.alter: Alter = lambda height, file, content: content
        self._every = every
        self._made: dict[int, dict[str, bytes]] = {}

    def staging(self, vault: Vault) -> Staging:
        """The staging as a node that starts finds it."""
        return Staging(lambda: self.disk, vault, exists=True)

    def heights(self) -> tuple[int, ...]:
        """As `Shelf.heights`."""
        return tuple(self._made)

    def read(self, height: int, file: SnapshotFile) -> bytes | None:
        """As `Shelf.read`."""
        genuine = self._made.get(height, {}).get(file_name(file))
        return self.alter(height, file, genuine)

    def on_block(self, height: int, source: Callable[[], Source]) -> None:
        """The block of `height` is stored: make a snapshot if one is due."""
        if not is_snapshot_height(height, self._every) or height in self._made:
            return
        files = MemoryFiles()
        for _ in write_snapshot(source(), files):
            pass
        self._made[height] = files.content
        for old in sorted(self._made)[:-SNAPSHOTS_KEPT]:
            del self._made[old]
