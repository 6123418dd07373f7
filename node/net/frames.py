"""Frames: a 4-byte length, a kind, and that many bytes.

The kind is the message's own tag, so that the limit of its type is known before the first byte of
it is read; above them are the four kinds of the transport itself. What a message means is not
known here.
"""

from __future__ import annotations

import asyncio
import struct
from collections.abc import Mapping
from typing import Final

from node.protocol.errors import PeerFault
from node.protocol.messages import BYTES_MAX, Message, decode_message, encode_message

INTRODUCTION: Final = 250
PROOF: Final = 251
PING: Final = 252
PONG: Final = 253

INTRODUCTION_BYTES_MAX = 128
PROOF_BYTES = 64
TOKEN_BYTES = 8

_KINDS = {message_type: message_type.__struct_config__.tag for message_type in BYTES_MAX}
HANDSHAKE_LIMITS: Mapping[int, int] = {INTRODUCTION: INTRODUCTION_BYTES_MAX, PROOF: PROOF_BYTES}
SESSION_LIMITS: Mapping[int, int] = {
    **{_KINDS[message_type]: limit for message_type, limit in BYTES_MAX.items()},
    PING: TOKEN_BYTES,
    PONG: TOKEN_BYTES,
}

_header = struct.Struct(">IB")
HEADER_BYTES = _header.size


def frame(kind: int, payload: bytes) -> bytes:
    """The bytes of one frame."""
    return _header.pack(len(payload), kind) + payload


def message_frame(message: Message) -> bytes:
    """The frame of one message; raises ValueError for one that no receiver would accept."""
    payload = encode_message(message)
    if len(payload) > BYTES_MAX[type(message)]:
        raise ValueError(f"a {type(message).__name__} of {len(payload)} bytes exceeds its limit")
    return frame(_KINDS[type(message)], payload)


def read_message(kind: int, payload: bytes) -> Message:
    """The message in a frame of that kind; raises `PeerFault`."""
    message = decode_message(payload)
    if _KINDS[type(message)] != kind:
        raise PeerFault("BAD_FRAME", f"a frame of kind {kind} holds a {type(message).__name__}")
    return message


async def read_frame(reader: asyncio.StreamReader, limits: Mapping[int, int]) -> tuple[int, bytes]:
    """The next frame's kind and payload.

    Raises `PeerFault` for a kind that `limits` does not name or a size beyond its limit,
    `asyncio.IncompleteReadError` or `OSError` when the connection ends.
    """
    length, kind = _header.unpack(await reader.readexactly(HEADER_BYTES))
    limit = limits.get(kind)
    if limit is None:
        raise PeerFault("BAD_FRAME", f"unknown kind {kind}")
    if length > limit:
        raise PeerFault("TOO_LARGE", f"a frame of kind {kind} and {length} bytes, at most {limit}")
    return kind, await reader.readexactly(length)
