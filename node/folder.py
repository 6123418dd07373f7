"""A node's folder, opened for `run`: every file read and checked before anything starts.

Each fault is a `Misconfigured` in one line that says what to do. Databases and sockets are opened
by others, later.
"""

from __future__ import annotations

import json
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from node.code_hashes import check_contracts
from node.config import NodeConfig
from node.http.limits import HttpLimits
from node.net.tls import TlsFiles
from node.protocol.ceremony import JOINING_FILE, Joining
from node.protocol.committee import (
    WRAPS_FILE,
    CommitteeSecret,
    Wraps,
    open_committee_secret,
)
from node.protocol.errors import Misconfigured
from node.protocol.genesis import Genesis, interface_hash
from node.protocol.keys import PrivateKey
from node.protocol.keystore import (
    decrypt_key,
    decrypt_seed,
    encrypt_seed,
    make_seed,
    read_header,
    read_private_file,
    write_private_file,
)
from node.protocol.password import find_password
from node.protocol.settings import split_address


@dataclass(frozen=True)
class NodeSettings:
    """Everything that a node needs to start. `listen` and `http` are (host, port).

    `snapshots`: whether it may take one instead of many blocks; `keep_blocks`: 0 is all.
    """

    name: str
    folder: Path
    genesis: Genesis
    interface: dict[str, Any]
    key: PrivateKey
    storage_key: bytes
    storage_key_file: Path
    secret: CommitteeSecret
    listen: tuple[str, int]
    http: tuple[str, int]
    tls: TlsFiles
    data: Path
    votes: Path
    log_level: str
    http_limits: HttpLimits
    snapshots: bool = True
    keep_blocks: int = 0
    joining: Joining | None = None

    def free_bytes(self) -> int:
        """Room left for state and votes, which may be on two disks."""
        return min(shutil.disk_usage(path).free for path in (self.data, self.votes))


def load_node(
    folder: Path, password: bytes | None = None, *, storage_key_lost: bool = False
) -> NodeSettings:
    """Open a node's folder; the password is looked for unless given.

    A storage key that is missing is made anew only where it is said to be lost. Raises
    `Misconfigured` with the code of what is wrong: `NO_FILE`, `NO_GENESIS`, `BAD_CONFIG`,
    `WRONG_INTERFACE`, `UNKNOWN_CONTRACT_HASH`, `CONTRACT_LINT`, `NO_PASSWORD`, `BAD_PASSWORD`,
    `BAD_KEYSTORE`, `NO_STORAGE_KEY`, `NOT_A_VALIDATOR` or `BAD_EPOCH_WRAP`.
    """
    config = NodeConfig.load(folder / "node.toml")
    genesis = Genesis.load(folder / config.genesis)
    if not (folder / config.data).exists():
        check_contracts(genesis)  # later it is the state that says which versions are needed
    interface = _load_interface(folder / config.interface, genesis)
    password = password or _password_for(folder, config)
    key = open_node_key(folder, config, password)
    storage_key = _open_storage_key(folder, config, password, lost=storage_key_lost)
    joining = _load_joining(folder)
    return NodeSettings(
        name=config.name,
        folder=folder,
        genesis=genesis,
        interface=interface,
        key=key,
        storage_key=storage_key,
        storage_key_file=folder / config.storage_key,
        secret=committee_secret(genesis, key, folder),
        listen=split_address(config.listen),
        http=split_address(config.http),
        tls=TlsFiles.in_folder(folder),
        data=folder / config.data,
        votes=folder / config.votes,
        log_level=config.log_level,
        http_limits=config.http_limits,
        snapshots=config.catch_up == "snapshot",
        keep_blocks=config.keep_blocks,
        joining=joining,
    )


def open_node_key(folder: Path, config: NodeConfig, password: bytes | None = None) -> PrivateKey:
    """The ledger key of the node in `folder`; the password is looked for unless given.

    Raises `Misconfigured` as `find_password` and `decrypt_key` do.
    """
    path = folder / config.key
    content = read_private_file(path)
    return decrypt_key(content, password or _password_for(folder, config), str(path))


def committee_secret(genesis: Genesis, key: PrivateKey, folder: Path) -> CommitteeSecret:
    """The committee's secret as the node in `folder` holds it; raises as above."""
    joining = _load_joining(folder)
    given = {} if joining is None else Wraps(wraps=joining.wraps).by_epoch
    return open_committee_secret(
        genesis, key, {**given, **Wraps.load(folder / WRAPS_FILE).by_epoch}
    )


def keep_wrap(folder: Path, epoch: int, wrap: bytes) -> None:
    """Add a wrap of this node to its `epochs.json`; raises OSError."""
    path = folder / WRAPS_FILE
    wraps = Wraps.of({**Wraps.load(path).by_epoch, epoch: wrap})
    incoming = path.with_name(path.name + ".new")
    incoming.unlink(missing_ok=True)
    write_private_file(incoming, wraps.model_dump_json(indent=1) + "\n")
    incoming.replace(path)


def node_password(folder: Path) -> bytes:
    """The password of the node in `folder`; raises `Misconfigured` as `find_password` does."""
    return _password_for(folder, NodeConfig.load(folder / "node.toml"))


def _password_for(folder: Path, config: NodeConfig) -> bytes:
    return find_password(folder / config.password_file if config.password_file else None)


def _open_storage_key(folder: Path, config: NodeConfig, password: bytes, *, lost: bool) -> bytes:
    """The key under which this node's databases and snapshots rest; no other node has it."""
    path = folder / config.storage_key
    if path.exists():
        return decrypt_seed(read_private_file(path), password, str(path))
    if not lost:
        raise Misconfigured(
            "NO_STORAGE_KEY",
            f"{path} is missing, without which nothing stored here can be read; put it back, or "
            f"if it is lost, `groat node repair {config.name} --votes-lost` makes a new one and "
            "fetches the chain from the peers again",
        )
    storage_key = make_seed()
    cost = read_header(read_private_file(folder / config.key), config.key).n
    write_private_file(path, encrypt_seed(storage_key, config.name, password, cost))
    return storage_key


def _load_joining(folder: Path) -> Joining | None:
    path = folder / JOINING_FILE
    return Joining.load(path) if path.exists() else None


def _load_interface(path: Path, genesis: Genesis) -> dict[str, Any]:
    try:
        content = json.loads(path.read_bytes())
        genuine = interface_hash(content).hex() == genesis.interface_hash
    except OSError as error:
        raise Misconfigured("NO_FILE", f"{path}: {error.strerror}") from None
    except (ValueError, OverflowError, RecursionError):
        genuine = False
    if not genuine:
        raise Misconfigured(
            "WRONG_INTERFACE", f"{path} is not the one that genesis names; get the genuine file"
        )
    return dict(content)
