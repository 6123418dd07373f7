"""Key files: they open with their password, unaltered, within bounds, and are never overwritten."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from node.protocol.errors import Misconfigured
from node.protocol.keystore import (
    KEYSTORE_BYTES_MAX,
    SCRYPT_N,
    SCRYPT_N_DEV,
    decrypt_key,
    decrypt_seed,
    encrypt_key,
    encrypt_seed,
    read_header,
    read_private_file,
    write_private_file,
)
from tests.protocol.support import key

PASSWORD = "pässword".encode()
TEXT = encrypt_key(key(1), "alice", PASSWORD, SCRYPT_N_DEV)


def code_of(text: str | bytes, password: bytes = PASSWORD) -> str:
    """The code with which a key file is refused."""
    with pytest.raises(Misconfigured) as error:
        decrypt_key(text, password, "alice.json")
    assert error.value.message.startswith("alice.json: ")
    assert "\n" not in error.value.message
    return error.value.code


def test_round_trip() -> None:
    assert decrypt_key(TEXT, PASSWORD, "file").public_key == key(1).public_key
    header = read_header(TEXT, "file")
    assert (header.name, header.public_key) == ("alice", key(1).public_key.hex())
    assert key(1).secret.hex() not in TEXT


def test_a_persons_password_is_stretched_at_full_cost() -> None:
    text = encrypt_key(key(1), "alice", PASSWORD)
    assert read_header(text, "file").n == SCRYPT_N == 1 << 17
    assert decrypt_key(text, PASSWORD, "file").secret == key(1).secret


def test_seeds_and_keys_are_not_confused() -> None:
    seed = encrypt_seed(bytes(32), "replay", PASSWORD, SCRYPT_N_DEV)
    assert decrypt_seed(seed, PASSWORD, "file") == bytes(32)
    assert code_of(seed) == "BAD_KEYSTORE"
    with pytest.raises(Misconfigured):
        decrypt_seed(TEXT, PASSWORD, "file")


def test_another_password() -> None:
    assert code_of(TEXT, b"") == "BAD_PASSWORD"
    assert code_of(TEXT, PASSWORD + b"\n") == "BAD_PASSWORD"


def test_two_files_of_one_key_share_nothing() -> None:
    other = json.loads(encrypt_key(key(1), "alice", PASSWORD, SCRYPT_N_DEV))
    own = json.loads(TEXT)
    assert own["header"]["salt"] != other["header"]["salt"]
    assert own["header"]["nonce"] != other["header"]["nonce"]
    assert own["ciphertext"] != other["ciphertext"]


def _header(**changes: Any) -> Callable[[dict[str, Any]], None]:
    return lambda content: content["header"].update(changes)


ALTERED: dict[str, tuple[Callable[[dict[str, Any]], None], str]] = {
    "another name": (_header(name="bob"), "BAD_PASSWORD"),
    "another public key": (_header(public_key=key(2).public_key.hex()), "BAD_PASSWORD"),
    "another salt": (_header(salt="00" * 16), "BAD_PASSWORD"),
    "another nonce": (_header(nonce="00" * 12), "BAD_PASSWORD"),
    "another ciphertext": (lambda c: c.update(ciphertext="00" * 48), "BAD_PASSWORD"),
    "a cost that is no power of two": (_header(n=SCRYPT_N_DEV + 1), "BAD_PASSWORD"),
    "a cost that asks for all memory": (_header(n=1 << 30), "BAD_KEYSTORE"),
    "no cost": (_header(n=2), "BAD_KEYSTORE"),
    "more memory by r": (_header(r=1 << 20), "BAD_KEYSTORE"),
    "another kdf": (_header(kdf="md5"), "BAD_KEYSTORE"),
    "another cipher": (_header(cipher="none"), "BAD_KEYSTORE"),
    "a ciphertext cut short": (lambda c: c.update(ciphertext="00"), "BAD_KEYSTORE"),
    "a field more": (lambda c: c.update(extra=1), "BAD_KEYSTORE"),
    "a name that is a path": (_header(name="../../etc/passwd"), "BAD_KEYSTORE"),
}


@pytest.mark.parametrize(("change", "code"), ALTERED.values(), ids=ALTERED.keys())
def test_altered_files_are_refused(change: Callable[[dict[str, Any]], None], code: str) -> None:
    content = json.loads(TEXT)
    change(content)
    assert code_of(json.dumps(content)) == code


@pytest.mark.parametrize("text", [b"", b"{}", b"[]", b"null", b"\xff", b"{" * 3_000])
def test_other_files_are_refused(text: bytes) -> None:
    assert code_of(text) == "BAD_KEYSTORE"


def test_files_are_private_and_never_overwritten(tmp_path: Path) -> None:
    path = tmp_path / "alice.json"
    write_private_file(path, TEXT)
    assert path.stat().st_mode & 0o777 == 0o600
    assert read_private_file(path).decode() == TEXT
    with pytest.raises(Misconfigured) as exists:
        write_private_file(path, "other")
    assert exists.value.code == "EXISTS"
    assert path.read_text() == TEXT


def test_unreadable_files(tmp_path: Path) -> None:
    for path, code in [(tmp_path / "none", "NO_FILE"), (tmp_path, "NO_FILE")]:
        with pytest.raises(Misconfigured) as error:
            read_private_file(path)
        assert error.value.code == code
    with pytest.raises(Misconfigured) as unwritable:
        write_private_file(tmp_path / "no" / "folder", "x")
    assert unwritable.value.code == "NOT_WRITABLE"
    big = tmp_path / "big"
    big.write_bytes(bytes(KEYSTORE_BYTES_MAX + 1))
    with pytest.raises(Misconfigured) as large:
        read_private_file(big)
    assert large.value.code == "BAD_KEYSTORE"
