"""Running the `groat` command in tests: its result, and the network folder it runs on."""

from __future__ import annotations

import json
import socket
from collections.abc import Callable, Sequence
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

from contracts.catalog import CONTRACTS
from contracts.kernel.registry import interface
from node.protocol.genesis import Genesis, interface_hash
from node.protocol.keystore import SCRYPT_N_DEV, encrypt_key, write_private_file
from tests.http.support import ADMIN, BANK, BOOKKEEPER, DEPUTY, HOLDER, OTHER, genesis
from tests.protocol.support import MEMBERS, key

PASSWORD = b"a password of this test"


class Result(NamedTuple):
    """What a run of the command left behind."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        """The data on stdout."""
        return json.loads(self.out)


Groat = Callable[..., Result]


def free_port() -> int:
    """A port that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def genesis_with_interface() -> Genesis:
    """The genesis of the HTTP tests, naming the contracts' real interface."""
    content = genesis().model_dump(mode="json")
    content["interface_hash"] = interface_hash(interface(CONTRACTS)).hex()
    return Genesis.parse(json.dumps(content))


def write_network(folder: Path, founded: Genesis, urls: Sequence[str]) -> None:
    """A network folder with three keys, as `net create` leaves it but without nodes' folders."""
    folder.mkdir()
    (folder / "genesis.json").write_text(founded.to_text())
    (folder / "interface.json").write_text(json.dumps(interface(CONTRACTS)))
    endpoints = [
        {
            "name": f"node{number}",
            "http_url": url,
            "peer_address": f"127.0.0.1:{free_port()}",
            "public_key": member.public_key.hex(),
        }
        for number, (member, url) in enumerate(zip(MEMBERS, urls, strict=False), 1)
    ]
    (folder / "network.json").write_text(json.dumps({"endpoints": endpoints}))
    keys = folder / "keys"
    keys.mkdir(mode=0o700)
    (keys / ".password").write_bytes(PASSWORD + b"\n")
    (keys / ".password").chmod(0o600)
    for name, text in _key_files():
        write_private_file(keys / f"{name}.json", text)


@cache
def _key_files() -> list[tuple[str, str]]:
    """Name and content of each key file; stretching the password for each test would take long."""
    owners = (
        ("bank", BANK),
        ("holder", HOLDER),
        ("other", OTHER),
        ("bookkeeper", BOOKKEEPER),
        ("admin", ADMIN),
        ("deputy", DEPUTY),
        ("nobody", key(77)),
    )
    return [(name, encrypt_key(owner, name, PASSWORD, SCRYPT_N_DEV)) for name, owner in owners]
