"""Strict JSON: what it reads comes back unchanged, and whatever it cannot read has a code."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from node.http.requests import INTEGER_CHARS_MAX, JSON_DEPTH_MAX, parse_json
from node.protocol.errors import Refused

TEXT = st.text(st.characters(codec="utf-8"), max_size=8)
SCALARS = st.none() | st.booleans() | st.integers(-(10**18), 10**19) | TEXT
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXT, inner, max_size=4),
    max_leaves=12,
)


def depth(value: Any) -> int:
    """How many containers are nested."""
    if isinstance(value, dict):
        return 1 + max(map(depth, value.values()), default=0)
    if isinstance(value, list):
        return 1 + max(map(depth, value), default=0)
    return 0


def read(raw: bytes) -> tuple[str, Any]:
    """`OK` and the value, or the code of the refusal."""
    try:
        return "OK", parse_json(raw)
    except Refused as refusal:
        return refusal.code, None


@given(VALUES)
@settings(max_examples=150, deadline=None)
def test_values_survive_down_to_the_depth_allowed(value: Any) -> None:
    expected = ("OK", value) if depth(value) <= JSON_DEPTH_MAX else ("TOO_DEEP", None)
    assert read(json.dumps(value).encode()) == expected
    assert read(json.dumps(value, ensure_ascii=False).encode()) == expected


@given(st.binary(max_size=60) | st.text('{}[]",:0123456789.eE+-nulltrefasNI\\ ').map(str.encode))
@settings(max_examples=300, deadline=None)
def test_anything_at_all_is_read_or_refused(raw: bytes) -> None:
    code, value = read(raw)
    assert code.isupper()
    if code == "OK":
        assert read(json.dumps(value).encode()) == ("OK", value)


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("1.0", "FLOAT"),
        ("1e3", "FLOAT"),
        ("-Infinity", "FLOAT"),
        ("NaN", "FLOAT"),
        ('{"a":1,"a":1}', "DUPLICATE_KEY"),
        ('{"b":{"a":1,"\\u0061":2}}', "DUPLICATE_KEY"),
        ("9" * (INTEGER_CHARS_MAX + 1), "BAD_NUMBER"),
        ("[" * 9 + "]" * 9, "TOO_DEEP"),
        ("[" * 60_000, "TOO_DEEP"),
        ('"\\ud800"', "BAD_UTF8"),
        ('{"\\udfff":1}', "BAD_UTF8"),
        ("{} {}", "BAD_JSON"),
        ("{'a':1}", "BAD_JSON"),
        ("01", "BAD_JSON"),
        ("\ufeff{}", "BAD_JSON"),
        ("", "BAD_JSON"),
    ],
)
def test_codes(text: str, code: str) -> None:
    assert read(text.encode()) == (code, None)
