"""Browser signatures: the RFC's example, what WebCrypto would send, and what is refused."""

from __future__ import annotations

import pytest
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature

from node.protocol.domain import Chain
from node.protocol.encoding import Value
from node.protocol.es256 import is_valid
from node.protocol.ticket import browser_ticket_valid, ticket_digest

# RFC 6979, A.2.5: P-256, SHA-256, message "sample".
PUBLIC = bytes.fromhex("0360fed4ba255a9d31c961eb74c6356d68c049b8923b61fa6ce669622e60f29fb6")
SIGNATURE = bytes.fromhex(
    "efd48b2aacb6a8fd1140dd9cd45e81d69d2c877b56aaf991c34d0ea84eaf3716"
    "f7cb1c942d657c41d436c7a1b6e29f65f3e900dbb9aff4064dc4ab2f843acda8"
)
ORDER = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551
CHAIN = Chain("test", b"g" * 32)
TERMS: dict[str, Value] = {"intent": b"i" * 16, "amt": 2_500, "cur": "CNY"}


def test_the_example_of_rfc_6979() -> None:
    assert is_valid(PUBLIC, b"sample", SIGNATURE)
    assert not is_valid(PUBLIC, b"Sample", SIGNATURE)


def test_the_twin_of_a_signature_is_valid_too_and_so_is_no_id() -> None:
    twin = ORDER - int.from_bytes(SIGNATURE[32:], "big")
    assert is_valid(PUBLIC, b"sample", SIGNATURE[:32] + twin.to_bytes(32, "big"))


@pytest.mark.parametrize(
    ("public", "signature"),
    [
        (PUBLIC, SIGNATURE[:-1]),
        (PUBLIC, SIGNATURE + b"\x00"),
        (PUBLIC, bytes(64)),
        (PUBLIC, b"\xff" * 64),
        (PUBLIC, b""),
        (PUBLIC[:-1], SIGNATURE),
        (b"\x02" + b"\xff" * 32, SIGNATURE),
        (b"\x04" + PUBLIC[1:], SIGNATURE),
        (b"", SIGNATURE),
    ],
)
def test_what_is_no_key_or_no_signature(public: bytes, signature: bytes) -> None:
    assert not is_valid(public, b"sample", signature)


def test_a_ticket_is_for_one_chain_contract_statement_and_terms() -> None:
    key = ec.generate_private_key(ec.SECP256R1())
    public = key.public_key().public_bytes(
        serialization.Encoding.X962, serialization.PublicFormat.CompressedPoint
    )
    digest = ticket_digest(CHAIN, "payments", "approve", TERMS)
    r, s = decode_dss_signature(key.sign(digest, ec.ECDSA(hashes.SHA256())))
    signature = r.to_bytes(32, "big") + s.to_bytes(32, "big")
    assert browser_ticket_valid(CHAIN, public, "payments", "approve", TERMS, signature)
    for chain, contract, statement, terms in (
        (Chain("other", b"g" * 32), "payments", "approve", TERMS),
        (Chain("test", b"h" * 32), "payments", "approve", TERMS),
        (CHAIN, "prepaid", "approve", TERMS),
        (CHAIN, "payments", "bind", TERMS),
        (CHAIN, "payments", "approve", {**TERMS, "amt": 25_000}),
    ):
        assert not browser_ticket_valid(chain, public, contract, statement, terms, signature)
