"""Who leads, for all nodes alike."""

from __future__ import annotations

from itertools import pairwise

import pytest

from node.consensus.committee import ROTATION_HEIGHTS, Committee
from node.consensus.view_change import supported_view
from node.protocol.block import BlockHeader
from node.protocol.encoding import sha256
from node.protocol.validators import ValidatorSet
from tests.consensus.cluster import CHAIN, KEYS

MEMBERS = tuple(key.public_key for key in KEYS[:4])


def head(height: int, proposer: bytes) -> BlockHeader:
    root = sha256(b"")
    return BlockHeader(1, height, 1, root, root, root, root, root, proposer)


def committee(parent: BlockHeader | None, members: tuple[bytes, ...] = MEMBERS) -> Committee:
    return Committee(CHAIN, ValidatorSet(members, 0), parent)


def test_genesis_is_followed_by_the_first_member() -> None:
    first = committee(None)
    assert first.height == 1
    assert [first.leader(view) for view in range(5)] == [*MEMBERS, MEMBERS[0]]


def test_the_last_proposer_leads_on() -> None:
    assert committee(head(7, MEMBERS[2])).leader(0) == MEMBERS[2]
    assert committee(head(7, MEMBERS[2])).leader(3) == MEMBERS[1]


def test_every_sixteenth_height_rotates_so_that_everybody_leads() -> None:
    proposer, led = MEMBERS[0], []
    for height in range(1, 4 * ROTATION_HEIGHTS + 1):
        proposer = committee(head(height - 1, proposer)).leader(0)
        led.append(proposer)
    assert set(led) == set(MEMBERS)
    changes = [height + 2 for height, (a, b) in enumerate(pairwise(led)) if a != b]
    assert changes == [16, 32, 48, 64]


def test_a_removed_proposer_is_followed_by_the_next_key_in_byte_order() -> None:
    ordered = sorted(key.public_key for key in KEYS[:5])
    for index, removed in enumerate(ordered):
        members = tuple(key for key in MEMBERS if key != removed)
        remaining = [key for key in ordered if key in members]
        following = [key for key in ordered[index + 1 :] if key in members] or remaining
        if removed not in members:
            assert committee(head(3, removed), members).leader(0) == following[0]


@pytest.mark.parametrize(
    ("size", "views", "expected"),
    [
        (4, [], 0),
        (4, [9], 0),
        (4, [9, 3], 3),
        (4, [9, 3, 5, 0], 5),
        (7, [1_000_000, 900_000, 2], 2),
        (1, [4], 4),
    ],
)
def test_supported_view_needs_an_honest_member(size: int, views: list[int], expected: int) -> None:
    members = tuple(key.public_key for key in KEYS[:size])
    assert supported_view(committee(None, members), views) == expected
