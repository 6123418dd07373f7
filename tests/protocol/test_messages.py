"""Peer messages: round trips, size limits, and what a vote's signature binds."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from node.protocol.domain import Chain
from node.protocol.encoding import encode, sha256
from node.protocol.errors import PeerFault
from node.protocol.messages import (
    BATCH_TRANSACTIONS_MAX,
    BYTES_MAX,
    MESSAGE_BYTES_MAX,
    CertifiedHeader,
    Message,
    Prepare,
    PrePrepare,
    Transactions,
    ViewChange,
    decode_message,
    encode_message,
    has_valid_signature,
    message_digest,
    sign_message,
)
from tests.protocol.samples import BLOCK, messages
from tests.protocol.support import CHAIN, MEMBERS, certificate, key

SIGNED = [name for name in messages() if hasattr(messages()[name], "signer")]


def code_of(raw: bytes) -> str:
    """The code of the fault that a frame is."""
    with pytest.raises(PeerFault) as fault:
        decode_message(raw)
    return fault.value.code


@pytest.mark.parametrize("name", messages())
def test_round_trip(name: str) -> None:
    message = messages()[name]
    raw = encode_message(message)
    assert decode_message(raw) == message
    assert type(decode_message(raw)) is type(message)
    assert len(raw) <= BYTES_MAX[type(message)]


@given(st.binary(max_size=300))
def test_any_frame_is_a_message_or_a_fault(raw: bytes) -> None:
    try:
        message = decode_message(raw)
    except PeerFault:
        return
    assert encode_message(message) == raw


@given(st.sampled_from(sorted(messages())), st.data())
def test_an_altered_frame_is_another_message_or_a_fault(name: str, data: st.DataObject) -> None:
    raw = bytearray(encode_message(messages()[name]))
    raw[data.draw(st.integers(0, len(raw) - 1))] ^= data.draw(st.integers(1, 255))
    try:
        other = decode_message(bytes(raw))
    except PeerFault:
        return
    assert other != messages()[name]


def test_every_kind_has_a_limit_and_a_sample() -> None:
    kinds = {type(message) for message in messages().values()}
    assert kinds == set(BYTES_MAX)
    assert max(BYTES_MAX.values()) <= MESSAGE_BYTES_MAX


def test_faults() -> None:
    assert code_of(b"") == "BAD_MESSAGE"
    assert code_of(encode([99, 1])) == "BAD_MESSAGE"
    assert code_of(encode_message(messages()["head"]) + b"\0") == "BAD_MESSAGE"
    assert code_of(bytes(MESSAGE_BYTES_MAX + 1)) == "BAD_MESSAGE"
    assert code_of(encode(Transactions((b"",) * (BATCH_TRANSACTIONS_MAX + 1)))) == "BAD_MESSAGE"
    # Sixty-four transactions of full size fit in a frame's limits, but not in a batch's.
    assert code_of(encode(Transactions((bytes(64 * 1024),) * 65))) == "TOO_LARGE"


@pytest.mark.parametrize("name", SIGNED)
def test_the_signature_is_the_signers_and_for_this_chain(name: str) -> None:
    message: Any = messages()[name]
    assert has_valid_signature(CHAIN, message)
    assert not has_valid_signature(Chain("other", CHAIN.genesis_hash), message)
    replaced = msgspec.structs.replace(message, signer=MEMBERS[1].public_key)
    assert not has_valid_signature(CHAIN, replaced)
    assert not has_valid_signature(CHAIN, msgspec.structs.replace(message, signature=bytes(64)))
    no_key = msgspec.structs.replace(message, signer=bytes(33))
    assert not has_valid_signature(CHAIN, no_key)


CLAIMS: dict[str, dict[str, Any]] = {
    "prepare": {"height": 2, "view": 1, "block_id": sha256(b"other")},
    "commit": {"height": 2, "view": 1, "block_id": sha256(b"other")},
    "view_change": {"height": 2, "view": 2, "prepared_view": 0, "prepared_block": bytes(32)},
    "pre_prepare": {"view": 1, "header": msgspec.structs.replace(BLOCK, height=2)},
    "dissent": {
        "height": 2,
        "view": 1,
        "block_id": sha256(b"other"),
        "proposed_root": sha256(b"other"),
        "own_root": sha256(b"other"),
    },
}


@pytest.mark.parametrize(
    ("name", "field"), [(name, field) for name, fields in CLAIMS.items() for field in fields]
)
def test_every_claim_is_signed(name: str, field: str) -> None:
    message: Any = messages()[name]
    altered = msgspec.structs.replace(message, **{field: CLAIMS[name][field]})
    assert not has_valid_signature(CHAIN, altered)


def test_votes_of_the_same_content_but_another_kind_do_not_share_a_signature() -> None:
    prepare: Any = messages()["prepare"]
    commit: Any = messages()["commit"]
    assert message_digest(CHAIN, prepare) != message_digest(CHAIN, commit)
    assert not has_valid_signature(
        CHAIN, msgspec.structs.replace(commit, signature=prepare.signature)
    )


def test_attachments_are_not_signed_so_that_they_can_be_stripped() -> None:
    prepared: Any = messages()["view_change_prepared"]
    assert has_valid_signature(CHAIN, msgspec.structs.replace(prepared, proof=None))
    justified: Any = messages()["pre_prepare_justified"]
    stripped = msgspec.structs.replace(justified, view_changes=(), prepares=())
    assert has_valid_signature(CHAIN, stripped)


def test_a_certified_header_is_not_signed() -> None:
    message = CertifiedHeader(BLOCK, certificate(BLOCK, 3))
    with pytest.raises(ValueError, match="certificate"):
        has_valid_signature(CHAIN, message)
    with pytest.raises(ValueError, match="certificate"):
        message_digest(CHAIN, message)


def test_signing_ignores_what_stood_in_the_signature() -> None:
    own = key(1).public_key
    unsigned = Prepare(1, 0, sha256(b"block"), own, b"x")
    assert sign_message(CHAIN, key(1), unsigned) == sign_message(
        CHAIN, key(1), msgspec.structs.replace(unsigned, signature=bytes(64))
    )


def test_largest_votes_fit_their_limits() -> None:
    hashes = (bytes(32),) * 1_000
    signer, signature, block = bytes(33), bytes(64), bytes(32)
    prepares = (Prepare(1 << 62, (1 << 32) - 1, block, signer, signature),) * 64
    bare = ViewChange(1 << 62, (1 << 32) - 1, (1 << 32) - 1, block, signer, signature, None)
    full: Message = PrePrepare(
        (1 << 32) - 1, BLOCK, hashes, signer, signature, (bare,) * 64, prepares
    )
    assert len(encode_message(full)) <= BYTES_MAX[PrePrepare]
