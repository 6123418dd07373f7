"""Canonical bytes: round trips, the msgpack oracle, a refusal with its own code for each twist."""

from __future__ import annotations

from typing import Any

import msgpack
import pytest
from hypothesis import given
from hypothesis import strategies as st

from node.protocol.encoding import (
    CONTAINERS_MAX,
    EXPLAINED_BYTES_MAX,
    VALUE_BYTES_MAX,
    Codec,
    Record,
    Value,
    check_value,
    decode,
    encode,
)
from node.protocol.errors import Refused
from tests.protocol.strategies import values


class Pair(Record, frozen=True):
    """A record of two fields."""

    number: int
    name: str


PAIRS: Codec[Pair] = Codec(Pair, 64)


def sort_keys(value: Any) -> Any:
    """The value with all map keys in order, for msgpack, which keeps the order given."""
    if isinstance(value, dict):
        return {name: sort_keys(value[name]) for name in sorted(value)}
    return [sort_keys(item) for item in value] if isinstance(value, list) else value


@given(values())
def test_values_survive_the_round_trip(value: Value) -> None:
    raw = encode(value)
    assert decode(raw) == value
    assert encode(decode(raw)) == raw


@given(values())
def test_msgspec_and_msgpack_write_and_read_the_same_bytes(value: Value) -> None:
    raw = encode(value)
    assert msgpack.packb(sort_keys(value)) == raw
    assert msgpack.unpackb(raw, strict_map_key=False) == value


@given(st.binary(max_size=200))
def test_any_bytes_are_a_value_or_refused(raw: bytes) -> None:
    try:
        value = decode(raw)
    except Refused:
        return
    assert encode(value) == raw


@given(values(), st.data())
def test_altered_bytes_never_mean_the_same(value: Value, data: st.DataObject) -> None:
    raw = bytearray(encode(value))
    place = data.draw(st.integers(0, len(raw) - 1))
    raw[place] ^= data.draw(st.integers(1, 255))
    try:
        other = decode(bytes(raw))
    except Refused:
        return
    # bool and int compare equal in Python, so the bytes are what is compared.
    assert encode(other) == bytes(raw) != encode(value)


REFUSED = {
    "an integer in two bytes that fits in one": ("cc05", "NON_MINIMAL"),
    "a text length in two bytes": ("d90161", "NON_MINIMAL"),
    "a list length in three bytes": ("dc000101", "NON_MINIMAL"),
    "a map that names a key twice": ("82a16101a16102", "DUPLICATE_KEY"),
    "a nested map that names a key twice": ("9182a16101a16101", "DUPLICATE_KEY"),
    "map keys out of order": ("82a16201a16101", "UNSORTED_KEYS"),
    "bytes after the value": ("0102", "TRAILING_BYTES"),
    "text that is not UTF-8": ("a2c328", "BAD_UTF8"),
    "an overlong UTF-8 zero": ("a2c080", "BAD_UTF8"),
    "a surrogate in UTF-8": ("a3eda080", "BAD_UTF8"),
    "a float": ("cb3ff8000000000000", "FLOAT"),
    "a float of 32 bits inside a list": ("91ca3fc00000", "FLOAT"),
    "not a number": ("cb7ff8000000000000", "FLOAT"),
    "an integer as map key": ("810102", "BAD_SHAPE"),
    "bytes as map key": ("81c4016101", "BAD_SHAPE"),
    "a list as map key": ("81910102", "BAD_MSGPACK"),
    "an extension type": ("d40100", "BAD_SHAPE"),
    "a timestamp": ("d6ff00000000", "BAD_SHAPE"),
    "nothing": ("", "BAD_MSGPACK"),
    "a list cut short": ("9301", "BAD_MSGPACK"),
    "a length beyond the bytes": ("dbffffffff61", "BAD_MSGPACK"),
    "the byte that msgpack never uses": ("c1", "BAD_MSGPACK"),
    "seven levels": ("91" * 7 + "01", "TOO_DEEP"),
    "ten thousand levels": ("91" * 10_000 + "01", "TOO_DEEP"),
}


@pytest.mark.parametrize(("raw", "code"), REFUSED.values(), ids=REFUSED.keys())
def test_each_twist_is_refused_with_its_own_code(raw: str, code: str) -> None:
    with pytest.raises(Refused) as refusal:
        decode(bytes.fromhex(raw))
    assert refusal.value.code == code


def test_six_levels_are_allowed() -> None:
    raw = bytes.fromhex("91" * 6 + "01")
    assert encode(decode(raw)) == raw


def test_size_is_bounded_before_anything_is_read() -> None:
    assert decode(encode(bytes(VALUE_BYTES_MAX - 5))) == bytes(VALUE_BYTES_MAX - 5)
    with pytest.raises(Refused) as refusal:
        decode(bytes(VALUE_BYTES_MAX + 1))
    assert refusal.value.code == "TOO_LARGE"


def test_large_nonsense_is_refused_without_building_it(monkeypatch: pytest.MonkeyPatch) -> None:
    def build(*_: object, **__: object) -> None:
        raise AssertionError("every value of somebody's nonsense was built")

    monkeypatch.setattr(msgpack, "unpackb", build)
    batches: Codec[tuple[bytes, ...]] = Codec(tuple[bytes, ...], VALUE_BYTES_MAX)
    with pytest.raises(Refused) as caught:
        batches.decode(encode([{}] * EXPLAINED_BYTES_MAX))
    assert caught.value.code == "BAD_SHAPE"


def test_integers_beyond_64_bits_cannot_be_written() -> None:
    for number in (1 << 64, -(1 << 63) - 1):
        with pytest.raises(OverflowError):
            encode(number)


RECORDS_REFUSED = {
    "one element too many": (encode([1, "a", None]), "BAD_SHAPE"),
    "one element too few": (encode([1]), "BAD_SHAPE"),
    "another type": (encode(["a", 1]), "BAD_SHAPE"),
    "a map in place of the array": (encode({"name": "a", "number": 1}), "BAD_SHAPE"),
    "a whole float where an integer belongs": (bytes.fromhex("92cb3ff0000000000000a161"), "FLOAT"),
    "a length in long form": (bytes.fromhex("9201d90161"), "NON_MINIMAL"),
    "bytes after it": (encode([1, "a"]) + b"\0", "TRAILING_BYTES"),
    "more bytes than the record may have": (encode([1, "a" * 64]), "TOO_LARGE"),
}


@pytest.mark.parametrize(("raw", "code"), RECORDS_REFUSED.values(), ids=RECORDS_REFUSED.keys())
def test_records_are_strict(raw: bytes, code: str) -> None:
    assert PAIRS.decode(encode(Pair(1, "a"))) == Pair(1, "a")
    with pytest.raises(Refused) as refusal:
        PAIRS.decode(raw)
    assert refusal.value.code == code


def test_the_number_of_lists_and_maps_is_bounded_over_all_levels() -> None:
    most: list[Value] = [[{}] * 499, {"a": [[]] * (CONTAINERS_MAX - 503)}]
    check_value(most)
    more: Value
    for more in ([most], [[], *most]):
        with pytest.raises(Refused) as refusal:
            check_value(more)
        assert refusal.value.code == "TOO_MANY_VALUES"
    check_value([0] * 60_000)
