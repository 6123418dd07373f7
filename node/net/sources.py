"""What a fetching scheduler remembers of a peer: how well it delivers, and until when it rests.

Whoever does not deliver rests, ever longer up to a cap; whoever delivers is forgiven. Times are in
milliseconds and come in as arguments.
"""

from __future__ import annotations

from dataclasses import dataclass

from node.protocol.errors import PeerFault

COOL_DOWN_MS = 1_000
COOL_DOWN_MAX_MS = 60_000
SLOW_MS = 2_000


@dataclass(frozen=True, slots=True)
class Punish:
    """Disconnect this peer: it broke the protocol."""

    peer: bytes
    fault: PeerFault


@dataclass(slots=True)
class Source:
    """One connected peer."""

    failures: int = 0
    asked_at: int = 0
    rests_until: int = 0

    def rest(self, now_ms: int, at_least_ms: int = COOL_DOWN_MS) -> None:
        """It did not deliver: ask others for a while."""
        delay = min(COOL_DOWN_MAX_MS, COOL_DOWN_MS << min(self.failures, 16))
        self.rests_until = now_ms + max(delay, at_least_ms)
        self.failures += 1

    def delivered(self, now_ms: int) -> None:
        """It did. Who answers late, and little at a time, must not get every other turn."""
        is_slow = now_ms - self.asked_at > SLOW_MS
        self.failures = max(1, self.failures) if is_slow else 0
