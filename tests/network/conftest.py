"""Real networks for these tests: four processes with TLS, synced disks and ports of their own."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from client.folder import NetworkFolder
from client.local import LocalNetwork, create_network
from client.node_api import NodeApi
from tests.network.ports import free_ports
from tests.network.shop import Shop

REPOSITORY = Path(__file__).parents[2]
NODES = 4


def found(directory: Path, network: Path = REPOSITORY / "network.toml") -> LocalNetwork:
    """A new network in `directory`, not started."""
    arguments = ["--network", str(network), "--nodes", str(NODES)]
    create_network(directory, [*arguments, "--ports-from", str(free_ports(2 * NODES))])
    return LocalNetwork(NetworkFolder(directory))


@pytest.fixture
def founded(tmp_path: Path) -> Iterator[LocalNetwork]:
    """A new network that does not run yet; whatever the test starts of it is killed."""
    network = found(tmp_path / "net")
    try:
        yield network
    finally:
        network.kill([])


@pytest.fixture(scope="module")
def network(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalNetwork]:
    """Four running nodes, shared by the tests of a module: each leaves all of them alive."""
    shared = found(tmp_path_factory.mktemp("shared") / "net")
    try:
        shared.start()
        yield shared
    finally:
        shared.kill([])


@pytest.fixture
async def api(network: LocalNetwork) -> AsyncIterator[NodeApi]:
    """A client of the running nodes."""
    urls = [node.http_url for node in network.nodes]
    async with NodeApi(network.folder.genesis, urls) as client:
        yield client


@pytest.fixture
async def shop(network: LocalNetwork, api: NodeApi) -> Shop:
    """An approved merchant whose bank can open cards."""
    wallet = network.folder.wallet
    opened = Shop(api, wallet.open("bank"), wallet.open("gym"), wallet.open("regulator"))
    await opened.open()
    return opened
