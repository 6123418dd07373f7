"""`network.toml` and `node.toml`: what an operator writes, as frozen and validated settings.

A wrong file is a `Misconfigured` in one line that names the key. Making a network of these
settings, and opening a node's folder, is `node.genesis`'s work.
"""

from __future__ import annotations

import json
import tomllib
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, Self

from pydantic import Field, ValidationError, field_validator, model_validator

from node.http.limits import HttpLimits
from node.protocol.errors import Misconfigured, Refused
from node.protocol.genesis import (
    SNAPSHOT_EVERY,
    TIME_SCALE_MAX,
    TREE_DEPTH_MAX,
    AssetEntry,
    BlockLimits,
    SnapshotEvery,
    ViewTimeouts,
)
from node.protocol.keys import check_public_key
from node.protocol.sealing import ALGORITHM
from node.protocol.settings import (
    DialAddress,
    HexKey,
    ListenAddress,
    S,
    Settings,
    ShortName,
    misconfigured,
    parse_settings,
)
from node.protocol.validators import VALIDATORS_MAX

CONFIG_BYTES_MAX = 1 << 20
LOCAL_HOST = "127.0.0.1"
LOCAL_PEER_PORT = 27_101
LOCAL_HTTP_PORT = 28_101


class ValidatorConfig(Settings):
    """Where a validator listens: `address` for other nodes, `http` for people and programs."""

    name: ShortName
    address: DialAddress
    http: ListenAddress


class SealingConfig(Settings):
    """The preset algorithm with which clients seal calls."""

    algorithm: str = ALGORITHM

    @field_validator("algorithm")
    @classmethod
    def _known(cls, algorithm: str) -> str:
        if algorithm != ALGORITHM:
            raise ValueError(f"the only algorithm is {ALGORITHM}")
        return algorithm


class NetworkConfig(Settings):
    """The content of `network.toml`."""

    chain_id: ShortName
    dev: bool = False
    time_scale: Annotated[int, Field(ge=1, le=TIME_SCALE_MAX)] = 1
    tree_depth: Annotated[int, Field(ge=1, le=TREE_DEPTH_MAX)] = TREE_DEPTH_MAX
    snapshot_every: SnapshotEvery = SNAPSHOT_EVERY
    confirmations_more_than: Annotated[int, Field(ge=0, lt=VALIDATORS_MAX)]
    # May be empty where member files say who validates.
    validators: Annotated[tuple[ValidatorConfig, ...], Field(max_length=VALIDATORS_MAX)] = ()
    limits: BlockLimits
    timeouts: ViewTimeouts
    sealing: SealingConfig = SealingConfig()
    assets: tuple[AssetEntry, ...]
    roles: dict[ShortName, tuple[ShortName, ...]]
    # Public keys that people made themselves, by name.
    identities: dict[ShortName, HexKey] = Field(default_factory=dict)
    contracts: dict[ShortName, dict[str, Any]] = Field(default_factory=dict)

    @classmethod
    def load(cls, path: Path) -> NetworkConfig:
        """Read `network.toml`; raises `Misconfigured` `NO_FILE` or `BAD_CONFIG`."""
        return load_toml(cls, path)

    @property
    def roles_by_name(self) -> dict[str, tuple[str, ...]]:
        """The roles of each named identity, by name."""
        names = sorted({name for names in self.roles.values() for name in names})
        return {
            name: tuple(role for role in sorted(self.roles) if name in self.roles[role])
            for name in names
        }

    def with_local_nodes(
        self, count: int, ports: Sequence[tuple[int, int]] | None = None
    ) -> NetworkConfig:
        """The same network with `count` validators on this machine.

        `ports` holds (peer, http) for each. The preset number is lowered where it would leave no
        validator to spare for a confirmation. Raises `Misconfigured` `BAD_CONFIG`.
        """
        if not 1 <= count <= VALIDATORS_MAX:
            raise Misconfigured("BAD_CONFIG", f"between 1 and {VALIDATORS_MAX} nodes")
        if ports is None:
            ports = [(LOCAL_PEER_PORT + i, LOCAL_HTTP_PORT + i) for i in range(count)]
        if len(ports) != count:
            raise Misconfigured("BAD_CONFIG", f"{len(ports)} pairs of ports for {count} nodes")
        content = self.model_dump()
        content["confirmations_more_than"] = min(self.confirmations_more_than, count - 1)
        content["validators"] = tuple(
            {
                "name": f"node{number}",
                "address": f"{LOCAL_HOST}:{peer}",
                "http": f"{LOCAL_HOST}:{http}",
            }
            for number, (peer, http) in enumerate(ports, 1)
        )
        return _network(content, "local nodes")

    def with_time_scale(self, time_scale: int) -> NetworkConfig:
        """The same dev network with its policy time so many times as fast; raises `BAD_CONFIG`."""
        return _network({**self.model_dump(), "time_scale": time_scale}, "--time-scale")

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        addresses = [v.address for v in self.validators] + [v.http for v in self.validators]
        if len(set(addresses)) != len(addresses):
            raise ValueError("validators: two listen on the same address; give each its own port")
        if len({validator.name for validator in self.validators}) != len(self.validators):
            raise ValueError("validators: two have the same name")
        if self.validators and self.confirmations_more_than >= len(self.validators):
            raise ValueError("confirmations_more_than must be below the number of validators")
        for name, key in self.identities.items():
            if name not in self.roles_by_name:
                raise ValueError(f"identities: no role names {name}; check its spelling")
            if list(self.identities.values()).count(key) > 1:
                raise ValueError(f"identities: {name} has the same key as another")
            try:
                check_public_key(bytes.fromhex(key))
            except Refused as refusal:
                raise ValueError(f"identities: {name}: {refusal.message}") from None
        if self.time_scale != 1 and not self.dev:
            raise ValueError("time_scale: only a dev network may run faster; set it to 1")
        return self


def _network(content: dict[str, object], source: str) -> NetworkConfig:
    try:
        return NetworkConfig.model_validate(content)
    except ValidationError as error:
        raise misconfigured(error, source) from None


class NodeConfig(Settings):
    """The content of a node folder's `node.toml`; paths are relative to the folder."""

    name: ShortName
    genesis: str = "../../genesis.json"
    interface: str = "../../interface.json"
    listen: ListenAddress
    http: ListenAddress
    key: str = "node.key.json"
    storage_key: str = "storage.key.json"
    password_file: str = ""
    data: str = "data"
    votes: str = "votes"
    # 0 keeps every block; else at least so many of the newest stay, and all that is needed besides.
    keep_blocks: Annotated[int, Field(ge=0)] = 0
    # How to get what others have and this node lacks much of: "snapshot" takes the newest and has
    # no blocks below it, "blocks" executes every one.
    catch_up: Annotated[str, Field(pattern="^(snapshot|blocks)$")] = "snapshot"
    log_level: Annotated[str, Field(pattern="^(debug|info|warning|error)$")] = "info"
    http_limits: HttpLimits = HttpLimits()

    @classmethod
    def load(cls, path: Path) -> NodeConfig:
        """Read `node.toml`; raises `Misconfigured` `NO_FILE` or `BAD_CONFIG`."""
        return load_toml(cls, path)


def load_toml(model: type[S], path: Path) -> S:
    """A settings file; raises `Misconfigured` `NO_FILE` or `BAD_CONFIG`."""
    try:
        with path.open("rb") as file:
            raw = file.read(CONFIG_BYTES_MAX + 1)
    except OSError as error:
        raise Misconfigured("NO_FILE", f"{path}: {error.strerror}") from None
    if len(raw) > CONFIG_BYTES_MAX:
        raise Misconfigured("BAD_CONFIG", f"{path}: larger than {CONFIG_BYTES_MAX} bytes")
    try:
        # Through JSON, because strict models take arrays as tuples from JSON only.
        text = json.dumps(tomllib.loads(raw.decode()), default=str)
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, RecursionError) as error:
        raise Misconfigured("BAD_CONFIG", f"{path}: not valid TOML: {error}") from None
    return parse_settings(model, text, str(path))
