"""Sessions: prove once that you hold a key, then read with a token for at most 15 minutes.

Challenges and tokens are sealed by a secret of this process and kept nowhere, so that nobody can
fill the node's memory with them, or use up some number of sessions. Each challenge has just one
token: whoever answers it again gains nothing. A token says who; what that key may read is asked
anew for each request.
"""

from __future__ import annotations

import hmac
import secrets
from collections.abc import Callable
from hashlib import sha256

from node.protocol.domain import Chain
from node.protocol.errors import Refused
from node.protocol.keys import PUBLIC_KEY_BYTES, is_valid
from node.protocol.session import session_digest

CHALLENGE_MS = 60 * 1000
SESSION_MS = 15 * 60 * 1000
_RANDOM_BYTES = 16
_TIME_BYTES = 8
_MAC_BYTES = 32
CHALLENGE_BYTES = _RANDOM_BYTES + _TIME_BYTES + _MAC_BYTES
TOKEN_BYTES = PUBLIC_KEY_BYTES + CHALLENGE_BYTES


class Sessions:
    """Issues challenges and tokens for one node."""

    def __init__(self, chain: Chain, node_key: bytes, now_ms: Callable[[], int]) -> None:
        self._chain = chain
        self._node_key = node_key
        self._now_ms = now_ms
        self._secret = secrets.token_bytes(32)

    def challenge(self, public_key: bytes) -> tuple[bytes, int]:
        """A fresh challenge for this key, and its expiry in ms since 1970."""
        expires_at = self._now_ms() + CHALLENGE_MS
        random = secrets.token_bytes(_RANDOM_BYTES)
        return self._seal(b"challenge" + public_key, random, expires_at), expires_at

    def open(self, public_key: bytes, challenge: bytes, signature: bytes) -> tuple[str, int]:
        """The token of an answered challenge and its expiry (ms), 15 minutes after the challenge.

        Raises `Refused`: `BAD_CHALLENGE` for one not issued to this key or expired;
        `BAD_SIGNATURE`.
        """
        expires_at = self._unseal(b"challenge" + public_key, challenge)
        if expires_at is None or expires_at < self._now_ms():
            raise Refused("BAD_CHALLENGE", "ask for a fresh challenge: POST /v1/challenges")
        digest = session_digest(self._chain, self._node_key, public_key, challenge, expires_at)
        if not is_valid(public_key, digest, signature):
            raise Refused("BAD_SIGNATURE", "the signature does not answer this challenge")
        ends_at = expires_at - CHALLENGE_MS + SESSION_MS
        token = self._seal(b"token" + public_key, challenge[:_RANDOM_BYTES], ends_at)
        return (public_key + token).hex(), ends_at

    def key_of(self, token: str) -> bytes:
        """The public key behind a token; raises `Refused` `BAD_TOKEN` or `SESSION_EXPIRED`."""
        try:
            raw = bytes.fromhex(token)
        except ValueError:
            raw = b""
        public_key, sealed = raw[:PUBLIC_KEY_BYTES], raw[PUBLIC_KEY_BYTES:]
        expires_at = self._unseal(b"token" + public_key, sealed)
        if expires_at is None:
            raise Refused("BAD_TOKEN", "not a token of this node since its start")
        if expires_at < self._now_ms():
            raise Refused("SESSION_EXPIRED", "open a new session")
        return public_key

    def _seal(self, purpose: bytes, random: bytes, expires_at: int) -> bytes:
        content = random + expires_at.to_bytes(_TIME_BYTES, "big")
        return content + self._mac(purpose, content)

    def _unseal(self, purpose: bytes, sealed: bytes) -> int | None:
        content, mac = sealed[:-_MAC_BYTES], sealed[-_MAC_BYTES:]
        if len(sealed) != CHALLENGE_BYTES or not hmac.compare_digest(
            mac, self._mac(purpose, content)
        ):
            return None
        return int.from_bytes(content[_RANDOM_BYTES:], "big")

    def _mac(self, purpose: bytes, content: bytes) -> bytes:
        return hmac.digest(self._secret, purpose + b"/" + content, sha256)
