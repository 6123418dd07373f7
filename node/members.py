"""A member's side of founding: its node's own keys first, and later what the founder answers.

    DIR/nodes/NAME/{node.toml,node.key.json,storage.key.json,tls.key}    never leave this host
    DIR/NAME.member.json                                the public parts, for the founder
    DIR/nodes/NAME/{tls.crt,ca.crt}, DIR/{genesis,interface,network}.json    from the admission

Founding itself is `node.genesis`'s work, which for a network on one host plays every part.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from node.code_hashes import check_contracts
from node.config import NodeConfig
from node.folder import open_node_key
from node.net.tls import check_certificate, make_tls_key, pem_fingerprint, tls_public_key
from node.protocol.ceremony import MEMBER_SUFFIX, Admission, Endpoints, Member
from node.protocol.committee import open_committee_secret
from node.protocol.errors import Misconfigured
from node.protocol.genesis import Genesis
from node.protocol.keys import PrivateKey
from node.protocol.keystore import (
    SCRYPT_N,
    encrypt_key,
    encrypt_seed,
    make_seed,
    read_header,
    read_private_file,
    write_private_file,
)
from node.protocol.settings import misconfigured

Files = Mapping[str, str | bytes]
_FOLDER_MODE = 0o700


@dataclass(frozen=True)
class NewNode:
    """A node's own keys and settings, and what it says of itself; nothing is written yet."""

    member: Member
    config: NodeConfig
    key: PrivateKey
    storage_key: bytes
    tls_key: bytes

    @classmethod
    def make(
        cls,
        name: str,
        address: str,
        http: str,
        *,
        listen: str = "",
        http_url: str = "",
        password_file: str = "",
    ) -> NewNode:
        """With fresh keys; raises `Misconfigured` `BAD_CONFIG`.

        The node listens on `listen` and `http`; others reach it at `address` and `http_url`, which
        differ behind address translation and a proxy.
        """
        key, tls_key = PrivateKey.generate(), make_tls_key()
        member = Member.make(
            key, name, tls_public_key(tls_key), address, http_url or f"http://{http}"
        )
        try:
            config = NodeConfig(
                name=name, listen=listen or address, http=http, password_file=password_file
            )
        except ValidationError as error:
            raise misconfigured(error, "node") from None
        return cls(member, config, key, make_seed(), tls_key)

    def files(self, password: bytes, scrypt_n: int) -> dict[str, str | bytes]:
        """The content of its folder so far, by path within DIR."""
        name = self.member.name
        return {
            f"nodes/{name}/node.key.json": encrypt_key(self.key, name, password, scrypt_n),
            f"nodes/{name}/storage.key.json": encrypt_seed(
                self.storage_key, name, password, scrypt_n
            ),
            f"nodes/{name}/tls.key": self.tls_key,
            f"nodes/{name}/node.toml": _to_toml(self.config),
        }


def init_member(directory: Path, node: NewNode, password: bytes) -> Path:
    """Write a new node's folder and its member file, whose path is returned.

    Raises `Misconfigured` `EXISTS` or `NOT_WRITABLE`.
    """
    name = node.member.name
    folder, paper = directory / "nodes" / name, directory / (name + MEMBER_SUFFIX)
    for path in (folder, paper):
        if path.exists():
            raise Misconfigured(
                "EXISTS", f"{path} exists; choose another name or --dir, nothing is overwritten"
            )
    text = node.member.model_dump_json(indent=2) + "\n"
    write_files(directory, {**node.files(password, SCRYPT_N), paper.name: text})
    return paper


def join_network(directory: Path, path: Path, password: bytes | None = None) -> Genesis:
    """Check an admission file against this host's own node, and complete the node's folder.

    The password is looked for unless given. Doing it again changes nothing. Raises `Misconfigured`
    with the code of what is wrong: `NO_FILE`, `BAD_CONFIG`, `ALTERED`, `NOT_BEGUN`,
    `WRONG_ADMISSION`, `WRONG_CERTIFICATE`, `UNKNOWN_CONTRACT_HASH`, `BAD_PASSWORD` or `EXISTS`.
    """
    admission = Admission.load(path)
    genesis = admission.genesis
    folder = directory / "nodes" / admission.name
    if not folder.is_dir():
        raise Misconfigured(
            "NOT_BEGUN",
            f"{folder} does not exist; join on the host and with the --dir of "
            f"`groat net init {admission.name}`",
        )
    config = NodeConfig.load(folder / "node.toml")
    key_path = folder / config.key
    own = read_header(read_private_file(key_path), str(key_path)).public_key
    entry = genesis.validators[admission.place]
    if own != entry.public_key:
        raise Misconfigured(
            "WRONG_ADMISSION",
            f"{path} admits {entry.public_key}, the key here is {own}; the founder must use the "
            f"{admission.name}{MEMBER_SUFFIX} of this host",
        )
    certificate, authority = admission.certificate.encode(), admission.authority.encode()
    check_certificate(certificate, authority, read_private_file(folder / "tls.key"))
    if pem_fingerprint(certificate).hex() != entry.tls_fingerprint:
        raise Misconfigured("WRONG_CERTIFICATE", f"{path}: genesis names another certificate")
    check_contracts(genesis)
    open_committee_secret(genesis, open_node_key(folder, config, password), {})
    prefix = f"nodes/{admission.name}/"
    files = {prefix + "tls.crt": certificate, prefix + "ca.crt": authority}
    write_files(directory, files | network_files(admission.members, genesis, admission.interface))
    return genesis


def network_files(
    members: Sequence[Member], genesis: Genesis, interface: dict[str, Any]
) -> dict[str, str | bytes]:
    """The public files of a network; genesis.json comes last, with it the network exists."""
    endpoints = Endpoints(endpoints=tuple(member.endpoint for member in members))
    return {
        "interface.json": json.dumps(interface, indent=1, ensure_ascii=False) + "\n",
        "network.json": endpoints.model_dump_json(indent=1) + "\n",
        "genesis.json": genesis.to_text(),
    }


def write_files(directory: Path, files: Files) -> None:
    """Write all files in order, for their owner only; one that is there already stays as it is.

    Raises `Misconfigured` `EXISTS` before anything is written if one holds something else, and
    `NOT_WRITABLE`.
    """
    content = {
        directory / name: text.encode() if isinstance(text, str) else text
        for name, text in files.items()
    }
    missing = {path: data for path, data in content.items() if not path.exists()}
    for path in content.keys() - missing.keys():
        if not path.is_file() or path.read_bytes() != content[path]:
            raise Misconfigured(
                "EXISTS",
                f"{path} exists with other content and nothing is overwritten; use another --dir, "
                "or move it away",
            )
    for folder in sorted({directory / parent for name in files for parent in Path(name).parents}):
        _make_folder(folder)
    for path, data in missing.items():
        write_private_file(path, data)


def _make_folder(folder: Path) -> None:
    try:
        folder.mkdir(mode=_FOLDER_MODE, parents=True, exist_ok=True)
    except OSError as error:
        raise Misconfigured("NOT_WRITABLE", f"{folder}: {error.strerror}") from None


def _to_toml(settings: NodeConfig) -> str:
    # JSON strings and integers are TOML ones, and node.toml holds nothing else.
    content = settings.model_dump()
    limits = content.pop("http_limits")
    lines = [f"{key} = {json.dumps(value)}" for key, value in content.items()]
    lines += ["", "[http_limits]", *(f"{key} = {value}" for key, value in limits.items())]
    return "\n".join(["# Paths are relative to this folder.", *lines, ""])
