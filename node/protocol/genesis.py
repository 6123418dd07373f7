"""The genesis file: who founded the network, and everything on which its members must agree.

Its hash names the chain and is the parent of block 1; there is no block 0. It holds public things
only, and the committee's secret sealed to each validator. It is written by `node/genesis.py`, read
by nodes and clients, and is all that a client needs to check a node's answers.
"""

from __future__ import annotations

from functools import cached_property
from pathlib import Path
from typing import Annotated, Any, Self

from pydantic import Field, field_validator, model_validator

from node.protocol.block import BLOCK_BYTES_MAX, BLOCK_TRANSACTIONS_MAX
from node.protocol.domain import Chain
from node.protocol.encoding import check_value, encode, sha256
from node.protocol.errors import Misconfigured, Refused
from node.protocol.json_view import time_from_json
from node.protocol.keys import check_public_key
from node.protocol.sealing import ALGORITHM, EpochKey
from node.protocol.settings import (
    Hex32,
    HexBytes,
    HexKey,
    HostPort,
    Settings,
    ShortName,
    parse_settings,
)
from node.protocol.validators import VALIDATORS_MAX, ValidatorSet

GENESIS_VERSION = 1
GENESIS_BYTES_MAX = 16 << 20
TREE_DEPTH_MAX = 5
TIME_SCALE_MAX = 10_000_000
BLOCK_CALLS_MAX = 10_000
BLOCK_WRITES_MAX = 50_000
PRIVACY_KEY_BYTES = 32
SNAPSHOT_EVERY = 4_096
SNAPSHOT_EVERY_MAX = 1 << 20

Positive = Annotated[int, Field(ge=1)]
SnapshotEvery = Annotated[int, Field(ge=1, le=SNAPSHOT_EVERY_MAX)]


class ValidatorEntry(Settings):
    """A founding validator. `tls_fingerprint` is the sha256 of its certificate's DER form."""

    name: ShortName
    public_key: HexKey
    address: HostPort
    tls_fingerprint: Hex32


class IdentityEntry(Settings):
    """A key that may send from the first block on, with its roles."""

    name: ShortName
    public_key: HexKey
    roles: tuple[ShortName, ...]


class AssetEntry(Settings):
    """Something that the ledger counts, in integer units of 10^-scale."""

    code: Annotated[str, Field(pattern=r"^[A-Z][A-Z0-9.]{0,15}$")]
    scale: Annotated[int, Field(ge=0, le=9)]


class BlockLimits(Settings):
    """What one block may weigh, so that its worst execution stays well under a time-out."""

    block_transactions: Annotated[int, Field(ge=1, le=BLOCK_TRANSACTIONS_MAX)]
    block_bytes: Annotated[int, Field(ge=1 << 17, le=BLOCK_BYTES_MAX)]
    block_calls: Annotated[int, Field(ge=100, le=BLOCK_CALLS_MAX)]
    block_writes: Annotated[int, Field(ge=100, le=BLOCK_WRITES_MAX)]


class ViewTimeouts(Settings):
    """The view timer: it starts at `base_ms` and doubles per view up to `cap_ms`."""

    base_ms: Annotated[int, Field(ge=100, le=60_000)]
    cap_ms: Annotated[int, Field(ge=100, le=600_000)]

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        if self.cap_ms < self.base_ms:
            raise ValueError("cap_ms must be at least base_ms")
        return self


class EpochEntry(Settings):
    """The committee's first epoch key, and its secret sealed to each validator by public key."""

    number: Annotated[int, Field(ge=0, le=(1 << 32) - 1)]
    algorithm: str
    public_key: HexKey
    wraps: dict[HexKey, HexBytes]

    @field_validator("algorithm")
    @classmethod
    def _known(cls, algorithm: str) -> str:
        if algorithm != ALGORITHM:
            raise ValueError(f"the only sealing algorithm is {ALGORITHM}")
        return algorithm


class Genesis(Settings):
    """The content of `genesis.json`."""

    version: Annotated[int, Field(ge=GENESIS_VERSION, le=GENESIS_VERSION)]
    chain_id: ShortName
    created_at: str
    dev: bool
    time_scale: Annotated[int, Field(ge=1, le=TIME_SCALE_MAX)]
    tree_depth: Annotated[int, Field(ge=1, le=TREE_DEPTH_MAX)]
    # All nodes make a snapshot of the state at the multiples of this height.
    snapshot_every: SnapshotEvery = SNAPSHOT_EVERY
    validators: Annotated[
        tuple[ValidatorEntry, ...], Field(min_length=1, max_length=VALIDATORS_MAX)
    ]
    confirmations_more_than: Annotated[int, Field(ge=0)]
    limits: BlockLimits
    timeouts: ViewTimeouts
    identities: tuple[IdentityEntry, ...]
    assets: tuple[AssetEntry, ...]
    contracts: dict[ShortName, Hex32]
    interface_hash: Hex32
    parameters: dict[ShortName, dict[str, Any]]
    epoch: EpochEntry

    @classmethod
    def parse(cls, text: str | bytes, source: str = "genesis.json") -> Genesis:
        """Raises `Misconfigured` `BAD_CONFIG` naming the key that is wrong."""
        return parse_settings(cls, text, source)

    @classmethod
    def load(cls, path: Path) -> Genesis:
        """Read a genesis file; raises `Misconfigured` `NO_GENESIS` or `BAD_CONFIG`."""
        try:
            if path.stat().st_size > GENESIS_BYTES_MAX:
                raise Misconfigured("BAD_CONFIG", f"{path}: larger than {GENESIS_BYTES_MAX} bytes")
            text = path.read_bytes()
        except OSError as error:
            raise Misconfigured(
                "NO_GENESIS", f"{path}: {error.strerror}; create a network with `groat net create`"
            ) from None
        return cls.parse(text, str(path))

    def to_text(self) -> str:
        """The file's content."""
        return self.model_dump_json(indent=2) + "\n"

    @cached_property
    def hash(self) -> bytes:
        """32 bytes over the canonical encoding of the content, however the file is laid out."""
        return sha256(b"groat/genesis/1" + encode(self.model_dump(mode="json")))

    @cached_property
    def chain(self) -> Chain:
        """The identity of the network that this file founds."""
        return Chain(self.chain_id, self.hash)

    @cached_property
    def validator_set(self) -> ValidatorSet:
        """The validators of height 1, in the file's order."""
        members = tuple(bytes.fromhex(entry.public_key) for entry in self.validators)
        return ValidatorSet(members, self.confirmations_more_than)

    @property
    def epoch_key(self) -> EpochKey:
        """The public key that the first calls are sealed to."""
        return EpochKey(self.epoch.number, bytes.fromhex(self.epoch.public_key))

    @property
    def created_ms(self) -> int:
        """When the network was founded, ms since 1970: a lower bound of block times."""
        return time_from_json(self.created_at)

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        try:
            self.validator_set.check()
            for identity in self.identities:
                check_public_key(bytes.fromhex(identity.public_key))
            check_public_key(bytes.fromhex(self.epoch.public_key))
            time_from_json(self.created_at)
            check_value(self.parameters)
            encode(self.parameters)
        except Refused as refusal:
            raise ValueError(refusal.message) from None
        except OverflowError:
            raise ValueError("parameters hold an integer beyond 64 bits") from None
        if self.time_scale != 1 and not self.dev:
            raise ValueError("time_scale is for dev networks; set it to 1")
        if set(self.epoch.wraps) != {entry.public_key for entry in self.validators}:
            raise ValueError("epoch.wraps must hold one wrap for each validator")
        if "kernel" not in self.contracts:
            raise ValueError("contracts must name the kernel's hash")
        _distinct("validators.name", [entry.name for entry in self.validators])
        _distinct("validators.address", [entry.address for entry in self.validators])
        _distinct("identities.name", [entry.name for entry in self.identities])
        _distinct("identities.public_key", [entry.public_key for entry in self.identities])
        _distinct("assets.code", [entry.code for entry in self.assets])
        return self


def interface_hash(interface: dict[str, Any]) -> bytes:
    """The hash of `interface.json`'s content, however it is laid out, 32 bytes."""
    return sha256(b"groat/interface/1" + encode(interface))


def _distinct(key: str, names: list[str]) -> None:
    if len(set(names)) != len(names):
        twice = next(name for name in names if names.count(name) > 1)
        raise ValueError(f"{key}: {twice} is listed twice")
