"""The errands of a node: to acknowledge the epochs that it can open, and to anchor its read log.

When the chain brings an epoch, the node opens its wrap, checks the secret against the epoch's
public key, hands it to the verifier, keeps the wrap in its folder, and acknowledges. A wrap that is
wrong raises an alarm and is never acknowledged; the keyring, which execution asks, finds the same
keys by itself. Once a day, when regulators have read something, the head of the log goes on chain.
Sending is `housekeeping`'s part.
"""

from __future__ import annotations

from collections.abc import Callable

import structlog

from contracts.kernel.context import day_of
from contracts.kernel.registry import anchor_of, epoch_of, newest_epoch, wrap_of
from contracts.kernel.state import Reader
from node.housekeeping import Due
from node.keyring import Keyring
from node.protocol.committee import BAD_EPOCH_WRAP
from node.protocol.errors import GroatError, Refused
from node.protocol.keys import PrivateKey
from node.read_log import ReadLog

# Days may be as short as milliseconds where time runs fast.
ANCHOR_PAUSE_MS = 10_000

Alarm = Callable[[str, str], None]

log = structlog.get_logger("node")


class Epochs:
    """Opens and acknowledges this node's wraps."""

    def __init__(
        self,
        node: bytes,
        state: Reader,
        keyring: Keyring,
        learn: Callable[[int, PrivateKey], None],
        keep: Callable[[int, bytes], None],
        alarm: Alarm,
    ) -> None:
        """`learn` gets each epoch's key once, `keep` the node's own wrap of a later epoch."""
        self._node = node
        self._state = state
        self._keyring = keyring
        self._learn = learn
        self._keep = keep
        self._alarm = alarm
        self._seen = -1

    def on_committed(self) -> None:
        """Learn what epochs came: the verifier must know one before the first call under it."""
        newest = newest_epoch(self._state).number
        first, self._seen = self._seen + 1, newest
        for number in range(first, newest + 1):
            if epoch_of(self._state, number) is not None:
                self._open(number)

    def due(self, time_ms: int) -> Due | None:
        """The acknowledgement of the newest epoch, if it is open here."""
        newest = newest_epoch(self._state)
        share = wrap_of(self._state, newest.number, self._node)
        if share is None or share.acknowledged_height:
            return None
        if self._keyring.get(newest.number) is None:
            return None
        return Due("acknowledge_epoch", {"epoch": newest.number, "epoch_key": newest.public_key})

    def _open(self, number: int) -> None:
        try:
            self._learn(number, self._keyring.open(number))
        except Refused as refusal:
            if refusal.code == BAD_EPOCH_WRAP:
                advice = "it is not acknowledged: ask for a new epoch"
                self._alarm(BAD_EPOCH_WRAP, f"{refusal.message}; {advice}")
            return
        share = wrap_of(self._state, number, self._node)
        if share is None or self._keyring.was_given(number):
            return
        try:
            self._keep(number, share.wrap)
        except (OSError, GroatError) as error:
            # It is on chain as well; the file is for those who cannot read the database.
            log.warning("wrap_not_kept", epoch=number, why=str(error))


class ReadAnchors:
    """Anchors the read log, brings it onto the disk, and sees whether it is what was anchored."""

    def __init__(
        self, node: bytes, state: Reader, reads: ReadLog, time_scale: int, alarm: Alarm
    ) -> None:
        self._node = node
        self._state = state
        self._reads = reads
        self._time_scale = time_scale
        self._alarm = alarm
        self._checked = 0
        self._not_before_ms = 0

    def on_committed(self) -> None:
        """Nothing that could not wait."""

    def due(self, time_ms: int) -> Due | None:
        """The anchor of this day, if there is something new."""
        try:
            self._reads.sync()
        except OSError as error:
            log.warning("reads_not_synced", why=error.strerror)
            return None
        anchor = anchor_of(self._state, self._node)
        count, day = (0, -1) if anchor is None else (anchor.count, anchor.day)
        if anchor is not None and self._checked < count:
            self._checked = count
            if self._reads.head_at(count) != anchor.head:
                self._alarm(
                    "READ_LOG_ALTERED",
                    f"the log of reads is not what was anchored, {count} entries long; put back "
                    "the file that is missing, and see who could write to it",
                )
        today = day_of(time_ms, self._time_scale)
        if self._reads.count <= count or today <= day or time_ms < self._not_before_ms:
            return None
        self._not_before_ms = time_ms + ANCHOR_PAUSE_MS
        head, length = self._reads.head, self._reads.count
        return Due("anchor_reads", {"day": today, "head": head, "count": length})
