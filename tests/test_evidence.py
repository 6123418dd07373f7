"""The evidence book: only what is true, about members, and each contradiction once."""

from __future__ import annotations

import msgspec

from node.evidence import EVIDENCE_MAX, EVIDENCE_PER_MEMBER_MAX, EvidenceBook
from node.protocol.block import BlockHeader
from node.protocol.domain import Chain
from node.protocol.encoding import encode, sha256
from node.protocol.keys import PrivateKey
from node.protocol.messages import Evidence, Prepare, PreparedProof, ViewChange, sign_message

CHAIN = Chain("evidence", sha256(b"genesis"))
KEYS = [PrivateKey(sha256(b"member %d" % index)) for index in range(4)]
MEMBERS = tuple(key.public_key for key in KEYS)


def contradiction(key: PrivateKey, view: int = 0) -> Evidence:
    votes = [
        sign_message(CHAIN, key, Prepare(1, view, sha256(block), key.public_key, b""))
        for block in (b"a", b"b")
    ]
    return Evidence(*map(encode, votes))


def with_proof(claim: ViewChange, number: int) -> ViewChange:
    """The same signed claim with some proof attached."""
    zero = bytes(32)
    header = BlockHeader(1, 1, number, zero, zero, zero, zero, zero, claim.signer)
    return msgspec.structs.replace(claim, proof=PreparedProof(header, (), ()))


def test_a_contradiction_is_kept_once_whatever_its_order() -> None:
    book, item = EvidenceBook(CHAIN), contradiction(KEYS[0])
    assert book.offer(item, MEMBERS)
    assert not book.offer(item, MEMBERS)
    assert not book.offer(Evidence(item.second, item.first), MEMBERS)
    assert (len(book.items), book.suspects) == (1, 1)


def test_what_says_the_same_or_is_forged_is_refused() -> None:
    book, item = EvidenceBook(CHAIN), contradiction(KEYS[0])
    stolen = contradiction(PrivateKey(sha256(b"thief")))
    vote = msgspec.structs.replace(
        sign_message(CHAIN, KEYS[0], Prepare(1, 0, sha256(b"c"), MEMBERS[0], b"")),
        signature=bytes(64),
    )
    assert not book.offer(Evidence(item.first, item.first), MEMBERS)
    assert not book.offer(Evidence(item.first, encode(vote)), MEMBERS)
    assert not book.offer(Evidence(item.first, stolen.second), MEMBERS)
    assert not book.offer(Evidence(b"", b"\xc1"), MEMBERS)
    assert book.items == ()


def test_keys_of_strangers_do_not_crowd_out_the_members() -> None:
    book = EvidenceBook(CHAIN)
    for number in range(EVIDENCE_MAX + 1):
        book.offer(contradiction(PrivateKey(sha256(b"stranger %d" % number))), MEMBERS)
    assert book.suspects == 0
    assert book.offer(contradiction(KEYS[3]), MEMBERS)


def test_a_member_fills_its_own_share_only() -> None:
    book = EvidenceBook(CHAIN)
    kept = [book.offer(contradiction(KEYS[0], view), MEMBERS) for view in range(50)]
    assert sum(kept) == EVIDENCE_PER_MEMBER_MAX
    assert book.offer(contradiction(KEYS[1]), MEMBERS)


def test_attachments_neither_count_nor_stay() -> None:
    """A VIEW-CHANGE's proof is not signed: each other proof would make another item."""
    key, claims = KEYS[0], []
    for block in (b"a", b"b"):
        claim = ViewChange(1, 3, 1, sha256(block), key.public_key, b"", None)
        claims.append(sign_message(CHAIN, key, claim))
    book = EvidenceBook(CHAIN)
    assert book.offer(Evidence(*map(encode, claims)), MEMBERS)
    for number in range(3):
        first = encode(with_proof(claims[0], number))
        assert not book.offer(Evidence(first, encode(claims[1])), MEMBERS)
    assert len(book.items) == 1
