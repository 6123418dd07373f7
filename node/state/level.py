"""LevelDB behind the `KeyValue` protocol; the only importer of plyvel.

Its errors become `StoreFailure`s that say in one line what the operator can do. What the keys mean
is laid down in `store` and `vote_log`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import islice, takewhile
from pathlib import Path

import plyvel

from node.protocol.errors import StoreFailure
from node.state.keyvalue import Put
from node.state.layout import WHAT_TO_DO
from node.state.log_tail import damaged_logs

WRITE_BUFFER_BYTES = 16 << 20
BLOCK_CACHE_BYTES = 64 << 20
OPEN_FILES_MAX = 256
BLOOM_BITS = 10
# Hashes, signatures and sealed calls do not compress: Snappy saves a third of the disk and makes
# compaction cost four times as much CPU, a sixth of all that a node uses.
COMPRESSION = None

# LevelDB's lock is a POSIX one: a refused second open in the same process would lift it, and
# another process could then come in. So folders that are open here are never tried again.
_open_here: set[Path] = set()
# RuntimeError is what plyvel says of a database that is closed, as after a failed `reopen`.
_ERRORS = (plyvel.Error, OSError, RuntimeError)


class LevelRecords:
    """The reading half, of an open database or of a snapshot of it."""

    def __init__(self, path: Path, source: plyvel.DB | plyvel.Snapshot) -> None:
        self._path = path
        self._source = source

    def get(self, key: bytes) -> bytes | None:
        """The value of `key`, or None."""
        try:
            value: bytes | None = self._source.get(key, verify_checksums=True)
        except _ERRORS as error:
            raise _failure(self._path, error) from None
        return value

    def iterate(
        self, start: bytes, stop: bytes, reverse: bool = False, limit: int | None = None
    ) -> Iterator[tuple[bytes, bytes]]:
        """Pairs with start ≤ key < stop, ascending unless `reverse`, as they are at the call."""
        # plyvel's other iterator ends without a word where the last block cannot be read.
        try:
            iterator = self._source.raw_iterator(
                verify_checksums=True, fill_cache=limit is not None
            )
        except _ERRORS as error:
            raise _failure(self._path, error) from None
        pairs = self._descend(iterator, stop) if reverse else self._ascend(iterator, start)
        inside = takewhile(lambda pair: start <= pair[0] < stop, pairs)
        return self._read(iterator, islice(inside, limit))

    def _read(
        self, iterator: plyvel.RawIterator, pairs: Iterator[tuple[bytes, bytes]]
    ) -> Iterator[tuple[bytes, bytes]]:
        try:
            yield from pairs
        except _ERRORS as error:
            raise _failure(self._path, error) from None
        finally:
            iterator.close()

    @staticmethod
    def _ascend(iterator: plyvel.RawIterator, start: bytes) -> Iterator[tuple[bytes, bytes]]:
        iterator.seek(start)
        while iterator.valid():
            yield iterator.item()
            iterator.next()

    @staticmethod
    def _descend(iterator: plyvel.RawIterator, stop: bytes) -> Iterator[tuple[bytes, bytes]]:
        iterator.seek(stop)
        (iterator.prev if iterator.valid() else iterator.seek_to_last)()
        while iterator.valid():
            yield iterator.item()
            iterator.prev()


class LevelKeyValue(LevelRecords):
    """An open LevelDB folder. One process at a time; any thread may call."""

    def __init__(self, path: Path, options: Mapping[str, int]) -> None:
        """Raises `StoreFailure` as `open_level` does."""
        self._options = options
        self._database = _open(path, options)
        super().__init__(path, self._database)

    def write(self, puts: Sequence[Put], sync: bool) -> None:
        """All or nothing; with `sync` it is on the disk when this returns. Later puts win."""
        try:
            batch = self._database.write_batch(sync=sync)
            put, delete = batch.put, batch.delete
            for key, value in puts:
                if value is None:
                    delete(key)
                else:
                    put(key, value)
            batch.write()
        except _ERRORS as error:
            raise _failure(self._path, error) from None

    def snapshot(self) -> LevelRecords:
        """What is there now, for readers that must not see a write in progress. Costs a µs."""
        return LevelRecords(self._path, self._database.snapshot())

    def compact(self, start: bytes, stop: bytes) -> None:
        """Give back the room of what was deleted within start ≤ key < stop; takes a while."""
        try:
            self._database.compact_range(start=start, stop=stop)
        except _ERRORS as error:
            raise _failure(self._path, error) from None

    def reopen(self) -> None:
        """Make it writable again after a failed write, of which all or nothing is there now.

        LevelDB may take no more writes after one that failed, or put them behind a torn one, which
        would hide them from the next start. Snapshots taken before must not be read any more.
        """
        self._database.close()
        self._source = self._database = _open(self._path, self._options)

    def close(self) -> None:
        """Give the folder's lock free."""
        self._database.close()
        _open_here.discard(self._path.resolve())


def open_level(
    path: Path,
    write_buffer_bytes: int = WRITE_BUFFER_BYTES,
    block_cache_bytes: int = BLOCK_CACHE_BYTES,
    open_files_max: int = OPEN_FILES_MAX,
) -> LevelKeyValue:
    """Open or create the database in folder `path`.

    Raises `StoreFailure` `DATABASE_IN_USE`, `DATABASE_DAMAGED` or `DISK_FAILED`.
    """
    if path.resolve() in _open_here:
        raise _in_use(path)
    options = {
        "write_buffer_size": write_buffer_bytes,
        "lru_cache_size": block_cache_bytes,
        "max_open_files": open_files_max,
        "bloom_filter_bits": BLOOM_BITS,
    }
    opened = LevelKeyValue(path, options)
    _open_here.add(path.resolve())
    return opened


def _open(path: Path, options: Mapping[str, int]) -> plyvel.DB:
    try:
        path.mkdir(parents=True, exist_ok=True)
        for name in damaged_logs(path):
            raise _damaged(path, f"{name} is broken in the middle")
        return plyvel.DB(
            str(path),
            create_if_missing=True,
            paranoid_checks=True,
            compression=COMPRESSION,
            **options,
        )
    except _ERRORS as error:
        raise _failure(path, error) from None


def _failure(path: Path, error: Exception) -> StoreFailure:
    """The one line for the operator; LevelDB's own words only where there is no better one."""
    raw = error.args[0] if error.args else b""
    text = raw.decode(errors="replace") if isinstance(raw, bytes) else str(error)
    if text.startswith("IO error: lock "):
        return _in_use(path)
    if isinstance(error, plyvel.CorruptionError):
        return _damaged(path, text)
    return StoreFailure(
        "DISK_FAILED", f"{path} cannot be read or written; check the disk and its rights ({text})"
    )


def _damaged(path: Path, what: str) -> StoreFailure:
    return StoreFailure("DATABASE_DAMAGED", f"{path} is damaged ({what}); {WHAT_TO_DO}")


def _in_use(path: Path) -> StoreFailure:
    return StoreFailure("DATABASE_IN_USE", f"{path} is in use by a running node; stop it first")
