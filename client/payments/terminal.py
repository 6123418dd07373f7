"""A trusted terminal without a browser: a P-256 key that signs as the order page does.

For programs that stand for a phone, as demo and tests. The real page keeps its key in the browser,
which never gives it away; here it lives in memory and is gone afterwards.
"""

from __future__ import annotations

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from client.payments import terms
from node.protocol.domain import Chain
from node.protocol.encoding import Value


class Terminal:
    """One device. `public_key` is the compressed point, 33 bytes."""

    def __init__(self) -> None:
        self._key = ec.generate_private_key(ec.SECP256R1())
        self.public_key: bytes = self._key.public_key().public_bytes(
            Encoding.X962, PublicFormat.CompressedPoint
        )

    def sign(self, chain: Chain, statement: str, signed: dict[str, Value]) -> bytes:
        """The ES256 signature, 64 bytes r and s, that the contract accepts for these terms."""
        digest = terms.digest(chain, statement, signed)
        r, s = decode_dss_signature(self._key.sign(digest, ec.ECDSA(hashes.SHA256())))
        return r.to_bytes(32, "big") + s.to_bytes(32, "big")
