"""Tallies are bounded by member, and evidence stands on its own."""

from __future__ import annotations

import pytest

from node.consensus.backlog import MESSAGES_PER_SENDER_MAX, SENDERS_MAX, Backlog
from node.consensus.committee import Committee
from node.consensus.height import CANDIDATES_MAX, OpenHeight
from node.consensus.votes import VIEWS_PER_MEMBER_MAX, Tally, bare, certificate_of, check_evidence
from node.protocol.block import CommitCertificate
from node.protocol.encoding import encode, sha256
from node.protocol.errors import Refused
from node.protocol.messages import (
    BYTES_MAX,
    CertifiedHeader,
    Commit,
    ConsensusMessage,
    Evidence,
    Prepare,
    PrePrepare,
    ViewChange,
    sign_message,
)
from node.protocol.validators import ValidatorSet
from tests.consensus.cluster import CHAIN, KEYS, Cluster

A, B = sha256(b"a"), sha256(b"b")


def prepare(member: int, view: int, block_id: bytes, height: int = 1) -> Prepare:
    key = KEYS[member]
    return sign_message(CHAIN, key, Prepare(height, view, block_id, key.public_key, b""))


def commit(member: int, view: int, block_id: bytes) -> Commit:
    key = KEYS[member]
    return sign_message(CHAIN, key, Commit(1, view, block_id, key.public_key, b""))


def test_only_the_same_view_and_block_add_up() -> None:
    tally: Tally[Prepare] = Tally()
    for vote in (prepare(0, 0, A), prepare(1, 0, A), prepare(2, 0, B), prepare(3, 1, A)):
        tally.add(vote)
    assert {vote.signer for vote in tally.matching(0, A)} == {k.public_key for k in KEYS[:2]}
    assert len(tally.matching(1, A)) == 1


def test_the_first_vote_of_a_view_stays() -> None:
    tally: Tally[Prepare] = Tally()
    tally.add(prepare(0, 0, A))
    tally.add(prepare(0, 0, B))
    assert tally.of(KEYS[0].public_key, 0) == prepare(0, 0, A)


def test_a_member_that_votes_in_many_views_displaces_only_itself() -> None:
    tally: Tally[Prepare] = Tally()
    tally.add(prepare(1, 0, A))
    for view in range(100):
        tally.add(prepare(0, view, A))
    kept = [view for view in range(100) if tally.of(KEYS[0].public_key, view) is not None]
    assert kept == list(range(100 - VIEWS_PER_MEMBER_MAX, 100))
    assert tally.of(KEYS[1].public_key, 0) is not None


def test_a_certificate_has_its_seals_in_order() -> None:
    committee = Committee(CHAIN, ValidatorSet(tuple(k.public_key for k in KEYS[:4]), 0), None)
    tally: Tally[Commit] = Tally()
    for member in (3, 0):
        tally.add(commit(member, 2, A))
        assert certificate_of(committee, tally.matching(2, A)) is None
    tally.add(commit(1, 2, A))
    certificate = certificate_of(committee, tally.matching(2, A))
    assert certificate is not None
    assert certificate.view == 2
    signers = [seal.signer for seal in certificate.seals]
    assert signers == sorted(signers)


def test_evidence_names_the_member_that_contradicted_itself() -> None:
    assert check_evidence(CHAIN, prepare(2, 5, A), prepare(2, 5, B)) == KEYS[2].public_key
    key = KEYS[1].public_key
    first = sign_message(CHAIN, KEYS[1], ViewChange(1, 3, -1, b"", key, b"", None))
    second = sign_message(CHAIN, KEYS[1], ViewChange(1, 3, 0, A, key, b"", None))
    assert check_evidence(CHAIN, first, second) == key


def test_what_is_no_evidence() -> None:
    cluster = Cluster(1)
    header = cluster.header(0, 1, None, ["a"], 1)
    forged = Prepare(1, 0, B, KEYS[0].public_key, bytes(64))
    final = CertifiedHeader(header, CommitCertificate(1, 0, A, ()))
    pairs: list[tuple[ConsensusMessage, ConsensusMessage]] = [
        (prepare(0, 0, A), prepare(0, 0, A)),
        (prepare(0, 0, A), prepare(1, 0, B)),
        (prepare(0, 0, A), prepare(0, 1, B)),
        (prepare(0, 0, A), prepare(0, 0, B, height=2)),
        (prepare(0, 0, A), commit(0, 0, B)),
        (prepare(0, 0, A), forged),
        (prepare(0, 0, A), final),
    ]
    for first, second in pairs:
        with pytest.raises(Refused, match="BAD_EVIDENCE"):
            check_evidence(CHAIN, first, second)


def test_the_largest_proposal_makes_evidence_that_fits_its_message() -> None:
    header = Cluster(1).header(0, 1, None, ["a"], 1)
    hashes = tuple(sha256(b"%d" % number) for number in range(1_000))
    key = KEYS[0]
    large = sign_message(CHAIN, key, PrePrepare(0, header, hashes, key.public_key, b"", (), ()))
    small = encode(bare(large))
    assert len(small) < 1_000
    assert len(encode(Evidence(small, small))) < BYTES_MAX[Evidence]


def test_the_backlog_is_bounded_by_sender() -> None:
    backlog = Backlog()
    for view in range(100):
        backlog.keep(b"liar", prepare(0, view, A), 0)
    backlog.keep(b"honest", prepare(1, 0, A), 7)
    for number in range(10 * SENDERS_MAX):
        backlog.keep(b"%d" % number, prepare(2, 0, A), 0)
    committee = Committee(CHAIN, ValidatorSet(tuple(k.public_key for k in KEYS[:4]), 0), None)
    kept = backlog.take(1, committee)
    assert len([1 for sender, _, _ in kept if sender == b"liar"]) == MESSAGES_PER_SENDER_MAX
    assert (b"honest", prepare(1, 0, A), 7) in kept
    assert len({sender for sender, _, _ in kept}) == SENDERS_MAX
    assert backlog.take(1, committee) == []


def test_claims_count_only_from_members() -> None:
    committee = Committee(CHAIN, ValidatorSet(tuple(k.public_key for k in KEYS[:4]), 0), None)
    backlog = Backlog()
    backlog.claim(KEYS[8].public_key, 90)
    backlog.claim(KEYS[0].public_key, 50)
    assert backlog.supported(committee) is None
    backlog.claim(KEYS[1].public_key, 5)
    peer, height = backlog.supported(committee) or (b"", 0)
    assert height == 5
    assert peer in committee


def test_claims_end_with_membership() -> None:
    committee = Committee(CHAIN, ValidatorSet(tuple(k.public_key for k in KEYS[:4]), 0), None)
    smaller = Committee(CHAIN, ValidatorSet(tuple(k.public_key for k in KEYS[1:4]), 0), None)
    backlog = Backlog()
    backlog.claim(KEYS[0].public_key, 90)
    backlog.claim(KEYS[1].public_key, 50)
    backlog.take(2, smaller)
    backlog.claim(KEYS[2].public_key, 60)
    _, height = backlog.supported(committee) or (b"", 0)
    assert height == 50


def test_candidates_are_bounded_and_needed_ones_stay() -> None:
    committee = Committee(CHAIN, ValidatorSet(tuple(k.public_key for k in KEYS[:4]), 0), None)
    opened = OpenHeight(committee, KEYS[0].public_key, None)
    cluster = Cluster(4)
    first = opened.candidate(cluster.header(0, 1, None, ["a"], 1), (), b"")
    opened.note_prepared(0, (prepare(0, 0, first.block_id),))
    for number in range(50):
        opened.candidate(cluster.header(0, 1, None, [f"b{number}"], 1), (), b"")
    assert len(opened.candidates) == CANDIDATES_MAX
    assert first.block_id in opened.candidates
