"""Blocks, receipts and certificates: what is bound to what, and which certificates are refused."""

from __future__ import annotations

import msgspec
import pytest

from node.protocol.block import (
    BLOCK_BYTES_MAX,
    CertifiedBlock,
    CommitCertificate,
    Event,
    Receipt,
    block_codec,
    check_certificate,
    public_receipt_hash,
    receipt_hash,
    receipts_codec,
    vote_digest,
)
from node.protocol.domain import Chain
from node.protocol.encoding import encode, sha256
from node.protocol.errors import Refused
from node.protocol.validators import ValidatorSet
from tests.protocol.support import CHAIN, MEMBERS, certificate, header, key

VALIDATORS = ValidatorSet(tuple(member.public_key for member in MEMBERS), 2)
EVENT = Event("prepaid", "Consumed", {"amount": 5}, ("role:regulator",))
RECEIPT = Receipt(sha256(b"id"), "OK", {}, (EVENT,), ("role:regulator",))


def test_round_trips() -> None:
    block = CertifiedBlock(header(), (b"raw",), certificate(header(), 3))
    assert block_codec.decode(encode(block)) == block
    assert receipts_codec.decode(encode((RECEIPT,))) == (RECEIPT,)


def test_a_certified_block_is_bounded() -> None:
    with pytest.raises(Refused) as refusal:
        block_codec.decode(bytes(BLOCK_BYTES_MAX * 2))
    assert refusal.value.code == "TOO_LARGE"


def test_the_block_id_covers_every_field_and_the_chain() -> None:
    block = header()
    other = {
        "version": 2,
        "height": 2,
        "time_ms": block.time_ms + 1,
        "proposer": MEMBERS[1].public_key,
    }
    roots = [name for name in block.__struct_fields__ if name not in other]
    ids = {block.id(CHAIN), block.id(Chain("other", CHAIN.genesis_hash))}
    for name in block.__struct_fields__:
        value = sha256(b"other") if name in roots else other[name]
        ids.add(msgspec.structs.replace(block, **{name: value}).id(CHAIN))
    assert len(ids) == len(block.__struct_fields__) + 2


def test_a_quorum_of_seals_is_a_certificate() -> None:
    check_certificate(CHAIN, header(), certificate(header(), 3), VALIDATORS)
    check_certificate(CHAIN, header(), certificate(header(), 4, view=7), VALIDATORS)


def certificates() -> dict[str, CommitCertificate]:
    """Certificates that prove nothing."""
    good = certificate(header(), 4)
    seals = good.seals
    stranger = msgspec.structs.replace(seals[0], signer=key(9).public_key)
    digest = vote_digest(CHAIN, "prepare", 1, 0, good.block_id)
    prepare = msgspec.structs.replace(seals[0], signature=MEMBERS[0].sign(digest))
    other_view = certificate(header(), 4, view=1).seals
    replace = msgspec.structs.replace
    return {
        "too few": certificate(header(), 2),
        "one member three times": replace(good, seals=(seals[0],) * 3),
        "out of order": replace(good, seals=seals[::-1]),
        "a stranger": replace(
            good, seals=tuple(sorted((*seals[1:], stranger), key=lambda seal: seal.signer))
        ),
        "one seal of another view": replace(good, seals=(*seals[:3], other_view[3])),
        "another view stated": replace(good, view=1),
        "a PREPARE for a COMMIT": replace(good, seals=(prepare, *seals[1:])),
        "another block": certificate(header(2), 4),
        "another height stated": replace(good, height=2),
        "no seals": replace(good, seals=()),
        "a broken seal beside a quorum": replace(
            good, seals=(*seals[:3], replace(seals[3], signature=bytes(64)))
        ),
    }


@pytest.mark.parametrize("name", certificates())
def test_other_certificates_are_refused(name: str) -> None:
    with pytest.raises(Refused) as refusal:
        check_certificate(CHAIN, header(), certificates()[name], VALIDATORS)
    assert refusal.value.code == "BAD_CERTIFICATE"


def test_a_receipt_leaf_can_be_checked_without_its_private_part() -> None:
    salt = bytes(32)
    private = sha256(salt + encode([RECEIPT.details, RECEIPT.events, RECEIPT.readers]))
    leaf = receipt_hash(RECEIPT, salt)
    assert leaf == public_receipt_hash(RECEIPT.transaction_id, RECEIPT.code, private)
    assert leaf != receipt_hash(RECEIPT, sha256(salt))
    assert leaf != receipt_hash(msgspec.structs.replace(RECEIPT, code="BAD_ARG"), salt)


def test_votes_of_different_kinds_views_and_heights_sign_different_digests() -> None:
    identity = header().id(CHAIN)
    digests = {
        vote_digest(chain, kind, height, view, identity)
        for chain in (CHAIN, Chain("other", CHAIN.genesis_hash))
        for kind in ("pre_prepare", "prepare", "commit")
        for height in (1, 2)
        for view in (0, 1)
    }
    assert len(digests) == 24
