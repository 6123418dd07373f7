"""Named keys in a folder: one encrypted file each, readable by the owner alone.

The format is `node.protocol.keystore`'s. Passwords come from the file that GROAT_PASSWORD_FILE
names, from a dev network's own `.password`, or from a prompt; never from the command line or the
environment itself, which other processes can read.
"""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from node.protocol.errors import Misconfigured
from node.protocol.keys import PrivateKey
from node.protocol.keystore import (
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
from node.protocol.password import PASSWORD_VARIABLE, find_password

DEV_PASSWORD_FILE = ".password"  # noqa: S105
_SUFFIX = ".json"
_NAME = re.compile(r"[a-z0-9][a-z0-9_.-]{0,31}")
_OTHERS = stat.S_IRWXG | stat.S_IRWXO

PasswordSource = Callable[[bool], bytes]
"""Gives the password; the argument says whether it is a new one, to be typed twice."""


class KeyEntry(NamedTuple):
    """What a key file says without its password; `public_key` is hex, empty for a seed."""

    name: str
    kind: str
    public_key: str
    path: Path


class Wallet:
    """The key files of one folder, made on first use."""

    def __init__(self, folder: Path, password: PasswordSource | None = None) -> None:
        self.folder = folder
        self._password = password or password_source(folder)

    def entries(self) -> list[KeyEntry]:
        """All keys by name; raises `Misconfigured` for a file that is none."""
        if not self.folder.is_dir():
            return []
        names = sorted(path.stem for path in self.folder.glob("*" + _SUFFIX))
        return [self.entry(name) for name in names]

    def entry(self, name: str) -> KeyEntry:
        """Raises `Misconfigured` `NO_KEY`, `BAD_NAME`, `OPEN_MODE` or `BAD_KEYSTORE`."""
        header = read_header(self._read(name), str(self._path(name)))
        return KeyEntry(name, header.kind, header.public_key, self._path(name))

    def has(self, name: str) -> bool:
        """Whether there is a file of this name."""
        return self._path(name).exists()

    def open(self, name: str) -> PrivateKey:
        """The private key; raises as `entry` does, and `BAD_PASSWORD`."""
        content = self._read(name)
        return decrypt_key(content, self._password(False), str(self._path(name)))

    def open_seed(self, name: str) -> bytes:
        """The 32-byte seed of derived keys; raises as `open` does."""
        content = self._read(name)
        return decrypt_seed(content, self._password(False), str(self._path(name)))

    def store(self, name: str, key: PrivateKey) -> KeyEntry:
        """Encrypt and write a key; raises `Misconfigured` `EXISTS` rather than overwrite."""
        path = self._new_path(name)
        write_private_file(path, encrypt_key(key, name, self._password(True), self._cost))
        return KeyEntry(name, "key", key.public_key.hex(), path)

    def store_seed(self, name: str, seed: bytes) -> KeyEntry:
        """Encrypt and write a 32-byte seed; raises as `store` does."""
        path = self._new_path(name)
        write_private_file(path, encrypt_seed(seed, name, self._password(True), self._cost))
        return KeyEntry(name, "seed", "", path)

    @property
    def _cost(self) -> int:
        # A random password needs no stretching; one that a person chose needs all of it.
        generated = (self.folder / DEV_PASSWORD_FILE).exists()
        return SCRYPT_N_DEV if generated and PASSWORD_VARIABLE not in os.environ else SCRYPT_N

    def _path(self, name: str) -> Path:
        if not _NAME.fullmatch(name):
            raise Misconfigured(
                "BAD_NAME", f"{name!r} is no key name; use up to 32 of a-z 0-9 . _ -", name=name
            )
        return self.folder / (name + _SUFFIX)

    def _new_path(self, name: str) -> Path:
        path = self._path(name)
        if path.exists():
            raise Misconfigured("EXISTS", f"{path} exists; nothing is overwritten")
        self.folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        return path

    def _read(self, name: str) -> bytes:
        path = self._path(name)
        if not path.exists():
            raise Misconfigured(
                "NO_KEY", f"there is no key {name!r} in {self.folder}; see `groat key list`"
            )
        check_private(path)
        return read_private_file(path)


def check_private(path: Path) -> None:
    """Raise `Misconfigured` `OPEN_MODE` if others may read or write a secret file."""
    if path.stat().st_mode & _OTHERS:
        raise Misconfigured("OPEN_MODE", f"{path} is open to others; run `chmod 600 {path}`")


def password_source(folder: Path) -> PasswordSource:
    """The password for the keys of `folder`: by variable, by the dev network's file, or asked."""

    def password(new: bool) -> bytes:
        generated = folder / DEV_PASSWORD_FILE
        if not generated.exists():
            return find_password(new=new)
        check_private(generated)
        return find_password(generated)

    return password
