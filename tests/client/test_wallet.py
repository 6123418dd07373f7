"""The wallet: named, encrypted, private key files, and where their passwords come from."""

from __future__ import annotations

import io
import json
from pathlib import Path

import pytest

from client.wallet import Wallet, password_source
from node.protocol.errors import Misconfigured
from node.protocol.keys import PrivateKey
from node.protocol.password import PASSWORD_VARIABLE
from tests.protocol.support import key

PASSWORD = b"a long enough password"


def _code(error: pytest.ExceptionInfo[Misconfigured]) -> str:
    return error.value.code


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A key folder of a dev network, whose random password lies beside the keys."""
    keys = tmp_path / "keys"
    keys.mkdir()
    password = keys / ".password"
    password.write_bytes(PASSWORD + b"\n")
    password.chmod(0o600)
    return keys


@pytest.fixture(autouse=True)
def _no_variable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(PASSWORD_VARIABLE, raising=False)


def test_a_key_survives_the_round_trip(folder: Path) -> None:
    wallet = Wallet(folder)
    entry = wallet.store("alice", key(1))
    assert entry.public_key == key(1).public_key.hex()
    assert entry.path.stat().st_mode & 0o777 == 0o600
    assert key(1).secret.hex() not in entry.path.read_text()
    assert wallet.open("alice").secret == key(1).secret
    assert [one.name for one in wallet.entries()] == ["alice"]


def test_a_seed_is_no_key(folder: Path) -> None:
    wallet = Wallet(folder)
    wallet.store_seed("replay", b"s" * 32)
    assert wallet.open_seed("replay") == b"s" * 32
    assert wallet.entry("replay").kind == "seed"
    with pytest.raises(Misconfigured) as error:
        wallet.open("replay")
    assert _code(error) == "BAD_KEYSTORE"


def test_the_public_half_needs_no_password(folder: Path) -> None:
    Wallet(folder).store("alice", key(1))

    def refuse(_: bool) -> bytes:
        raise AssertionError("asked for the password")

    assert Wallet(folder, refuse).entry("alice").public_key == key(1).public_key.hex()


def test_a_wrong_password_opens_nothing(folder: Path) -> None:
    Wallet(folder).store("alice", key(1))
    with pytest.raises(Misconfigured) as error:
        Wallet(folder, lambda _: b"another password").open("alice")
    assert _code(error) == "BAD_PASSWORD"


@pytest.mark.parametrize("part", ["name", "public_key", "salt", "nonce", "n"])
def test_an_altered_header_opens_nothing(folder: Path, part: str) -> None:
    path = Wallet(folder).store("alice", key(1)).path
    content = json.loads(path.read_text())
    other = {"name": "mallory", "public_key": key(2).public_key.hex(), "n": 1 << 15}
    content["header"][part] = other[part] if part in other else content["header"][part][::-1]
    path.write_text(json.dumps(content))
    with pytest.raises(Misconfigured) as error:
        Wallet(folder).open("alice")
    assert _code(error) == "BAD_PASSWORD"


@pytest.mark.parametrize("content", ["", "{", "[]", "{}", '{"header": 5}', "\0" * 50, "x" * 9_999])
def test_a_damaged_file_is_said_to_be_damaged(folder: Path, content: str) -> None:
    Wallet(folder).store("alice", key(1)).path.write_text(content)
    with pytest.raises(Misconfigured) as error:
        Wallet(folder).open("alice")
    assert _code(error) == "BAD_KEYSTORE"


@pytest.mark.parametrize("mode", [0o644, 0o640, 0o602])
def test_a_file_open_to_others_is_not_used(folder: Path, mode: int) -> None:
    path = Wallet(folder).store("alice", key(1)).path
    path.chmod(mode)
    with pytest.raises(Misconfigured) as error:
        Wallet(folder).open("alice")
    assert _code(error) == "OPEN_MODE"
    assert f"chmod 600 {path}" in error.value.message


def test_nothing_is_overwritten(folder: Path) -> None:
    wallet = Wallet(folder)
    wallet.store("alice", key(1))
    with pytest.raises(Misconfigured) as error:
        wallet.store("alice", key(2))
    assert _code(error) == "EXISTS"
    assert wallet.open("alice").secret == key(1).secret


@pytest.mark.parametrize("name", ["", "../alice", "Alice", "a b", ".hidden", "a" * 33, "a/b", "ä"])
def test_a_name_is_never_a_path(folder: Path, name: str) -> None:
    with pytest.raises(Misconfigured) as error:
        Wallet(folder).store(name, key(1))
    assert _code(error) == "BAD_NAME"


def test_an_absent_key_is_named(folder: Path) -> None:
    with pytest.raises(Misconfigured) as error:
        Wallet(folder).open("nobody")
    assert _code(error) == "NO_KEY"
    assert "nobody" in error.value.message


def test_the_variable_goes_before_the_dev_password(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = tmp_path / "password"
    other.write_text("quite another password\nand a second line\n")
    monkeypatch.setenv(PASSWORD_VARIABLE, str(other))
    assert password_source(folder)(False) == b"quite another password"


def test_an_empty_password_file_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    empty = tmp_path / "password"
    empty.touch()
    monkeypatch.setenv(PASSWORD_VARIABLE, str(empty))
    with pytest.raises(Misconfigured) as error:
        password_source(tmp_path)(False)
    assert _code(error) == "NO_PASSWORD"


def test_a_dev_password_open_to_others_is_refused(folder: Path) -> None:
    (folder / ".password").chmod(0o644)
    with pytest.raises(Misconfigured) as error:
        password_source(folder)(False)
    assert _code(error) == "OPEN_MODE"


def test_without_a_terminal_nothing_is_asked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO())
    with pytest.raises(Misconfigured) as error:
        password_source(tmp_path)(False)
    assert _code(error) == "NO_PASSWORD"
    assert PASSWORD_VARIABLE in error.value.message


class _Terminal:
    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize(
    ("typed", "code"),
    [(["short"], "WEAK_PASSWORD"), (["long enough", "but different"], "NO_PASSWORD")],
)
def test_a_new_password_is_typed_twice(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, typed: list[str], code: str
) -> None:
    monkeypatch.setattr("sys.stdin", _Terminal())
    monkeypatch.setattr("getpass.getpass", lambda _: typed.pop(0))
    with pytest.raises(Misconfigured) as error:
        Wallet(tmp_path).store("alice", PrivateKey.generate())
    assert _code(error) == code
    assert not (tmp_path / "alice.json").exists()


def test_a_new_password_in_a_file_is_not_weaker(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "password"
    file.write_text("short\n")
    monkeypatch.setenv(PASSWORD_VARIABLE, str(file))
    with pytest.raises(Misconfigured) as error:
        Wallet(tmp_path / "keys").store("alice", PrivateKey.generate())
    assert _code(error) == "WEAK_PASSWORD"
    assert password_source(tmp_path)(False) == b"short"


def test_a_chosen_password_is_stretched_in_full(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.stdin", _Terminal())
    monkeypatch.setattr("getpass.getpass", lambda _: "one of my own")
    path = Wallet(tmp_path).store("alice", key(1)).path
    header = json.loads(path.read_text())["header"]
    assert (header["kdf"], header["n"], header["r"], header["p"]) == ("scrypt", 1 << 17, 8, 1)
    assert Wallet(tmp_path).open("alice").secret == key(1).secret
