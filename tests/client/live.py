"""A served node that orders at once what it gets, for tests of the command."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Sequence

from node.http.server import HttpServer
from tests.http.support import Service, Verdict, World


class SettlingService(Service):
    """A node that orders what it gets at once, unless it `stalls`."""

    stalls = False

    async def submit(self, raws: Sequence[bytes]) -> Sequence[Verdict]:
        verdicts = await super().submit(raws)
        if self.pool and not self.stalls:
            self.settle()
        return verdicts


class LiveNode:
    """A served node in a thread of its own, since the command runs its own loop."""

    def __init__(self, world: World) -> None:
        self.service = SettlingService(world)
        self.url = ""
        self._loop = asyncio.new_event_loop()
        self._started, self._end = threading.Event(), asyncio.Event()
        self._thread = threading.Thread(target=self._loop.run_until_complete, args=[self._serve()])
        self._thread.start()
        assert self._started.wait(10)

    async def _serve(self) -> None:
        server = HttpServer(self.service, "127.0.0.1", 0)
        await server.start()
        self.url = server.url
        self._started.set()
        await self._end.wait()
        await server.stop()

    def stop(self) -> None:
        """End the thread."""
        self._loop.call_soon_threadsafe(self._end.set)
        self._thread.join(10)
        self._loop.close()
