"""A real node whose disk is full: it takes nothing on, says so, loses nothing, resumes by itself.

No file of its may grow any more (RLIMIT_FSIZE from outside), which to a program is the same.
"""

from __future__ import annotations

import asyncio
import resource
import time
from collections.abc import AsyncIterator

import pytest

from client.errors import Overloaded
from client.local import LocalNetwork, LocalNode
from client.node_api import NodeApi
from node.protocol.transaction import Call
from tests.network.shop import BONUS, PAID, VISIT, Shop, agreed
from tests.network.test_partition import readiness

SECONDS_MAX = 30.0
NOTHING_GROWS = 1


def limit_files(node: LocalNode, most: int) -> None:
    """No file of the node's grows beyond so many bytes."""
    assert node.process is not None
    _, hard = resource.prlimit(node.process.pid, resource.RLIMIT_FSIZE)
    resource.prlimit(node.process.pid, resource.RLIMIT_FSIZE, (most, hard))


@pytest.fixture
async def others(network: LocalNetwork) -> AsyncIterator[NodeApi]:
    """A client of the nodes that have room."""
    urls = [node.http_url for node in network.nodes[:3]]
    async with NodeApi(network.folder.genesis, urls) as api:
        yield api


async def test_a_full_disk_costs_time_and_no_promise(
    network: LocalNetwork, shop: Shop, api: NodeApi, others: NodeApi
) -> None:
    victim = network.nodes[3]
    one = await shop.customer()
    height, _ = await agreed(api, nodes=4)
    shop.api = others
    limit_files(victim, NOTHING_GROWS)
    deadline = time.monotonic() + SECONDS_MAX
    while await readiness(victim) == (200, []):
        assert time.monotonic() < deadline
        await shop.visit(one)  # the others have room
    status, failed = await readiness(victim)
    assert status == 503
    assert "disk" in failed
    told = await api.status(victim.http_url)
    assert int(told["height"]) <= height + 1
    assert (told["last_error"]["code"], told["alarms"]["DISK_FAILED"]) == ("DISK_FAILED", "1")
    assert "nothing can be written" in told["disk"]["shortage"]
    async with NodeApi(api.genesis, [victim.http_url]) as alone:
        call = Call("prepaid", "consume", {"card": one.card, "amt": 1, "seq": 99})
        transaction = await alone.build(one.key, [call])
        with pytest.raises(Overloaded, match="DISK_FULL"):
            await alone.submit(transaction, wait="check", timeout_seconds=1)
    for _ in range(3):
        await shop.visit(one)

    limit_files(victim, resource.RLIM_INFINITY)
    await agreed(api, nodes=4)
    while await readiness(victim) != (200, []):
        assert time.monotonic() < deadline + SECONDS_MAX
        await asyncio.sleep(0.1)
    network.kill(["node1"])
    await shop.visit(one)  # its vote is needed, and counts
    left = await shop.remaining(one, victim.http_url)
    assert left == PAID + BONUS - VISIT * one.acknowledged
    assert "Traceback" not in victim.log.read_text()
