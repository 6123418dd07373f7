"""What a node says of its catching up, in its log: snapshots on their way, blocks a second."""

from __future__ import annotations

import structlog

from node.sync import Sync

EVERY_MS = 5_000
# A block or two is how rounds of consensus end for somebody.
BLOCKS_MIN = 20

log = structlog.get_logger("node")


class ProgressLog:
    """Told that time passes, it says now and then how far the node is."""

    def __init__(self, sync: Sync) -> None:
        self._sync = sync
        self._said_at = 0
        self._said: object = None
        self._in_run = False

    def note(self, now_ms: int) -> None:
        """Say what has changed, if it is time; `now_ms` by the stopwatch of the sync."""
        pace = self._sync.pace
        if self._in_run and pace.is_over(now_ms):
            self._in_run = False
            self._say_blocks("caught_up_by_blocks")
        if now_ms < self._said_at + EVERY_MS:
            return
        fetched, run = self._sync.fetched, pace.run
        if fetched is not None and fetched.progress != self._said:
            part, done, total = fetched.progress
            height = fetched.manifest.height
            log.info("fetching_snapshot", height=height, part=part, done=done, total=total)
            self._said, self._said_at = fetched.progress, now_ms
        elif run is not None and run.blocks >= BLOCKS_MIN and not pace.is_over(now_ms):
            self._in_run, self._said_at = True, now_ms
            self._say_blocks("catching_up")

    def _say_blocks(self, event: str) -> None:
        run = self._sync.pace.run
        if run is not None:
            log.info(
                event,
                height=self._sync.head,
                blocks=run.blocks,
                transactions=run.transactions,
                blocks_per_second=run.blocks_per_second,
                transactions_per_second=run.transactions_per_second,
            )
