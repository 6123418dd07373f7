"""What a node of a network holds databases and snapshots against: founders, and secret salts."""

from __future__ import annotations

from collections.abc import Callable

from contracts.catalog import PACKAGES
from contracts.kernel.registry import counted_in, era_of
from node.execution import Salts
from node.protocol.committee import CommitteeSecret
from node.protocol.genesis import Genesis
from node.state.trust import Trust


def trust_of(genesis: Genesis, secret: CommitteeSecret) -> Trust:
    """The founders of the network, and the salts that its nodes share."""
    return trust_with(genesis, Salts(secret.privacy_key))


def trust_with(genesis: Genesis, salts: Salts) -> Trust:
    """The same, where the salts are at hand."""
    return Trust(
        genesis.chain,
        genesis.tree_depth,
        genesis.validator_set,
        _salt_source(salts),
        salts.of_receipt,
        era_of,
        counted_in,
    )


def _salt_source(salts: Salts) -> Callable[[str, bytes, bytes], bytes]:
    """The salt of any record by table, key and value; LookupError for a table that is none.

    Tables of all versions that this program holds count: the state may be of any of them.
    """
    public = {table.name: table.public for one in PACKAGES.values() for table in one.tables}

    def salt_of(table: str, key: bytes, value: bytes) -> bytes:
        return b"" if public[table] else salts.of(table, key, value)

    return salt_of
