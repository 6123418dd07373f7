"""Who listens to final blocks, and how one waits for the next: the plumbing under the streams.

One task hears of new heights from the node and wakes every listener; each listener reads the
stored blocks at its own pace from its own position, so that a slow one costs nobody anything.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Coroutine, Iterator
from contextlib import contextmanager
from typing import Any

from contracts.kernel.access import Viewer
from node.http.service import NodeService
from node.protocol.errors import Refused

STREAMS_MAX = 100
STRANGERS_STREAMS_MAX = 50
READER_STREAMS_MAX = 20


class Feed:
    """Wakes listeners when the head moves, and ends them on shutdown."""

    def __init__(self, service: NodeService) -> None:
        self._service = service
        self._moved = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self._closed = asyncio.Event()
        self._streams_of: Counter[bytes] = Counter()
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

    @contextmanager
    def listening(self, viewer: Viewer) -> Iterator[None]:
        """Count one more listener; raises `Refused` `TOO_MANY_STREAMS` or `STOPPING`.

        Strangers leave half of the streams to those with a role, none of whom can take all.
        """
        if self.closing:
            raise Refused("STOPPING", "the node is shutting down")
        key = viewer.public_key if viewer.roles else None
        if key is not None and self._streams_of[key] >= READER_STREAMS_MAX:
            raise Refused("TOO_MANY_STREAMS", f"at most {READER_STREAMS_MAX} streams a reader")
        most = STRANGERS_STREAMS_MAX if key is None else STREAMS_MAX
        if self.listeners >= most:
            raise Refused("TOO_MANY_STREAMS", f"at most {most} streams a node; a session has more")
        self.listeners += 1
        if key is not None:
            self._streams_of[key] += 1
        try:
            yield
        finally:
            self.listeners -= 1
            if key is not None:
                self._streams_of[key] -= 1
                self._streams_of += Counter()  # forgets those that have none

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
