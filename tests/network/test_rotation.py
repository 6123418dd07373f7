"""Real processes: the committee's key is rotated while customers shop, and while a node is down."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator
from typing import Any

import pytest

from client.folder import NetworkFolder
from client.local import LocalNetwork
from client.node_api import NodeApi
from node.folder import load_node
from tests.network.shop import BONUS, PAID, VISIT, agreed
from tests.network.test_membership import add_node, connect, groat, open_shop, shopping

WAIT_SECONDS = 30.0


@pytest.fixture
async def running(founded: LocalNetwork) -> AsyncIterator[LocalNetwork]:
    """Four nodes; whatever joins them is killed too."""
    await asyncio.to_thread(founded.start)
    try:
        yield founded
    finally:
        LocalNetwork(NetworkFolder(founded.folder.path)).kill([])


async def epoch_everywhere(api: NodeApi, number: int) -> list[dict[str, Any]]:
    """What every node says of the epoch, once all are in this one."""
    deadline = time.monotonic() + WAIT_SECONDS
    while True:
        answers = (await api.statuses()).values()
        shown = [one["epoch"] for one in answers if isinstance(one, dict)]
        if [one["number"] for one in shown] == [str(number)] * len(api.connection.urls):
            return shown
        assert time.monotonic() < deadline, shown
        await asyncio.sleep(0.2)


async def test_the_key_is_rotated_under_load_and_found_again_after_a_restart(
    running: LocalNetwork,
) -> None:
    async with connect(running) as api:
        shop = await open_shop(running, api)
        customers = [await shop.customer() for _ in range(3)]
        async with shopping(shop, customers):
            first = await groat(running, "net", "rotate-epoch", "--reason", "spring")
            second = await groat(running, "net", "rotate-epoch")
        assert (first["epoch"], second["epoch"], second["previous"]) == ("2", "3", "2")
        for shown in await epoch_everywhere(api, 3):
            assert shown["public_key"] == second["epoch_key"]
            assert (shown["coming"], shown["missing"]) == (None, [])
        assert (await api.sealing.epoch()).number in (2, 3)  # what was proved counts for a minute
        api.sealing.forget()
        assert (await api.sealing.epoch()).number == 3

        await asyncio.to_thread(running.stop)
        for node in running.nodes:
            kept = json.loads((node.folder / "epochs.json").read_text())
            assert [entry["epoch"] for entry in kept["wraps"]] == [2, 3]
            assert set(load_node(node.folder).secret.epochs) == {1, 2, 3}
        await asyncio.to_thread(running.start)
        await agreed(api, nodes=4)
        for one in customers:
            await shop.visit(one)

        # Whoever comes now executes the calls of all three epochs, and opens the next by itself.
        await groat(running, *add_node("watcher"), "--observe")
        await groat(running, "net", "rotate-epoch")
    async with connect(running) as api:
        shop.api = api
        await shop.visit(customers[0])
        await agreed(api, nodes=5)
        await epoch_everywhere(api, 4)
        watcher = NetworkFolder(running.folder.path).endpoint("watcher")
        for one in customers:
            left = await shop.remaining(one, watcher.http_url)
            assert left == PAID + BONUS - VISIT * one.acknowledged


async def test_a_node_that_is_down_holds_the_rotation_up(running: LocalNetwork) -> None:
    async with connect(running) as api:
        shop = await open_shop(running, api)
        one = await shop.customer()
        await asyncio.to_thread(running.kill, ["node4"])
        said = await groat(running, "net", "rotate-epoch", "--timeout", "3", code=4)
        assert "NOT_ACKNOWLEDGED" in said
        assert "node4" in said
        await shop.visit(one)  # business goes on under the epoch in force
        waits = {row["epoch_waits"] for row in (await groat(running, "status"))["nodes"][:3]}
        assert waits == {"epoch 2 waits for node4"}
        await asyncio.to_thread(running.start, ["node4"])
        await epoch_everywhere(api, 2)
        api.sealing.forget()
        await shop.visit(one)
        await agreed(api, nodes=4)
        for node in running.nodes:
            assert await shop.remaining(one, node.http_url) == PAID + BONUS - 2 * VISIT
