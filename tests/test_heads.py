"""Where a node stands: never better than it can know."""

from __future__ import annotations

import pytest

from node.heads import FRESH_MS, Heads, Standing
from node.protocol.validators import ValidatorSet
from tests.sim.world import key_of

KEYS = sorted(key_of(f"node{number}").public_key for number in range(7))
FOUR = ValidatorSet(tuple(KEYS[:4]), 2)
SEVEN = ValidatorSet(tuple(KEYS), 0)
OBSERVER = key_of("watcher").public_key


def told(*heights: int, at_ms: int = 0) -> Heads:
    """What the members from the second on have said."""
    heads = Heads()
    for key, height in zip(KEYS[1:], heights, strict=False):
        heads.note(key, height, at_ms)
    return heads


def standing(heads: Heads, own: int, now_ms: int = 0, validators: ValidatorSet = FOUR) -> Standing:
    return heads.standing(KEYS[0], own, validators, now_ms)


@pytest.mark.parametrize(
    ("heights", "own", "reachable", "behind", "caught_up"),
    [
        ((), 5, 1, 0, False),  # alone, nobody knows
        ((5,), 5, 2, 0, False),
        ((5, 5), 5, 3, 0, True),
        ((6, 6, 6), 5, 4, 1, True),  # how every round ends for somebody
        ((7, 7, 7), 5, 4, 2, False),
        ((1 << 60, 5, 5), 5, 4, 0, True),  # one may lie
        ((1 << 60, 9, 5), 5, 4, 4, False),
        ((0, 0, 0), 5, 4, 0, True),
        ((9,), 5, 2, 4, False),  # of fewer than may lie, all must say so
    ],
)
def test_a_node_is_caught_up_only_if_a_quorum_has_nothing_more(
    heights: tuple[int, ...], own: int, reachable: int, behind: int, caught_up: bool
) -> None:
    found = standing(told(*heights), own)
    assert found == Standing(reachable, FOUR.quorum, behind)
    assert found.caught_up == caught_up


def test_what_was_said_long_ago_tells_nothing() -> None:
    heads = told(5, 5, 5, at_ms=1_000)
    assert standing(heads, 5, 1_000 + FRESH_MS).caught_up
    late = standing(heads, 5, 1_001 + FRESH_MS)
    assert (late.reachable, late.caught_up) == (1, False)
    claim = heads.of(KEYS[1])
    assert claim is not None
    assert (claim.height, claim.at_ms) == (5, 1_000)


def test_who_is_gone_counts_no_more() -> None:
    heads = told(5, 5)
    heads.forget(KEYS[1])
    assert heads.of(KEYS[1]) is None
    assert not standing(heads, 5).caught_up


def test_only_validators_count() -> None:
    heads = told(5)
    heads.note(OBSERVER, 5, 0)
    assert standing(heads, 5).reachable == 2


def test_an_observer_needs_to_hear_a_whole_quorum() -> None:
    heads = Heads()
    for key in KEYS[:2]:
        heads.note(key, 5, 0)
    assert not heads.standing(OBSERVER, 5, FOUR, 0).caught_up
    heads.note(KEYS[2], 5, 0)
    assert heads.standing(OBSERVER, 5, FOUR, 0) == Standing(3, 3, 0)


def test_of_seven_two_may_lie() -> None:
    assert standing(told(99, 99, 5, 5, 5, 5), 5, validators=SEVEN).caught_up
    assert standing(told(99, 98, 97, 5, 5, 5), 5, validators=SEVEN).behind == 92


def test_a_network_of_one_is_its_own_quorum() -> None:
    alone = ValidatorSet((KEYS[0],), 0)
    assert Heads().standing(KEYS[0], 5, alone, 0).caught_up
