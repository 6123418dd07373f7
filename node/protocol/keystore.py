"""Secrets at rest: one JSON file per key, encrypted under a password.

scrypt makes a key of the password and AES-256-GCM encrypts the 32 secret bytes with the file's
header as associated data, so that name, public key and cost cannot be altered unnoticed. The cost
stands in the header and is bounded when read: a hostile file cannot ask for all memory. Where the
files lie, and where the password comes from, is for the wallet and the node to know.
"""

from __future__ import annotations

import hashlib
import os
import secrets
from pathlib import Path
from typing import Annotated, Literal

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from pydantic import Field

from node.protocol.encoding import encode
from node.protocol.errors import Misconfigured, Refused
from node.protocol.keys import PrivateKey
from node.protocol.settings import HexKey, Settings, ShortName, parse_settings

KEYSTORE_VERSION = 1
KEYSTORE_BYTES_MAX = 4_096
SECRET_BYTES = 32
SCRYPT_N = 1 << 17
# A dev network's password is random, so stretching adds nothing; many keys open quickly.
SCRYPT_N_DEV = 1 << 14
SCRYPT_N_MAX = 1 << 18
_SCRYPT_R = 8
_SCRYPT_P = 1

HexSalt = Annotated[str, Field(pattern=r"^[0-9a-f]{32}$")]
HexNonce = Annotated[str, Field(pattern=r"^[0-9a-f]{24}$")]


class KeyHeader(Settings):
    """The readable part. `public_key` is empty for a `seed`, from which keys are derived."""

    version: Annotated[int, Field(ge=KEYSTORE_VERSION, le=KEYSTORE_VERSION)]
    kind: Literal["key", "seed"]
    name: ShortName
    public_key: HexKey | Literal[""]
    kdf: Literal["scrypt"]
    n: Annotated[int, Field(ge=SCRYPT_N_DEV, le=SCRYPT_N_MAX)]
    r: Annotated[int, Field(ge=_SCRYPT_R, le=_SCRYPT_R)]
    p: Annotated[int, Field(ge=_SCRYPT_P, le=_SCRYPT_P)]
    salt: HexSalt
    cipher: Literal["aes-256-gcm"]
    nonce: HexNonce


class Keystore(Settings):
    """The content of a key file."""

    header: KeyHeader
    ciphertext: Annotated[str, Field(pattern=r"^[0-9a-f]{96}$")]


def encrypt_key(key: PrivateKey, name: str, password: bytes, n: int = SCRYPT_N) -> str:
    """The text of a key file for `key`; `n` is the scrypt cost, a power of two."""
    return _encrypt("key", name, key.public_key.hex(), key.secret, password, n)


def encrypt_seed(seed: bytes, name: str, password: bytes, n: int = SCRYPT_N) -> str:
    """The text of a key file for a 32-byte seed of derived keys, or a storage key."""
    return _encrypt("seed", name, "", seed, password, n)


def make_seed() -> bytes:
    """A new seed, of random bytes."""
    return secrets.token_bytes(SECRET_BYTES)


def read_header(text: str | bytes, source: str) -> KeyHeader:
    """Name and public key, without the password; raises `Misconfigured` `BAD_KEYSTORE`."""
    return _parse(text, source).header


def decrypt_key(text: str | bytes, password: bytes, source: str) -> PrivateKey:
    """The key in a key file; raises `Misconfigured` `BAD_PASSWORD` or `BAD_KEYSTORE`."""
    store = _parse(text, source)
    secret = _decrypt(store, "key", password, source)
    try:
        key = PrivateKey(secret)
    except Refused as refusal:
        raise Misconfigured("BAD_KEYSTORE", f"{source}: {refusal.message}") from None
    if key.public_key.hex() != store.header.public_key:
        raise Misconfigured("BAD_KEYSTORE", f"{source}: the public key is another key's")
    return key


def decrypt_seed(text: str | bytes, password: bytes, source: str) -> bytes:
    """The 32-byte seed in a key file; raises `Misconfigured` `BAD_PASSWORD` or `BAD_KEYSTORE`."""
    return _decrypt(_parse(text, source), "seed", password, source)


def read_private_file(path: Path) -> bytes:
    """A small secret file's content; raises `Misconfigured` `NO_FILE` or `BAD_KEYSTORE`."""
    try:
        with path.open("rb") as file:
            content = file.read(KEYSTORE_BYTES_MAX + 1)
    except OSError as error:
        raise Misconfigured("NO_FILE", f"{path}: {error.strerror}") from None
    if len(content) > KEYSTORE_BYTES_MAX:
        raise Misconfigured("BAD_KEYSTORE", f"{path}: larger than {KEYSTORE_BYTES_MAX} bytes")
    return content


def write_private_file(path: Path, content: str | bytes) -> None:
    """Create `path` for its owner only; raises `Misconfigured` `EXISTS`: nothing is overwritten."""
    data = content.encode() if isinstance(content, str) else content
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        raise Misconfigured("EXISTS", f"{path} exists; nothing is overwritten") from None
    except OSError as error:
        raise Misconfigured("NOT_WRITABLE", f"{path}: {error.strerror}") from None
    with os.fdopen(descriptor, "wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())


def _encrypt(
    kind: Literal["key", "seed"], name: str, public_key: str, secret: bytes, password: bytes, n: int
) -> str:
    header = KeyHeader(
        version=KEYSTORE_VERSION,
        kind=kind,
        name=name,
        public_key=public_key,
        kdf="scrypt",
        n=n,
        r=_SCRYPT_R,
        p=_SCRYPT_P,
        salt=secrets.token_bytes(16).hex(),
        cipher="aes-256-gcm",
        nonce=secrets.token_bytes(12).hex(),
    )
    cipher = AESGCM(_stretch(header, password))
    ciphertext = cipher.encrypt(bytes.fromhex(header.nonce), secret, _header_bytes(header))
    return Keystore(header=header, ciphertext=ciphertext.hex()).model_dump_json(indent=2) + "\n"


def _parse(text: str | bytes, source: str) -> Keystore:
    try:
        return parse_settings(Keystore, text, source)
    except Misconfigured as error:
        message = f"{error.message}; this is not a key file of groat"
        raise Misconfigured("BAD_KEYSTORE", message) from None


def _decrypt(store: Keystore, kind: str, password: bytes, source: str) -> bytes:
    header = store.header
    if header.kind != kind:
        raise Misconfigured("BAD_KEYSTORE", f"{source}: holds a {header.kind}, not a {kind}")
    try:
        cipher = AESGCM(_stretch(header, password))
        return cipher.decrypt(
            bytes.fromhex(header.nonce), bytes.fromhex(store.ciphertext), _header_bytes(header)
        )
    except (InvalidTag, ValueError):
        raise Misconfigured(
            "BAD_PASSWORD", f"{source}: the password does not open it, or the file was altered"
        ) from None


def _stretch(header: KeyHeader, password: bytes) -> bytes:
    return hashlib.scrypt(
        password,
        salt=bytes.fromhex(header.salt),
        n=header.n,
        r=header.r,
        p=header.p,
        maxmem=256 * header.n * header.r,
        dklen=32,
    )


def _header_bytes(header: KeyHeader) -> bytes:
    return encode(["groat/keystore", header.model_dump(mode="json")])
