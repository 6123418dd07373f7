"""Real processes: four validators become five and four again while customers go on shopping."""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from client.folder import NetworkFolder
from client.local import LocalNetwork, node_environment
from client.node_api import NodeApi
from tests.network.ports import free_ports
from tests.network.shop import BONUS, PAID, VISIT, Customer, Shop, agreed

COMMAND_SECONDS_MAX = 120.0


async def groat(network: LocalNetwork, *words: str, code: int = 0) -> Any:
    """Run the command; what it printed as JSON, or its last line on stderr where it must fail."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-P", "-m", "client.cli.main"),
        *("--dir", str(network.folder.path), "-o", "json", *words),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        env=node_environment(None),
    )
    out, err = await asyncio.wait_for(process.communicate(), COMMAND_SECONDS_MAX)
    assert process.returncode == code, err.decode()
    return json.loads(out) if code == 0 else err.decode().strip().splitlines()[-1]


def add_node(name: str) -> list[str]:
    """The words of adding a node at ports that nobody uses."""
    first = free_ports(2)
    addresses = ["--address", f"127.0.0.1:{first}", "--http", f"127.0.0.1:{first + 1}"]
    return ["net", "add-node", name, *addresses]


def connect(network: LocalNetwork) -> NodeApi:
    """A client of the nodes of now, that knows nothing but the genesis file."""
    folder = NetworkFolder(network.folder.path)
    return NodeApi(folder.genesis, [one.http_url for one in folder.endpoints])


async def open_shop(network: LocalNetwork, api: NodeApi) -> Shop:
    """An approved merchant."""
    wallet = network.folder.wallet
    shop = Shop(api, wallet.open("bank"), wallet.open("gym"), wallet.open("regulator"))
    await shop.open()
    return shop


@asynccontextmanager
async def shopping(shop: Shop, customers: list[Customer]) -> AsyncIterator[None]:
    """Every customer visits again and again meanwhile."""
    busy = True

    async def go_on(one: Customer) -> None:
        while busy:
            await shop.visit(one)

    tasks = [asyncio.create_task(go_on(one)) for one in customers]
    try:
        yield
    finally:
        busy = False
    await asyncio.gather(*tasks)


@pytest.fixture
async def running(founded: LocalNetwork) -> AsyncIterator[LocalNetwork]:
    """Four nodes; whatever joins them is killed too."""
    await asyncio.to_thread(founded.start)
    try:
        yield founded
    finally:
        LocalNetwork(NetworkFolder(founded.folder.path)).kill([])


async def test_four_become_five_and_four_under_load(running: LocalNetwork) -> None:
    async with connect(running) as api:
        shop = await open_shop(running, api)
        customers = [await shop.customer() for _ in range(3)]
        async with shopping(shop, customers):
            added = await groat(running, *add_node("node5"), "--reason", "a fifth bank")
        assert added["validators"] == ["node1", "node2", "node3", "node4", "node5"]
        assert (added["quorum"], added["dead_max"]) == (4, 1)

        running.kill(["node2"])
        await shop.visit(customers[0])  # four of five must agree: the newcomer is needed
        await asyncio.to_thread(running.start, ["node2"])
        async with shopping(shop, customers):
            removed = await groat(running, "net", "remove-node", "node1")
        assert removed["validators"] == ["node2", "node3", "node4", "node5"]

    assert sum(one.acknowledged for one in customers) > 10
    async with connect(running) as api:  # from genesis, through both changes
        assert len(api.connection.urls) == 4
        shop.api = api
        await shop.visit(customers[0])
        await agreed(api, nodes=4)
        proven = await api.verified.record("prepaid", "cards", customers[0].card, customers[0].key)
        assert proven.value is not None
        members = api.light.validators_at(proven.height + 1).members
        assert [member.hex() for member in members] == [
            one.public_key for one in NetworkFolder(running.folder.path).endpoints
        ]
        for url in api.connection.urls:
            for one in customers:
                left = await shop.remaining(one, url)
                assert left == PAID + BONUS - VISIT * one.acknowledged, url
    refusal = await groat(running, "net", "remove-node", "node5", code=3)
    assert "QUORUM_LOW" in refusal
    assert "fewer than four" in refusal


async def test_an_observer_follows_restarts_and_is_dismissed(running: LocalNetwork) -> None:
    async with connect(running) as api:
        shop = await open_shop(running, api)
        one = await shop.customer()
        await groat(running, *add_node("watcher"), "--observe")
        network = LocalNetwork(NetworkFolder(running.folder.path))
        watcher = network.folder.endpoint("watcher")
        await asyncio.to_thread(network.kill, ["watcher"])
        await shop.visit(one)
        await asyncio.to_thread(network.start, ["watcher"])
        await shop.visit(one)
    async with connect(running) as api:
        shop.api = api
        await agreed(api, nodes=5)
        status = await api.status(watcher.http_url)
        assert (status["role"], status["failed_checks"]) == ("observer", [])
        assert await shop.remaining(one, watcher.http_url) == PAID + BONUS - 2 * VISIT
        assert len((await api.get("/v1/validators"))["items"]) == 4
        await groat(running, "net", "remove-node", "watcher")
        nodes = await api.query("kernel", "nodes", {})
        assert [node["name"] for node in nodes["result"]["items"]].count("watcher") == 0
