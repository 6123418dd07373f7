"""The network that is simulated: its keys and genesis, the same in every run of the same size.

Keys are derived from names, so they cost their time once a process. Source hashes in the genesis
are placeholders: a comment changed in a contract must not change what a seed does.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

from node.protocol.committee import CommitteeSecret
from node.protocol.encoding import sha256
from node.protocol.genesis import (
    GENESIS_VERSION,
    SNAPSHOT_EVERY,
    AssetEntry,
    BlockLimits,
    EpochEntry,
    Genesis,
    IdentityEntry,
    ValidatorEntry,
    ViewTimeouts,
)
from node.protocol.keys import PrivateKey
from node.protocol.sealing import ALGORITHM, EphemeralKey
from node.state.vault import Vault
from node.vaults import open_vault

CREATED_AT = "2026-01-31T08:00:00.000Z"
TREE_DEPTH = 2
HOLDERS = 6
EPOCHS_MAX = 12
IDENTITIES = {
    "regulator": ("regulator",),
    "inspector": ("regulator",),
    "bank": ("bank",),
    "operator": ("operator",),
    "chair": ("administrator",),
    "deputy": ("administrator",),
    "bookkeeper": ("bookkeeper",),
    "gym": ("merchant",),
    "cafe": ("merchant",),
    "holder0": ("holder",),
    "holder1": ("holder",),
}
CARD_CLASS = "gift"
ASSET = "CNY"
LIMITS = BlockLimits(
    block_transactions=12, block_bytes=1 << 17, block_calls=100, block_writes=1_000
)
_SEED = sha256(b"groat simulator")


@cache
def key_of(name: str) -> PrivateKey:
    """The private key of a validator or client."""
    return PrivateKey.derive(_SEED, name)


@cache
def ephemeral_of(name: str) -> EphemeralKey:
    """The exchange key with which a client seals."""
    return EphemeralKey(PrivateKey.derive(_SEED, f"{name}/ephemeral"))


@cache
def epoch_key_of(number: int) -> PrivateKey:
    """The committee's key of an epoch; the simulator's nodes are given them all beforehand."""
    return key_of("epoch" if number == 1 else f"epoch {number}")


@cache
def vault_of(name: str) -> Vault:
    """The vault of a validator: each has a storage key of its own."""
    return open_vault(sha256(f"groat simulator storage {name}".encode()))


SECRET = CommitteeSecret(
    epochs={number: epoch_key_of(number).secret for number in range(1, EPOCHS_MAX + 1)},
    privacy_key=sha256(b"groat simulator privacy"),
)


@dataclass(frozen=True)
class Shape:
    """What distinguishes one simulated network from another."""

    size: int
    more_than: int
    base_ms: int
    cap_ms: int
    snapshot_every: int = SNAPSHOT_EVERY


@cache
def found(shape: Shape) -> Genesis:
    """The genesis of a network of this shape. Its wraps stay closed: nodes are given the secret."""
    members = [(f"node{number}", key_of(f"node{number}")) for number in range(shape.size)]
    epoch_key = epoch_key_of(1).public_key
    return Genesis(
        version=GENESIS_VERSION,
        chain_id="simulator",
        created_at=CREATED_AT,
        dev=True,
        time_scale=1,
        tree_depth=TREE_DEPTH,
        snapshot_every=shape.snapshot_every,
        validators=tuple(
            ValidatorEntry(
                name=name,
                public_key=key.public_key.hex(),
                address=f"{name}:1",
                tls_fingerprint=sha256(name.encode()).hex(),
            )
            for name, key in members
        ),
        confirmations_more_than=shape.more_than,
        limits=LIMITS,
        timeouts=ViewTimeouts(base_ms=shape.base_ms, cap_ms=shape.cap_ms),
        identities=tuple(
            IdentityEntry(name=name, public_key=key_of(name).public_key.hex(), roles=roles)
            for name, roles in IDENTITIES.items()
        ),
        assets=(AssetEntry(code=ASSET, scale=2),),
        contracts={name: sha256(name.encode()).hex() for name in ("kernel", "prepaid")},
        interface_hash=sha256(b"interface").hex(),
        parameters={
            "prepaid": {
                "allow_clear": True,
                "classes": [{"name": CARD_CLASS, "asset": ASSET, "named": True}],
            }
        },
        epoch=EpochEntry(
            number=1,
            algorithm=ALGORITHM,
            public_key=epoch_key.hex(),
            wraps={key.public_key.hex(): "00" for _, key in members},
        ),
    )
