"""The few things that the state needs of an ordered key-value database, and one in memory.

`level` has the real one. Everything above is written against this protocol, so the simulator and
the tests run the same store on `MemoryKeyValue`, which forgets everything when it is dropped.
"""

from __future__ import annotations

from bisect import bisect_left, insort
from collections.abc import Iterator, Sequence
from typing import Protocol

Put = tuple[bytes, bytes | None]
"""A key and its new value; None deletes."""


class Records(Protocol):
    """The reading half. Every method may raise `StoreFailure`."""

    def get(self, key: bytes) -> bytes | None:
        """The value of `key`, or None."""

    def iterate(
        self, start: bytes, stop: bytes, reverse: bool = False, limit: int | None = None
    ) -> Iterator[tuple[bytes, bytes]]:
        """Pairs with start ≤ key < stop, ascending unless `reverse`, as they are at the call."""


class KeyValue(Records, Protocol):
    """An ordered map of bytes."""

    def write(self, puts: Sequence[Put], sync: bool) -> None:
        """All or nothing; with `sync` it is on the disk when this returns. Later puts win."""

    def snapshot(self) -> Records:
        """What is there now, for readers that must not see a write in progress."""

    def compact(self, start: bytes, stop: bytes) -> None:
        """Give back the room of what was deleted within start ≤ key < stop; takes a while."""

    def reopen(self) -> None:
        """Make it writable again after a failed write, of which all or nothing is there now.

        Snapshots taken before must not be read any more.
        """

    def close(self) -> None:
        """Give the database free; nothing may be called afterwards."""


class MemoryKeyValue:
    """A `KeyValue` for tests and the simulator: a dict and the sorted list of its keys."""

    def __init__(self) -> None:
        self._values: dict[bytes, bytes] = {}
        self._keys: list[bytes] = []

    def get(self, key: bytes) -> bytes | None:
        """The value of `key`, or None."""
        return self._values.get(key)

    def iterate(
        self, start: bytes, stop: bytes, reverse: bool = False, limit: int | None = None
    ) -> Iterator[tuple[bytes, bytes]]:
        """Pairs with start ≤ key < stop, ascending unless `reverse`, as they are at the call."""
        keys = self._keys[bisect_left(self._keys, start) : bisect_left(self._keys, stop)]
        if reverse:
            keys.reverse()
        return iter([(key, self._values[key]) for key in keys[:limit]])

    def write(self, puts: Sequence[Put], sync: bool) -> None:
        """All or nothing; there is no disk, so `sync` changes nothing."""
        for key, value in puts:
            if value is not None:
                if key not in self._values:
                    insort(self._keys, key)
                self._values[key] = value
            elif key in self._values:
                del self._values[key]
                del self._keys[bisect_left(self._keys, key)]

    def snapshot(self) -> Records:
        """Itself: in memory, nobody reads while a write is in progress."""
        return self

    def compact(self, start: bytes, stop: bytes) -> None:
        """Nothing to do."""

    def reopen(self) -> None:
        """Nothing to do."""

    def close(self) -> None:
        """Nothing to give free."""
