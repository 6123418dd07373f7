"""The roster: which peers a node speaks with, as the chain says, kept up with every final block.

Whoever is listed on chain may connect: validators and observers. A node that the chain does not
list yet, because it has not fetched the block that admits it, also dials the peers that it was
given when it was made: those of genesis may be gone by then. So does one whose state was put aside,
until it is back at the height at which it knew these.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from contracts.kernel.registry import nodes_of
from contracts.kernel.state import Reader
from node.net.peers import PeerAddress
from node.protocol.block import Receipt
from node.protocol.settings import split_address

Peers = Mapping[bytes, PeerAddress]


class Roster:
    """Watches final blocks for the driver, and tells the transport when the peers change."""

    def __init__(
        self, state: Reader, public_key: bytes, given: Peers, height: int = 0, known_at: int = 0
    ) -> None:
        """`given` are the peers to start with, as they were known at height `known_at`.

        `height` is that of `state`.
        """
        self._state = state
        self._public_key = public_key
        self._given = dict(given)
        self._known_at = known_at
        self._apply: Callable[[Peers], None] | None = None
        self.peers: Peers = self._read(height)

    def attach(self, apply: Callable[[Peers], None]) -> None:
        """Call `apply` with all peers whenever they change from now on."""
        self._apply = apply

    def on_committed(self, height: int, receipts: Sequence[Receipt]) -> None:
        """A block is final: see whether it changed who may connect."""
        peers = self._read(height)
        if peers != self.peers:
            self.peers = peers
            if self._apply is not None:
                self._apply(peers)

    def on_alarm(self, code: str, message: str) -> None:
        """Nothing of ours."""

    def _read(self, height: int) -> Peers:
        listed = {
            node.public_key: PeerAddress(*split_address(node.address), node.tls_fingerprint)
            for node in nodes_of(self._state)
        }
        is_there = self._public_key in listed and height >= self._known_at
        return listed if is_there else {**listed, **self._given}
