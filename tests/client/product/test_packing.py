"""Packing and opening: keys by degree, shares of agents, buyers that are others (R5.7, R5.8)."""

from __future__ import annotations

import itertools

import pytest

from client.product import keys
from client.product.packing import (
    open_shares,
    pack,
    release,
    scan,
    share_for_buyer,
    share_of_purchase,
)
from node.protocol.errors import Refused
from node.protocol.keys import PrivateKey
from tests.client.product.support import (
    AGENTS,
    BOOK,
    CHAIN,
    EXTRAS,
    SAMPLE,
    SELLER,
    attributes,
    book,
)

REQUEST = b"r" * 16
BUYER, FRIEND = (PrivateKey.derive(b"b" * 32, name) for name in ("buyer", "friend"))


def agents_shares(degree: int) -> list[bytes]:
    packed = book()
    return [
        open_shares(agent, packed.code.hash, packed.shares[agent.public_key]).shares[degree - 1]
        for agent in AGENTS
    ]


def key_of(degree: int) -> bytes:
    return keys.combine(agents_shares(degree)[:2], 2)


@pytest.mark.parametrize(
    ("degree", "expected"), [(1, [SAMPLE]), (2, [SAMPLE, BOOK]), (3, [SAMPLE, BOOK, EXTRAS])]
)
def test_r5_07_the_key_of_a_degree_opens_it_and_those_below(
    degree: int, expected: list[bytes]
) -> None:
    assert [content for _, content in release(book().code, degree, key_of(degree))] == expected


def test_r5_07_a_lower_key_opens_nothing_above() -> None:
    for claimed in (2, 3):
        with pytest.raises(Refused) as caught:
            release(book().code, claimed, key_of(1))
        assert caught.value.code == "BAD_CODE"
    with pytest.raises(Refused) as caught:
        keys.key_for(key_of(1), 1, 2)
    assert caught.value.code == "DEGREE_LOW"


def test_any_two_shares_give_the_key_and_one_gives_nothing() -> None:
    shares = agents_shares(2)
    found = {keys.combine(pair, 2) for pair in itertools.permutations(shares, 2)}
    assert len(found) == 1
    for too_few in ([], shares[:1], [shares[0], shares[0]]):
        with pytest.raises(Refused) as caught:
            keys.combine(too_few, 2)
        assert caught.value.code == "DEGREE_LOW"


def test_a_share_is_held_against_its_commitment() -> None:
    shares, commitments = agents_shares(2), book().commitments[1]
    given = dict(enumerate(shares))
    assert keys.valid_shares("book", 2, commitments, given) == shares
    forged = {**given, 1: bytes([2]) + b"x" * 16, 7: shares[0], -1: shares[0]}
    assert keys.valid_shares("book", 2, commitments, forged) == [shares[0], shares[2]]
    assert keys.valid_shares("book", 3, commitments, given) == []
    assert keys.valid_shares("other", 2, commitments, given) == []


def test_an_agents_shares_are_its_own() -> None:
    packed = book()
    with pytest.raises(Refused):
        open_shares(AGENTS[0], packed.code.hash, packed.shares[AGENTS[1].public_key])
    with pytest.raises(Refused):
        open_shares(AGENTS[0], b"x" * 32, packed.shares[AGENTS[0].public_key])


def test_a_friend_does_nothing_with_a_buyers_share() -> None:
    share = agents_shares(2)[0]
    blob = share_for_buyer(BUYER.public_key, REQUEST, 2, share)
    assert share_of_purchase(BUYER, REQUEST, 2, blob) == share
    for key, request, degree in ((FRIEND, REQUEST, 2), (BUYER, b"o" * 16, 2), (BUYER, REQUEST, 3)):
        with pytest.raises(Refused) as caught:
            share_of_purchase(key, request, degree, blob)
        assert caught.value.code == "WRONG_BUYER"


def test_one_agent_of_one() -> None:
    terms = attributes(agents=(AGENTS[0].public_key,), shares_needed=1)
    packed = pack(CHAIN, SELLER, terms, {1: ("x", b"x")})
    kept = open_shares(AGENTS[0], packed.code.hash, packed.shares[AGENTS[0].public_key])
    assert release(packed.code, 1, keys.combine(kept.shares[:1], 1)) == [("x", b"x")]


@pytest.mark.parametrize("files", [{}, {0: ("x", b"x")}, {4: ("x", b"x")}])
def test_files_that_fit_no_degree(files: dict[int, tuple[str, bytes]]) -> None:
    with pytest.raises(Refused):
        pack(CHAIN, SELLER, attributes(), files)


def test_r5_02_a_file_is_scanned_as_it_is() -> None:
    assert scan(CHAIN, [book().code.raw]) == book().code
