"""Sealed calls: a call that only the committee, and readers named by the client, can read.

Each call has a random content key. The key is wrapped for every recipient with AES-256-GCM under
HKDF-SHA256 of an ECDH between the client's *ephemeral* key and the recipient's; the committee's
recipient is the public key of the current *epoch*. A client keeps one ephemeral key for at most an
hour and many calls, so that a node computes the exchange once and remembers it. The payload is
padded and bound to its transaction and place: nobody else can resend the ciphertext. A commitment
to the content key stops one ciphertext from opening to two contents under two keys. There is no
forward secrecy against whoever holds the epoch key. What a call means is not known here.
"""

from __future__ import annotations

import secrets
from collections import OrderedDict
from typing import Any, Protocol

import msgspec
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from node.protocol.domain import Chain
from node.protocol.encoding import Codec, Record, check_value, encode, sha256
from node.protocol.errors import Refused
from node.protocol.keys import PUBLIC_KEY_BYTES, PrivateKey
from node.protocol.transaction import Call, Name, SealedCall, Wrap

ALGORITHM = "ecdh-secp256k1+hkdf-sha256+aes-256-gcm"
EPHEMERAL_LIFETIME_MS_MAX = 60 * 60 * 1000
PADDED_BYTES = (256, 1_024, 4_096)
EXCHANGES_MAX = 16_384
_CONTENT_KEY_BYTES = 32
_NONCE_BYTES = 12
_TAG_BYTES = 16
_LENGTH_BYTES = 4
_PAYLOAD_NONCE = bytes(_NONCE_BYTES)  # each content key encrypts one payload only
_COMMITMENT_TAG = b"groat/content key commitment/1"
_WRAP_TAG = b"groat/content key wrap/1"
_BYTES_TAG = b"groat/sealed bytes/1"


class EpochKey(Record, frozen=True):
    """The committee's public key of one epoch."""

    number: int
    public_key: bytes


class EpochKeys(Protocol):
    """Private keys by epoch number, such as a dictionary."""

    def get(self, number: int, /) -> PrivateKey | None:
        """The epoch's key, or None where it is not known here."""
        ...


class _Content(Record, frozen=True):
    contract: Name
    action: Name
    args: dict[str, Any]


_content_codec: Codec[_Content] = Codec(_Content, PADDED_BYTES[-1])


class EphemeralKey:
    """A client's exchange key, in memory only; make a new one at least every hour.

    It remembers the exchange per recipient, which is most of the cost of sealing.
    """

    __slots__ = ("_exchanges", "_key", "public_key")

    def __init__(self, key: PrivateKey | None = None) -> None:
        self._key = PrivateKey.generate() if key is None else key
        self._exchanges = _Exchanges()
        self.public_key: bytes = self._key.public_key

    def cipher_for(self, recipient: bytes) -> AESGCM:
        """The cipher shared with `recipient`, 33 bytes; raises `Refused` `BAD_KEY`."""
        return self._exchanges.cipher(self._key, recipient, self.public_key, recipient)


class Opener:
    """Opens sealed calls with those of the committee's epoch private keys that are at hand."""

    def __init__(self, chain: Chain, epochs: EpochKeys) -> None:
        """`epochs` is asked anew for each call: more of them may come."""
        self._chain = chain
        self._epochs = epochs
        self._exchanges = _Exchanges()

    def open(
        self, sealed: SealedCall, sender: bytes, nonce: bytes, valid_until: int, index: int
    ) -> Call:
        """The clear call; raises `Refused` `WRONG_EPOCH` where the key of its epoch is not here.

        `BAD_ENVELOPE` for all the rest.
        """
        key = self._epochs.get(sealed.epoch)
        if key is None:
            raise Refused("WRONG_EPOCH", f"epoch {sealed.epoch} is not open; seal the call again")
        aad = _associated_data(self._chain, sealed, sender, nonce, valid_until, index)
        return _open(key, self._exchanges, sealed, aad)


def open_as_reader(
    chain: Chain,
    key: PrivateKey,
    sealed: SealedCall,
    sender: bytes,
    nonce: bytes,
    valid_until: int,
    index: int,
) -> Call:
    """`Opener.open` for a reader that the client named; raises `Refused` `BAD_ENVELOPE`."""
    aad = _associated_data(chain, sealed, sender, nonce, valid_until, index)
    return _open(key, _Exchanges(), sealed, aad)


def seal_call(
    chain: Chain,
    epoch: EpochKey,
    sender: bytes,
    nonce: bytes,
    valid_until: int,
    index: int,
    call: Call,
    ephemeral: EphemeralKey,
    readers: tuple[bytes, ...] = (),
) -> SealedCall:
    """Seal one call of the transaction (sender, nonce, valid_until) at place `index`.

    `readers` are further public keys that may open it. Raises `Refused` `TOO_LARGE` beyond 4 kB of
    arguments and `BAD_KEY` for a recipient that is no key.
    """
    payload = _pad(encode([call.contract, call.action, call.args]))
    content_key = secrets.token_bytes(_CONTENT_KEY_BYTES)
    wraps = tuple(
        _wrap(ephemeral, recipient, content_key)
        for recipient in dict.fromkeys((epoch.public_key, *readers))
    )
    unsealed = SealedCall(epoch.number, ephemeral.public_key, wraps, _commitment(content_key), b"")
    aad = _associated_data(chain, unsealed, sender, nonce, valid_until, index)
    ciphertext = AESGCM(content_key).encrypt(_PAYLOAD_NONCE, payload, aad)
    return msgspec.structs.replace(unsealed, ciphertext=ciphertext)


def seal_bytes(recipient: bytes, ephemeral: PrivateKey, plaintext: bytes, aad: bytes) -> bytes:
    """ECIES for one recipient: ephemeral public key ‖ nonce ‖ ciphertext."""
    shared = ephemeral.shared_secret(recipient)
    cipher = _derive_cipher(shared, _BYTES_TAG, ephemeral.public_key, recipient)
    nonce = secrets.token_bytes(_NONCE_BYTES)
    return ephemeral.public_key + nonce + cipher.encrypt(nonce, plaintext, aad)


def open_bytes(key: PrivateKey, sealed: bytes, aad: bytes) -> bytes:
    """The plaintext of `seal_bytes`; raises `Refused` `BAD_ENVELOPE`."""
    ephemeral, rest = sealed[:PUBLIC_KEY_BYTES], sealed[PUBLIC_KEY_BYTES:]
    if len(rest) < _NONCE_BYTES + _TAG_BYTES:
        raise Refused("BAD_ENVELOPE", "the sealed bytes are cut short")
    try:
        shared = key.shared_secret(ephemeral)
        cipher = _derive_cipher(shared, _BYTES_TAG, ephemeral, key.public_key)
        return cipher.decrypt(rest[:_NONCE_BYTES], rest[_NONCE_BYTES:], aad)
    except (InvalidTag, Refused):
        raise Refused("BAD_ENVELOPE", "the sealed bytes do not open with this key") from None


class _Exchanges:
    """Remembers the last `EXCHANGES_MAX` key exchanges as ready ciphers, oldest use out first."""

    __slots__ = ("_ciphers",)

    def __init__(self) -> None:
        self._ciphers: OrderedDict[tuple[bytes, bytes], AESGCM] = OrderedDict()

    def cipher(self, own: PrivateKey, other: bytes, ephemeral: bytes, recipient: bytes) -> AESGCM:
        pair = (ephemeral, recipient)
        cipher = self._ciphers.get(pair)
        if cipher is not None:
            self._ciphers.move_to_end(pair)
            return cipher
        cipher = _derive_cipher(own.shared_secret(other), _WRAP_TAG, ephemeral, recipient)
        self._ciphers[pair] = cipher
        if len(self._ciphers) > EXCHANGES_MAX:
            self._ciphers.popitem(last=False)
        return cipher


def _derive_cipher(shared: bytes, tag: bytes, ephemeral: bytes, recipient: bytes) -> AESGCM:
    hkdf = HKDF(hashes.SHA256(), 32, salt=None, info=tag + ephemeral + recipient)
    return AESGCM(hkdf.derive(shared))


def _wrap(ephemeral: EphemeralKey, recipient: bytes, content_key: bytes) -> Wrap:
    nonce = secrets.token_bytes(_NONCE_BYTES)
    cipher = ephemeral.cipher_for(recipient)
    return Wrap(recipient, nonce, cipher.encrypt(nonce, content_key, None))


def _open(key: PrivateKey, exchanges: _Exchanges, sealed: SealedCall, aad: bytes) -> Call:
    wrap = next((wrap for wrap in sealed.wraps if wrap.recipient == key.public_key), None)
    if wrap is None:
        raise Refused("BAD_ENVELOPE", "no wrap of the content key is for this recipient")
    try:
        cipher = exchanges.cipher(key, sealed.ephemeral, sealed.ephemeral, key.public_key)
        content_key = cipher.decrypt(wrap.nonce, wrap.ciphertext, None)
        if _commitment(content_key) != sealed.key_commitment:
            raise Refused("BAD_ENVELOPE", "the key commitment is for another key")
        padded = AESGCM(content_key).decrypt(_PAYLOAD_NONCE, sealed.ciphertext, aad)
        content = _content_codec.decode(_unpad(padded))
        check_value(content.args)
    except (InvalidTag, ValueError):
        raise Refused("BAD_ENVELOPE", "the seal does not open in this place") from None
    except Refused as refusal:
        if refusal.code == "BAD_ENVELOPE":
            raise
        raise Refused("BAD_ENVELOPE", f"{refusal.code}: {refusal.message}") from None
    return Call(content.contract, content.action, content.args)


def _associated_data(
    chain: Chain, sealed: SealedCall, sender: bytes, nonce: bytes, valid_until: int, index: int
) -> bytes:
    place = [sender, nonce, valid_until, sealed.epoch, index]
    envelope = [sha256(encode(sealed.wraps)), sealed.key_commitment, sealed.ephemeral]
    return chain.prefix("sealed call") + encode(place + envelope)


def _commitment(content_key: bytes) -> bytes:
    return sha256(_COMMITMENT_TAG + content_key)


def _pad(payload: bytes) -> bytes:
    for size in PADDED_BYTES:
        if len(payload) + _LENGTH_BYTES <= size:
            return (len(payload).to_bytes(_LENGTH_BYTES, "big") + payload).ljust(size, b"\0")
    raise Refused("TOO_LARGE", f"a sealed call holds at most {PADDED_BYTES[-1] - _LENGTH_BYTES} B")


def _unpad(padded: bytes) -> bytes:
    length = int.from_bytes(padded[:_LENGTH_BYTES], "big")
    payload = padded[_LENGTH_BYTES : _LENGTH_BYTES + length]
    if len(padded) > PADDED_BYTES[-1] or _pad(payload) != padded:
        raise Refused("BAD_ENVELOPE", "the padding is not the prescribed one")
    return payload
