"""Who takes part in a load: keys and ids that all follow from one secret seed.

The same seed and name give the same key and the same ids each time, so that a load that was
interrupted needs no file of its own to go on. Holders keep their key from one load to the next;
cards and merchants belong to one load, which `scope` names.
"""

from __future__ import annotations

import hashlib
import hmac

from node.protocol.keys import PrivateKey

ID_BYTES = 16


class Cast:
    """The holders of a seed (32 bytes), and the ids of one load."""

    def __init__(self, seed: bytes, scope: str) -> None:
        self.seed = seed
        self.scope = scope

    def holder(self, name: str) -> PrivateKey:
        """The key with which this holder signs; HKDF, see `PrivateKey.derive`."""
        return PrivateKey.derive(self.seed, f"holder/{name}")

    def card(self, name: str) -> bytes:
        """The id of this holder's card."""
        return self._id(f"card/{name}")

    @property
    def merchant(self) -> bytes:
        """The id of the one merchant."""
        return self._id("merchant")

    def _id(self, label: str) -> bytes:
        # Nobody without the seed can tell it from chance, as ids of private records must be.
        text = f"{self.scope}/{label}".encode()
        return hmac.digest(self.seed, text, hashlib.sha256)[:ID_BYTES]
