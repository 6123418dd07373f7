"""A node that joins a running network: its folder on this host, and what its admission must say.

    DIR/nodes/NAME/{node.toml,node.key.json,tls.crt,tls.key,ca.crt}

It needs the network's authority (DIR/ca) and the folder of a node that is in the committee, whose
secret of every epoch it seals to the new node's key: who executes the chain from its beginning
needs them all. That the chain then admits the node, and `joining.json`, are the client's part.
"""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from node.config import NodeConfig
from node.folder import committee_secret, open_node_key
from node.members import NewNode, write_files
from node.net.tls import issue_certificate, pem_fingerprint, restore_authority
from node.protocol.ceremony import Member
from node.protocol.committee import CommitteeSecret, Wraps, seal_epoch_secret
from node.protocol.errors import Misconfigured
from node.protocol.genesis import Genesis
from node.protocol.keys import PrivateKey
from node.protocol.keystore import (
    SCRYPT_N,
    SCRYPT_N_DEV,
    decrypt_seed,
    read_header,
    read_private_file,
)
from node.protocol.password import find_password
from node.protocol.settings import split_address

_PASSWORD_FILE = Path("keys/.password")
_CERTIFICATE = "tls.crt"


def prepare_node(
    directory: Path, name: str, address: str, http: str, now_ms: int
) -> dict[str, Any]:
    """Make the folder of a new node, unless it is there, and say what its admission names.

    The answer holds `name`, `public_key`, `address`, `http_url`, `tls_fingerprint`, bytes in hex,
    `wraps` of all epochs, and `epoch`, the newest of these. Raises `Misconfigured` with the code of
    what is missing or wrong.
    """
    genesis = Genesis.load(directory / "genesis.json")
    password_file = directory / _PASSWORD_FILE if genesis.dev else None
    password = find_password(password_file)
    folder = directory / "nodes" / name
    if not folder.exists():
        _make_folder(directory, genesis, name, address, http, password, now_ms)
    config = NodeConfig.load(folder / "node.toml")
    key_path = folder / config.key
    public_key = read_header(read_private_file(key_path), str(key_path)).public_key
    wraps = _wraps(directory, genesis, name, password, bytes.fromhex(public_key))
    return {
        "name": name,
        "public_key": public_key,
        "address": config.listen,
        "http_url": f"http://{config.http}",
        "tls_fingerprint": pem_fingerprint(read_private_file(folder / _CERTIFICATE)).hex(),
        "epoch": max(wraps),
        "wraps": [entry.model_dump() for entry in Wraps.of(wraps).wraps],
    }


def _make_folder(
    directory: Path,
    genesis: Genesis,
    name: str,
    address: str,
    http: str,
    password: bytes,
    now_ms: int,
) -> None:
    node = NewNode.make(
        name, address, http, password_file=f"../../{_PASSWORD_FILE}" if genesis.dev else ""
    )
    authority, certificate = _certify(directory, node.member, password, now_ms)
    files = node.files(password, SCRYPT_N_DEV if genesis.dev else SCRYPT_N)
    files[f"nodes/{name}/ca.crt"] = authority
    files[f"nodes/{name}/{_CERTIFICATE}"] = certificate
    write_files(directory, files)


def _certify(directory: Path, member: Member, password: bytes, now_ms: int) -> tuple[bytes, bytes]:
    """The authority's certificate, and the one that it issues to the member."""
    path = directory / "ca" / "ca.key.json"
    certificate = read_private_file(path.with_name("ca.crt"))
    scalar = decrypt_seed(read_private_file(path), password, str(path))
    issued = issue_certificate(
        restore_authority(certificate, scalar),
        bytes.fromhex(member.tls_public_key),
        member.name,
        [split_address(member.address)[0]],
        datetime.fromtimestamp(now_ms / 1000, UTC),
    )
    return certificate, issued


def _wraps(
    directory: Path, genesis: Genesis, newcomer: str, password: bytes, node: bytes
) -> dict[int, bytes]:
    """The secrets of all epochs and the key of the private salts, sealed to `node`."""
    secret = _committee_secret(directory, genesis, newcomer, password)
    ephemeral = PrivateKey.generate()
    return {
        number: seal_epoch_secret(
            genesis.chain_id, number, epoch_secret, node, ephemeral, secret.privacy_key
        )
        for number, epoch_secret in secret.epochs.items()
    }


def _committee_secret(
    directory: Path, genesis: Genesis, newcomer: str, password: bytes
) -> CommitteeSecret:
    """The committee's secret, from the folder of the other node here that knows the newest epoch.

    A node that was removed keeps its folder, and knows no epoch since.
    """
    found: list[CommitteeSecret] = []
    for folder in sorted((directory / "nodes").iterdir()):
        if folder.name != newcomer and (folder / "node.toml").exists():
            key = open_node_key(folder, NodeConfig.load(folder / "node.toml"), password)
            try:
                found.append(committee_secret(genesis, key, folder))
            except Misconfigured as error:
                if error.code != "NOT_A_VALIDATOR":  # prepared, and not admitted yet
                    raise
    if not found:
        raise Misconfigured(
            "NO_NODE", f"{directory}/nodes holds no node that knows the committee's secret"
        )
    return max(found, key=lambda secret: max(secret.epochs))
