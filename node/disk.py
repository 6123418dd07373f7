"""The node's disk as the driver uses it: one write at a time, each until it is done.

A write that fails for want of room (or of a working disk) is tried again, unchanged, until it
succeeds; whoever waits for it, and with it everything that must not happen before it, waits that
long. So a full disk costs time and no promise. A little room is never used up: LevelDB needs it to
open again, which it must after a failed write, since nobody knows how much of that one is there.
Damage is no such failure and is raised.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import structlog

from node.protocol.errors import StoreFailure

RETRY_S = 1.0
FULL_BYTES = 64 << 20
LOW_BYTES = 256 << 20
RETRIED_CODE = "DISK_FAILED"

log = structlog.get_logger("node")


class Disk:
    """Performs writes in a thread of its own."""

    def __init__(
        self,
        free_bytes: Callable[[], int],
        on_failure: Callable[[], None] = lambda: None,
        retry_s: float = RETRY_S,
    ) -> None:
        """`free_bytes` says how much room is left; `on_failure` is told when writing ceases."""
        self._free_bytes = free_bytes
        self._on_failure = on_failure
        self._retry_s = retry_s
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="disk")
        self._failure = ""
        self._turn = asyncio.Lock()

    @property
    def failing(self) -> bool:
        """Whether a write waits for room."""
        return bool(self._failure)

    @property
    def free_bytes(self) -> int:
        """How much room is left where the node writes."""
        return self._free_bytes()

    @property
    def shortage(self) -> str:
        """Why nothing new should be taken on, in words for people; empty while all is well."""
        if self._failure:
            return f"nothing can be written: {self._failure}"
        if self._free_bytes() < LOW_BYTES:
            return f"less than {LOW_BYTES >> 20} MiB free; make room"
        return ""

    async def write(self, action: Callable[[], None], reopen: Callable[[], None]) -> None:
        """Perform a write until it succeeds. After a failed one the database is opened again.

        `action` must be the same write each time. Raises `StoreFailure` for damage.
        """
        async with self._turn:
            await self._write(action, reopen)

    async def _write(self, action: Callable[[], None], reopen: Callable[[], None]) -> None:
        tried = False
        while True:
            try:
                if self._free_bytes() < FULL_BYTES:
                    raise StoreFailure(RETRIED_CODE, f"less than {FULL_BYTES >> 20} MiB free")
                if tried:
                    reopen()
                tried = True
                await asyncio.get_running_loop().run_in_executor(self._thread, action)
            except StoreFailure as failure:
                if failure.code != RETRIED_CODE:
                    raise
                self._note(failure.message)
                await asyncio.sleep(self._retry_s)
            else:
                if self._failure:
                    log.info("disk_writes_again")
                self._failure = ""
                return

    def close(self) -> None:
        """Wait for the write under way."""
        self._thread.shutdown(wait=True)

    def _note(self, message: str) -> None:
        first, self._failure = not self._failure, message
        if first:
            log.error("disk_fails", message=message)
            self._on_failure()
