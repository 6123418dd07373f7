"""Quorum arithmetic: two quorums share an honest member, and the preset number counts (R3.9)."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from node.protocol.errors import Refused
from node.protocol.validators import VALIDATORS_MAX, ValidatorSet
from tests.protocol.support import MEMBERS, key

PUBLIC_KEYS = tuple(member.public_key for member in MEMBERS)


def of_size(size: int, preset: int = 0) -> ValidatorSet:
    """A set of `size` members; the arithmetic does not look at the keys."""
    return ValidatorSet(tuple(bytes([number]) for number in range(size)), preset)


@given(st.integers(1, VALIDATORS_MAX), st.data())
def test_two_quorums_share_an_honest_member(size: int, data: st.DataObject) -> None:
    validators = of_size(size, data.draw(st.integers(0, size - 1)))
    assert 2 * validators.quorum - size > validators.faulty_max
    assert validators.confirmations_more_than < validators.quorum <= size


@given(st.integers(1, VALIDATORS_MAX))
def test_without_a_preset_the_honest_alone_suffice(size: int) -> None:
    validators = of_size(size)
    assert validators.quorum <= size - validators.faulty_max
    assert validators.dead_max >= validators.faulty_max


@pytest.mark.parametrize(
    ("size", "preset", "faulty", "quorum", "dead"),
    [
        (1, 0, 0, 1, 0),
        (2, 0, 0, 2, 0),
        (3, 0, 0, 2, 1),
        (4, 0, 1, 3, 1),
        (4, 2, 1, 3, 1),  # R3.9: preset 2 of 4; two confirmations do nothing, three commit
        (4, 3, 1, 4, 0),
        (7, 0, 2, 5, 2),
        (10, 8, 3, 9, 1),
    ],
)
def test_table(size: int, preset: int, faulty: int, quorum: int, dead: int) -> None:
    validators = of_size(size, preset)
    assert validators.faulty_max == faulty
    assert validators.quorum == quorum
    assert validators.dead_max == dead


SETS = {
    "empty": ((), 0),
    "one member twice": ((*PUBLIC_KEYS, PUBLIC_KEYS[0]), 2),
    "a preset that all together do not exceed": (PUBLIC_KEYS, 4),
    "a negative preset": (PUBLIC_KEYS, -1),
    "more than can be": (tuple(key(n).public_key for n in range(VALIDATORS_MAX + 1)), 2),
}


@pytest.mark.parametrize(("members", "preset"), SETS.values(), ids=SETS.keys())
def test_impossible_sets_are_refused(members: tuple[bytes, ...], preset: int) -> None:
    ValidatorSet(PUBLIC_KEYS, 2).check()
    with pytest.raises(Refused) as refusal:
        ValidatorSet(members, preset).check()
    assert refusal.value.code == "BAD_VALIDATORS"


def test_a_member_that_is_no_key_is_refused() -> None:
    with pytest.raises(Refused) as refusal:
        ValidatorSet((*PUBLIC_KEYS, bytes(33)), 2).check()
    assert refusal.value.code == "BAD_KEY"


def test_the_hash_covers_order_and_preset() -> None:
    hashes = {
        ValidatorSet(PUBLIC_KEYS, 2).hash,
        ValidatorSet(PUBLIC_KEYS, 3).hash,
        ValidatorSet(PUBLIC_KEYS[::-1], 2).hash,
        ValidatorSet(PUBLIC_KEYS[:3], 2).hash,
    }
    assert len(hashes) == 4
