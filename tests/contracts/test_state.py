"""Overlays and typed state, held against a plain dictionary."""

from __future__ import annotations

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from contracts.kernel.ledger import ASSETS, Asset
from contracts.kernel.state import Overlay, State
from contracts.kernel.types import Rejected
from tests.contracts.world import Memory

KEYS = st.text("abc", min_size=1, max_size=2).map(str.encode)
WRITES = st.dictionaries(KEYS, st.none() | st.binary(max_size=2), max_size=12)


def overlaid(*layers: dict[bytes, bytes | None]) -> tuple[Overlay, dict[bytes, bytes]]:
    """Overlays on overlays, and what a dictionary says is then there."""
    memory = Memory()
    memory.apply({("t", key): value for key, value in layers[0].items()})
    memory.apply({("u", key): b"another table" for key in layers[0]})
    model = {key: value for key, value in layers[0].items() if value is not None}
    top = Overlay(memory)
    for layer in layers[1:]:
        top = Overlay(top)
        for key, value in layer.items():
            top.writes["t", key] = value
            if value is None:
                model.pop(key, None)
            else:
                model[key] = value
    return top, model


@example({b"a": b"1", b"b": b"2"}, {b"a": None}, {}, b"", None, 1)
@given(
    WRITES, WRITES, WRITES, st.sampled_from([b"", b"a", b"c"]), st.none() | KEYS, st.integers(0, 8)
)
def test_a_scan_sees_what_reads_see(
    stored: dict[bytes, bytes | None],
    first: dict[bytes, bytes | None],
    second: dict[bytes, bytes | None],
    prefix: bytes,
    after: bytes | None,
    limit: int,
) -> None:
    overlay, model = overlaid(stored, first, second)
    expected = [
        (key, value)
        for key, value in sorted(model.items())
        if key.startswith(prefix) and (after is None or key > after)
    ]
    assert overlay.scan("t", prefix, after, limit) == expected[:limit]
    for key in {**stored, **first, **second}:
        assert overlay.get("t", key) == model.get(key)


def test_writes_reach_the_overlay_only_on_commit() -> None:
    overlay = Overlay(Memory())
    state = State(overlay)
    state.put(ASSETS, b"CNY", Asset("CNY", 2))
    assert state.get(ASSETS, b"CNY") == Asset("CNY", 2)
    assert overlay.writes == {}
    state.commit_to(overlay)
    assert ASSETS.decode(overlay.writes["kernel/assets", b"CNY"] or b"") == Asset("CNY", 2)


def test_a_scan_sees_the_transactions_own_writes() -> None:
    overlay = Overlay(Memory())
    state = State(overlay)
    state.put(ASSETS, b"CNY", Asset("CNY", 2))
    assert state.scan(ASSETS, b"", None, 10) == [(b"CNY", Asset("CNY", 2))]
    state.delete(ASSETS, b"CNY")
    assert state.scan(ASSETS, b"", None, 10) == []
    state.commit_to(overlay)
    assert overlay.writes == {}


def test_what_came_and_went_is_not_written() -> None:
    overlay = Overlay(Memory())
    state = State(overlay)
    state.insert(ASSETS, b"CNY", Asset("CNY", 2))
    state.delete(ASSETS, b"CNY")
    state.commit_to(overlay)
    assert overlay.writes == {}


def test_changes_tell_before_and_after() -> None:
    memory = Memory()
    first = State(memory)
    first.put(ASSETS, b"CNY", Asset("CNY", 2))
    overlay = Overlay(memory)
    first.commit_to(overlay)
    memory.apply(overlay.writes)
    state = State(memory)
    state.put(ASSETS, b"CNY", Asset("CNY", 3))
    state.put(ASSETS, b"CNY", Asset("CNY", 4))
    (change,) = state.changes().of(ASSETS)
    assert change == (b"CNY", Asset("CNY", 2), Asset("CNY", 4))
    assert state.writes == 1


def test_a_missing_record_is_named_by_its_table() -> None:
    with pytest.raises(Rejected) as caught:
        State(Memory()).need(ASSETS, b"XXX")
    assert (caught.value.code, caught.value.details) == ("NOT_FOUND", {"what": "kernel/assets"})


def test_an_insert_never_overwrites() -> None:
    state = State(Memory())
    state.insert(ASSETS, b"CNY", Asset("CNY", 2))
    with pytest.raises(AssertionError):
        state.insert(ASSETS, b"CNY", Asset("CNY", 2))
