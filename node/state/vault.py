"""Encryption at rest: values sealed for their places, and the secret parts of keys disguised.

Whoever reads a node's disk without its storage key learns sizes, tables, numbers and hashes, and
nothing else; whoever writes to it can put back an older value of the same place, which the state
root does not bear out, and nothing else. Both need no memory of earlier uses, so a disk that was
rolled back weakens neither.

A value is sealed with AES-256-GCM, its place as associated data: it opens nowhere else. All values
of one write share a key, derived from the storage key and 12 random bytes, and count their nonces,
so a nonce never meets its key twice unless two of 2^32 writes (45 years of three a second) draw the
same salt, which has a chance of 2^-33. A secret of a key is encrypted deterministically with
AES-256-SIV (RFC 5297), the table as associated data: equal secrets of one table look equal, so that
records are found, those of two tables do not. What is where is laid down in `layout`.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable
from functools import lru_cache
from hashlib import blake2b
from typing import Final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM, AESSIV

STORAGE_KEY_BYTES = 32
SALT_BYTES = 12
COUNT_BYTES = 4
TAG_BYTES = 16
HIDDEN_EXTRA_BYTES = 16
TABLES_MAX = 256
CIPHERS_MAX = 1_024
HIDDEN_KEYS_MAX = 32_768
_NONCE_PADDING = bytes(12 - COUNT_BYTES)

SecretBytes = Callable[[str], int]
"""How many leading bytes of a table's keys are secret; 0 for a table that is not known."""


class Unopened(Exception):
    """What was read is not what was sealed here: altered, moved, or under another storage key."""


class Vault:
    """The storage key of one node at work. `id` tells it from others and says nothing of it."""

    def __init__(self, storage_key: bytes, secret_bytes: SecretBytes = lambda table: 0) -> None:
        if len(storage_key) != STORAGE_KEY_BYTES:
            raise AssertionError(f"a storage key has {STORAGE_KEY_BYTES} bytes")
        self._key = storage_key
        self.secret_bytes: Final = lru_cache(TABLES_MAX)(secret_bytes)
        self.id: Final = self._derive(b"groat/id/1", 16)
        self._siv = AESSIV(self._derive(b"groat/keys/1", 64))
        self._cipher = lru_cache(CIPHERS_MAX)(self._new_cipher)
        self._hidden = lru_cache(HIDDEN_KEYS_MAX)(self._hide)

    def sealer(self) -> Sealer:
        """For the values of one write."""
        salt = secrets.token_bytes(SALT_BYTES)
        return Sealer(salt, self._new_cipher(salt))

    def open(self, place: bytes, sealed: bytes) -> bytes:
        """The value that was sealed for `place`; raises `Unopened`."""
        body = SALT_BYTES + COUNT_BYTES
        nonce = _NONCE_PADDING + sealed[SALT_BYTES:body]
        try:
            return self._cipher(sealed[:SALT_BYTES]).decrypt(nonce, sealed[body:], place)
        except (InvalidTag, ValueError):
            raise Unopened from None

    def hide(self, table: str, key: bytes) -> bytes:
        """The key as it stands on disk; of a prefix that holds the whole secret, the prefix."""
        return self._hidden(table, key)

    def show(self, table: str, hidden: bytes) -> bytes:
        """The key that stands on disk as `hidden`; raises `Unopened`."""
        secret = self.secret_bytes(table)
        if not secret or not hidden:
            return hidden
        end = secret + HIDDEN_EXTRA_BYTES
        try:
            return self._siv.decrypt(hidden[:end], [table.encode()]) + hidden[end:]
        except (InvalidTag, ValueError):
            raise Unopened from None

    def _hide(self, table: str, key: bytes) -> bytes:
        secret = self.secret_bytes(table)
        if not secret or not key:
            return key
        return self._siv.encrypt(key[:secret], [table.encode()]) + key[secret:]

    def _new_cipher(self, salt: bytes) -> AESGCM:
        return AESGCM(self._derive(b"groat/value/1", 32, salt))

    def _derive(self, purpose: bytes, size: int, salt: bytes = b"") -> bytes:
        return blake2b(key=self._key, digest_size=size, person=purpose, salt=salt).digest()


class Sealer:
    """Seals the values of one write."""

    __slots__ = ("_count", "_encrypt", "_salt")

    def __init__(self, salt: bytes, cipher: AESGCM) -> None:
        self._salt = salt
        self._encrypt = cipher.encrypt
        self._count = 0

    def seal(self, place: bytes, value: bytes) -> bytes:
        """`value` for `place`: salt, count, ciphertext and tag."""
        count = self._count.to_bytes(COUNT_BYTES, "big")
        self._count += 1
        return self._salt + count + self._encrypt(_NONCE_PADDING + count, value, place)
