"""Sealed calls: they open in their own place only, and every other way is refused by code."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from hypothesis import given, settings
from hypothesis import strategies as st

from node.protocol import sealing
from node.protocol.domain import Chain
from node.protocol.encoding import Value, encode, sha256
from node.protocol.errors import Refused
from node.protocol.sealing import (
    PADDED_BYTES,
    EphemeralKey,
    EpochKey,
    Opener,
    open_as_reader,
    open_bytes,
    seal_bytes,
    seal_call,
)
from node.protocol.transaction import READERS_MAX, Call, SealedCall, Wrap
from tests.protocol.strategies import ARGUMENTS
from tests.protocol.support import (
    CALL,
    CHAIN,
    EPOCH,
    EPOCH_SECRET,
    HOLDER,
    NONCE,
    SENDER,
    VALID_UNTIL,
    key,
)

EPHEMERAL = EphemeralKey(key(30))
NEXT_SECRET = key(22)
PLACE: dict[str, Any] = {
    "sender": SENDER.public_key,
    "nonce": NONCE,
    "valid_until": VALID_UNTIL,
    "index": 0,
}


def opener() -> Opener:
    """The committee during a change of epochs: it opens 1 and 2."""
    return Opener(CHAIN, {1: EPOCH_SECRET, 2: NEXT_SECRET})


def seal(call: Call = CALL, **changes: Any) -> SealedCall:
    """`call` sealed in the usual place."""
    return seal_call(CHAIN, EPOCH, call=call, ephemeral=EPHEMERAL, **PLACE | changes)


def code_of(sealed: SealedCall, chain: Chain = CHAIN, **changes: Any) -> str:
    """The code with which opening is refused."""
    with pytest.raises(Refused) as refusal:
        Opener(chain, {1: EPOCH_SECRET, 2: NEXT_SECRET}).open(sealed, **PLACE | changes)
    return refusal.value.code


@given(
    st.text(min_size=1, max_size=64),
    st.text(min_size=1, max_size=64),
    ARGUMENTS,
    st.integers(0, 99),
)
def test_round_trip(contract: str, action: str, args: dict[str, Value], index: int) -> None:
    call = Call(contract, action, args)
    sealed = seal(call, index=index)
    assert opener().open(sealed, **PLACE | {"index": index}) == call
    assert len(sealed.ciphertext) - 16 in PADDED_BYTES


def test_the_ciphertext_tells_no_more_than_a_size_class() -> None:
    small = seal(Call("a", "b", {}))
    larger = seal(Call("prepaid", "consume", {"card": bytes(16), "amount": 1 << 62}))
    assert len(small.ciphertext) == len(larger.ciphertext)
    assert b"prepaid" not in larger.ciphertext


def test_named_readers_open_it_and_strangers_do_not() -> None:
    sealed = seal(readers=(HOLDER.public_key,))
    assert open_as_reader(CHAIN, HOLDER, sealed, **PLACE) == CALL
    assert opener().open(sealed, **PLACE) == CALL
    with pytest.raises(Refused) as refusal:
        open_as_reader(CHAIN, key(5), sealed, **PLACE)
    assert refusal.value.code == "BAD_ENVELOPE"


def test_as_many_readers_as_a_call_may_carry() -> None:
    readers = tuple(key(40 + n).public_key for n in range(READERS_MAX - 1))
    assert len(seal(readers=readers).wraps) == READERS_MAX


COPIES = {
    "another sender": {"sender": HOLDER.public_key},
    "another nonce": {"nonce": bytes(16)},
    "another valid_until": {"valid_until": VALID_UNTIL + 1},
    "another call index": {"index": 1},
}


@pytest.mark.parametrize("place", COPIES.values(), ids=COPIES.keys())
def test_a_seal_copied_elsewhere_is_refused(place: dict[str, Any]) -> None:
    assert code_of(seal(), **place) == "BAD_ENVELOPE"


def test_a_seal_copied_to_another_chain_is_refused() -> None:
    assert code_of(seal(), Chain("other", CHAIN.genesis_hash)) == "BAD_ENVELOPE"
    assert code_of(seal(), Chain(CHAIN.chain_id, sha256(b"other"))) == "BAD_ENVELOPE"


def test_a_seal_copied_to_another_epoch_is_refused() -> None:
    unknown = msgspec.structs.replace(seal(), epoch=3)
    assert code_of(unknown) == "WRONG_EPOCH"
    # Even a wrap for the other epoch's key does not move the ciphertext there.
    both = seal(readers=(NEXT_SECRET.public_key,))
    assert open_as_reader(CHAIN, NEXT_SECRET, both, **PLACE) == CALL
    assert code_of(msgspec.structs.replace(both, epoch=2)) == "BAD_ENVELOPE"


def test_every_part_of_the_envelope_is_bound() -> None:
    sealed = seal(readers=(HOLDER.public_key,))
    first, second = sealed.wraps
    changes: list[dict[str, Any]] = [
        {"wraps": (first,)},
        {"wraps": (second,)},
        {"wraps": (second, first)},
        {"wraps": (*sealed.wraps, Wrap(key(5).public_key, bytes(12), bytes(48)))},
        {"wraps": (msgspec.structs.replace(first, nonce=bytes(12)), second)},
        {"wraps": (msgspec.structs.replace(first, ciphertext=bytes(48)), second)},
        {"key_commitment": bytes(32)},
        {"ciphertext": bytes(16)},
        {"ciphertext": sealed.ciphertext[:-1]},
        {"ciphertext": bytes(len(sealed.ciphertext))},
        {"ephemeral": key(31).public_key},
        {"ephemeral": b"\x02" + b"\xff" * 32},
        {"ephemeral": bytes(33)},
    ]
    assert opener().open(sealed, **PLACE) == CALL
    for change in changes:
        assert code_of(msgspec.structs.replace(sealed, **change)) == "BAD_ENVELOPE", change


@settings(max_examples=60)
@given(st.data())
def test_any_altered_envelope_is_refused(data: st.DataObject) -> None:
    raw = bytearray(encode(seal()))
    raw[data.draw(st.integers(0, len(raw) - 1))] ^= data.draw(st.integers(1, 255))
    try:
        altered = msgspec.msgpack.decode(bytes(raw), type=SealedCall)
    except msgspec.MsgspecError:
        return
    assert code_of(altered) in {"BAD_ENVELOPE", "WRONG_EPOCH"}


def reseal(payload: bytes, content_key: bytes = bytes(32)) -> SealedCall:
    """What a client can make that does not follow the rules: any payload, well encrypted."""
    wrap = sealing._wrap(EPHEMERAL, EPOCH.public_key, content_key)
    commitment = sealing._commitment(content_key)
    shell = SealedCall(1, EPHEMERAL.public_key, (wrap,), commitment, b"")
    aad = sealing._associated_data(CHAIN, shell, **PLACE)
    ciphertext = AESGCM(content_key).encrypt(bytes(12), payload, aad)
    return msgspec.structs.replace(shell, ciphertext=ciphertext)


def padded(content: bytes, size: int, filler: bytes = b"\0") -> bytes:
    """A payload with its length in front and padding behind."""
    return (len(content).to_bytes(4, "big") + content).ljust(size, filler)


GOOD = encode(["a", "b", {}])
PAYLOADS = {
    "nothing": b"",
    "no padding": padded(GOOD, 0),
    "padding that is not zero": padded(GOOD, 256, b"\x01"),
    "a larger size than needed": padded(GOOD, 1_024),
    "a size of our own": padded(GOOD, 300),
    "a length beyond the payload": (1 << 31).to_bytes(4, "big") + bytes(252),
    "no msgpack": padded(b"\xc1", 256),
    "trailing bytes": padded(GOOD + b"\0", 256),
    "another shape": padded(encode({"contract": "a"}), 256),
    "a nameless action": padded(encode(["a", "", {}]), 256),
    "a float": padded(encode(["a", "b", {"x": 1.5}]), 256),
    "too deep": padded(encode(["a", "b", {"x": [[[[[[1]]]]]]}]), 256),
    "an integer as key": padded(bytes.fromhex("93a161a1628101 02".replace(" ", "")), 256),
}


def test_the_bare_hands_used_below_make_good_seals() -> None:
    assert opener().open(reseal(padded(GOOD, 256)), **PLACE) == Call("a", "b", {})


@pytest.mark.parametrize("payload", PAYLOADS.values(), ids=PAYLOADS.keys())
def test_bad_contents_are_bad_envelopes(payload: bytes) -> None:
    assert code_of(reseal(payload)) == "BAD_ENVELOPE"


def test_the_commitment_is_checked_even_where_the_cipher_opens() -> None:
    content_key = bytes(32)
    wrap = sealing._wrap(EPHEMERAL, EPOCH.public_key, content_key)
    shell = SealedCall(1, EPHEMERAL.public_key, (wrap,), sha256(b"other"), b"")
    aad = sealing._associated_data(CHAIN, shell, **PLACE)
    ciphertext = AESGCM(content_key).encrypt(bytes(12), padded(GOOD, 256), aad)
    sealed = msgspec.structs.replace(shell, ciphertext=ciphertext)
    with pytest.raises(Refused) as refusal:
        opener().open(sealed, **PLACE)
    assert refusal.value.code == "BAD_ENVELOPE"
    assert "commitment" in refusal.value.message


def test_too_large_a_call_is_not_sealed() -> None:
    with pytest.raises(Refused) as refusal:
        seal(Call("a", "b", {"x": bytes(4_096)}))
    assert refusal.value.code == "TOO_LARGE"


def test_a_recipient_that_is_no_key_is_refused() -> None:
    with pytest.raises(Refused) as refusal:
        seal_call(CHAIN, EpochKey(1, bytes(33)), call=CALL, ephemeral=EPHEMERAL, **PLACE)
    assert refusal.value.code == "BAD_KEY"


def test_the_exchange_is_computed_once_for_an_ephemeral_key(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    computed = []
    derive = sealing._derive_cipher

    def counted(*args: bytes) -> AESGCM:
        computed.append(args)
        return derive(*args)

    monkeypatch.setattr(sealing, "_derive_cipher", counted)
    committee, ephemeral = opener(), EphemeralKey()
    for index in range(20):
        sealed = seal_call(CHAIN, EPOCH, call=CALL, ephemeral=ephemeral, **PLACE | {"index": index})
        assert committee.open(sealed, **PLACE | {"index": index}) == CALL
    assert len(computed) == 2  # once to seal, once to open


def test_the_memory_of_exchanges_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sealing, "EXCHANGES_MAX", 4)
    exchanges = sealing._Exchanges()
    for number in range(10):
        other = key(number).public_key
        exchanges.cipher(EPOCH_SECRET, other, other, EPOCH.public_key)
        exchanges.cipher(EPOCH_SECRET, key(0).public_key, key(0).public_key, EPOCH.public_key)
    kept = {pair[0] for pair in exchanges._ciphers}
    assert kept == {key(number).public_key for number in (0, 7, 8, 9)}


@given(st.binary(max_size=100), st.binary(max_size=20))
def test_sealed_bytes_round_trip(plaintext: bytes, aad: bytes) -> None:
    sealed = seal_bytes(HOLDER.public_key, key(30), plaintext, aad)
    assert open_bytes(HOLDER, sealed, aad) == plaintext


def test_sealed_bytes_open_for_nobody_else_and_unaltered_only() -> None:
    sealed = seal_bytes(HOLDER.public_key, key(30), b"secret", b"aad")
    altered = bytes([*sealed[:-1], sealed[-1] ^ 1])
    for recipient, content, aad in [
        (SENDER, sealed, b"aad"),
        (HOLDER, sealed, b"other"),
        (HOLDER, altered, b"aad"),
        (HOLDER, sealed[:50], b"aad"),
        (HOLDER, bytes(80), b"aad"),
        (HOLDER, b"", b"aad"),
    ]:
        with pytest.raises(Refused) as refusal:
            open_bytes(recipient, content, aad)
        assert refusal.value.code == "BAD_ENVELOPE"
