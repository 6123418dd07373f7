"""The history of validator sets: each is believed by the word of the one before."""

from __future__ import annotations

import msgspec
import pytest

from node.protocol.block import BlockHeader, CommitCertificate, CommitSeal, vote_digest
from node.protocol.encoding import encode
from node.protocol.errors import Refused
from node.protocol.history import HANDOVER_BYTES_MAX, Handover, SetHistory, handover_codec
from node.protocol.keys import PrivateKey
from node.protocol.validators import VALIDATORS_MAX, ValidatorSet
from tests.protocol.support import CHAIN, header, key

FOUNDERS = [key(number) for number in range(4)]
SECOND = [*FOUNDERS, key(4)]
THIRD = SECOND[1:]


def set_of(keys: list[PrivateKey]) -> ValidatorSet:
    return ValidatorSet(tuple(one.public_key for one in keys), 2)


def sealed(block: BlockHeader, keys: list[PrivateKey]) -> CommitCertificate:
    """A certificate by a quorum of these keys."""
    identity = block.id(CHAIN)
    digest = vote_digest(CHAIN, "commit", block.height, 0, identity)
    ordered = sorted(keys, key=lambda one: one.public_key)[-set_of(keys).quorum :]
    seals = tuple(CommitSeal(one.public_key, one.sign(digest)) for one in ordered)
    return CommitCertificate(block.height, 0, identity, seals)


def handover(height: int, before: list[PrivateKey], after: list[PrivateKey]) -> Handover:
    block = msgspec.structs.replace(header(height), next_validators_hash=set_of(after).hash)
    return Handover(block, sealed(block, before), set_of(after))


GROWS, SHRINKS = handover(9, FOUNDERS, SECOND), handover(20, SECOND, THIRD)


def test_sets_by_height() -> None:
    history = SetHistory.proved(CHAIN, set_of(FOUNDERS), (GROWS, SHRINKS))
    assert [first for first, _ in history.eras] == [1, 10, 21]
    expected = {0: FOUNDERS, 1: FOUNDERS, 9: FOUNDERS, 10: SECOND, 20: SECOND, 21: THIRD}
    for height, keys in {**expected, 10**6: THIRD}.items():
        assert history.at(height) == set_of(keys), height


@pytest.mark.parametrize(
    ("handovers", "reason"),
    [
        ((SHRINKS,), "a seal is from a stranger"),
        ((GROWS, GROWS), "it is older"),
        ((GROWS, handover(9, SECOND, THIRD)), "it is older"),
        ((handover(9, THIRD, THIRD),), "a seal is from a stranger"),
        ((handover(9, FOUNDERS[:1], SECOND),), "1 seals, 3 needed"),
        ((msgspec.structs.replace(GROWS, validators=set_of(THIRD)),), "does not name this set"),
        ((msgspec.structs.replace(GROWS, header=header(9)),), "does not name this set"),
        ((msgspec.structs.replace(GROWS, certificate=SHRINKS.certificate),), "another block"),
        ((handover(9, FOUNDERS, FOUNDERS),), "does not name this set"),
        ((handover(9, FOUNDERS, [key(1), key(1), key(2), key(3)]),), "listed twice"),
        ((handover(9, FOUNDERS, FOUNDERS[:2]),), "must be below"),
    ],
)
def test_what_is_not_proved_is_refused(handovers: tuple[Handover, ...], reason: str) -> None:
    with pytest.raises(Refused, match=f"BAD_HISTORY.*{reason}"):
        SetHistory.proved(CHAIN, set_of(FOUNDERS), handovers)


def test_the_largest_set_fits() -> None:
    keys = [key(number) for number in range(VALIDATORS_MAX)]
    large = handover(1 << 40, keys, list(reversed(keys)))
    raw = encode(large)
    assert handover_codec.decode(raw) == large
    assert len(raw) < HANDOVER_BYTES_MAX
