"""Signatures and key files against the `ecdsa` package and OpenSSL."""

from __future__ import annotations

import hashlib
import shutil
import subprocess

import ecdsa
import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import load_pem_private_key
from ecdsa.util import sigencode_string_canonize
from hypothesis import given, settings
from hypothesis import strategies as st

from node.protocol.encoding import sha256
from node.protocol.errors import Refused
from node.protocol.keys import (
    CURVE_ORDER,
    PrivateKey,
    is_valid,
    verify,
)
from tests.protocol.support import key

DIGEST = sha256(b"message")
SECRETS = st.integers(1, CURVE_ORDER - 1).map(lambda number: number.to_bytes(32, "big"))


def code_of(public_key: bytes, digest: bytes, signature: bytes) -> str:
    """The code with which `verify` refuses."""
    with pytest.raises(Refused) as refusal:
        verify(public_key, digest, signature)
    return refusal.value.code


@settings(max_examples=40)
@given(SECRETS, st.binary(min_size=32, max_size=32))
def test_both_libraries_sign_byte_for_byte_alike(secret: bytes, digest: bytes) -> None:
    own = PrivateKey(secret)
    other = ecdsa.SigningKey.from_string(secret, curve=ecdsa.SECP256k1)
    expected = other.sign_digest_deterministic(
        digest, hashfunc=hashlib.sha256, sigencode=sigencode_string_canonize
    )
    assert own.sign(digest) == expected
    assert own.public_key == other.verifying_key.to_string("compressed")


@settings(max_examples=25)
@given(SECRETS, st.binary(min_size=32, max_size=32), st.integers(0, 511))
def test_both_libraries_judge_alike(secret: bytes, digest: bytes, bit: int) -> None:
    own = PrivateKey(secret)
    other = ecdsa.VerifyingKey.from_string(own.public_key, curve=ecdsa.SECP256k1)
    signature = own.sign(digest)
    assert other.verify_digest(signature, digest)
    assert is_valid(own.public_key, digest, signature)
    altered = bytearray(signature)
    altered[bit // 8] ^= 1 << bit % 8
    assert not is_valid(own.public_key, digest, bytes(altered))
    with pytest.raises(ecdsa.BadSignatureError):
        other.verify_digest(bytes(altered), digest)


def test_the_high_s_twin_is_refused_although_others_accept_it() -> None:
    signature = key(1).sign(DIGEST)
    s = int.from_bytes(signature[32:], "big")
    twin = signature[:32] + (CURVE_ORDER - s).to_bytes(32, "big")
    other = ecdsa.VerifyingKey.from_string(key(1).public_key, curve=ecdsa.SECP256k1)
    assert other.verify_digest(twin, DIGEST)
    assert code_of(key(1).public_key, DIGEST, twin) == "HIGH_S"


def test_wrong_signatures_and_keys_are_refused() -> None:
    public_key, signature = key(1).public_key, key(1).sign(DIGEST)
    verify(public_key, DIGEST, signature)
    assert code_of(key(2).public_key, DIGEST, signature) == "BAD_SIGNATURE"
    assert code_of(public_key, sha256(b"other"), signature) == "BAD_SIGNATURE"
    assert code_of(public_key, DIGEST, signature[:-1]) == "BAD_SIGNATURE"
    assert code_of(public_key, DIGEST, bytes(64)) == "BAD_SIGNATURE"
    assert code_of(public_key, DIGEST, b"\xff" * 64) == "BAD_SIGNATURE"
    assert code_of(b"\x04" + public_key[1:], DIGEST, signature) == "BAD_KEY"
    assert code_of(b"\x02" + b"\xff" * 32, DIGEST, signature) == "BAD_KEY"
    assert code_of(b"", DIGEST, signature) == "BAD_KEY"


@pytest.mark.parametrize("secret", [b"", bytes(32), b"\xff" * 32, bytes(33)])
def test_impossible_private_keys_are_refused(secret: bytes) -> None:
    with pytest.raises(Refused) as refusal:
        PrivateKey(secret)
    assert refusal.value.code == "BAD_KEY"


def test_exchange_agrees_on_both_sides() -> None:
    assert key(1).shared_secret(key(2).public_key) == key(2).shared_secret(key(1).public_key)
    with pytest.raises(Refused):
        key(1).shared_secret(b"\x02" + b"\xff" * 32)


def test_derived_keys_are_steady_and_distinct() -> None:
    seed = bytes(32)
    first = PrivateKey.derive(seed, "customer/1")
    assert first.public_key == PrivateKey.derive(seed, "customer/1").public_key
    assert first.public_key != PrivateKey.derive(seed, "customer/2").public_key
    assert first.public_key != PrivateKey.derive(sha256(seed), "customer/1").public_key


def test_fresh_keys_differ() -> None:
    assert PrivateKey.generate().public_key != PrivateKey.generate().public_key


def test_the_secret_is_not_in_the_repr() -> None:
    assert key(1).secret.hex() not in repr(key(1))
    assert key(1).public_key.hex() in repr(key(1))


def test_pem_round_trip_and_other_readers() -> None:
    pem = key(1).to_pem()
    assert PrivateKey.from_pem(pem).public_key == key(1).public_key
    loaded = load_pem_private_key(pem.encode(), None)
    assert isinstance(loaded, ec.EllipticCurvePrivateKey)
    assert isinstance(loaded.curve, ec.SECP256K1)
    assert loaded.private_numbers().private_value == int.from_bytes(key(1).secret, "big")


def test_openssl_reads_our_pem() -> None:
    # The command is everywhere in practice; where it is not, cryptography's OpenSSL answered above.
    command = shutil.which("openssl")
    if command is None:
        return
    done = subprocess.run(
        [command, "pkey", "-noout", "-text"],
        input=key(1).to_pem(),
        capture_output=True,
        text=True,
        check=True,
        timeout=10,
    )
    assert "secp256k1" in done.stdout
    digits = "".join(done.stdout.split("priv:")[1].split("pub:")[0].split()).replace(":", "")
    assert digits.removeprefix("00") == key(1).secret.hex().removeprefix("00")


PEMS_REFUSED = {
    "nothing": "",
    "not PEM": "hello",
    "not base64": "-----BEGIN PRIVATE KEY-----\n!!!!\n-----END PRIVATE KEY-----\n",
    "a public key": ecdsa.SigningKey.from_string(key(1).secret, ecdsa.SECP256k1)
    .verifying_key.to_pem()
    .decode(),
    "another curve": ecdsa.SigningKey.generate(ecdsa.NIST256p).to_pem().decode(),
    "an Edwards curve": ecdsa.SigningKey.generate(ecdsa.Ed25519).to_pem(format="pkcs8").decode(),
    "cut short": key(1).to_pem()[:90] + "\n-----END PRIVATE KEY-----\n",
}


@pytest.mark.parametrize("pem", PEMS_REFUSED.values(), ids=PEMS_REFUSED.keys())
def test_other_pem_is_refused(pem: str) -> None:
    with pytest.raises(Refused) as refusal:
        PrivateKey.from_pem(pem)
    assert refusal.value.code == "BAD_KEY"
