"""Founding a network: from `network.toml` to the files with which its nodes start.

    DIR/genesis.json, interface.json, network.json (where the nodes listen)
    DIR/keys/NAME.json            the identities' keys, encrypted; .password on a dev network
    DIR/ca/{ca.crt,ca.key.json}   the network's own authority, its key encrypted
    DIR/nodes/NAME/{node.toml,node.key.json,tls.crt,tls.key,ca.crt}

Reading a node's folder back is `node.folder`'s work.
"""

from __future__ import annotations

import json
import secrets
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

from contracts.catalog import CONTRACTS
from contracts.kernel.registry import GenesisParameters, Rejected, genesis_writes, interface
from node.code_hashes import code_hashes
from node.config import NetworkConfig, NodeConfig, ValidatorConfig
from node.net.tls import Credential, make_authority, make_node_certificate, pem_fingerprint
from node.protocol.errors import Misconfigured
from node.protocol.genesis import (
    GENESIS_VERSION,
    PRIVACY_KEY_BYTES,
    CommitteeSecret,
    EpochEntry,
    Genesis,
    IdentityEntry,
    ValidatorEntry,
    interface_hash,
    seal_committee_secret,
)
from node.protocol.json_view import time_to_json
from node.protocol.keys import PrivateKey
from node.protocol.keystore import (
    SCRYPT_N,
    SCRYPT_N_DEV,
    encrypt_key,
    encrypt_seed,
    read_header,
    read_private_file,
    write_private_file,
)
from node.protocol.settings import split_address

FIRST_EPOCH = 1
_PASSWORD_FILE = "keys/.password"  # noqa: S105
_PASSWORD_BYTES = 32
_FOLDER_MODE = 0o700


def create_network(
    config: NetworkConfig, directory: Path, password: bytes | None, now_ms: int
) -> Genesis:
    """Write a new network into `directory` and return its genesis.

    Keys that `directory`/keys already holds by an identity's name are used as they are, unopened.
    `password` encrypts the new ones; a dev network may pass None and gets a random one. Raises
    `Misconfigured` `NETWORK_EXISTS`, `NO_PASSWORD`, `NOT_WRITABLE` or `BAD_CONFIG`; nothing that
    exists is overwritten.
    """
    for name in ("genesis.json", "nodes"):
        if (directory / name).exists():
            raise Misconfigured(
                "NETWORK_EXISTS",
                f"{directory / name} exists; choose another directory or delete this network first",
            )
    password_path = directory / _PASSWORD_FILE
    new_password = b""
    if password is None:
        password = new_password = _dev_password(config, password_path)
    founder = _Founder(config, directory, password, now_ms)
    genesis = founder.found()
    _check_parameters(genesis)
    files: dict[str, str | bytes] = {}
    if new_password and not password_path.exists():
        files[_PASSWORD_FILE] = new_password + b"\n"
    _write(directory, files | founder.files)
    return genesis


def genesis_parameters(genesis: Genesis) -> GenesisParameters:
    """What the contracts need to know of the genesis file."""
    return GenesisParameters(
        validators=tuple(bytes.fromhex(entry.public_key) for entry in genesis.validators),
        confirmations_more_than=genesis.confirmations_more_than,
        identities=tuple(
            (entry.name, bytes.fromhex(entry.public_key), entry.roles)
            for entry in genesis.identities
        ),
        assets=tuple((asset.code, asset.scale) for asset in genesis.assets),
        contracts=genesis.parameters,
    )


class _Founder:
    """One run of `create_network`: makes everything in memory, to be written at the end."""

    def __init__(
        self, config: NetworkConfig, directory: Path, password: bytes, now_ms: int
    ) -> None:
        self.files: dict[str, str | bytes] = {}
        self._config = config
        self._directory = directory
        self._password = password
        self._now_ms = now_ms
        self._scrypt_n = SCRYPT_N_DEV if config.dev else SCRYPT_N

    def found(self) -> Genesis:
        config = self._config
        now = datetime.fromtimestamp(self._now_ms / 1000, UTC)
        authority = make_authority(config.chain_id, now)
        self._add_authority(authority)
        validators = []
        endpoints = []
        for node in config.validators:
            key = PrivateKey.generate()
            host = split_address(node.address)[0]
            credential = make_node_certificate(authority, node.name, [host], now)
            self._add_node(node, key, credential, authority.certificate)
            entry = ValidatorEntry(
                name=node.name,
                public_key=key.public_key.hex(),
                address=node.address,
                tls_fingerprint=pem_fingerprint(credential.certificate).hex(),
            )
            validators.append(entry)
            endpoints.append(_endpoint(node, entry))
        description = interface(CONTRACTS)
        genesis = self._genesis(tuple(validators), description)
        self.files["interface.json"] = _json(description)
        self.files["network.json"] = _json({"endpoints": endpoints})
        self.files["genesis.json"] = genesis.to_text()
        return genesis

    def _genesis(
        self, validators: tuple[ValidatorEntry, ...], description: dict[str, Any]
    ) -> Genesis:
        config = self._config
        identities = tuple(
            IdentityEntry(name=name, public_key=self._identity_key(name), roles=roles)
            for name, roles in config.identities.items()
        )
        return Genesis(
            version=GENESIS_VERSION,
            chain_id=config.chain_id,
            created_at=time_to_json(self._now_ms),
            dev=config.dev,
            time_scale=config.time_scale,
            tree_depth=config.tree_depth,
            validators=validators,
            confirmations_more_than=config.confirmations_more_than,
            limits=config.limits,
            timeouts=config.timeouts,
            identities=identities,
            assets=config.assets,
            contracts=code_hashes(),
            interface_hash=interface_hash(description).hex(),
            parameters=config.contracts,
            epoch=self._epoch(validators),
        )

    def _epoch(self, validators: tuple[ValidatorEntry, ...]) -> EpochEntry:
        config = self._config
        epoch_key = PrivateKey.generate()
        secret = CommitteeSecret(
            epoch_secret=epoch_key.secret, privacy_key=secrets.token_bytes(PRIVACY_KEY_BYTES)
        )
        ephemeral = PrivateKey.generate()
        wraps = {
            entry.public_key: seal_committee_secret(
                config.chain_id, FIRST_EPOCH, secret, bytes.fromhex(entry.public_key), ephemeral
            ).hex()
            for entry in validators
        }
        return EpochEntry(
            number=FIRST_EPOCH,
            algorithm=config.sealing.algorithm,
            public_key=epoch_key.public_key.hex(),
            wraps=wraps,
        )

    def _identity_key(self, name: str) -> str:
        path = self._directory / "keys" / f"{name}.json"
        if path.exists():
            public_key = read_header(read_private_file(path), str(path)).public_key
            if not public_key:
                raise Misconfigured("BAD_KEYSTORE", f"{path}: holds a seed; move it elsewhere")
            return public_key
        key = PrivateKey.generate()
        text = encrypt_key(key, name, self._password, self._scrypt_n)
        self.files[f"keys/{name}.json"] = text
        return key.public_key.hex()

    def _add_authority(self, authority: Credential) -> None:
        key = serialization.load_pem_private_key(authority.key, None)
        if not isinstance(key, ec.EllipticCurvePrivateKey):
            raise AssertionError("the authority's key is not an elliptic curve key")
        scalar = key.private_numbers().private_value.to_bytes(32, "big")
        self.files["ca/ca.crt"] = authority.certificate
        self.files["ca/ca.key.json"] = encrypt_seed(scalar, "ca", self._password, self._scrypt_n)

    def _add_node(
        self, node: ValidatorConfig, key: PrivateKey, credential: Credential, authority: bytes
    ) -> None:
        folder = f"nodes/{node.name}"
        password_file = f"../../{_PASSWORD_FILE}" if self._config.dev else ""
        settings = NodeConfig(
            name=node.name, listen=node.address, http=node.http, password_file=password_file
        )
        text = encrypt_key(key, node.name, self._password, self._scrypt_n)
        self.files[f"{folder}/node.key.json"] = text
        self.files[f"{folder}/tls.crt"] = credential.certificate
        self.files[f"{folder}/tls.key"] = credential.key
        self.files[f"{folder}/ca.crt"] = authority
        self.files[f"{folder}/node.toml"] = _to_toml(settings)


def _check_parameters(genesis: Genesis) -> None:
    try:
        genesis_writes(CONTRACTS, genesis_parameters(genesis))
    except Rejected as rejected:
        field = rejected.details.get("field", "contracts")
        why = rejected.details.get("why", "is not what the contract expects")
        raise Misconfigured("BAD_CONFIG", f"contracts: {field}: {why}", key=field) from None


def _write(directory: Path, files: dict[str, str | bytes]) -> None:
    """All files in order, the last one being genesis.json: with it the network exists."""
    folders = sorted({directory / parent for name in files for parent in Path(name).parents})
    for folder in folders:
        try:
            folder.mkdir(mode=_FOLDER_MODE, parents=True, exist_ok=True)
        except OSError as error:
            raise Misconfigured("NOT_WRITABLE", f"{folder}: {error.strerror}") from None
    for name, content in files.items():
        write_private_file(directory / name, content)


def _dev_password(config: NetworkConfig, path: Path) -> bytes:
    if not config.dev:
        raise Misconfigured(
            "NO_PASSWORD",
            "a network that is not dev needs a password for its keys: set GROAT_PASSWORD_FILE",
        )
    if path.exists():
        return read_private_file(path).strip()
    return secrets.token_hex(_PASSWORD_BYTES).encode()


def _json(content: object) -> str:
    return json.dumps(content, indent=1, ensure_ascii=False) + "\n"


def _endpoint(node: ValidatorConfig, entry: ValidatorEntry) -> dict[str, str]:
    return {
        "name": node.name,
        "http_url": f"http://{node.http}",
        "peer_address": node.address,
        "public_key": entry.public_key,
    }


def _to_toml(settings: NodeConfig) -> str:
    # JSON strings are TOML basic strings, and node.toml holds nothing else.
    lines = [f"{key} = {json.dumps(value)}" for key, value in settings.model_dump().items()]
    return "\n".join(["# Paths are relative to this folder.", *lines, ""])
