"""Staging and adopting a snapshot on real databases, interrupted wherever it may be."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from node.adoption import adopt, open_staging, staged_path
from node.state.level import open_level
from node.state.restoring import Assembly, read_snapshot
from node.state.sealed import SealedKeyValue
from node.state.snapshot import file_name, make_snapshot, manifest_codec
from node.state.snapshot_files import SnapshotFiles
from node.state.store import Store
from node.trust import trust_with
from tests.http.support import VAULT, World

OLD_BLOCKS, NEW_BLOCKS = 2, 6


class Folder:
    """A node's folder: the state of a few blocks in `data`, and a snapshot of more of them."""

    def __init__(self, path: Path) -> None:
        self.data = path / "data"
        self.world = World()
        self.trust = trust_with(self.world.genesis, self.world.salts)
        self.world.open_shop()
        for seq in range(1, NEW_BLOCKS - 2):
            self.world.commit(self.world.consume(seq))
        for _ in make_snapshot(self.world.store.snapshot_source(), path / "made"):
            pass
        self.files = SnapshotFiles(path / "made" / str(NEW_BLOCKS), VAULT)
        database = open_level(self.data)
        behind = World(database)
        behind.open_shop()
        database.close()

    def stage(self, files: int | None = None) -> None:
        """Put the snapshot together, or only so many files of it after the manifest."""
        staging = open_staging(self.data, open_level, VAULT)
        raw = self.files.read("manifest")
        assert raw is not None
        if staging.records is None:
            assembly = Assembly(self.trust, VAULT, manifest_codec.decode(raw))
            staging.begin(assembly.begin())
        else:
            resumed = Assembly.resumed(self.trust, VAULT, staging.records)
            assert resumed is not None
            assembly = resumed
        while assembly.following is not None and files != 0:
            content = self.files.read(file_name(assembly.following))
            assert content is not None
            puts = assembly.take(content)
            staging.write(puts, assembly.following is None)
            files = None if files is None else files - 1
        staging.close()

    @property
    def height(self) -> int:
        """The head of what is in `data`."""
        database = open_level(self.data)
        try:
            genesis = self.world.genesis
            return Store(database, VAULT, genesis.tree_depth, genesis.hash).head.height
        finally:
            database.close()

    @property
    def names(self) -> set[str]:
        """What lies in the folder."""
        return {path.name for path in self.data.parent.iterdir()} - {"made"}


@pytest.fixture
def folder(tmp_path: Path) -> Folder:
    """As above."""
    return Folder(tmp_path)


def test_a_whole_snapshot_takes_the_place_of_the_state(folder: Folder) -> None:
    folder.stage()
    adopt(folder.data, open_level)
    assert folder.height == NEW_BLOCKS
    assert folder.names == {"data"}
    adopt(folder.data, open_level)  # there is nothing more to do
    assert folder.height == NEW_BLOCKS


def test_what_is_half_made_waits_for_the_rest_and_is_never_taken_for_a_whole_one(
    folder: Folder,
) -> None:
    for files in range(1, 10):
        folder.stage(1)
        adopt(folder.data, open_level)
        assert folder.height == 3, files
        assert folder.names == {"data", "data.staged"}
    folder.stage()
    adopt(folder.data, open_level)
    assert folder.height == NEW_BLOCKS


def _between_the_renames(folder: Folder) -> None:
    folder.data.rename(folder.data.with_name("data.replaced"))


def _after_the_renames(folder: Folder) -> None:
    _between_the_renames(folder)
    staged_path(folder.data).rename(folder.data)


def _while_the_old_one_is_deleted(folder: Folder) -> None:
    _after_the_renames(folder)
    next(folder.data.with_name("data.replaced").glob("*.log")).unlink()


@pytest.mark.parametrize(
    "crash", [_between_the_renames, _after_the_renames, _while_the_old_one_is_deleted]
)
def test_a_crash_on_the_way_is_made_good(folder: Folder, crash: Callable[[Folder], None]) -> None:
    folder.stage()
    crash(folder)
    adopt(folder.data, open_level)
    assert folder.height == NEW_BLOCKS
    assert folder.names == {"data"}


@pytest.mark.parametrize("files", [None, 3])
def test_a_snapshot_that_the_state_has_passed_is_dropped(folder: Folder, files: int | None) -> None:
    folder.stage(files)
    shutil.rmtree(folder.data)
    database = open_level(folder.data)
    ahead = World(database)
    ahead.open_shop()
    for seq in range(1, NEW_BLOCKS + 1):
        ahead.commit(ahead.consume(seq))
    database.close()
    adopt(folder.data, open_level)
    assert folder.height == NEW_BLOCKS + 3
    assert folder.names == {"data"}


def test_a_new_one_wipes_what_was_begun(folder: Folder) -> None:
    folder.stage(5)
    staging = open_staging(folder.data, open_level, VAULT)
    raw = folder.files.read("manifest")
    assert raw is not None
    assembly = Assembly(folder.trust, VAULT, manifest_codec.decode(raw))
    puts = assembly.begin()
    staging.begin(puts)
    records = staging.records
    assert records is not None
    assert list(records.iterate(b"", b"\xff")) == sorted(puts)
    staging.close()


def test_nothing_is_opened_before_it_is_needed(folder: Folder) -> None:
    staging = open_staging(folder.data, open_level, VAULT)
    assert staging.records is None
    staging.reopen()
    staging.close()
    assert folder.names == {"data"}


def test_the_state_is_never_in_memory_as_a_whole(folder: Folder) -> None:
    """Each write holds one file's records: the largest of many, not their sum."""
    sizes: list[int] = []

    class Recorder:
        """Notes how much is written at once."""

        def write(self, puts: list[tuple[bytes, bytes | None]], sync: bool) -> None:
            sizes.append(sum(len(key) + len(value or b"") for key, value in puts))

    database = SealedKeyValue(Recorder(), VAULT)  # type: ignore[arg-type]
    state = sorted(folder.files.folder.glob("state-*"))
    assembly = read_snapshot(folder.files, folder.trust, database, lambda *_: None)
    assert assembly.manifest.height == NEW_BLOCKS
    assert len(state) > 5
    of_state = sizes[: len(state)]
    largest = max(path.stat().st_size for path in state)
    assert max(of_state) < 4 * largest + 4_096
