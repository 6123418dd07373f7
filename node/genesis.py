"""Founding a network, and opening a node's folder.

`create_network` turns `network.toml` into keys, an authority with certificates, `genesis.json`,
`interface.json`, `network.json` and one folder for each node; `load_node` is the way back, for
`run`. Both work on files only; a running node is put together in `node.driver`.
"""

from __future__ import annotations

import json
import os
import secrets
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

from contracts.catalog import CONTRACTS
from contracts.kernel.registry import interface
from node.code_hashes import check_contracts, code_hashes
from node.config import NetworkConfig, NodeConfig, ValidatorConfig
from node.net.tls import (
    Credential,
    TlsFiles,
    make_authority,
    make_node_certificate,
    pem_fingerprint,
)
from node.protocol.encoding import encode, sha256
from node.protocol.errors import Misconfigured
from node.protocol.genesis import (
    GENESIS_VERSION,
    PRIVACY_KEY_BYTES,
    CommitteeSecret,
    EpochEntry,
    Genesis,
    IdentityEntry,
    ValidatorEntry,
    open_committee_secret,
    seal_committee_secret,
)
from node.protocol.json_view import time_to_json
from node.protocol.keys import PrivateKey
from node.protocol.keystore import (
    SCRYPT_N,
    SCRYPT_N_DEV,
    decrypt_key,
    encrypt_key,
    encrypt_seed,
    read_header,
    read_private_file,
    write_private_file,
)
from node.protocol.sealing import ALGORITHM
from node.protocol.settings import split_address

PASSWORD_VARIABLE = "GROAT_PASSWORD_FILE"  # noqa: S105
FIRST_EPOCH = 1
GENESIS_FILE = "genesis.json"
INTERFACE_FILE = "interface.json"
ENDPOINTS_FILE = "network.json"
_PASSWORD_PATH = "keys/.password"  # noqa: S105
_PASSWORD_BYTES = 32


@dataclass(frozen=True)
class NodeSettings:
    """Everything that a node needs to start, read and checked."""

    name: str
    folder: Path
    genesis: Genesis
    interface: dict[str, Any]
    key: PrivateKey
    secret: CommitteeSecret
    listen: tuple[str, int]
    http: tuple[str, int]
    tls: TlsFiles
    data: Path
    votes: Path
    log_level: str


def create_network(
    config: NetworkConfig, directory: Path, password: bytes | None, now_ms: int
) -> Genesis:
    """Write a new network's folder, and return its genesis.

    Keys that `directory`/keys already holds by the name of an identity are used as they are.
    `password` encrypts the new ones; a dev network may pass None and gets a random one. Raises
    `Misconfigured` `NETWORK_EXISTS`, `NO_PASSWORD`, `NOT_WRITABLE` or `BAD_CONFIG`; an existing
    network is never overwritten.
    """
    for name in (GENESIS_FILE, "nodes"):
        if (directory / name).exists():
            raise Misconfigured(
                "NETWORK_EXISTS",
                f"{directory / name} exists; choose another --dir, or `groat reset --yes`",
            )
    try:
        for folder in ("keys", "ca", *(f"nodes/{node.name}" for node in config.validators)):
            (directory / folder).mkdir(parents=True, mode=0o700, exist_ok=True)
        password = password or _dev_password(config, directory)
        founder = _Founder(config, directory, password, now_ms)
        genesis = founder.found()
    except OSError as error:
        raise Misconfigured("NOT_WRITABLE", f"{error.filename}: {error.strerror}") from None
    return genesis


def load_node(folder: Path, password: bytes | None = None) -> NodeSettings:
    """Read and check one node's folder.

    The password is the one given, else that of the file named by GROAT_PASSWORD_FILE or by
    `password_file` in node.toml. Raises `Misconfigured` with what to do.
    """
    config = NodeConfig.load(folder / "node.toml")
    genesis = Genesis.load(folder / config.genesis)
    check_contracts(genesis)
    interface_path = folder / config.interface
    key_path = folder / config.key
    content = read_private_file(key_path)
    read_header(content, str(key_path))
    key = decrypt_key(content, password or read_password(folder, config), str(key_path))
    return NodeSettings(
        name=config.name,
        folder=folder,
        genesis=genesis,
        interface=_load_interface(interface_path, genesis),
        key=key,
        secret=open_committee_secret(genesis, key),
        listen=split_address(config.listen),
        http=split_address(config.http),
        tls=TlsFiles.in_folder(folder),
        data=folder / config.data,
        votes=folder / config.votes,
        log_level=config.log_level,
    )


def read_password(folder: Path, config: NodeConfig) -> bytes:
    """The node's password from a file; raises `Misconfigured` `NO_PASSWORD` or `NO_FILE`."""
    variable = os.environ.get(PASSWORD_VARIABLE)
    if not variable and not config.password_file:
        raise Misconfigured(
            "NO_PASSWORD", f"set {PASSWORD_VARIABLE} to the path of a file with the password"
        )
    path = Path(variable) if variable else folder / config.password_file
    return read_private_file(path).rstrip(b"\r\n")


class _Founder:
    """One run of `create_network`: makes the secrets, then writes genesis last."""

    def __init__(
        self, config: NetworkConfig, directory: Path, password: bytes, now_ms: int
    ) -> None:
        self._config = config
        self._directory = directory
        self._password = password
        self._now_ms = now_ms
        self._scrypt_n = SCRYPT_N_DEV if config.dev else SCRYPT_N

    def found(self) -> Genesis:
        config = self._config
        now = datetime.fromtimestamp(self._now_ms / 1000, UTC)
        authority = make_authority(config.chain_id, now)
        self._write_authority(authority)
        identities = tuple(
            IdentityEntry(name=name, public_key=self._identity_key(name), roles=roles)
            for name, roles in config.identities.items()
        )
        keys = {node.name: PrivateKey.generate() for node in config.validators}
        validators = []
        for node in config.validators:
            host = split_address(node.address)[0]
            credential = make_node_certificate(authority, node.name, [host], now)
            self._write_node(node, keys[node.name], credential, authority.certificate)
            validators.append(
                ValidatorEntry(
                    name=node.name,
                    public_key=keys[node.name].public_key.hex(),
                    address=node.address,
                    tls_fingerprint=pem_fingerprint(credential.certificate).hex(),
                )
            )
        description = interface(CONTRACTS)
        genesis = self._genesis(tuple(validators), identities, description)
        self._write(INTERFACE_FILE, json.dumps(description, indent=1, sort_keys=True) + "\n")
        self._write(ENDPOINTS_FILE, json.dumps(self._endpoints(keys), indent=2) + "\n")
        self._write(GENESIS_FILE, genesis.to_text())
        return genesis
