"""Transaction gossip: raw transactions leave in batches, and no peer is told what it told us.

A batch leaves when it is full or a few milliseconds after its first transaction, encoded once for
all peers that lack the same ones. What a peer knows is remembered in bounded space, so this saves
traffic but promises nothing; whoever misses a transaction asks for it. Whether a transaction
is worth passing on is decided by the caller.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from typing import Protocol

from node.protocol.messages import (
    BATCH_BYTES_MAX,
    BATCH_TRANSACTIONS_MAX,
    Message,
    in_batches,
)

FLUSH_AFTER_S = 0.004
KNOWN_HASHES_MAX = 32_768

Pair = tuple[bytes, bytes]


class Sender(Protocol):
    """What gossip needs of the transport."""

    @property
    def connected(self) -> tuple[bytes, ...]:
        """The peers that can be sent to."""

    def multicast(self, peers: Iterable[bytes], message: Message) -> int:
        """Queue a message for several peers."""


class KnownHashes:
    """The hashes seen of late: at least the last `size_max / 2`, at most `size_max` of them.

    Two generations stand in for a least-recently-used list, at the price of a set.
    """

    def __init__(self, size_max: int) -> None:
        self._generation_max = max(1, size_max // 2)
        self._young: set[bytes] = set()
        self._old: set[bytes] = set()

    def __contains__(self, content_hash: bytes) -> bool:
        return content_hash in self._young or content_hash in self._old

    def __len__(self) -> int:
        return len(self._young | self._old)

    def add(self, content_hash: bytes) -> None:
        """Remember; may forget the older half."""
        if len(self._young) >= self._generation_max:
            self._old = self._young
            self._young = set()
        self._young.add(content_hash)


class TransactionGossip:
    """Batches transactions for all connected peers. Pairs are (content hash, raw bytes)."""

    def __init__(self, sender: Sender, flush_after_s: float = FLUSH_AFTER_S) -> None:
        self._sender = sender
        self._flush_after_s = flush_after_s
        self._known: dict[bytes, KnownHashes] = {}
        self._pending: list[Pair] = []
        self._pending_bytes = 0
        self._timer: asyncio.TimerHandle | None = None

    def offer(self, pairs: Iterable[Pair], origin: bytes | None = None) -> None:
        """Send soon to every peer that is not known to have them; `origin` told us."""
        if origin is not None:
            pairs = list(pairs)
            self.received(origin, (content_hash for content_hash, _ in pairs))
        for pair in pairs:
            self._pending.append(pair)
            self._pending_bytes += len(pair[1])
            if (
                len(self._pending) >= BATCH_TRANSACTIONS_MAX
                or self._pending_bytes >= BATCH_BYTES_MAX
            ):
                self.flush()
        if self._pending and self._timer is None:
            loop = asyncio.get_running_loop()
            self._timer = loop.call_later(self._flush_after_s, self.flush)

    def received(self, peer: bytes, content_hashes: Iterable[bytes]) -> None:
        """The peer has these: it sent them."""
        known = self._known_by(peer)
        for content_hash in content_hashes:
            known.add(content_hash)

    def forget(self, peer: bytes) -> None:
        """The peer disconnected; what was on its way to it may be lost."""
        self._known.pop(peer, None)

    def flush(self) -> None:
        """Send what is pending now."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        pending, self._pending, self._pending_bytes = self._pending, [], 0
        groups: dict[tuple[bytes, ...], list[bytes]] = {}
        for peer in self._sender.connected:
            known = self._known_by(peer)
            lacking = []
            for content_hash, raw in pending:
                if content_hash not in known:
                    known.add(content_hash)
                    lacking.append(raw)
            groups.setdefault(tuple(lacking), []).append(peer)
        for raws, peers in groups.items():
            for message in in_batches(raws):
                self._sender.multicast(peers, message)

    def _known_by(self, peer: bytes) -> KnownHashes:
        known = self._known.get(peer)
        if known is None:
            known = self._known[peer] = KnownHashes(KNOWN_HASHES_MAX)
        return known
