"""A power cut on purpose: one node killed at a fraction of the way, and brought back later."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from client.local import LocalNetwork

WATCH_SECONDS = 0.1


class Outage:
    """Kill `name` with SIGKILL at fraction `down_at` of the rows and start it again at `up_at`."""

    def __init__(self, local: LocalNetwork, name: str, down_at: float, up_at: float) -> None:
        self.name = name
        self.incidents: list[str] = []
        self._local = local
        self._down_at = down_at
        self._up_at = up_at
        self._is_down = False

    async def watch(self, fraction: Callable[[], float]) -> None:
        """Do it as the replay goes on; `fraction` tells how far that is."""
        await _reached(fraction, self._down_at)
        await asyncio.to_thread(self._local.kill, [self.name])
        self._is_down = True
        self.incidents.append(f"{self.name} killed (SIGKILL) at {fraction():.0%} of the rows")
        await _reached(fraction, self._up_at)
        await self.end(fraction())

    async def end(self, fraction: float) -> None:
        """Bring the node back if it is down; harmless otherwise."""
        if self._is_down:
            await asyncio.to_thread(self._local.start, [self.name])
            self._is_down = False
            self.incidents.append(f"{self.name} started again at {fraction:.0%} of the rows")


async def _reached(fraction: Callable[[], float], goal: float) -> None:
    # Asked ten times a second, the way costs less than being told of each of its steps.
    while fraction() < goal:  # noqa: ASYNC110
        await asyncio.sleep(WATCH_SECONDS)
