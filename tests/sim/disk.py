"""A disk that forgets: the node's `KeyValue`, with a crash that costs what was not synced.

It behaves as the log of a LevelDB does. A batch is whole or absent, since a torn one fails its
checksum; a sync makes everything before it durable too; of the batches after the last sync, a crash
leaves a prefix of any length. While it fails, nothing is written, or so its caller is told: what a
failed write left behind is known only when the database is opened again.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from random import Random

from node.protocol.errors import StoreFailure
from node.state.keyvalue import MemoryKeyValue, Put, Records

HALF_WRITTEN_FOUND = 0.4


class PowerCut(Exception):
    """The machine stopped in the middle of a write."""


class SimDisk:
    """One database of one machine; it outlives the machine's incarnations."""

    def __init__(self, chance: Random) -> None:
        self._chance = chance
        self._records = MemoryKeyValue()
        self._undo: list[list[Put]] = []
        self._writes_left: int | None = None
        self._half_written: Sequence[Put] = ()
        self.failing = False
        self.failed = 0
        self.lost = 0
        self.torn = 0

    def get(self, key: bytes) -> bytes | None:
        """As `KeyValue.get`."""
        return self._records.get(key)

    def iterate(
        self, start: bytes, stop: bytes, reverse: bool = False, limit: int | None = None
    ) -> Iterator[tuple[bytes, bytes]]:
        """As `KeyValue.iterate`."""
        return self._records.iterate(start, stop, reverse, limit)

    def write(self, puts: Sequence[Put], sync: bool) -> None:
        """As `KeyValue.write`; raises `PowerCut` where `cut_power_after` says so.

        While it fails, `StoreFailure` `DISK_FAILED`.
        """
        if self.failing:
            self.failed += 1
            self._half_written = puts
            raise _failure()
        if self._writes_left is not None:
            self._writes_left -= 1
            if self._writes_left < 0:
                self._writes_left = None
                if self.survives():
                    self._apply(puts, sync)
                raise PowerCut
        self._apply(puts, sync)

    def snapshot(self) -> Records:
        """Itself: a simulated machine does one thing at a time."""
        return self

    def reopen(self) -> None:
        """As `KeyValue.reopen`: all or nothing of a failed write is there now, and not synced."""
        if self.failing:
            raise _failure()
        if self._half_written and self._chance.random() < HALF_WRITTEN_FOUND:
            self._apply(self._half_written, sync=False)
        self._half_written = ()

    def compact(self, start: bytes, stop: bytes) -> None:
        """Nothing to do."""

    def close(self) -> None:
        """Nothing to give free."""

    # ---- for the simulator

    def cut_power_after(self, writes: int | None) -> None:
        """Let `writes` more writes succeed and the machine stop in the next one; None: never."""
        self._writes_left = writes

    def survives(self) -> bool:
        """Whether the write that a crash interrupts turns out to be whole."""
        whole = self._chance.random() < 0.5
        self.torn += not whole
        return whole

    def lose_power(self) -> None:
        """Forget some or all of what was never synced."""
        self._writes_left = None
        if self._half_written:
            self._apply(self._half_written, sync=False)
            self._half_written = ()
        kept = self._chance.randint(0, len(self._undo)) if self._undo else 0
        self.lost += len(self._undo) - kept
        while len(self._undo) > kept:
            self._records.write(self._undo.pop(), sync=True)
        self._undo.clear()

    def take_over(self, other: SimDisk) -> None:
        """Hold what `other` does, which is empty afterwards: folders that change their names."""
        self._records, other._records = other._records, MemoryKeyValue()
        self._undo, other._undo = [], []
        self._half_written = other._half_written = ()

    def durable(self) -> Iterator[tuple[bytes, bytes]]:
        """What no crash can take away."""
        unsynced = {key for puts in self._undo for key, _ in puts}
        pairs = self._records.iterate(b"", b"\xff")
        return ((key, value) for key, value in pairs if key not in unsynced)

    def _apply(self, puts: Sequence[Put], sync: bool) -> None:
        if sync:
            self._undo.clear()
        else:
            self._undo.append([(key, self._records.get(key)) for key, _ in puts])
        self._records.write(puts, sync)


def _failure() -> StoreFailure:
    return StoreFailure("DISK_FAILED", "no room")
