"""ECDSA over secp256k1: the one door for signing and verifying.

RFC 6979 nonces, low-S only, 33-byte compressed public keys, 64-byte compact signatures over a
32-byte digest. libsecp256k1 (coincurve) decides validity, alone: two verifiers that disagree are a
fork. The `ecdsa` package reads and writes PEM. Keys at rest are the wallet's business, not ours.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import coincurve
import ecdsa
from coincurve._libsecp256k1 import ffi, lib
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from node.protocol.errors import Refused

PUBLIC_KEY_BYTES = 33
SIGNATURE_BYTES = 64
DIGEST_BYTES = 32
PARSED_KEYS_MAX = 65_536
CURVE_ORDER = 0xFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFEBAAEDCE6AF48A03BBFD25E8CD0364141

_context = coincurve.GLOBAL_CONTEXT.ctx


class PrivateKey:
    """A signing key. Its `repr` shows the public half only, so that it cannot leak into a log."""

    __slots__ = ("_key", "_secret", "public_key")

    def __init__(self, secret: bytes) -> None:
        if len(secret) != 32 or not 0 < int.from_bytes(secret, "big") < CURVE_ORDER:
            raise Refused("BAD_KEY", "a private key is 32 bytes below the curve order")
        self._secret = secret
        self._key = coincurve.PrivateKey(secret)
        self.public_key: bytes = self._key.public_key.format(compressed=True)

    @classmethod
    def generate(cls) -> PrivateKey:
        """A fresh random key."""
        return cls(coincurve.PrivateKey().secret)

    @classmethod
    def derive(cls, seed: bytes, label: str) -> PrivateKey:
        """The key named `label` under a 32-byte seed (HKDF-SHA256), the same each time."""
        for attempt in range(256):
            hkdf = HKDF(hashes.SHA256(), 32, b"groat/derive/1", label.encode() + bytes([attempt]))
            secret = hkdf.derive(seed)
            if 0 < int.from_bytes(secret, "big") < CURVE_ORDER:
                return cls(secret)
        raise AssertionError("256 derivations beyond the curve order")

    @classmethod
    def from_pem(cls, pem: str) -> PrivateKey:
        """Read an unencrypted SEC 1 or PKCS 8 PEM; raises `Refused` `BAD_KEY`."""
        try:
            key = ecdsa.SigningKey.from_pem(pem)
        except (ValueError, TypeError, ecdsa.der.UnexpectedDER, ecdsa.curves.UnknownCurveError):
            raise Refused("BAD_KEY", "not a readable EC private key in PEM") from None
        if key.curve is not ecdsa.SECP256k1 and key.curve != ecdsa.SECP256k1:
            raise Refused("BAD_KEY", f"the curve is {key.curve.name}, not secp256k1")
        return cls(key.to_string())

    def to_pem(self) -> str:
        """Unencrypted SEC 1 PEM that OpenSSL reads too.

        Not PKCS 8: `ecdsa` states a version there that strict readers refuse.
        """
        key = ecdsa.SigningKey.from_string(self._secret, curve=ecdsa.SECP256k1)
        return str(key.to_pem(format="ssleay").decode())

    @property
    def secret(self) -> bytes:
        """The 32 secret bytes, for encryption at rest only."""
        return self._secret

    def sign(self, digest: bytes) -> bytes:
        """64-byte compact low-S signature of a 32-byte digest."""
        signature = ffi.new("secp256k1_ecdsa_signature *")
        if len(digest) != DIGEST_BYTES:
            raise ValueError("a digest is 32 bytes")
        if not lib.secp256k1_ecdsa_sign(
            _context, signature, digest, self._secret, ffi.NULL, ffi.NULL
        ):
            raise AssertionError("libsecp256k1 could not sign with a valid key")
        output = ffi.new("unsigned char[64]")
        lib.secp256k1_ecdsa_signature_serialize_compact(_context, output, signature)
        return bytes(ffi.buffer(output, 64))

    def shared_secret(self, public_key: bytes) -> bytes:
        """ECDH: sha256 of the compressed shared point, 32 bytes."""
        check_public_key(public_key)
        return self._key.ecdh(public_key)

    def __repr__(self) -> str:
        return f"PrivateKey(public_key={self.public_key.hex()})"


def verify(public_key: bytes, digest: bytes, signature: bytes) -> None:
    """Raise `Refused` `BAD_KEY`, `HIGH_S` or `BAD_SIGNATURE` unless the signature holds."""
    if len(signature) != SIGNATURE_BYTES:
        raise Refused("BAD_SIGNATURE", "a signature is 64 bytes")
    parsed = ffi.new("secp256k1_ecdsa_signature *")
    key = _parse_public_key(public_key)
    if lib.secp256k1_ecdsa_signature_parse_compact(
        _context, parsed, signature
    ) and lib.secp256k1_ecdsa_verify(_context, parsed, digest, key):
        return
    if CURVE_ORDER // 2 < int.from_bytes(signature[32:], "big") < CURVE_ORDER:
        raise Refused("HIGH_S", "the signature is the malleable high-S twin")
    raise Refused("BAD_SIGNATURE", "the signature does not match")


def is_valid(public_key: bytes, digest: bytes, signature: bytes) -> bool:
    """`verify` as a predicate."""
    try:
        verify(public_key, digest, signature)
    except Refused:
        return False
    return True


def check_public_key(public_key: bytes) -> None:
    """Raise `Refused` `BAD_KEY` unless this is a compressed point on the curve."""
    _parse_public_key(public_key)


@lru_cache(maxsize=PARSED_KEYS_MAX)
def _parse_public_key(public_key: bytes) -> Any:
    parsed = ffi.new("secp256k1_pubkey *")
    if len(public_key) != PUBLIC_KEY_BYTES or not lib.secp256k1_ec_pubkey_parse(
        _context, parsed, public_key, len(public_key)
    ):
        raise Refused("BAD_KEY", "not a compressed secp256k1 public key")
    return parsed
