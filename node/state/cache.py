"""What was read of late, so that the hot records of a running node are not fetched again and again.

A read of LevelDB costs a few microseconds and hands the interpreter lock over; a block of purchases
reads the same cards, accounts and buckets as the one before it. Two generations stand in for a
least-recently-used list. The cache follows one snapshot to the next; it never answers differently
from the database.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any, Final

from node.state.keyvalue import Put, Records

GENERATION_MAX = 32_768
_UNKNOWN: Final[Any] = object()


class RecentReads:
    """`Records` over a snapshot, remembering up to twice `GENERATION_MAX` answers, absence too."""

    def __init__(self, view: Records) -> None:
        self._view = view
        self._young: dict[bytes, bytes | None] = {}
        self._old: dict[bytes, bytes | None] = {}

    def get(self, key: bytes) -> bytes | None:
        """The value of `key`, or None."""
        value: bytes | None = self._young.get(key, _UNKNOWN)
        if value is not _UNKNOWN:
            return value
        value = self._old.pop(key, _UNKNOWN)
        if value is _UNKNOWN:
            value = self._view.get(key)
        if len(self._young) >= GENERATION_MAX:
            self._old, self._young = self._young, {}
        self._young[key] = value
        return value

    def iterate(
        self, start: bytes, stop: bytes, reverse: bool = False, limit: int | None = None
    ) -> Iterator[tuple[bytes, bytes]]:
        """Pairs with start ≤ key < stop, straight from the snapshot."""
        return self._view.iterate(start, stop, reverse, limit)

    def move(self, view: Records, puts: Iterable[Put]) -> None:
        """Follow to the snapshot in which `puts` are done."""
        self._view = view
        young, old = self._young, self._old
        for key, value in puts:
            if key in young:
                young[key] = value
            elif key in old:
                old[key] = value
