"""The vault of a node: its storage key, with what the contracts say is secret in their keys."""

from __future__ import annotations

from contracts.catalog import PACKAGES
from node.state.vault import Vault

# The same in all versions of a contract: see `node.code`.
_SECRET_BYTES = {
    table.name: table.secret for contract in PACKAGES.values() for table in contract.tables
}


def open_vault(storage_key: bytes) -> Vault:
    """The vault under this key, for the tables of all contracts that this program can run."""
    return Vault(storage_key, lambda table: _SECRET_BYTES.get(table, 0))
