"""A local network to put load on: made and started where there is none, and its keys.

Nothing here speaks to the nodes; processes are `client.local`'s.
"""

from __future__ import annotations

import secrets
from pathlib import Path

from client.folder import NetworkFolder
from client.local import LocalNetwork, State, create_network, network_file
from client.wallet import Wallet

SEED_BYTES = 32


def ensure_running(directory: Path) -> tuple[NetworkFolder, tuple[str, ...]]:
    """The network in `directory`, made if there is none; and the nodes that had to be started.

    Raises `Misconfigured` and `NodeFailure`.
    """
    folder = NetworkFolder(directory)
    if not folder.exists:
        create_network(folder.path, ["--network", str(network_file(None))])
    local = LocalNetwork(folder)
    stopped = tuple(one.name for one in local.nodes if one.state is State.STOPPED)
    if stopped:
        local.start(stopped)
    return folder, stopped


def open_seed(wallet: Wallet, name: str) -> bytes:
    """The seed of this name in the wallet, made on first use; encrypted at rest."""
    if not wallet.has(name):
        wallet.store_seed(name, secrets.token_bytes(SEED_BYTES))
    return wallet.open_seed(name)
