"""ES256: ECDSA over P-256 with SHA-256, as browsers sign with keys that they never give away.

Accepted as tickets inside arguments only; transactions are signed with secp256k1. Here, too, one
library alone decides validity. A signature has a valid twin (r, n - s): nothing may rely on its
bytes being the only ones.
"""

from __future__ import annotations

from functools import lru_cache

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature

from node.protocol.errors import Refused

PUBLIC_KEY_BYTES = 33
SIGNATURE_BYTES = 64
PARSED_KEYS_MAX = 4_096


def is_valid(public_key: bytes, message: bytes, signature: bytes) -> bool:
    """Whether the holder of a compressed P-256 key signed `message`; 64 bytes r and s."""
    if len(signature) != SIGNATURE_BYTES:
        return False
    pair = encode_dss_signature(
        int.from_bytes(signature[:32], "big"), int.from_bytes(signature[32:], "big")
    )
    try:
        _parse(public_key).verify(pair, message, ec.ECDSA(hashes.SHA256()))
    except (Refused, InvalidSignature):
        return False
    return True


@lru_cache(maxsize=PARSED_KEYS_MAX)
def _parse(public_key: bytes) -> ec.EllipticCurvePublicKey:
    if len(public_key) != PUBLIC_KEY_BYTES:
        raise Refused("BAD_KEY", "not a compressed P-256 public key")
    try:
        return ec.EllipticCurvePublicKey.from_encoded_point(ec.SECP256R1(), public_key)
    except ValueError:
        raise Refused("BAD_KEY", "not a compressed P-256 public key") from None
