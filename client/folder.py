"""The folder of one network on this machine: what `net create` wrote and the client reads.

    DIR/genesis.json     who founded the network          DIR/interface.json   its contracts' schema
    DIR/network.json     where the nodes listen           DIR/keys/NAME.json   encrypted keys
    DIR/nodes/NAME/      one folder per node that runs here
    DIR/client.json      the highest head this client has verified
    DIR/upgraded.json    the schema of contracts that were upgraded since, verified when fetched

Nothing here talks to a node or starts one.
"""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

from client.wallet import Wallet
from node.protocol.ceremony import Endpoint, Endpoints
from node.protocol.errors import Misconfigured
from node.protocol.genesis import Genesis, interface_hash
from node.protocol.settings import parse_settings

DIRECTORY_VARIABLE = "GROAT_DIR"
DIRECTORY_DEFAULT = ".groat"
UPGRADED_FILE = "upgraded.json"
FILE_BYTES_MAX = 16 << 20


class NetworkFolder:
    """Lazy reader of one folder; every fault is a `Misconfigured` that says what to do."""

    def __init__(self, path: Path) -> None:
        self.path = path.absolute()

    @property
    def exists(self) -> bool:
        """Whether a network was created here."""
        return (self.path / "genesis.json").exists()

    @cached_property
    def genesis(self) -> Genesis:
        """The genesis file."""
        return Genesis.load(self.path / "genesis.json")

    @cached_property
    def endpoints(self) -> tuple[Endpoint, ...]:
        """The nodes of the network, in the order of the file."""
        path = self.path / "network.json"
        return parse_settings(Endpoints, read_file(path), str(path)).endpoints

    def write_endpoints(self, endpoints: Sequence[Endpoint]) -> None:
        """Replace network.json, which another object must read anew."""
        path = self.path / "network.json"
        text = Endpoints(endpoints=tuple(endpoints)).model_dump_json(indent=1) + "\n"
        temporary = path.with_suffix(".new")
        temporary.write_text(text)
        temporary.chmod(path.stat().st_mode & 0o777)
        temporary.replace(path)

    @property
    def interface(self) -> dict[str, Any]:
        """The contracts' schema: the founders', and in its place what was upgraded since."""
        return self.founding_interface | self.upgraded_interface

    @cached_property
    def founding_interface(self) -> dict[str, Any]:
        """The contracts' schema of the first block, checked against the hash in genesis."""
        path = self.path / "interface.json"
        try:
            content = json.loads(read_file(path))
        except ValueError:
            content = None
        if not isinstance(content, dict):
            raise Misconfigured("BAD_CONFIG", f"{path} is not a JSON object; get the genuine file")
        if interface_hash(content).hex() != self.genesis.interface_hash:
            raise Misconfigured("WRONG_INTERFACE", f"{path} is not the one that genesis names")
        return content

    @property
    def upgraded_path(self) -> Path:
        """Where `groat net code --fetch` keeps the schema of upgraded contracts."""
        return self.path / UPGRADED_FILE

    @cached_property
    def upgraded_interface(self) -> dict[str, Any]:
        """The schema of upgraded contracts, as it was proved when it was fetched."""
        if not self.upgraded_path.exists():
            return {}
        try:
            content = json.loads(read_file(self.upgraded_path))
        except ValueError:
            content = None
        if not isinstance(content, dict):
            raise Misconfigured(
                "BAD_CONFIG", f"{self.upgraded_path} is not a JSON object; remove it"
            )
        return content

    @property
    def wallet(self) -> Wallet:
        """The keys of this folder."""
        return Wallet(self.path / "keys")

    def public_key(self, name: str) -> str:
        """The public key in hex of an identity of genesis or a key of the wallet."""
        for identity in self.genesis.identities:
            if identity.name == name:
                return identity.public_key
        return self.wallet.entry(name).public_key

    @property
    def trust_path(self) -> Path:
        """Where the light client keeps what it has verified."""
        return self.path / "client.json"

    def endpoint(self, name: str) -> Endpoint:
        """The endpoint of a node by name, or by its place from 1 on; raises `NO_NODE`."""
        for place, endpoint in enumerate(self.endpoints, 1):
            if name in (endpoint.name, str(place)):
                return endpoint
        names = ", ".join(endpoint.name for endpoint in self.endpoints)
        raise Misconfigured("NO_NODE", f"there is no node {name!r}; there are {names}")


def directory(given: Path | None) -> Path:
    """`--dir`, else GROAT_DIR, else ./.groat."""
    return given or Path(os.environ.get(DIRECTORY_VARIABLE) or DIRECTORY_DEFAULT)


def read_given(path: Path) -> bytes:
    """The bytes of a file that somebody named; raises `Misconfigured` `NO_FILE`."""
    try:
        if path.stat().st_size > FILE_BYTES_MAX:
            raise Misconfigured("NO_FILE", f"{path}: larger than {FILE_BYTES_MAX} bytes")
        return path.read_bytes()
    except OSError as error:
        raise Misconfigured("NO_FILE", f"{path}: {error.strerror}") from None


def read_file(path: Path) -> bytes:
    """A configuration file's bytes; raises `Misconfigured` `NO_NETWORK` or `BAD_CONFIG`."""
    try:
        if path.stat().st_size > FILE_BYTES_MAX:
            raise Misconfigured("BAD_CONFIG", f"{path}: larger than {FILE_BYTES_MAX} bytes")
        return path.read_bytes()
    except OSError as error:
        raise Misconfigured(
            "NO_NETWORK", f"{path}: {error.strerror}; create a network with `groat up`"
        ) from None
