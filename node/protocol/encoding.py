"""Canonical msgpack: one value, one sequence of bytes.

Values are nil, bool, int (-2^63 … 2^64-1), str, bytes, list and map with sorted str keys; floats
do not exist. Wire and disk records are `msgspec.Struct`s encoded as positional arrays. A decoder
accepts bytes only if re-encoding what it read gives the same bytes, so nobody can say the same
thing twice in different words. `msgspec` serves the hot path; `msgpack` explains refusals and is
the oracle that tests hold msgspec against. This module knows no record of the protocol.
"""

from __future__ import annotations

import hashlib
from typing import Any, Generic, TypeVar

import msgpack
import msgspec

from node.protocol.errors import Refused

VALUE_DEPTH_MAX = 6
VALUE_BYTES_MAX = 1 << 20
# In one transaction. Each costs a microsecond to check, and 64 KiB would hold 65,000 of them.
CONTAINERS_MAX = 1_000
# Explaining a refusal builds every value in Python: 4 MiB of empty maps take 1.6 s and 350 MB.
EXPLAINED_BYTES_MAX = 16 << 10

Value = None | bool | int | str | bytes | list[Any] | dict[str, Any]
T = TypeVar("T")

_encoder = msgspec.msgpack.Encoder(order="deterministic")
_generic = msgspec.msgpack.Decoder()
_SCALARS = frozenset({int, str, bytes, bool, type(None)})


class Record(msgspec.Struct, array_like=True, frozen=True):
    """Base of every wire and disk record: immutable, encoded as a positional array."""


def encode(value: object) -> bytes:
    """Canonical bytes of a `Value` or a `Record`. Raises OverflowError beyond 64-bit integers."""
    return _encoder.encode(value)


def sha256(data: bytes) -> bytes:
    """The project's one hash, 32 bytes."""
    return hashlib.sha256(data).digest()


class Codec(Generic[T]):
    """Strict decoder of one record type, bounded in bytes."""

    def __init__(self, record_type: Any, bytes_max: int) -> None:
        self._decoder: msgspec.msgpack.Decoder[T] = msgspec.msgpack.Decoder(record_type)
        self._bytes_max = bytes_max

    def decode(self, raw: bytes) -> T:
        """The record in `raw`; raises `Refused` with the code of what is wrong with the bytes."""
        if len(raw) > self._bytes_max:
            raise Refused("TOO_LARGE", f"{len(raw)} bytes, at most {self._bytes_max}")
        try:
            value = self._decoder.decode(raw)
            canonical = _encoder.encode(value) == raw
        except (msgspec.MsgspecError, RecursionError, TypeError, ValueError) as error:
            # TypeError: a map whose keys are not text has no canonical order.
            raise _diagnose(raw, str(error)) from None
        if not canonical:
            raise _diagnose(raw, "it does not encode back to the same bytes")
        return value


def decode(raw: bytes, bytes_max: int = VALUE_BYTES_MAX) -> Value:
    """The plain value in `raw`, checked like a record and for floats and depth."""
    value: Value = _value_codec.decode(raw) if len(raw) <= bytes_max else _too_large(raw, bytes_max)
    check_value(value)
    return value


def check_value(value: object) -> None:
    """Refuse floats, foreign types, non-text keys, and too deep or too many lists and maps."""
    check_values([value])


def check_values(values: list[object]) -> None:
    """`check_value` of several at once, which share the limit of `CONTAINERS_MAX`."""
    level = [value for value in values if type(value) not in _SCALARS]
    containers = 0
    for _ in range(VALUE_DEPTH_MAX):
        below: list[object] = []
        for value in level:
            _add_items(value, below)
            containers += 1
            if containers + len(below) > CONTAINERS_MAX:
                raise Refused("TOO_MANY_VALUES", f"more than {CONTAINERS_MAX} lists and maps")
        if not below:
            return
        level = below
    raise Refused("TOO_DEEP", f"nested deeper than {VALUE_DEPTH_MAX}")


def _add_items(value: object, below: list[object]) -> None:
    """Append what `value` contains and is no scalar."""
    if type(value) is dict:
        for key, item in value.items():
            if type(key) is not str:
                raise Refused("BAD_SHAPE", "map keys must be text")
            if type(item) not in _SCALARS:
                below.append(item)
    elif type(value) is list:
        below += [item for item in value if type(item) not in _SCALARS]
    elif type(value) is float:
        raise Refused("FLOAT", "floats do not exist here; use integer minor units")
    else:
        raise Refused("BAD_SHAPE", f"{type(value).__name__} cannot be encoded")


def _too_large(raw: bytes, bytes_max: int) -> Value:
    raise Refused("TOO_LARGE", f"{len(raw)} bytes, at most {bytes_max}")


def _diagnose(raw: bytes, reason: str) -> Refused:
    """Why the fast decoder said no: the slow path, with msgpack, only for bytes already refused.

    Larger bytes than anybody writes by hand are refused without an explanation of our own.
    """
    if len(raw) > EXPLAINED_BYTES_MAX:
        return Refused("BAD_SHAPE", reason)

    def pairs(items: list[tuple[Any, Any]]) -> dict[Any, Any]:
        mapping = dict(items)
        if len(mapping) != len(items):
            raise Refused("DUPLICATE_KEY", "a map names the same key twice")
        return mapping

    try:
        value = msgpack.unpackb(raw, object_pairs_hook=pairs, strict_map_key=False)
    except Refused as refusal:
        return refusal
    except msgpack.StackError:
        return Refused("TOO_DEEP", f"nested deeper than {VALUE_DEPTH_MAX}")
    except msgpack.ExtraData:
        return Refused("TRAILING_BYTES", "bytes follow the value")
    except UnicodeDecodeError:
        return Refused("BAD_UTF8", "text is not valid UTF-8")
    except (ValueError, TypeError, msgpack.UnpackException):
        return Refused("BAD_MSGPACK", "not a complete msgpack value")
    try:
        check_value(value)
    except Refused as refusal:
        return refusal
    try:
        minimal = msgpack.packb(value) == raw
    except (ValueError, OverflowError, TypeError):
        return Refused("BAD_SHAPE", reason)
    if not minimal:
        return Refused("NON_MINIMAL", "a number or length is not in its shortest form")
    if _encoder.encode(value) != raw:
        return Refused("UNSORTED_KEYS", "map keys are not in order")
    return Refused("BAD_SHAPE", reason)


_value_codec: Codec[Value] = Codec(Any, VALUE_BYTES_MAX)
