"""Four real processes agree, survive what may happen to one of them, and lose nothing."""

from __future__ import annotations

import asyncio
import re
from pathlib import Path

from client.local import LocalNetwork, State
from client.node_api import NodeApi
from tests.network.shop import BONUS, PAID, VISIT, Customer, Shop, agreed

FACE = PAID + BONUS


async def check_every_node(network: LocalNetwork, shop: Shop, customers: list[Customer]) -> None:
    """Every acknowledged visit is on every node, and all have the same state."""
    await agreed(shop.api, nodes=len(network.nodes))
    for node in network.nodes:
        for one in customers:
            left = await shop.remaining(one, node.http_url)
            assert left == FACE - VISIT * one.acknowledged, node.name


async def test_a_purchase_settles_on_every_node(network: LocalNetwork, shop: Shop) -> None:
    one = await shop.customer()
    await shop.visit(one)
    await shop.visit(one, sealed=False)
    await check_every_node(network, shop, [one])


def test_what_a_node_writes_is_for_its_operator_alone(network: LocalNetwork) -> None:
    for node in network.nodes:
        written = [path for path in node.folder.rglob("*") if path.lstat().st_mode & 0o077]
        assert written == []
        assert node.process is not None
        limits = Path(f"/proc/{node.process.pid}/limits").read_text()
        assert re.search(r"Max core file size +0 +0 ", limits)


async def test_one_node_alone_is_believed_only_with_its_proof(shop: Shop, api: NodeApi) -> None:
    one = await shop.customer()
    await shop.visit(one)
    proven = await api.verified.record("prepaid", "cards", one.card, viewer=one.key)
    assert proven.value is not None
    strange = await api.verified.record("prepaid", "cards", bytes(16), viewer=one.key)
    assert strange.value is None


async def test_payments_settle_while_any_one_validator_is_dead(
    network: LocalNetwork, shop: Shop
) -> None:
    one = await shop.customer()
    for node in network.nodes:
        network.kill([node.name])
        await shop.visit(one)
        await agreed(shop.api, nodes=3)
        network.start([node.name])
        await agreed(shop.api, nodes=4)
    await check_every_node(network, shop, [one])


async def test_a_paused_validator_catches_up(network: LocalNetwork, shop: Shop) -> None:
    one = await shop.customer()
    name = network.nodes[0].name
    network.pause([name])
    assert network.nodes[0].state is State.PAUSED
    for _ in range(3):
        await shop.visit(one)
    network.resume([name])
    await check_every_node(network, shop, [one])


async def test_two_dead_of_four_stop_the_network_and_nothing_is_lost(
    network: LocalNetwork, shop: Shop, api: NodeApi
) -> None:
    one = await shop.customer()
    await shop.visit(one)
    height, root = await agreed(api, nodes=4)
    network.kill(["node3", "node4"])
    visit = asyncio.create_task(shop.visit(one))
    await asyncio.sleep(4)
    assert not visit.done()
    assert await agreed(api, nodes=2) == (height, root)
    network.start(["node3", "node4"])
    assert (await visit).status == "committed"
    await check_every_node(network, shop, [one])


async def test_all_killed_at_once_come_back_with_what_was_acknowledged(
    network: LocalNetwork, shop: Shop
) -> None:
    customers = [await shop.customer() for _ in range(3)]
    visits = asyncio.gather(*(shop.visit(one) for one in customers for _ in range(1)))
    await visits
    network.kill([])
    network.start()
    for one in customers:
        await shop.visit(one)
    await check_every_node(network, shop, customers)
