"""List proofs and state proofs, checked as a client does: from bytes, with the root alone."""

from __future__ import annotations

import hashlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from node.protocol.block import EMPTY_ROOT
from node.protocol.encoding import encode
from node.protocol.errors import Refused
from node.protocol.proofs import (
    ARITY,
    EntryProof,
    LevelProof,
    ListProof,
    StateProof,
    bucket_index,
    bucket_root,
    empty_hashes,
    key_hash,
    list_proof_codec,
    merkle_path,
    merkle_root,
    node_hash,
    value_hash,
    verify_path,
    verify_state_proof,
)

leaf_lists = st.integers(1, 40).map(lambda count: [leaf(i) for i in range(count)])


def leaf(number: int) -> bytes:
    """The leaf hash of a small number."""
    return hashlib.sha256(b"\x00" + bytes([number])).digest()


def rfc6962_root(leaves: list[bytes]) -> bytes:
    """The definition of RFC 6962, section 2.1, word for word."""
    if len(leaves) == 1:
        return leaves[0]
    split = 1
    while split * 2 < len(leaves):
        split *= 2
    left, right = rfc6962_root(leaves[:split]), rfc6962_root(leaves[split:])
    return hashlib.sha256(b"\x01" + left + right).digest()


# ---- list trees


def test_root_of_nothing_is_the_empty_root() -> None:
    assert merkle_root([]) == EMPTY_ROOT


@given(leaf_lists)
def test_root_is_the_length_and_a_tree_in_the_shape_of_rfc_6962(leaves: list[bytes]) -> None:
    length = len(leaves).to_bytes(8, "big")
    expected = hashlib.sha256(b"\x04" + length + rfc6962_root(leaves)).digest()
    assert merkle_root(leaves) == expected


@given(leaf_lists)
def test_no_list_of_inner_nodes_has_the_root_of_its_leaves(leaves: list[bytes]) -> None:
    level, root = leaves, merkle_root(leaves)
    while len(level) > 1:
        pairs = [level[at : at + 2] for at in range(0, len(level), 2)]
        level = [rfc6962_root(pair) for pair in pairs]
        assert merkle_root(level) != root


@given(leaf_lists)
def test_an_inner_node_does_not_pass_for_a_leaf(leaves: list[bytes]) -> None:
    proof = merkle_path(leaves, 0)
    if len(leaves) > 1:
        inner = hashlib.sha256(b"\x01" + leaves[0] + leaves[1]).digest()
        shorter = ListProof(0, (len(leaves) + 1) // 2, proof.path[1:])
        with pytest.raises(Refused, match="BAD_PROOF"):
            verify_path(merkle_root(leaves), inner, shorter)


@given(leaf_lists)
def test_every_leaf_is_provable_from_bytes(leaves: list[bytes]) -> None:
    root = merkle_root(leaves)
    for index, hashed in enumerate(leaves):
        proof = list_proof_codec.decode(encode(merkle_path(leaves, index)))
        verify_path(root, hashed, proof)


@given(leaf_lists, st.data())
def test_a_path_proves_no_other_leaf_and_no_other_place(
    leaves: list[bytes], data: st.DataObject
) -> None:
    root = merkle_root(leaves)
    index = data.draw(st.integers(0, len(leaves) - 1))
    proof = merkle_path(leaves, index)
    with pytest.raises(Refused, match="BAD_PROOF"):
        verify_path(root, leaf(200), proof)
    for other in range(len(leaves)):
        if other != index:
            with pytest.raises(Refused, match="BAD_PROOF"):
                verify_path(root, leaves[index], ListProof(other, len(leaves), proof.path))


@given(leaf_lists, st.data())
def test_a_path_of_another_length_is_refused(leaves: list[bytes], data: st.DataObject) -> None:
    root = merkle_root(leaves)
    index = data.draw(st.integers(0, len(leaves) - 1))
    proof = merkle_path(leaves, index)
    longer = ListProof(index, proof.length, (*proof.path, leaf(7)))
    with pytest.raises(Refused, match="too long"):
        verify_path(root, leaves[index], longer)
    if proof.path:
        with pytest.raises(Refused, match="too short"):
            verify_path(root, leaves[index], ListProof(index, proof.length, proof.path[:-1]))
    with pytest.raises(Refused, match="beyond"):
        verify_path(root, leaves[index], ListProof(proof.length, proof.length, proof.path))


def test_a_path_beyond_the_list_cannot_be_made() -> None:
    with pytest.raises(IndexError):
        merkle_path([leaf(1)], 1)


# ---- hashes


@pytest.mark.parametrize(
    ("hashed", "expected"),
    [
        (
            key_hash("prepaid/cards", b"\x01\x02"),
            "a9c144171e03a10978bd61d6bf5b334741294acb1d60de85ffdb8a665ed081e2",
        ),
        (value_hash(b"value"), "7377811838091e7b3c61c2fc4a67260c46c22d417c3a574303f8e5661cb1ee94"),
        (
            value_hash(b"value", b"s" * 32),
            "90cd2b9da3edbcb91ef854b1556ba4d81098c2e6168676f4b271530640f73fdc",
        ),
        (
            bucket_root(b"k" * 32 + b"v" * 32),
            "5204c22265de37b34dcbbc1d6fb5faf7d52f23e5c60ac8ee71ea38a3468eaf6f",
        ),
        (
            bucket_root(b"k" * 32 + b"v" * 32 + b"l" * 32 + b"w" * 32),
            "5b2391e5cd10591df056b18081ebc76adfb64e7dfad9ed932ab313b350eb69c6",
        ),
        (node_hash(bytes(512)), "92a1e53cac50d77667987658089b99a89b14474a23edcb0524121234e2fa9615"),
        (empty_hashes(5)[0], "6554481d335aa55ef6bca4750bb8cfeec8d6d12d9d6ade082ffcbe2db8e2af88"),
    ],
)
def test_hashes_are_frozen(hashed: bytes, expected: str) -> None:
    assert hashed.hex() == expected


def test_a_salted_value_cannot_pass_as_a_longer_clear_one() -> None:
    salt = b"s" * 32
    assert value_hash(b"v", salt) != value_hash(salt + b"v")
    assert value_hash(b"v", salt) != value_hash(b"v" + salt)


def test_table_and_key_cannot_be_shifted_into_each_other() -> None:
    assert key_hash("a/b", b"c") != key_hash("a/bc", b"")


@pytest.mark.parametrize("depth", [1, 2, 5])
def test_buckets_are_the_leading_hex_digits(depth: int) -> None:
    hashed = hashlib.sha256(b"any").digest()
    assert bucket_index(hashed, depth) == int(hashed.hex()[:depth], 16)


# ---- state proofs, built by hand: one bucket of three entries in a tree of depth 1

KEYS = sorted(
    (bytes([i]) for i in range(200) if key_hash("t", bytes([i]))[0] >> 4 == 9),
    key=lambda key: key_hash("t", key),
)
ABSENT, STORED = KEYS[0:7:2], KEYS[1:6:2]
VALUES = {key: b"value of " + key for key in STORED}
ENTRIES = [key_hash("t", key) + value_hash(VALUES[key]) for key in STORED]
NEIGHBOUR = leaf(3)
LEVEL = LevelProof(1 << 2, (NEIGHBOUR,))


def handmade_root() -> bytes:
    """The state root of one node: the bucket at 9, another at 2, fourteen empty ones."""
    children = [empty_hashes(1)[1]] * ARITY
    children[9], children[2] = bucket_root(b"".join(ENTRIES)), NEIGHBOUR
    return node_hash(b"".join(children))


def handmade_entry(at: int) -> EntryProof:
    """The entry proof of the entry at `at`."""
    leaves = [hashlib.sha256(b"\x00" + entry).digest() for entry in ENTRIES]
    return EntryProof(ENTRIES[at][:32], ENTRIES[at][32:], merkle_path(leaves, at))


def handmade(*shown: int) -> StateProof:
    """A proof that shows these entries."""
    return StateProof(tuple(handmade_entry(at) for at in shown), (LEVEL,))


def test_inclusion_holds_for_the_right_value_only() -> None:
    verify_state_proof(handmade_root(), "t", STORED[1], VALUES[STORED[1]], handmade(1))
    for table, key, value, salt in [
        ("t", STORED[1], b"another value", b""),
        ("t", STORED[1], VALUES[STORED[1]], b"s" * 32),
        ("t", STORED[0], VALUES[STORED[0]], b""),
        ("u", STORED[1], VALUES[STORED[1]], b""),
    ]:
        with pytest.raises(Refused, match="BAD_PROOF"):
            verify_state_proof(handmade_root(), table, key, value, handmade(1), salt)


@pytest.mark.parametrize(
    ("key", "shown"), [(ABSENT[0], [0]), (ABSENT[1], [0, 1]), (ABSENT[2], [1, 2]), (ABSENT[3], [2])]
)
def test_absence_needs_exactly_the_neighbours(key: bytes, shown: list[int]) -> None:
    verify_state_proof(handmade_root(), "t", key, None, handmade(*shown))
    for wrong in [[], [0], [1], [2], [0, 1], [1, 2], [0, 2], [1, 0]]:
        if wrong != shown:
            with pytest.raises(Refused, match="BAD_PROOF"):
                verify_state_proof(handmade_root(), "t", key, None, handmade(*wrong))


def test_a_present_key_cannot_be_denied() -> None:
    for wrong in [[], [0], [1], [2], [0, 1], [1, 2], [0, 2]]:
        with pytest.raises(Refused, match="BAD_PROOF"):
            verify_state_proof(handmade_root(), "t", STORED[1], None, handmade(*wrong))


def test_inclusion_takes_one_entry_and_not_two() -> None:
    with pytest.raises(Refused, match="not about this key"):
        verify_state_proof(handmade_root(), "t", STORED[1], VALUES[STORED[1]], handmade(1, 2))


@pytest.mark.parametrize(
    "level",
    [
        LevelProof(0, ()),
        LevelProof(0, (NEIGHBOUR,)),
        LevelProof(1 << 3, (NEIGHBOUR,)),
        LevelProof(1 << 2 | 1 << 9, (NEIGHBOUR, NEIGHBOUR)),
        LevelProof(1 << 2 | 1 << 3, (NEIGHBOUR, empty_hashes(1)[1])),
    ],
)
def test_a_level_has_one_form_only(level: LevelProof) -> None:
    proof = StateProof((handmade_entry(1),), (level,))
    with pytest.raises(Refused, match="BAD_PROOF"):
        verify_state_proof(handmade_root(), "t", STORED[1], VALUES[STORED[1]], proof)


def test_a_node_cannot_pass_for_a_bucket() -> None:
    """Nor can a proof choose another depth: an empty bucket one level up is not an empty node."""
    empty_tree = empty_hashes(2)[0]
    shallow = StateProof((), (LevelProof(0, ()),))
    verify_state_proof(empty_tree, "t", b"k", None, StateProof((), (LevelProof(0, ()),) * 2))
    with pytest.raises(Refused, match="BAD_PROOF"):
        verify_state_proof(empty_tree, "t", b"k", None, shallow)
