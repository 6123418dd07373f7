"""The pruning of a running node: now and then, little by little, beside its work.

An operator says how many blocks to keep; `state.pruning` knows what has to stay besides, and what
to compact afterwards. Every step goes through the node's disk, so it waits its turn among blocks
and votes and survives a full disk as they do.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Sequence
from functools import partial

import structlog

from node.disk import Disk
from node.protocol.block import Receipt
from node.protocol.errors import StoreFailure
from node.state import pruning
from node.state.layout import Oldest
from node.state.sealed import SealedKeyValue
from node.state.shelf import Shelf
from node.state.store import Store

PAUSE_S = 0.01

log = structlog.get_logger("node")


class Pruner:
    """Prunes one node's database; with `keep` 0 never."""

    def __init__(
        self,
        store: Store,
        database: SealedKeyValue,
        disk: Disk,
        shelf: Shelf,
        keep: int,
        every: int,
    ) -> None:
        """`keep` blocks stay at least; looked after once in `every` blocks."""
        self._store = store
        self._database = database
        self._disk = disk
        self._shelf = shelf
        self._keep = keep
        self._every = every
        self._task: asyncio.Task[None] | None = None

    @property
    def busy(self) -> bool:
        """Whether it is at it."""
        return self._task is not None and not self._task.done()

    def on_committed(self, height: int, receipts: Sequence[Receipt]) -> None:
        """The block of `height` is stored: begin if it is time, half-way between two snapshots."""
        is_due = self._keep and height % self._every == self._every // 2
        if is_due and not self.busy:
            self._task = asyncio.create_task(self._prune(height))

    def on_alarm(self, code: str, message: str) -> None:
        """Nothing of ours."""

    async def stop(self) -> None:
        """Leave the rest for the next time."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    async def _prune(self, head: int) -> None:
        before = self._store.oldest
        try:
            ranges = await self._delete(head, before)
            if not ranges:
                return
            # Whatever an older view shows cannot be given back.
            self._store.refresh()
            for start, stop in ranges:
                compact = partial(self._database.compact, start, stop)
                await self._disk.write(compact, self._store.reopen)
                await asyncio.sleep(PAUSE_S)
        except StoreFailure as failure:
            log.warning("pruning_failed", code=failure.code, why=failure.message)
        else:
            below = self._store.oldest.block
            log.info("pruned", below=below, blocks=below - before.block)

    async def _delete(self, head: int, before: Oldest) -> list[tuple[bytes, bytes]]:
        """Delete what need not be kept, if there is enough of it; the ranges to compact then."""
        view = self._database.snapshot()
        below = pruning.first_needed(view, before, head, self._keep, self._shelf.heights())
        if below < before.block + self._every // 2:
            return []
        await self._perform(pruning.prune_blocks(view, before, below))
        await self._perform(pruning.prune_history(view, self._store.oldest, below))
        return list(pruning.ranges_to_compact(view, before, below))

    async def _perform(self, steps: Iterator[pruning.Step]) -> None:
        for step in steps:
            # Readers are told before it is gone, not after.
            self._store.forget(step.oldest)
            await self._disk.write(
                partial(self._database.write, step.puts, False), self._store.reopen
            )
            await asyncio.sleep(PAUSE_S)
