"""Real processes: a newcomer begins with a snapshot while customers go shopping, and then votes."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from client.folder import NetworkFolder
from client.local import LocalNetwork
from client.node_api import NodeApi
from tests.network.conftest import REPOSITORY, found
from tests.network.shop import BONUS, PAID, VISIT, Customer, Shop, agreed
from tests.network.test_membership import add_node, connect, groat, open_shop, shopping

EVERY = 25
SNAPSHOT_SECONDS_MAX = 90


@pytest.fixture
def founded(tmp_path: Path) -> Iterator[LocalNetwork]:
    """A network that makes snapshots often; whatever the test starts of it is killed."""
    description = (REPOSITORY / "network.toml").read_text()
    path = tmp_path / "network.toml"
    path.write_text(f"snapshot_every = {EVERY}\n{description}")
    network = found(tmp_path / "net", path)
    try:
        yield network
    finally:
        LocalNetwork(NetworkFolder(network.folder.path)).kill([])


@pytest.fixture
async def running(founded: LocalNetwork) -> LocalNetwork:
    """Four nodes."""
    await asyncio.to_thread(founded.start)
    return founded


def events(network: LocalNetwork, name: str, event: str) -> list[dict[str, Any]]:
    """What a node has said of this kind."""
    path = network.folder.path / "nodes" / name / "node.log"
    lines = [json.loads(line) for line in path.read_text().splitlines() if line.startswith("{")]
    return [line for line in lines if line.get("event") == event]


def latest_snapshot(network: LocalNetwork, name: str) -> int:
    """The height of the newest snapshot that a node has made."""
    return max((int(made["height"]) for made in events(network, name, "snapshot_made")), default=0)


async def pass_blocks(shop: Shop, one: Customer, api: NodeApi, height: int) -> None:
    """Let the customer visit until there are so many blocks."""
    while int((await api.get("/v1/status"))["height"]) < height:
        await shop.visit(one)


async def test_a_newcomer_begins_with_a_snapshot_under_load_and_votes(
    running: LocalNetwork,
) -> None:
    async with connect(running) as api:
        shop = await open_shop(running, api)
        customers = [await shop.customer() for _ in range(3)]
        await pass_blocks(shop, customers[0], api, 3 * EVERY)
        async with shopping(shop, customers):
            added = await groat(running, *add_node("node5"))
        assert added["validators"][-1] == "node5"
        network = LocalNetwork(NetworkFolder(running.folder.path))
        newcomer = network.folder.endpoint("node5")
        assert events(running, "node5", "snapshot_fetched")
        network.kill(["node2"])
        await shop.visit(customers[0])  # four of five must agree: the newcomer is needed
        await asyncio.to_thread(network.start, ["node2"])

    async with connect(running) as api:
        shop.api = api
        await agreed(api, nodes=5)
        status = await api.status(newcomer.http_url)
        assert int(status["balances_from"]) % EVERY == 0
        assert int(status["balances_from"]) >= 3 * EVERY
        assert status["sync"]["snapshot"] is None
        for one in customers:
            left = await shop.remaining(one, newcomer.http_url)
            assert left == PAID + BONUS - VISIT * one.acknowledged
        # Back again: a node that falls far behind once more begins anew, votes kept. It may fetch
        # one range of 64 blocks before it hears of snapshots, and those are made at their time.
        before = len(events(running, "node5", "snapshot_fetched"))
        await asyncio.to_thread(network.stop, ["node5"])
        far = int((await api.get("/v1/status"))["height"]) + 5 * EVERY
        async with asyncio.timeout(SNAPSHOT_SECONDS_MAX):
            while latest_snapshot(running, "node1") < far:
                await shop.visit(customers[0])
        await asyncio.to_thread(network.start, ["node5"])
        await agreed(api, nodes=5)
        assert len(events(running, "node5", "snapshot_fetched")) > before
        network.kill(["node2"])
        await shop.visit(customers[0])
        network.stop(["node5"])
        checked = await groat(running, "node", "check", "node5")
        assert {row["result"] for row in checked} == {"ok"}
        leftovers = {path.name for path in (running.folder.path / "nodes" / "node5").iterdir()}
        assert not {"data.staged", "data.replaced"} & leftovers
