"""The JSON view: what comes out can go in again, and what goes in is refused by field."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel, ConfigDict

from node.protocol.block import CommitSeal
from node.protocol.encoding import Value
from node.protocol.errors import Refused
from node.protocol.json_view import (
    arguments_from_json,
    bytes_from_json,
    integer_from_json,
    time_from_json,
    time_to_json,
    to_json,
)
from tests.protocol.strategies import values

SCHEMA: dict[str, Any] = {
    "$defs": {
        "Lot": {
            "type": "object",
            "properties": {"paid": {"type": "integer"}, "bonus": {"type": "integer"}},
            "required": ["paid"],
            "additionalProperties": False,
        }
    },
    "type": "object",
    "properties": {
        "card": {"type": "string", "format": "bytes"},
        "amount": {"type": "integer", "minimum": 1},
        "note": {"anyOf": [{"type": "string"}, {"type": "null"}], "default": None},
        "lots": {"type": "array", "items": {"$ref": "#/$defs/Lot"}},
        "final": {"type": "boolean"},
        "scope": {"enum": ["ISSUE", "PAYOUT"], "type": "string"},
        "kind": {"const": "CNY"},
        "tags": {"type": "object", "additionalProperties": {"type": "string"}},
        "nothing": {"type": "null"},
    },
    "required": ["card", "amount"],
    "additionalProperties": False,
}
CARD = "00ff" * 8


def refusal_of(given: Any) -> Refused:
    """The refusal of these arguments."""
    with pytest.raises(Refused) as refusal:
        arguments_from_json(SCHEMA, given)
    assert refusal.value.code == "BAD_ARG"
    return refusal.value


def test_examples() -> None:
    assert to_json({"amount": 1 << 63, "card": b"\x00\xff", "ok": True, "none": None}) == {
        "amount": "9223372036854775808",
        "card": "00ff",
        "ok": True,
        "none": None,
    }
    assert to_json(CommitSeal(b"\x02", b"\x03")) == {"signer": "02", "signature": "03"}
    assert to_json([-1, ("a", 0)]) == ["-1", ["a", "0"]]


def test_floats_and_foreign_types_have_no_json_form() -> None:
    for value in (1.5, {1}, object()):
        with pytest.raises(TypeError):
            to_json(value)


@given(values())
def test_everything_canonical_has_a_json_form_without_numbers(value: Value) -> None:
    text = json.dumps(to_json(value))
    json.loads(text, parse_int=pytest.fail, parse_float=pytest.fail)


@given(
    st.fixed_dictionaries(
        {
            "card": st.binary(max_size=20),
            "amount": st.integers(-(1 << 63), (1 << 64) - 1),
        },
        optional={
            "note": st.none() | st.text(),
            "lots": st.lists(st.fixed_dictionaries({"paid": st.integers(0, 1 << 60)}), max_size=4),
            "final": st.booleans(),
            "tags": st.dictionaries(st.text(max_size=5), st.text(max_size=5), max_size=3),
        },
    )
)
def test_arguments_survive_the_round_trip(args: dict[str, Value]) -> None:
    assert arguments_from_json(SCHEMA, json.loads(json.dumps(to_json(args)))) == args


def test_integers_may_be_json_integers() -> None:
    args = arguments_from_json(SCHEMA, {"card": CARD, "amount": 5, "lots": [{"paid": 1}]})
    assert args == {"card": bytes.fromhex(CARD), "amount": 5, "lots": [{"paid": 1}]}


REFUSED: dict[str, tuple[Any, str]] = {
    "no object": ([1], "args"),
    "nothing": (None, "args"),
    "missing": ({"card": CARD}, "amount"),
    "unknown": ({"card": CARD, "amount": 1, "extra": 1}, "extra"),
    "a float": ({"card": CARD, "amount": 1.0}, "amount"),
    "a float as text": ({"card": CARD, "amount": "1.5"}, "amount"),
    "an exponent": ({"card": CARD, "amount": "1e3"}, "amount"),
    "a leading zero": ({"card": CARD, "amount": "007"}, "amount"),
    "a plus": ({"card": CARD, "amount": "+7"}, "amount"),
    "other digits": ({"card": CARD, "amount": "７"}, "amount"),
    "a line end": ({"card": CARD, "amount": "7\n"}, "amount"),
    "true for a number": ({"card": CARD, "amount": True}, "amount"),
    "beyond 64 bits": ({"card": CARD, "amount": 1 << 64}, "amount"),
    "beyond 64 bits as text": ({"card": CARD, "amount": "-9223372036854775809"}, "amount"),
    "a very long number": ({"card": CARD, "amount": "9" * 5_000}, "amount"),
    "upper-case hex": ({"card": "AB", "amount": 1}, "card"),
    "half a byte": ({"card": "abc", "amount": 1}, "card"),
    "a number for bytes": ({"card": 12, "amount": 1}, "card"),
    "a number for text": ({"card": CARD, "amount": 1, "note": 5}, "note"),
    "a lone surrogate": ({"card": CARD, "amount": 1, "note": "\ud800"}, "note"),
    "text for a list": ({"card": CARD, "amount": 1, "lots": "x"}, "lots"),
    "inside a list": ({"card": CARD, "amount": 1, "lots": [{"paid": 1}, {}]}, "lots[1].paid"),
    "unknown inside": ({"card": CARD, "amount": 1, "lots": [{"paid": 1, "x": 1}]}, "lots[0].x"),
    "text for a flag": ({"card": CARD, "amount": 1, "final": "true"}, "final"),
    "a number for an enum": ({"card": CARD, "amount": 1, "scope": 1}, "scope"),
    "a value in a map": ({"card": CARD, "amount": 1, "tags": {"a": 1}}, "tags.a"),
    "something for null": ({"card": CARD, "amount": 1, "nothing": 0}, "nothing"),
}


@pytest.mark.parametrize(("args", "field"), REFUSED.values(), ids=REFUSED.keys())
def test_bad_arguments_are_refused_by_field(args: Any, field: str) -> None:
    refusal = refusal_of(args)
    assert refusal.details["field"] == field
    assert refusal.message.startswith(field)


def test_schemas_that_pydantic_writes_are_understood() -> None:
    class Inner(BaseModel):
        model_config = ConfigDict(extra="forbid")
        amount: int

    class Args(BaseModel):
        model_config = ConfigDict(extra="forbid")
        inner: Inner
        more: list[Inner] | None = None
        pair: tuple[int, ...] = ()

    args = arguments_from_json(
        Args.model_json_schema(),
        {"inner": {"amount": "1"}, "more": [{"amount": "2"}], "pair": ["3"]},
    )
    assert args == {"inner": {"amount": 1}, "more": [{"amount": 2}], "pair": [3]}


def test_a_schema_that_refers_to_itself_ends() -> None:
    schema = {
        "$defs": {"Node": {"type": "object", "properties": {"next": {"$ref": "#/$defs/Node"}}}},
        "$ref": "#/$defs/Node",
    }
    deep: dict[str, Any] = {}
    for _ in range(50):
        deep = {"next": deep}
    with pytest.raises(Refused) as refusal:
        arguments_from_json(schema, deep)
    assert refusal.value.code == "BAD_ARG"


@given(st.integers(0, 253_402_300_799_999))
def test_times_survive_the_round_trip(time_ms: int) -> None:
    assert time_from_json(time_to_json(time_ms)) == time_ms


def test_time_examples() -> None:
    assert time_to_json(0) == "1970-01-01T00:00:00.000Z"
    assert time_from_json("2026-01-31T08:00:00Z") == 1_769_846_400_000
    assert time_to_json(1 << 53) == "9999-12-31T23:59:59.999Z"


@pytest.mark.parametrize(
    "text",
    [
        "",
        "now",
        "2026-01-31",
        "2026-01-31T08:00:00",
        "2026-01-31T08:00:00+08:00",
        "2026-13-31T08:00:00Z",
        "2026-01-31 08:00:00Z",
        "2026-01-31T08:00:00.1234Z",
    ],
)
def test_other_times_are_refused(text: str) -> None:
    with pytest.raises(Refused) as refusal:
        time_from_json(text)
    assert refusal.value.code == "BAD_ARG"


def test_bytes_of_a_given_length() -> None:
    assert bytes_from_json("00ff", "id", 2) == b"\x00\xff"
    with pytest.raises(Refused) as refusal:
        bytes_from_json("00ff", "id", 3)
    assert refusal.value.details["field"] == "id"


def test_minus_zero_is_not_a_second_zero() -> None:
    with pytest.raises(Refused):
        integer_from_json("-0", "amount")
