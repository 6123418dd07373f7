"""What is known about each allowed peer, connected or not: address, pin, back-off, counters.

The map of peers is the node's rule of who may speak; the transport only obeys it.
"""

from __future__ import annotations

import asyncio
import random
from dataclasses import dataclass, field

from node.net.connection import Connection, Ending, Traffic
from node.net.handshake import Role
from node.net.limits import NetLimits


@dataclass(frozen=True, slots=True)
class PeerAddress:
    """Where a peer listens, and the fingerprint (sha256 of DER) of the one certificate it shows."""

    host: str
    port: int
    tls_fingerprint: bytes


@dataclass(frozen=True, slots=True)
class PeerStats:
    """One peer as shown to people and metrics; times in ms, `since_ms` since 1970."""

    public_key: bytes
    address: str
    connected: bool
    cut: bool
    dialed_by_us: bool | None
    since_ms: int | None
    rtt_ms: float | None
    connections: int
    bytes_in: int
    bytes_out: int
    messages_in: int
    messages_out: int
    consensus_queued: int
    bulk_queued_bytes: int
    bulk_dropped: int
    last_ending: str | None


class Backoff:
    """When to dial again: exponential with jitter, much longer after a fault. Times in seconds."""

    def __init__(self, limits: NetLimits, chance: random.Random) -> None:
        self._limits = limits
        self._chance = chance
        self._failures = 0
        self._faults = 0
        self._dial_at = 0.0
        self.refused_until = 0.0

    def failed(self, now: float) -> None:
        """A dial failed or a connection broke soon."""
        self._failures += 1
        self._wait(now, self._limits.redial_min_s, self._limits.redial_max_s, self._failures)

    def mistrusted(self, now: float) -> None:
        """Whoever answers at the peer's address is not the peer: dial rarely, blame nobody."""
        self._faults += 1
        self._wait(now, self._limits.fault_delay_s, self._limits.fault_delay_max_s, self._faults)

    def faulted(self, now: float) -> None:
        """The authenticated peer broke the protocol: neither dial nor admit it for a while."""
        self.mistrusted(now)
        self.refused_until = self._dial_at

    def succeeded(self, now: float) -> None:
        """A connection was stable: forget the past, but never redial in a tight loop."""
        self._failures = self._faults = 0
        self._wait(now, self._limits.redial_min_s, self._limits.redial_max_s, 1)

    def remaining(self, now: float) -> float:
        """Seconds until the next dial, 0 if due."""
        return max(0.0, self._dial_at - now)

    def _wait(self, now: float, shortest: float, longest: float, attempt: int) -> None:
        delay = min(longest, shortest * 2.0 ** min(attempt - 1, 16))
        self._dial_at = now + delay * (0.5 + self._chance.random() / 2)


@dataclass(slots=True)
class Peer:
    """The state of one allowed peer.

    `vacant` is set while it has no connection, `whole` while the line to it is not cut.
    """

    key: bytes
    address: PeerAddress
    backoff: Backoff
    connection: Connection | None = None
    connections: int = 0
    last_ending: Ending | None = None
    traffic: Traffic = field(default_factory=Traffic)
    vacant: asyncio.Event = field(default_factory=asyncio.Event)
    whole: asyncio.Event = field(default_factory=asyncio.Event)
    dialing: asyncio.Task[None] | None = None

    @property
    def cut(self) -> bool:
        """Whether the line to it is to be treated as broken."""
        return not self.whole.is_set()

    def cut_off(self, cut: bool) -> None:
        """Break the line, or mend it."""
        (self.whole.clear if cut else self.whole.set)()

    def stats(self) -> PeerStats:
        """A snapshot of everything that may be shown."""
        link = self.connection
        outbox = link.outbox if link else None
        return PeerStats(
            public_key=self.key,
            address=f"{self.address.host}:{self.address.port}",
            connected=link is not None,
            cut=self.cut,
            dialed_by_us=link.role is Role.DIALER if link else None,
            since_ms=link.since_ms if link else None,
            rtt_ms=link.rtt_ms if link else None,
            connections=self.connections,
            bytes_in=self.traffic.bytes_in,
            bytes_out=self.traffic.bytes_out,
            messages_in=self.traffic.messages_in,
            messages_out=self.traffic.messages_out,
            consensus_queued=outbox.consensus_frames if outbox else 0,
            bulk_queued_bytes=outbox.bulk_bytes if outbox else 0,
            bulk_dropped=self.traffic.bulk_dropped + (outbox.bulk_dropped if outbox else 0),
            last_ending=self.last_ending.code if self.last_ending else None,
        )


def supersedes(own_key: bytes, new: Connection, old: Connection, limits: NetLimits) -> bool:
    """Whether a second connection to the same peer replaces the first.

    Of two that were dialed at the same time, both ends keep the one dialed by the smaller ledger
    key. Otherwise the peer would not be connecting if it still had the old one: the new one wins.
    """
    simultaneous = new.role is not old.role and new.opened_at - old.opened_at < limits.handshake_s
    if not simultaneous:
        return True
    return (new.role is Role.DIALER) == (own_key < new.peer)
