"""The making of snapshots in a running node: little by little, beside its work.

All nodes make one at the same heights (see `state.snapshot`). The steps run in a thread of their
own with a pause after each, so that consensus keeps most of the processor. A snapshot that cannot
be made is no harm: the node says so and goes on.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import structlog

from node.protocol.errors import StoreFailure
from node.state.snapshot import Source, is_snapshot_height, make_snapshot

PAUSE_S = 0.004
SNAPSHOT_FOLDER = "snapshots"
BACKUP_FOLDER = "backup"

log = structlog.get_logger("node")


class SnapshotMaker:
    """Makes the snapshots of one node in `folder`, one at a time."""

    def __init__(self, source: Callable[[], Source], folder: Path, every: int) -> None:
        """`source` is asked right after a block that a snapshot is due at."""
        self._source = source
        self._folder = folder
        self._on_demand = folder.with_name(BACKUP_FOLDER)
        self._every = every
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="snapshot")
        self._task: asyncio.Task[None] | None = None

    @property
    def busy(self) -> bool:
        """Whether one is being made."""
        return self._task is not None and not self._task.done()

    def on_block(self, height: int) -> None:
        """The block of `height` is stored; before another one is, begin a snapshot if one is due.

        It is left out where the one before takes that long.
        """
        if is_snapshot_height(height, self._every) and not self.busy:
            steps = make_snapshot(self._source(), self._folder)
            self._task = asyncio.create_task(self._make(height, steps))

    def on_demand(self) -> None:
        """Begin one of the head now, for a backup, unless one is being made."""
        try:
            source = self._source()
        except StoreFailure as failure:
            log.warning("snapshot_failed", code=failure.code, why=failure.message)
            return
        if not self.busy:
            height = source.block.header.height
            steps = make_snapshot(source, self._on_demand, kept=2)
            self._task = asyncio.create_task(self._make(height, steps))

    async def stop(self) -> None:
        """Give up the one that is being made; the next start finds no trace of it."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
        self._thread.shutdown(wait=True)

    async def _make(self, height: int, steps: Iterator[None]) -> None:
        loop = asyncio.get_running_loop()
        try:
            more = True
            while more:
                more, _ = await asyncio.gather(
                    loop.run_in_executor(self._thread, _step, steps), asyncio.sleep(PAUSE_S)
                )
        except StoreFailure as failure:
            log.warning("snapshot_failed", height=height, code=failure.code, why=failure.message)
        else:
            log.info("snapshot_made", height=height, folder=str(self._folder))


def _step(steps: Iterator[None]) -> bool:
    """Whether there is more to do."""
    try:
        next(steps)
    except StopIteration:
        return False
    return True
