"""The disk of one machine as the driver uses it: one write at a time, each until it is done.

A write takes its time. One that fails for want of room is tried again, unchanged, once a second
after the database was opened again, as `node.disk` does; meanwhile the node performs nothing else.
A crash in the middle of a write leaves it whole or absent.
"""

from __future__ import annotations

from collections.abc import Callable
from random import Random
from typing import assert_never

from node import outputs as io
from node.core import Core
from node.disk import RETRIED_CODE, RETRY_S
from node.protocol.errors import StoreFailure
from node.state.staging import Staging
from tests.sim.disk import PowerCut, SimDisk

Write = io.WriteVote | io.WriteBlock | io.TrimVotes | io.StageSnapshot
WRITES = (io.WriteVote, io.WriteBlock, io.TrimVotes, io.StageSnapshot)
DISK_MS_MAX = 6
RETRY_MS = int(RETRY_S * 1_000)


class Writer:
    """Performs the writes of one incarnation of a node."""

    def __init__(
        self,
        core: Core,
        disks: tuple[SimDisk, SimDisk],
        chance: Random,
        later: Callable[[int, Callable[[], None]], None],
        note: Callable[[str], None],
        crash: Callable[[], None],
    ) -> None:
        """`disks` are those of the state and of the votes; `crash` is called when power fails."""
        self._core = core
        self._state_disk, self._vote_disk = disks
        self._chance = chance
        self._later = later
        self._note = note
        self._crash = crash
        self.writing: Write | None = None
        self.failing = False

    def begin(self, write: Write, slowness: int, done: Callable[[], None]) -> None:
        """Start a write; `done` is called when it is on the disk."""
        self.writing = write
        delay_ms = 0
        if not isinstance(write, io.TrimVotes):  # which is not synced
            delay_ms = self._chance.randint(1, DISK_MS_MAX) * slowness
        self._later(delay_ms, lambda: self._try(write, done, again=False))

    def interrupt(self) -> None:
        """The machine stops: the write under way turns out to be whole or absent."""
        write = self.writing
        if write is None or self.failing:
            return
        if isinstance(write, io.StageSnapshot):
            return  # what is lost of it is fetched again
        disk = self._vote_disk if isinstance(write, io.WriteVote) else self._state_disk
        disk.cut_power_after(None)
        if not isinstance(write, io.TrimVotes) and not disk.failing and disk.survives():
            self._perform(write)

    def _try(self, write: Write, done: Callable[[], None], *, again: bool) -> None:
        try:
            if again:
                self._reopen(write)
            self._perform(write)
        except PowerCut:
            self.writing = None
            self._crash()
            return
        except StoreFailure as failure:
            if failure.code != RETRIED_CODE:
                raise
            if not self.failing:
                self._note(f"cannot write {type(write).__name__}, and waits")
            self.failing = True
            self._later(RETRY_MS, lambda: self._try(write, done, again=True))
            return
        if self.failing:
            self._note("can write again")
        self.failing, self.writing = False, None
        done()

    @property
    def _staging(self) -> Staging:
        if self._core.staging is None:
            raise AssertionError("a snapshot came to a node that takes none")
        return self._core.staging

    def _reopen(self, write: Write) -> None:
        if isinstance(write, io.WriteBlock):
            self._core.store.reopen()
        elif isinstance(write, io.StageSnapshot):
            self._staging.reopen()
        else:
            self._core.votes.reopen()

    def _perform(self, write: Write) -> None:
        match write:
            case io.WriteVote(height, record):
                self._core.votes.append(record, height)
            case io.WriteBlock(_, batch):
                self._core.store.write(batch)
            case io.TrimVotes(below_height):
                self._core.votes.trim(below_height)
            case io.StageSnapshot(puts, is_first, is_last):
                if is_first:
                    self._staging.begin(puts)
                else:
                    self._staging.write(puts, is_last)
            case _:
                assert_never(write)
