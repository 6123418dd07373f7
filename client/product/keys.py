"""The keys of a product: one for each degree, of which a higher one gives all lower ones.

K3 leads to K2 and K2 to K1 by a one-way function, never the other way. For each degree its key is
split among the release agents so that m of n shares give it back (Shamir, by PyCryptodome) and
fewer tell nothing. A share is bound by a commitment that its seller has published.
"""

from __future__ import annotations

import hashlib
import hmac
import secrets
from collections.abc import Mapping, Sequence

from Crypto.Protocol.SecretSharing import Shamir
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from node.protocol.errors import Refused

KEY_BYTES = 16
SHARE_BYTES = 1 + KEY_BYTES
_NONCE = bytes(12)  # each part has a key of its own, which encrypts nothing else


def fresh_chain(degrees: int) -> dict[int, bytes]:
    """New keys by degree; the highest is random, the others follow from it."""
    keys = {degrees: secrets.token_bytes(KEY_BYTES)}
    for degree in range(degrees - 1, 0, -1):
        keys[degree] = below(keys[degree + 1])
    return keys


def below(key: bytes) -> bytes:
    """The key of the degree below."""
    return hmac.digest(key, b"groat/product/the degree below/1", hashlib.sha256)[:KEY_BYTES]


def key_for(key: bytes, degree: int, part: int) -> bytes:
    """The key of degree `part` from that of a degree not below; raises `Refused` `DEGREE_LOW`."""
    if part > degree:
        raise Refused("DEGREE_LOW", f"the key is of degree {degree}, the part is of {part}")
    for _ in range(degree - part):
        key = below(key)
    return key


# ---- parts


def seal_part(key: bytes, part: int, compressed: bytes) -> bytes:
    """Encrypt a part that was compressed before."""
    return AESGCM(_part_key(key, part)).encrypt(_NONCE, compressed, None)


def open_part(key: bytes, part: int, sealed: bytes) -> bytes:
    """The compressed part; raises `Refused` `BAD_CODE` for a wrong key or altered bytes."""
    try:
        return AESGCM(_part_key(key, part)).decrypt(_NONCE, sealed, None)
    except InvalidTag:
        raise Refused("BAD_CODE", f"part {part} does not open with this key") from None


def _part_key(key: bytes, part: int) -> bytes:
    return hmac.digest(key, b"groat/product/part/1" + bytes([part]), hashlib.sha256)


# ---- shares


def split(key: bytes, needed: int, agents: int) -> list[bytes]:
    """A share for each agent, in their order; any `needed` of them give the key back."""
    if needed == 1:
        return [bytes([place]) + key for place in range(1, agents + 1)]
    return [bytes([place]) + share for place, share in Shamir.split(needed, agents, key)]


def combine(shares: Sequence[bytes], needed: int) -> bytes:
    """The key from at least `needed` different shares; raises `Refused` `DEGREE_LOW` for fewer."""
    different = {share[0]: share[1:] for share in shares if len(share) == SHARE_BYTES}
    if len(different) < needed:
        raise Refused("DEGREE_LOW", f"{len(different)} shares are here, {needed} are needed")
    chosen = sorted(different.items())[:needed]
    if needed == 1:
        return chosen[0][1]
    key: bytes = Shamir.combine(chosen)
    return key


def commitment(product: str, degree: int, agent: int, share: bytes) -> bytes:
    """What a seller publishes of an agent's share, 32 bytes. A share is random enough to hide."""
    place = f"{product}/{degree}/{agent}".encode()
    return hashlib.sha256(b"groat/product/share/1" + place + b"/" + share).digest()


def valid_shares(
    product: str, degree: int, commitments: Sequence[bytes], given: Mapping[int, bytes]
) -> list[bytes]:
    """Those shares, by the agent's place from 0, that are what their seller committed to."""
    return [
        share
        for agent, share in sorted(given.items())
        if 0 <= agent < len(commitments)
        and hmac.compare_digest(commitment(product, degree, agent, share), commitments[agent])
    ]
