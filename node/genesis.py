"""Founding a network: from `network.toml` to the files with which its nodes start.

    DIR/genesis.json, interface.json, network.json (where the nodes listen)
    DIR/keys/NAME.json            the identities' keys, encrypted; .password on a dev network
    DIR/ca/{ca.crt,ca.key.json}   the network's own authority, its key encrypted
    DIR/nodes/NAME/{node.toml,node.key.json,tls.crt,tls.key,ca.crt}

On a network of several hosts the nodes' folders are their members' business (`node.members`), and
each gets DIR/NAME.admission.json instead. Reading a folder back is `node.folder`'s work.
"""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec
from pydantic import ValidationError

from contracts.catalog import CONTRACTS
from contracts.kernel.registry import GenesisParameters, Rejected, genesis_writes, interface
from node.code_hashes import code_hashes, genesis_hashes
from node.config import NetworkConfig
from node.members import NewNode, network_files, write_files
from node.net.tls import Credential, issue_certificate, make_authority, pem_fingerprint
from node.protocol.ceremony import ADMISSION_SUFFIX, Admission, Member, check_members
from node.protocol.committee import seal_epoch_secret
from node.protocol.errors import Misconfigured
from node.protocol.genesis import (
    GENESIS_VERSION,
    PRIVACY_KEY_BYTES,
    EpochEntry,
    Genesis,
    IdentityEntry,
    ValidatorEntry,
    interface_hash,
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
)
from node.protocol.settings import misconfigured, split_address

FIRST_EPOCH = 1
_PASSWORD_FILE = "keys/.password"  # noqa: S105
_PASSWORD_BYTES = 32


def create_network(
    config: NetworkConfig,
    directory: Path,
    password: bytes | None,
    now_ms: int,
    members: Sequence[Member] = (),
) -> Genesis:
    """Write a new network into `directory` and return its genesis.

    Its validators are the `members`, or else those of `config`, all with folders on this host. Keys
    that `directory`/keys already holds by an identity's name are used as they are, unopened.
    `password` encrypts the new ones; a dev network may pass None and gets a random one. Raises
    `Misconfigured` `NETWORK_EXISTS`, `NO_PASSWORD`, `NOT_WRITABLE`, `BAD_CONFIG`,
    `NO_IDENTITY_KEY`, or as `check_members` does; nothing that exists is overwritten.
    """
    # A member who is the founder too has its node's folder here already.
    for name in ("genesis.json", "ca" if members else "nodes"):
        if (directory / name).exists():
            raise Misconfigured(
                "NETWORK_EXISTS",
                f"{directory / name} exists; choose another directory or delete this network first",
            )
    password_path = directory / _PASSWORD_FILE
    new_password = b""
    if password is None:
        password = new_password = _dev_password(config, password_path)
    founder = _Founder(config, directory, password, now_ms, generated=bool(new_password))
    genesis = founder.found(members)
    _check_parameters(genesis)
    files: dict[str, str | bytes] = {}
    if new_password and not password_path.exists():
        files[_PASSWORD_FILE] = new_password + b"\n"
    write_files(directory, files | founder.files)
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
        code=genesis_hashes(genesis),
        nodes=tuple(
            (
                bytes.fromhex(entry.public_key),
                entry.name,
                entry.address,
                bytes.fromhex(entry.tls_fingerprint),
            )
            for entry in genesis.validators
        ),
        epoch=(genesis.epoch.number, bytes.fromhex(genesis.epoch.public_key)),
    )


class _Founder:
    """One run of `create_network`: makes everything in memory, to be written at the end."""

    def __init__(
        self,
        config: NetworkConfig,
        directory: Path,
        password: bytes,
        now_ms: int,
        *,
        generated: bool,
    ) -> None:
        self.files: dict[str, str | bytes] = {}
        self._config = config
        self._directory = directory
        self._password = password
        self._generated = generated
        self._now_ms = now_ms
        self._scrypt_n = SCRYPT_N_DEV if config.dev else SCRYPT_N

    def found(self, members: Sequence[Member]) -> Genesis:
        config = self._config
        on_this_host = not members
        if on_this_host:
            members = self._add_nodes()
        check_members(members, config.confirmations_more_than)
        now = datetime.fromtimestamp(self._now_ms / 1000, UTC)
        authority = make_authority(config.chain_id, now)
        self._add_authority(authority)
        certificates = [_certificate(authority, member, now) for member in members]
        validators = tuple(map(_validator, members, certificates))
        description = interface(CONTRACTS)
        genesis = self._genesis(validators, description, make_keys=on_this_host)
        for member, certificate in zip(members, certificates, strict=True):
            if on_this_host:
                self.files[f"nodes/{member.name}/tls.crt"] = certificate
                self.files[f"nodes/{member.name}/ca.crt"] = authority.certificate
                continue
            admission = Admission(
                name=member.name,
                certificate=certificate.decode(),
                authority=authority.certificate.decode(),
                members=tuple(members),
                genesis=genesis,
                interface=description,
            )
            self.files[member.name + ADMISSION_SUFFIX] = admission.model_dump_json(indent=1) + "\n"
        self.files |= network_files(members, genesis, description)
        return genesis

    def _genesis(
        self,
        validators: tuple[ValidatorEntry, ...],
        description: dict[str, Any],
        *,
        make_keys: bool,
    ) -> Genesis:
        config = self._config
        identities = tuple(
            IdentityEntry(name=name, public_key=self._identity_key(name, make_keys), roles=roles)
            for name, roles in config.roles_by_name.items()
        )
        try:
            return Genesis(
                version=GENESIS_VERSION,
                chain_id=config.chain_id,
                created_at=time_to_json(self._now_ms),
                dev=config.dev,
                time_scale=config.time_scale,
                tree_depth=config.tree_depth,
                snapshot_every=config.snapshot_every,
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
        except ValidationError as error:
            raise misconfigured(error, "the network's description") from None

    def _epoch(self, validators: tuple[ValidatorEntry, ...]) -> EpochEntry:
        config = self._config
        epoch_key, ephemeral = PrivateKey.generate(), PrivateKey.generate()
        privacy_key = secrets.token_bytes(PRIVACY_KEY_BYTES)
        wraps = {
            entry.public_key: seal_epoch_secret(
                config.chain_id,
                FIRST_EPOCH,
                epoch_key.secret,
                bytes.fromhex(entry.public_key),
                ephemeral,
                privacy_key,
            ).hex()
            for entry in validators
        }
        return EpochEntry(
            number=FIRST_EPOCH,
            algorithm=config.sealing.algorithm,
            public_key=epoch_key.public_key.hex(),
            wraps=wraps,
        )

    def _identity_key(self, name: str, make: bool) -> str:
        listed = self._config.identities.get(name)
        path = self._directory / "keys" / f"{name}.json"
        if listed is not None:
            return listed
        if path.exists():
            public_key = read_header(read_private_file(path), str(path)).public_key
            if not public_key:
                raise Misconfigured("BAD_KEYSTORE", f"{path}: holds a seed; move it elsewhere")
            return public_key
        if not make:
            raise Misconfigured(
                "NO_IDENTITY_KEY",
                f"{name} has a role and no key; ask for the line that `groat key export {name} "
                "--public` prints and put it under [identities] in the network's description",
            )
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

    def _add_nodes(self) -> list[Member]:
        password_file = f"../../{_PASSWORD_FILE}" if self._generated else ""
        nodes = [
            NewNode.make(one.name, one.address, one.http, password_file=password_file)
            for one in self._config.validators
        ]
        if not nodes:
            raise Misconfigured(
                "BAD_CONFIG", "there are no validators: add [[validators]], or give --member files"
            )
        for node in nodes:
            self.files |= node.files(self._password, self._scrypt_n)
        return [node.member for node in nodes]


def _certificate(authority: Credential, member: Member, now: datetime) -> bytes:
    host = split_address(member.address)[0]
    key = bytes.fromhex(member.tls_public_key)
    return issue_certificate(authority, key, member.name, [host], now)


def _validator(member: Member, certificate: bytes) -> ValidatorEntry:
    return ValidatorEntry(
        name=member.name,
        public_key=member.public_key,
        address=member.address,
        tls_fingerprint=pem_fingerprint(certificate).hex(),
    )


def _check_parameters(genesis: Genesis) -> None:
    try:
        genesis_writes(CONTRACTS, genesis_parameters(genesis))
    except Rejected as rejected:
        field = rejected.details.get("field", "contracts")
        why = rejected.details.get("why", "is not what the contract expects")
        raise Misconfigured("BAD_CONFIG", f"contracts: {field}: {why}", key=field) from None


def _dev_password(config: NetworkConfig, path: Path) -> bytes:
    if not config.dev:
        raise Misconfigured(
            "NO_PASSWORD",
            "a network that is not dev needs a password for its keys: set GROAT_PASSWORD_FILE",
        )
    if path.exists():
        return read_private_file(path).strip()
    return secrets.token_hex(_PASSWORD_BYTES).encode()
