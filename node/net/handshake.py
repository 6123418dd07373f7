"""The HELLO: after TLS, both sides prove that they hold the ledger key that belongs here.

Each side introduces itself (protocol version, network, ledger key, fresh nonce), then signs with
its ledger key: its own role, both ledger keys, both certificate fingerprints and both nonces. The
fingerprints are those of the socket, never a claim, and each ledger key is pinned to one; so
neither a stolen certificate, nor a certificate newly issued by the authority, nor a HELLO recorded
or relayed elsewhere lets anyone speak as somebody else.
"""

from __future__ import annotations

import asyncio
import secrets
import ssl
from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum
from typing import Annotated

import msgspec

from node.net import frames, tls
from node.protocol.domain import NETWORK_BYTES, Chain
from node.protocol.encoding import Codec, Record, encode
from node.protocol.errors import PeerFault, Refused
from node.protocol.keys import PrivateKey, is_valid
from node.protocol.transaction import Hash, PublicKey

WIRE_VERSION = 1
NONCE_BYTES = 32


class Role(Enum):
    """Which end of the connection one is; the value is what gets signed."""

    DIALER = "dialer"
    LISTENER = "listener"

    @property
    def other(self) -> Role:
        """The role of the far end."""
        return Role.LISTENER if self is Role.DIALER else Role.DIALER


class Introduction(Record, frozen=True):
    """The unsigned first frame of each side."""

    version: Annotated[int, msgspec.Meta(ge=0, le=(1 << 16) - 1)]
    network: Annotated[bytes, msgspec.Meta(min_length=NETWORK_BYTES, max_length=NETWORK_BYTES)]
    public_key: PublicKey
    nonce: Hash


@dataclass(frozen=True, slots=True)
class Identity:
    """Who we are: chain, ledger key, and the fingerprint of the certificate we show."""

    chain: Chain
    key: PrivateKey
    fingerprint: bytes


_codec: Codec[Introduction] = Codec(Introduction, frames.INTRODUCTION_BYTES_MAX)


async def shake_hands(
    reader: asyncio.StreamReader,
    writer: asyncio.StreamWriter,
    identity: Identity,
    role: Role,
    pins: Mapping[bytes, bytes],
) -> bytes:
    """The authenticated ledger key of the far end, which is one of `pins` (key → fingerprint).

    Raises `PeerFault` saying what is wrong, or `OSError` or `asyncio.IncompleteReadError` when the
    far end leaves. The caller sets the deadline.
    """
    their_fingerprint = socket_fingerprint(writer)
    ours = Introduction(
        WIRE_VERSION,
        identity.chain.network,
        identity.key.public_key,
        secrets.token_bytes(NONCE_BYTES),
    )
    writer.write(frames.frame(frames.INTRODUCTION, encode(ours)))
    theirs = _introduction(await _read(reader, frames.INTRODUCTION))
    _check_introduction(ours, theirs, pins, their_fingerprint)

    ends = {
        role: (ours.public_key, identity.fingerprint, ours.nonce),
        role.other: (theirs.public_key, their_fingerprint, theirs.nonce),
    }
    proof = identity.key.sign(_transcript(identity.chain, role, ends))
    writer.write(frames.frame(frames.PROOF, proof))
    signature = await _read(reader, frames.PROOF)
    if not is_valid(theirs.public_key, _transcript(identity.chain, role.other, ends), signature):
        raise PeerFault("BAD_PROOF", "the HELLO is not signed by the ledger key it names")
    return theirs.public_key


def socket_fingerprint(writer: asyncio.StreamWriter) -> bytes:
    """Fingerprint of the certificate that the far end proved to TLS that it holds the key of."""
    ssl_object: ssl.SSLObject | None = writer.get_extra_info("ssl_object")
    der = ssl_object.getpeercert(binary_form=True) if ssl_object else None
    if der is None:
        raise PeerFault("NO_CERTIFICATE", "the far end showed no certificate")
    return tls.fingerprint(der)


def _check_introduction(
    ours: Introduction, theirs: Introduction, pins: Mapping[bytes, bytes], fingerprint: bytes
) -> None:
    if theirs.version != ours.version:
        raise PeerFault("WRONG_VERSION", f"wire version {theirs.version}, ours is {ours.version}")
    if theirs.network != ours.network:
        raise PeerFault("WRONG_NETWORK", "the far end has another chain id or genesis")
    pin = pins.get(theirs.public_key)
    if pin is None:
        raise PeerFault("STRANGER", f"{theirs.public_key.hex()} is not an expected peer")
    if pin != fingerprint:
        raise PeerFault("WRONG_CERTIFICATE", f"{theirs.public_key.hex()} has another certificate")


def _transcript(
    chain: Chain, signer: Role, ends: Mapping[Role, tuple[bytes, bytes, bytes]]
) -> bytes:
    return chain.digest("hello", encode([signer.value, ends[Role.DIALER], ends[Role.LISTENER]]))


def _introduction(payload: bytes) -> Introduction:
    try:
        return _codec.decode(payload)
    except Refused as refusal:
        raise PeerFault("BAD_HELLO", refusal.message) from None


async def _read(reader: asyncio.StreamReader, kind: int) -> bytes:
    got, payload = await frames.read_frame(reader, frames.HANDSHAKE_LIMITS)
    if got != kind:
        raise PeerFault("BAD_HELLO", f"a frame of kind {got} where {kind} was due")
    return payload
