"""Payment passwords at rest: found right, found wrong, and worth nothing without the pepper."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from client.payments.vault import PEPPER_BYTES, Vault, pepper_of
from node.protocol.errors import Misconfigured, Refused

USER, OTHER = b"u" * 16, b"o" * 16


@pytest.fixture
def vault(tmp_path: Path) -> Iterator[Vault]:
    with Vault(tmp_path / "passwords.sqlite", b"p" * PEPPER_BYTES) as opened:
        yield opened


def test_r4_15_a_password_is_six_digits_and_its_users(vault: Vault) -> None:
    assert not vault.knows(USER)
    assert not vault.is_right(USER, "271828")
    vault.set(USER, "271828")
    assert vault.knows(USER)
    assert vault.is_right(USER, "271828")
    assert not vault.is_right(USER, "271829")
    assert not vault.is_right(OTHER, "271828")
    vault.set(USER, "314159")
    assert not vault.is_right(USER, "271828")
    assert vault.is_right(USER, "314159")


@pytest.mark.parametrize(
    "bad", ["", "12345", "1234567", "12345a", "１２３４５６", "12345\n", " 12345"]
)
def test_other_passwords_are_refused(vault: Vault, bad: str) -> None:
    with pytest.raises(Refused, match="BAD_ARG"):
        vault.set(USER, bad)


def test_the_table_alone_is_worth_nothing(tmp_path: Path) -> None:
    path = tmp_path / "passwords.sqlite"
    with Vault(path, b"p" * PEPPER_BYTES) as vault:
        vault.set(USER, "271828")
    assert b"271828" not in path.read_bytes()
    assert b"argon2id" in path.read_bytes()
    assert path.stat().st_mode & 0o077 == 0
    with Vault(path, b"q" * PEPPER_BYTES) as stolen:
        assert not stolen.is_right(USER, "271828")


def test_an_attempt_counts_once_and_what_is_owed_is_kept(tmp_path: Path) -> None:
    path = tmp_path / "passwords.sqlite"
    with Vault(path, b"p" * PEPPER_BYTES) as vault:
        assert vault.take(b"a" * 16)
        assert not vault.take(b"a" * 16)
        vault.owe(USER, b"one")
        vault.owe(USER, b"two")
    with Vault(path, b"p" * PEPPER_BYTES) as again:
        assert not again.take(b"a" * 16)
        assert again.owed(USER) == b"two"
        again.settle(USER)
        assert again.owed(USER) is None


def test_the_pepper_is_made_once_for_its_owner_alone(tmp_path: Path) -> None:
    path = tmp_path / "secret" / "pepper"
    pepper = pepper_of(path)
    assert len(pepper) == PEPPER_BYTES
    assert pepper_of(path) == pepper
    assert path.stat().st_mode & 0o077 == 0
    path.write_text("no hex")
    with pytest.raises(Misconfigured, match="BAD_PEPPER"):
        pepper_of(path)


def test_a_file_that_is_no_vault_is_named(tmp_path: Path) -> None:
    path = tmp_path / "passwords.sqlite"
    path.write_bytes(b"something else" * 100)
    with pytest.raises(Misconfigured, match="BAD_VAULT"):
        Vault(path, b"p" * PEPPER_BYTES)
