"""Domain separation: whatever is hashed or signed starts with a type tag and the chain's identity.

A signature made for one purpose, chain or genesis is thereby worthless for every other.
"""

from __future__ import annotations

import hashlib
from functools import lru_cache

from node.protocol.encoding import Record, encode, sha256

NETWORK_BYTES = 8


class Chain(Record, frozen=True):
    """The identity of one network: its name and the hash of its genesis file."""

    chain_id: str
    genesis_hash: bytes

    @property
    def network(self) -> bytes:
        """Eight bytes that a transaction carries, so that a foreign one is recognised as such."""
        return sha256(self.prefix("network"))[:NETWORK_BYTES]

    def prefix(self, tag: str) -> bytes:
        """The bytes that precede everything hashed or signed under `tag`."""
        return encode([f"groat/{tag}/1", self.chain_id, self.genesis_hash])

    def digest(self, tag: str, payload: bytes) -> bytes:
        """sha256(prefix(tag) ‖ payload), 32 bytes: what is signed, and every id of the protocol."""
        state = _prefix_state(tag, self.chain_id, self.genesis_hash).copy()
        state.update(payload)
        return state.digest()


@lru_cache(maxsize=256)
def _prefix_state(tag: str, chain_id: str, genesis_hash: bytes) -> hashlib._Hash:
    return hashlib.sha256(Chain(chain_id, genesis_hash).prefix(tag))
