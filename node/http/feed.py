"""Who listens to final blocks, and how one waits for the next: the plumbing under the streams.

One task hears of new heights from the node and wakes every listener; each listener reads the
stored blocks at its own pace from its own position, so that a slow one costs nobody anything.
"""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any

from node.http.service import NodeService
from node.protocol.errors import Refused

STREAMS_MAX = 100


class Feed:
    """Wakes listeners when the head moves, and ends them on shutdown."""

    def __init__(self, service: NodeService) -> None:
        self._service = service
        self._moved = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self._closed = asyncio.Event()
        self.listeners = 0

    @property
    def closing(self) -> bool:
        """Whether the end has come."""
        return self._closed.is_set()

    def start(self) -> None:
        """Begin to listen to the node."""
        self._task = asyncio.create_task(self._listen(), name="http feed")

    async def stop(self) -> None:
        """Wake everyone for the last time."""
        self._closed.set()
        self._moved.set()
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    def join(self) -> None:
        """Count one more listener; raises `Refused` `TOO_MANY_STREAMS` or `STOPPING`."""
        if self.closing:
            raise Refused("STOPPING", "the node is shutting down")
        if self.listeners >= STREAMS_MAX:
            raise Refused("TOO_MANY_STREAMS", f"at most {STREAMS_MAX} streams a node")
        self.listeners += 1

    def leave(self) -> None:
        """Count one listener less."""
        self.listeners -= 1

    async def wait_beyond(self, height: int, timeout_s: float) -> bool:
        """Whether the head is above `height`, or the end has come, within `timeout_s`."""
        try:
            async with asyncio.timeout(timeout_s):
                while not self.closing and self._service.query.head.height <= height:
                    await self._moved.wait()
        except TimeoutError:
            return False
        return True

    async def until_closing(self, wait: Coroutine[Any, Any, object]) -> None:
        """Wait for `wait`, but not beyond the end; what it raises goes up."""
        waiting, closing = asyncio.ensure_future(wait), asyncio.ensure_future(self._closed.wait())
        try:
            done, _ = await asyncio.wait((waiting, closing), return_when=asyncio.FIRST_COMPLETED)
        finally:
            waiting.cancel()
            closing.cancel()
        if waiting in done:
            waiting.result()

    async def _listen(self) -> None:
        heights = self._service.subscribe()
        try:
            while True:
                await heights.get()
                # Whoever waits holds this event; the next ones wait for a fresh one.
                moved, self._moved = self._moved, asyncio.Event()
                moved.set()
        finally:
            self._service.unsubscribe(heights)
