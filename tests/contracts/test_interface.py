"""The interface: complete, plain JSON Schema, without floats, the same each time."""

from __future__ import annotations

import json
from typing import Any

from contracts.catalog import CONTRACTS
from contracts.kernel.registry import interface

PREPAID = interface(CONTRACTS)["prepaid"]


def walk(value: Any) -> list[Any]:
    """Every value inside a JSON document."""
    inner = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return [value, *[deep for one in inner for deep in walk(one)]]


def test_it_is_json_without_floats_or_titles_or_references() -> None:
    everything = walk(json.loads(json.dumps(interface(CONTRACTS))))
    assert not any(isinstance(one, float) for one in everything)
    for one in everything:
        if isinstance(one, dict):
            assert "$ref" not in one
            assert "title" not in one or isinstance(one["title"], dict)


def test_an_action_says_all_that_a_client_needs() -> None:
    consume = PREPAID["actions"]["consume"]
    assert consume["sealed"] is True
    assert consume["ticket"] is True
    assert consume["roles"] == []
    assert consume["args"]["required"] == ["card", "amt", "seq"]
    assert consume["args"]["additionalProperties"] is False
    fields = consume["args"]["properties"]
    assert fields["card"] == {"type": "string", "format": "bytes", "pattern": "^[0-9a-f]{32}$"}
    assert fields["amt"] == {"type": "integer", "minimum": 1, "maximum": 2**63 - 1}
    assert fields["ticket"]["format"] == "bytes"
    assert "default" not in fields["ticket"]


def test_fields_go_by_their_names_on_the_wire() -> None:
    assert "class" in PREPAID["actions"]["open_card"]["args"]["properties"]
    assert "card_class" not in PREPAID["actions"]["open_card"]["args"]["properties"]


def test_every_action_and_query_is_documented() -> None:
    for contract in interface(CONTRACTS).values():
        for one in (*contract["actions"].values(), *contract["queries"].values()):
            assert len(one["doc"]) > 10


def test_tables_tell_who_may_read_and_what_is_in_them() -> None:
    cards = PREPAID["tables"]["cards"]
    assert cards["public"] is False
    assert cards["record"]["properties"]["holder"] == {"type": "string", "format": "bytes"}
    lots = cards["record"]["properties"]["lots"]
    assert lots["type"] == "array"
    assert lots["items"]["properties"]["paid"] == {"type": "integer"}
    assert PREPAID["tables"]["classes"]["record"]["properties"]["face_max"] == {
        "anyOf": [{"type": "integer"}, {"type": "null"}]
    }


def test_error_codes_come_in_precedence() -> None:
    errors = PREPAID["errors"]
    assert errors[:3] == ["BAD_ARG", "UNAUTHORIZED", "IDEM_CONFLICT"]
    assert errors.index("SEQ_STALE") < errors.index("BAD_TICKET") < errors.index("INSUFFICIENT")
    assert len(set(errors)) == len(errors)


def test_it_is_the_same_each_time() -> None:
    assert json.dumps(interface(CONTRACTS)) == json.dumps(interface(CONTRACTS))
