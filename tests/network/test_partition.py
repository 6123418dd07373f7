"""A network that is split and healed, and what its nodes say of themselves meanwhile: the truth."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator, Callable
from typing import Any

import aiohttp
import pytest

from client.cli.main import main
from client.errors import EXIT_NO_QUORUM
from client.local import LocalNetwork, LocalNode
from client.node_api import NodeApi
from client.partition import heal
from node.heads import FRESH_MS
from tests.network.shop import Shop, agreed

SECONDS_MAX = 30.0
Statuses = dict[str, dict[str, Any]]


async def groat(network: LocalNetwork, *words: str) -> int:
    """The exit code of a command on this network."""
    directory = str(network.folder.path)
    return await asyncio.to_thread(main, [*words, "--dir", directory, "-o", "json"])


async def until(api: NodeApi, network: LocalNetwork, holds: Callable[[Statuses], bool]) -> Statuses:
    """Wait until the statuses, by the nodes' names, are as they must come to be."""
    deadline = time.monotonic() + SECONDS_MAX
    while True:
        by_url = await api.statuses()
        found = {
            node.name: answer
            for node in network.nodes
            if isinstance(answer := by_url[node.http_url], dict)
        }
        if holds(found):
            return found
        assert time.monotonic() < deadline, found
        await asyncio.sleep(0.1)


async def readiness(node: LocalNode) -> tuple[int, list[str]]:
    """Status and failed components of /readyz."""
    async with (
        aiohttp.ClientSession() as http,
        http.get(f"{node.http_url}/readyz") as answer,
    ):
        body = await answer.json(content_type=None)
        return answer.status, [check["component"] for check in body["failed_checks"]]


async def metric(node: LocalNode, name: str) -> float:
    """One figure of /metrics."""
    async with (
        aiohttp.ClientSession() as http,
        http.get(f"{node.http_url}/metrics") as answer,
    ):
        text = await answer.text()
    (line,) = [line for line in text.splitlines() if line.startswith(f"groat_{name} ")]
    return float(line.split()[1])


@pytest.fixture(autouse=True)
async def _whole_again(network: LocalNetwork) -> AsyncIterator[None]:
    yield
    heal(network)


async def test_a_minority_knows_that_it_knows_nothing_and_catches_up_when_healed(
    network: LocalNetwork, shop: Shop, api: NodeApi, capsys: pytest.CaptureFixture[str]
) -> None:
    one = await shop.customer()
    lonely = network.nodes[3]
    assert await groat(network, "net", "partition", "4") == 0
    shown = json.loads(capsys.readouterr().out)
    assert {row["node"]: row["cut_from"] for row in shown} == {
        "node1": ["node4"],
        "node2": ["node4"],
        "node3": ["node4"],
        "node4": ["node1", "node2", "node3"],
    }
    for _ in range(3):
        await shop.visit(one)
    statuses = await until(api, network, lambda found: not found["node4"]["caught_up"])
    told = statuses["node4"]
    assert (told["validators_reachable"], told["quorum_rtt_us"]) == (1, None)
    assert (told["peers_connected"], told["cut"]) == (0, ["node1", "node2", "node3"])
    assert await readiness(lonely) == (503, ["peers"])
    assert await metric(lonely, "consensus_caught_up") == 0
    assert await metric(lonely, "consensus_missing_validators") == 3
    for node in network.nodes[:3]:
        assert (statuses[node.name]["caught_up"], statuses[node.name]["cut"]) == (True, ["node4"])
        assert await readiness(node) == (200, [])
    assert int(statuses["node1"]["height"]) > int(told["height"])

    assert await groat(network, "net", "heal") == 0
    await until(api, network, lambda found: bool(found["node4"]["caught_up"]))
    await agreed(api, nodes=4)
    assert await readiness(lonely) == (200, [])
    assert await metric(lonely, "consensus_quorum_rtt_seconds") > 0


async def test_two_halves_decide_nothing_and_say_so_until_they_are_one_again(
    network: LocalNetwork, shop: Shop, api: NodeApi, capsys: pytest.CaptureFixture[str]
) -> None:
    one = await shop.customer()
    height, root = await agreed(api, nodes=4)
    assert await groat(network, "net", "partition", "1,node2|3,4") == 0
    visit = asyncio.create_task(shop.visit(one))
    await until(
        api,
        network,
        lambda found: all(
            one["validators_reachable"] == 2 and int(one["view"]) > 0 for one in found.values()
        ),
    )
    assert not visit.done()
    capsys.readouterr()
    assert await groat(network, "status") == EXIT_NO_QUORUM
    shown = capsys.readouterr()
    assert {row["state"] for row in json.loads(shown.out)["nodes"]} == {
        "peers: 2 of 3 needed for a quorum"
    }
    assert "groat net heal" in shown.err
    assert await agreed(api, nodes=4) == (height, root)
    # A split holds over a restart: the node reads of it again.
    await asyncio.to_thread(network.kill, ["node4"])
    await asyncio.to_thread(network.start, ["node4"])
    found = await until(api, network, lambda found: found["node4"]["peers_connected"] == 1)
    assert found["node4"]["cut"] == ["node1", "node2"]

    assert await groat(network, "net", "heal") == 0
    assert (await visit).status == "committed"
    await until(api, network, lambda found: all(one["caught_up"] for one in found.values()))
    assert await groat(network, "status") == 0


async def test_of_a_frozen_peer_the_others_tell_how_long_it_is_silent(
    network: LocalNetwork, shop: Shop, api: NodeApi
) -> None:
    frozen = network.nodes[2]
    await agreed(api, nodes=4)
    network.pause([frozen.name])
    await asyncio.sleep(FRESH_MS / 1000 + 1)
    items = (await api.get("/v1/peers"))["items"]
    silent = next(one for one in items if one["name"] == frozen.name)
    assert int(silent["heard_ms"]) > FRESH_MS
    assert silent["rtt_us"] is None or int(silent["rtt_us"]) > 2_000_000
    assert (await api.status())["validators_reachable"] == 3
    network.resume([frozen.name])
    # What it heard before it froze is too old to judge by: it waits for its peers to speak.
    await until(api, network, lambda found: bool(found.get(frozen.name, {}).get("caught_up")))
    found = await until(
        api, network, lambda found: all(one["validators_reachable"] == 4 for one in found.values())
    )
    for status in found.values():
        assert status["failed_checks"] == []
        assert int(status["disk"]["free_bytes"]) > 0
        assert status["queues"]["inbox"].isdecimal()


async def test_what_makes_no_split_is_refused(
    network: LocalNetwork, capsys: pytest.CaptureFixture[str]
) -> None:
    for words, code in (("1,2|2,3", "BAD_SIDES"), ("1,2,3,4", "BAD_SIDES"), ("1|9", "NO_NODE")):
        assert await groat(network, "net", "partition", words) == 2
        assert code in capsys.readouterr().err
