"""The tasks of the transport, kept so that none is lost and no bug is swallowed."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any


class Tasks:
    """Owns tasks. The first that ends by an exception is a bug of this node, and is reported."""

    def __init__(self) -> None:
        self._running: set[asyncio.Task[None]] = set()
        self._failed = asyncio.Event()
        self._failure: BaseException | None = None

    def spawn(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        """Start `work` as a task of this owner."""
        task = asyncio.create_task(work)
        self._running.add(task)
        task.add_done_callback(self._on_done)
        return task

    async def failure(self) -> BaseException:
        """Wait for the first exception of any task, and return it."""
        await self._failed.wait()
        assert self._failure is not None
        return self._failure

    async def stop(self, patience_s: float) -> None:
        """Let tasks end by themselves for a while, then cancel what is left."""
        current = asyncio.current_task()
        tasks = {task for task in self._running if task is not current}
        if tasks:
            _, late = await asyncio.wait(tasks, timeout=patience_s)
            for task in late:
                task.cancel()
            if late:
                await asyncio.wait(late)

    def _on_done(self, task: asyncio.Task[None]) -> None:
        self._running.discard(task)
        if not task.cancelled() and (error := task.exception()) and self._failure is None:
            self._failure = error
            self._failed.set()
