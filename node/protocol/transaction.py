"""Transactions: 1 to 100 calls by one signer, executed all or nothing.

On the wire a transaction is the canonical body followed by the 64-byte signature. Its *id* is the
digest of the unsigned body, and the digest that is signed: sending it again is idempotent. Its
*content hash* covers body and signature; block roots and proposals name that one, because a body
with a bad signature shares the id. Sealed calls are carried here and opened in `sealing`; what
a call means is the contracts' business.
"""

from __future__ import annotations

from typing import Annotated, Any

import msgspec

from node.protocol.domain import NETWORK_BYTES, Chain
from node.protocol.encoding import Codec, Record, check_values, encode, sha256
from node.protocol.errors import Refused
from node.protocol.keys import (
    PUBLIC_KEY_BYTES,
    SIGNATURE_BYTES,
    PrivateKey,
    check_public_key,
    verify,
)

VERSION = 1
NONCE_BYTES = 16
CALLS_MAX = 100
NAME_CHARS_MAX = 64
TRANSACTION_BYTES_MAX = 64 * 1024
VALID_FOR_MS_MAX = 10 * 60 * 1000
READERS_MAX = 8
TIME_MS_MAX = 1 << 53

Name = Annotated[str, msgspec.Meta(min_length=1, max_length=NAME_CHARS_MAX)]
PublicKey = Annotated[bytes, msgspec.Meta(min_length=PUBLIC_KEY_BYTES, max_length=PUBLIC_KEY_BYTES)]
Hash = Annotated[bytes, msgspec.Meta(min_length=32, max_length=32)]
Signature = Annotated[bytes, msgspec.Meta(min_length=SIGNATURE_BYTES, max_length=SIGNATURE_BYTES)]
Height = Annotated[int, msgspec.Meta(ge=0, le=(1 << 63) - 1)]
TimeMs = Annotated[int, msgspec.Meta(ge=0, le=TIME_MS_MAX)]


class Call(Record, frozen=True, tag=0):
    """One clear call of a contract's action."""

    contract: Name
    action: Name
    args: dict[str, Any]


class Wrap(Record, frozen=True):
    """The content key of a sealed call, encrypted for one recipient's public key."""

    recipient: PublicKey
    nonce: Annotated[bytes, msgspec.Meta(min_length=12, max_length=12)]
    ciphertext: Annotated[bytes, msgspec.Meta(min_length=48, max_length=48)]


class SealedCall(Record, frozen=True, tag=1):
    """One call that only the committee (and named readers) can read; see `sealing`."""

    epoch: Annotated[int, msgspec.Meta(ge=0, le=(1 << 32) - 1)]
    ephemeral: PublicKey
    wraps: Annotated[tuple[Wrap, ...], msgspec.Meta(min_length=1, max_length=READERS_MAX)]
    key_commitment: Hash
    ciphertext: Annotated[bytes, msgspec.Meta(min_length=16, max_length=8192)]


class Body(Record, frozen=True):
    """What the sender signs. `valid_until` is in ms since 1970; `network` is `Chain.network`."""

    version: Annotated[int, msgspec.Meta(ge=VERSION, le=VERSION)]
    network: Annotated[bytes, msgspec.Meta(min_length=NETWORK_BYTES, max_length=NETWORK_BYTES)]
    sender: PublicKey
    nonce: Annotated[bytes, msgspec.Meta(min_length=NONCE_BYTES, max_length=NONCE_BYTES)]
    valid_until: TimeMs
    calls: Annotated[
        tuple[Call | SealedCall, ...], msgspec.Meta(min_length=1, max_length=CALLS_MAX)
    ]


class Transaction(msgspec.Struct, frozen=True):
    """A decoded transaction with its two hashes. Parsing does not verify the signature."""

    body: Body
    signature: bytes
    raw: bytes
    id: bytes
    content_hash: bytes


# A body begins with the mark of an array of six, the version, 8 bytes of network and the sender,
# the last two behind two bytes each that say so.
_BODY_START = bytes([0x96, VERSION])
_KEY_MARK = bytes([0xC4, PUBLIC_KEY_BYTES])
_SENDER_MARK = slice(4 + NETWORK_BYTES, 6 + NETWORK_BYTES)
_SENDER = slice(_SENDER_MARK.stop, _SENDER_MARK.stop + PUBLIC_KEY_BYTES)

_body_codec: Codec[Body] = Codec(Body, TRANSACTION_BYTES_MAX - SIGNATURE_BYTES)


def sign_transaction(
    chain: Chain,
    key: PrivateKey,
    nonce: bytes,
    valid_until: int,
    calls: tuple[Call | SealedCall, ...],
) -> Transaction:
    """Build and sign; `nonce` is 16 random bytes chosen (and remembered) by the caller."""
    body = Body(VERSION, chain.network, key.public_key, nonce, valid_until, calls)
    body_raw = encode(body)
    identity = chain.digest("transaction", body_raw)
    return parse_transaction(chain, body_raw + key.sign(identity))


def parse_transaction(chain: Chain, raw: bytes) -> Transaction:
    """Decode canonical bytes; raises `Refused` with an encoding code or `FOREIGN_CHAIN`."""
    if len(raw) > TRANSACTION_BYTES_MAX:
        raise Refused("TOO_LARGE", f"{len(raw)} bytes, at most {TRANSACTION_BYTES_MAX}")
    body_raw = raw[:-SIGNATURE_BYTES]
    body = _body_codec.decode(body_raw)
    if body.network != chain.network:
        raise Refused("FOREIGN_CHAIN", "the transaction is for another chain or genesis")
    check_values([call.args for call in body.calls if type(call) is Call])
    return Transaction(
        body,
        raw[-SIGNATURE_BYTES:],
        raw,
        chain.digest("transaction", body_raw),
        sha256(b"\x00" + raw),
    )


def id_of(chain: Chain, raw: bytes) -> bytes:
    """The id that `raw` has if it is a transaction; nothing is read."""
    return chain.digest("transaction", raw[:-SIGNATURE_BYTES])


def sender_of(raw: bytes) -> bytes | None:
    """The sender that `raw` names, read at its fixed place; None where no transaction is so built.

    Nothing is checked: this is for turning strangers away before they cost anything.
    """
    return raw[_SENDER] if raw.startswith(_BODY_START) and raw[_SENDER_MARK] == _KEY_MARK else None


def verify_signature(transaction: Transaction) -> None:
    """Raise `Refused` `BAD_KEY`, `HIGH_S` or `BAD_SIGNATURE` unless the sender signed this."""
    check_public_key(transaction.body.sender)
    verify(transaction.body.sender, transaction.id, transaction.signature)


def lifetime_code(valid_until: int, time_ms: int) -> str | None:
    """`TX_EXPIRED` or `TX_TOO_DISTANT` where a block of `time_ms` must refuse, else None."""
    if valid_until < time_ms:
        return "TX_EXPIRED"
    if valid_until > time_ms + VALID_FOR_MS_MAX:
        return "TX_TOO_DISTANT"
    return None
