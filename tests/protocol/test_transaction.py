"""Transactions: round trips, identity, and a refusal with its own code for each bad one."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from node.protocol.domain import Chain
from node.protocol.encoding import Value, encode, sha256
from node.protocol.errors import Refused
from node.protocol.keys import CURVE_ORDER, SIGNATURE_BYTES
from node.protocol.transaction import (
    CALLS_MAX,
    TRANSACTION_BYTES_MAX,
    VALID_FOR_MS_MAX,
    Call,
    Transaction,
    lifetime_code,
    parse_transaction,
    sender_of,
    sign_transaction,
    verify_signature,
)
from tests.protocol.strategies import ARGUMENTS
from tests.protocol.support import CALL, CHAIN, NONCE, SENDER, TIME_MS, VALID_UNTIL, key

NAMES = st.text(min_size=1, max_size=64)


def transaction(*calls: Call) -> Transaction:
    """A signed transaction of these calls, or of one."""
    return sign_transaction(CHAIN, SENDER, NONCE, VALID_UNTIL, calls or (CALL,))


def signed(body: list[Any]) -> bytes:
    """Raw bytes of any body, well signed: what a malicious client can make."""
    raw = encode(body)
    return raw + SENDER.sign(CHAIN.digest("transaction", raw))


def body_of(**changes: Any) -> list[Any]:
    """A good body as plain values, with some fields changed."""
    fields: dict[str, Any] = {
        "version": 1,
        "network": CHAIN.network,
        "sender": SENDER.public_key,
        "nonce": NONCE,
        "valid_until": VALID_UNTIL,
        "calls": [[0, "prepaid", "consume", {"amount": 1}]],
    }
    return list((fields | changes).values())


def code_of(raw: bytes, chain: Chain = CHAIN) -> str:
    """The code with which raw bytes are refused."""
    with pytest.raises(Refused) as refusal:
        verify_signature(parse_transaction(chain, raw))
    return refusal.value.code


@given(NAMES, NAMES, ARGUMENTS, st.binary(min_size=16, max_size=16), st.integers(0, 1 << 53))
def test_round_trip(
    contract: str, action: str, args: dict[str, Value], nonce: bytes, valid_until: int
) -> None:
    made = sign_transaction(CHAIN, SENDER, nonce, valid_until, (Call(contract, action, args),))
    read = parse_transaction(CHAIN, made.raw)
    verify_signature(read)
    assert read == made
    assert encode(read.body) + read.signature == made.raw


@given(st.binary(max_size=400))
def test_any_bytes_are_a_transaction_or_refused(raw: bytes) -> None:
    with pytest.raises(Refused):
        verify_signature(parse_transaction(CHAIN, raw))


@given(st.data())
def test_no_altered_byte_goes_unnoticed(data: st.DataObject) -> None:
    raw = bytearray(transaction().raw)
    raw[data.draw(st.integers(0, len(raw) - 1))] ^= data.draw(st.integers(1, 255))
    with pytest.raises(Refused):
        verify_signature(parse_transaction(CHAIN, bytes(raw)))


def test_the_id_ignores_the_signature_and_the_content_hash_does_not() -> None:
    good = transaction()
    forged = parse_transaction(CHAIN, good.raw[:-SIGNATURE_BYTES] + bytes(SIGNATURE_BYTES))
    assert forged.id == good.id
    assert forged.content_hash != good.content_hash


def test_a_hundred_calls_and_no_more() -> None:
    assert len(transaction(*[CALL] * CALLS_MAX).body.calls) == CALLS_MAX
    with pytest.raises(Refused):
        transaction(*[CALL] * (CALLS_MAX + 1))
    assert code_of(signed(body_of(calls=[]))) == "BAD_SHAPE"


def test_the_high_s_twin_is_refused() -> None:
    raw = transaction().raw
    s = int.from_bytes(raw[-32:], "big")
    assert code_of(raw[:-32] + (CURVE_ORDER - s).to_bytes(32, "big")) == "HIGH_S"


def test_a_foreign_chain_is_refused() -> None:
    raw = transaction().raw
    assert code_of(raw, Chain("other", CHAIN.genesis_hash)) == "FOREIGN_CHAIN"
    assert code_of(raw, Chain(CHAIN.chain_id, sha256(b"other genesis"))) == "FOREIGN_CHAIN"


def test_naming_our_network_does_not_help_a_foreign_signature() -> None:
    other = Chain("other", CHAIN.genesis_hash)
    raw = encode(body_of())
    assert code_of(raw + SENDER.sign(other.digest("transaction", raw))) == "BAD_SIGNATURE"


REFUSED = {
    "another version": (body_of(version=2), "BAD_SHAPE"),
    "a short nonce": (body_of(nonce=bytes(15)), "BAD_SHAPE"),
    "a short sender": (body_of(sender=bytes(32)), "BAD_SHAPE"),
    "a sender that is no point": (body_of(sender=b"\x02" + b"\xff" * 32), "BAD_KEY"),
    "another sender": (body_of(sender=key(3).public_key), "BAD_SIGNATURE"),
    "a negative time": (body_of(valid_until=-1), "BAD_SHAPE"),
    "a time beyond 2^53": (body_of(valid_until=(1 << 53) + 1), "BAD_SHAPE"),
    "an unknown kind of call": (body_of(calls=[[7, "a", "b", {}]]), "BAD_SHAPE"),
    "a nameless contract": (body_of(calls=[[0, "", "b", {}]]), "BAD_SHAPE"),
    "a name of 65 letters": (body_of(calls=[[0, "a" * 65, "b", {}]]), "BAD_SHAPE"),
    "arguments that are a list": (body_of(calls=[[0, "a", "b", []]]), "BAD_SHAPE"),
    "a float argument": (body_of(calls=[[0, "a", "b", {"x": 1.5}]]), "FLOAT"),
    "a whole float argument": (body_of(calls=[[0, "a", "b", {"x": 1.0}]]), "FLOAT"),
    "a deep argument": (body_of(calls=[[0, "a", "b", {"x": [[[[[[1]]]]]]}]]), "TOO_DEEP"),
    "one field more": ([*body_of(), None], "BAD_SHAPE"),
}


@pytest.mark.parametrize(("body", "code"), REFUSED.values(), ids=REFUSED.keys())
def test_bad_bodies_are_refused_even_well_signed(body: list[Any], code: str) -> None:
    assert code_of(signed(body)) == code


TWISTED = {
    "a non-minimal integer": (b"\x96\x01", b"\x96\xcc\x01", "NON_MINIMAL"),
    "a duplicate map key": (
        b"\x81\xa6amount\x01",
        b"\x82\xa6amount\x01\xa6amount\x01",
        "DUPLICATE_KEY",
    ),
    "unsorted keys": (b"\x81\xa6amount\x01", b"\x82\xa6amount\x01\xa1a\x01", "UNSORTED_KEYS"),
    "invalid UTF-8": (b"\xa7prepaid", b"\xa7prepai\xff", "BAD_UTF8"),
}


@pytest.mark.parametrize(("old", "new", "code"), TWISTED.values(), ids=TWISTED.keys())
def test_other_spellings_are_refused_even_well_signed(old: bytes, new: bytes, code: str) -> None:
    raw = encode(body_of())
    assert raw.count(old) == 1
    twisted = raw.replace(old, new)
    assert code_of(twisted + SENDER.sign(CHAIN.digest("transaction", twisted))) == code


def test_trailing_bytes_are_refused_even_signed() -> None:
    raw = encode(body_of()) + b"\0"
    assert code_of(raw + SENDER.sign(CHAIN.digest("transaction", raw))) == "TRAILING_BYTES"


def test_size_is_bounded() -> None:
    big = {"x": bytes(TRANSACTION_BYTES_MAX)}
    assert code_of(signed(body_of(calls=[[0, "a", "b", big]]))) == "TOO_LARGE"


def test_lifetime() -> None:
    assert lifetime_code(TIME_MS - 1, TIME_MS) == "TX_EXPIRED"
    assert lifetime_code(TIME_MS, TIME_MS) is None
    assert lifetime_code(TIME_MS + VALID_FOR_MS_MAX, TIME_MS) is None
    assert lifetime_code(TIME_MS + VALID_FOR_MS_MAX + 1, TIME_MS) == "TX_TOO_DISTANT"


@given(st.lists(st.builds(Call, NAMES, NAMES, ARGUMENTS), min_size=1, max_size=3))
def test_the_sender_stands_at_its_fixed_place(calls: list[Call]) -> None:
    assert sender_of(transaction(*calls).raw) == SENDER.public_key


@given(st.binary(max_size=80))
def test_whatever_names_no_sender_is_no_transaction(raw: bytes) -> None:
    if sender_of(raw) is None:
        assert code_of(raw) != "BAD_SIGNATURE"
    assert sender_of(transaction().raw[:46]) != SENDER.public_key


def test_many_calls_share_one_bound_of_lists_and_maps() -> None:
    calls = [[0, "prepaid", "consume", {"a": [[]] * 9}]] * CALLS_MAX
    assert code_of(signed(body_of(calls=calls))) == "TOO_MANY_VALUES"
    parse_transaction(CHAIN, signed(body_of(calls=calls[:50])))
