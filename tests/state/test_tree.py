"""The state tree against a naive model: a dict, hashed from scratch each time."""

from __future__ import annotations

import hashlib
import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from node.protocol.block import EMPTY_ROOT
from node.protocol.encoding import encode
from node.protocol.errors import Refused, StoreFailure
from node.protocol.proofs import (
    StateProof,
    key_hash,
    state_proof_codec,
    value_hash,
    verify_state_proof,
)
from node.state.keyvalue import MemoryKeyValue
from node.state.tree import StateTree, TreeDelta, bucket_key, load_tree

Model = dict[bytes, bytes]
Changes = dict[bytes, bytes | None]

# Few distinct keys over few buckets, so that updates meet, fill buckets and empty them again.
key_numbers = st.integers(0, 60)
change_sets = st.dictionaries(key_numbers, st.none() | st.integers(0, 5), max_size=12)


def hashed(number: int) -> bytes:
    """A key hash; a third of them share one bucket at depth 2."""
    digest = hashlib.sha256(b"key %d" % number).digest()
    return b"\x77" + digest[1:] if number % 3 == 0 else digest


def changes_of(drawn: dict[int, int | None]) -> Changes:
    """Hashed keys and values."""
    return {hashed(k): None if v is None else value_hash(bytes([v])) for k, v in drawn.items()}


def change(model: Model, changes: Changes) -> None:
    """Make the changes in a dict."""
    for key, value in changes.items():
        if value is None:
            model.pop(key, None)
        else:
            model[key] = value


def naive_root(model: Model, depth: int, prefix: str = "") -> bytes:
    """The definition of the state root, by recursion over hex digits."""
    inside = sorted(key for key in model if key.hex().startswith(prefix))
    if len(prefix) == depth:
        if not inside:
            return EMPTY_ROOT
        leaves = [hashlib.sha256(b"\x00" + key + model[key]).digest() for key in inside]
        while len(leaves) > 1:
            pairs = [leaves[i : i + 2] for i in range(0, len(leaves), 2)]
            leaves = [
                hashlib.sha256(b"\x01" + b"".join(pair)).digest() if len(pair) == 2 else pair[0]
                for pair in pairs
            ]
        return hashlib.sha256(b"\x02" + len(inside).to_bytes(4, "big") + leaves[0]).digest()
    children = [naive_root(model, depth, prefix + digit) for digit in "0123456789abcdef"]
    return hashlib.sha256(b"\x03" + b"".join(children)).digest()


class Harness:
    """A tree with its database, as the store handles them."""

    def __init__(self, depth: int) -> None:
        self.records = MemoryKeyValue()
        self.tree = StateTree(depth, self.records)

    def commit(self, delta: TreeDelta) -> None:
        """Write, then apply."""
        self.records.write(delta.bucket_writes, sync=True)
        self.tree.apply(delta, self.records)


@pytest.mark.parametrize("depth", [1, 2, 3])
def test_the_empty_tree_has_the_naive_root(depth: int) -> None:
    assert StateTree(depth, MemoryKeyValue()).root == naive_root({}, depth)


@pytest.mark.parametrize("depth", [0, 7])
def test_a_depth_out_of_bounds_is_a_bug(depth: int) -> None:
    with pytest.raises(ValueError, match="depth"):
        StateTree(depth, MemoryKeyValue())


@settings(max_examples=40, deadline=None)
@given(st.sampled_from([1, 2]), st.lists(change_sets, max_size=6))
def test_updates_give_the_root_of_a_tree_built_from_scratch(
    depth: int, history: list[dict[int, int | None]]
) -> None:
    harness, model = Harness(depth), Model()
    for drawn in history:
        changes = changes_of(drawn)
        change(model, changes)
        harness.commit(harness.tree.update(changes))
        assert harness.tree.root == naive_root(model, depth)
    assert load_tree(depth, harness.records).root == harness.tree.root


@settings(max_examples=40, deadline=None)
@given(st.dictionaries(key_numbers, st.integers(0, 5), min_size=1), st.randoms())
def test_the_root_does_not_depend_on_order_or_grouping(
    drawn: dict[int, int], chance: random.Random
) -> None:
    at_once, one_by_one = Harness(2), Harness(2)
    at_once.commit(at_once.tree.update(changes_of(dict(drawn))))
    items = list(changes_of(dict(drawn)).items())
    chance.shuffle(items)
    for key, value in items:
        one_by_one.commit(one_by_one.tree.update({key: value}))
    assert at_once.tree.root == one_by_one.tree.root
    one_by_one.commit(one_by_one.tree.update({key: None for key, _ in items}))
    assert one_by_one.tree.root == StateTree(2, MemoryKeyValue()).root


def test_update_changes_nothing_until_applied() -> None:
    harness = Harness(2)
    before = harness.tree.root
    delta = harness.tree.update({hashed(1): value_hash(b"1")})
    assert harness.tree.root == before != delta.root
    assert harness.tree.update({hashed(1): value_hash(b"1")}).root == delta.root


def test_removing_what_is_absent_and_rewriting_the_same_cost_nothing() -> None:
    harness = Harness(2)
    harness.commit(harness.tree.update({hashed(1): value_hash(b"1")}))
    delta = harness.tree.update({hashed(1): value_hash(b"1"), hashed(2): None})
    assert delta.root == harness.tree.root
    assert delta.bucket_writes == []


# ---- deltas on deltas


def test_deltas_stack_where_the_state_returns_to_what_it_was() -> None:
    harness = Harness(2)
    nothing = harness.tree.update({})
    there = harness.tree.update({hashed(1): value_hash(b"1")}, base=nothing)
    back = harness.tree.update({hashed(1): None}, base=there)
    again = harness.tree.update({}, base=back)
    harness.commit(nothing)
    harness.commit(there)
    assert harness.tree.update({}, base=again).root == nothing.root


@settings(max_examples=40, deadline=None)
@given(st.lists(change_sets, min_size=1, max_size=5), st.data())
def test_deltas_stack_as_if_each_had_been_applied(
    history: list[dict[int, int | None]], data: st.DataObject
) -> None:
    """Whenever the applying lags behind, roots and buckets are those of the prompt way."""
    prompt, lagging = Harness(2), Harness(2)
    waiting: list[TreeDelta] = []
    newest: TreeDelta | None = None
    for drawn in history:
        changes = changes_of(drawn)
        prompt.commit(prompt.tree.update(changes))
        newest = lagging.tree.update(changes, base=newest)
        assert newest.root == prompt.tree.root
        waiting.append(newest)
        for _ in range(data.draw(st.integers(0, len(waiting)))):
            lagging.commit(waiting.pop(0))
    for delta in waiting:
        lagging.commit(delta)
    assert lagging.tree.root == prompt.tree.root
    assert list(lagging.records.iterate(b"", b"\xff")) == list(prompt.records.iterate(b"", b"\xff"))


def test_applied_deltas_do_not_hold_each_other_in_memory() -> None:
    harness = Harness(2)
    first = harness.tree.update({hashed(1): value_hash(b"1")})
    second = harness.tree.update({hashed(2): value_hash(b"2")}, base=first)
    assert second.base is first
    harness.commit(first)
    harness.commit(second)
    assert second.base is None


def test_a_delta_cannot_be_applied_out_of_order() -> None:
    harness = Harness(2)
    first = harness.tree.update({hashed(1): value_hash(b"1")})
    second = harness.tree.update({hashed(2): value_hash(b"2")}, base=first)
    rival = harness.tree.update({hashed(3): value_hash(b"3")})
    with pytest.raises(AssertionError, match="order"):
        harness.tree.apply(second, harness.records)
    harness.commit(first)
    with pytest.raises(AssertionError, match="order"):
        harness.tree.apply(rival, harness.records)
    with pytest.raises(AssertionError, match="not this tree's"):
        harness.tree.update({}, base=rival)


# ---- loading


@pytest.mark.parametrize(
    ("key", "entries"),
    [
        (bucket_key(256), b"e" * 64),
        (bucket_key(1), b"e" * 63),
        (bucket_key(1), b""),
        (bucket_key(1) + b"\x00", b"e" * 64),
    ],
)
def test_a_malformed_bucket_stops_the_load(key: bytes, entries: bytes) -> None:
    records = MemoryKeyValue()
    records.write([(key, entries)], sync=True)
    with pytest.raises(StoreFailure, match="DATABASE_DAMAGED"):
        load_tree(2, records)


def test_loading_reports_progress(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("node.state.tree.PROGRESS_EVERY", 10)
    harness = Harness(2)
    changes = {bytes([first]) + bytes(31): value_hash(b"v") for first in range(25)}
    harness.commit(harness.tree.update(dict(changes)))
    seen: list[int] = []
    load_tree(2, harness.records, seen.append)
    assert seen == [10, 20]


# ---- proofs of a real tree

TABLE = "prepaid/cards"
STORED = {b"card %d" % i: b"record %d" % i for i in range(200)}


def stored_tree() -> StateTree:
    """Two hundred records over sixteen buckets: about a dozen in each."""
    harness = Harness(1)
    harness.commit(
        harness.tree.update({key_hash(TABLE, k): value_hash(v) for k, v in STORED.items()})
    )
    return harness.tree


TREE = stored_tree()


@settings(deadline=None)
@given(st.integers(0, 199))
def test_every_record_is_provable(number: int) -> None:
    key = b"card %d" % number
    proof = TREE.prove(key_hash(TABLE, key))
    verify_state_proof(TREE.root, TABLE, key, STORED[key], proof)
    for wrong in (None, b"another record"):
        with pytest.raises(Refused, match="BAD_PROOF"):
            verify_state_proof(TREE.root, TABLE, key, wrong, proof)


@settings(deadline=None)
@given(st.binary(max_size=20).filter(lambda key: key not in STORED))
def test_every_absence_is_provable(key: bytes) -> None:
    proof = TREE.prove(key_hash(TABLE, key))
    verify_state_proof(TREE.root, TABLE, key, None, proof)
    with pytest.raises(Refused, match="BAD_PROOF"):
        verify_state_proof(TREE.root, TABLE, key, b"record", proof)


@settings(max_examples=300, deadline=None)
@given(st.integers(0, 400), st.data())
def test_a_proof_with_any_bit_flipped_is_refused(number: int, data: st.DataObject) -> None:
    key = b"card %d" % number
    raw = bytearray(encode(TREE.prove(key_hash(TABLE, key))))
    bit = data.draw(st.integers(0, len(raw) * 8 - 1))
    raw[bit // 8] ^= 1 << bit % 8
    with pytest.raises(Refused):
        verify_state_proof(
            TREE.root, TABLE, key, STORED.get(key), state_proof_codec.decode(bytes(raw))
        )


@settings(deadline=None)
@given(st.integers(0, 199), st.integers(0, 199))
def test_a_proof_speaks_of_its_own_key_only(one: int, other: int) -> None:
    key, foreign = b"card %d" % one, TREE.prove(key_hash(TABLE, b"card %d" % other))
    if one != other:
        for value in (None, STORED[key], STORED[b"card %d" % other]):
            with pytest.raises(Refused, match="BAD_PROOF"):
                verify_state_proof(TREE.root, TABLE, key, value, foreign)


def test_proofs_of_an_empty_and_of_a_large_tree_are_small() -> None:
    empty = StateTree(5, MemoryKeyValue())
    proof = empty.prove(key_hash(TABLE, b"anything"))
    verify_state_proof(empty.root, TABLE, b"anything", None, proof)
    assert len(encode(proof)) < 40
    assert len(encode(TREE.prove(key_hash(TABLE, b"card 7")))) < 1_000


def test_a_stuffed_bucket_still_has_a_short_proof() -> None:
    """Whoever grinds keys into one bucket lengthens its proofs by a logarithm only."""
    harness = Harness(2)
    keys = [b"\x77" + hashlib.sha256(b"%d" % i).digest()[1:] for i in range(5_000)]
    harness.commit(harness.tree.update({key: value_hash(b"v") for key in keys}))
    proof: StateProof = harness.tree.prove(keys[0])
    assert len(proof.entries[0].place.path) <= 13
    assert len(encode(proof)) < 1_000
