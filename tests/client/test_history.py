"""Following the validators from genesis with the help of one node, which may lie about them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from client.connection import Answer, Request
from client.errors import Unproven
from client.light import LightClient
from client.verified import VerifiedReader
from contracts.catalog import CONTRACTS
from node.protocol.keys import PrivateKey
from node.query import Query
from tests.sim.cluster import FOUNDERS, Cluster
from tests.sim.world import key_of

Lie = Callable[[dict[str, Any]], None]


@pytest.fixture(scope="module")
def query() -> Query:
    """A node's answers, on a chain whose four founders have all been followed by others."""
    cluster = Cluster(seed=3, size=8)
    cluster.start(*range(FOUNDERS))
    for newcomer in range(FOUNDERS, 8):
        cluster.admit(newcomer)
        cluster.nodes[newcomer].start()
        cluster.reach(cluster.add(newcomer))
        cluster.reach(cluster.remove(newcomer - FOUNDERS))
    cluster.enrol()
    cluster.caught_up()
    assert cluster.members() == [4, 5, 6, 7]
    core = cluster.nodes[7].running
    return Query(core.store, CONTRACTS, cluster.genesis, core.executor.salts, core.opener)


class Node:
    """Answers requests from `query`; `lie` may change what it says of validators."""

    def __init__(self, query: Query, lie: Lie | None = None) -> None:
        self._query = query
        self._lie = lie
        self.asked: list[str] = []

    async def ask(
        self, request: Request, viewer: PrivateKey | None = None, url: str | None = None
    ) -> Answer:
        """Blocks and validators."""
        self.asked.append(request.path)
        reference = request.path.rpartition("/")[2]
        if reference == "validators":
            body = self._query.validators_view(int((request.query or {})["height"]))
            if self._lie is not None:
                self._lie(body)
        else:
            body = self._query.block(self._query.resolve(reference))
        return Answer("http://node", 200, body)


def reader(query: Query, node: Node) -> tuple[LightClient, VerifiedReader]:
    """A client that knows nothing but the genesis file."""
    light = LightClient(query.genesis)
    return light, VerifiedReader(light, node)


async def test_the_newest_block_is_believed_through_every_change(query: Query) -> None:
    node = Node(query)
    light, verified = reader(query, node)
    header = await verified.header("latest")
    assert header.height == query.head.height
    assert light.validators_at(header.height + 1) == query.validators
    asked = len(node.asked)
    assert asked < 4 * FOUNDERS * 2  # not every block: one header and one set for each change
    await verified.header("latest")
    assert len(node.asked) == asked + 1


async def test_any_order_of_heights_is_verified(query: Query) -> None:
    light, verified = reader(query, Node(query))
    heights = [query.head.height, 1, query.head.height // 2, 2, query.head.height - 1]
    for height in heights:
        assert (await verified.header(str(height))).height == height
    for height in range(1, query.head.height + 1):
        assert light.validators_at(height) == query.validators_at(height), height


def _another_key(body: dict[str, Any]) -> None:
    body["items"][0]["public_key"] = key_of("liar").public_key.hex()


def _a_lower_preset(body: dict[str, Any]) -> None:
    body["confirmations_more_than"] = 0


def _since_before(body: dict[str, Any]) -> None:
    body["since"] = str(max(int(body["since"]) - 1, 1))


def _since_the_beginning(body: dict[str, Any]) -> None:
    body["since"] = "1"


def _since_the_future(body: dict[str, Any]) -> None:
    body["since"] = str(int(body["height"]) + 5)


def _nothing(body: dict[str, Any]) -> None:
    body.clear()


def _nonsense(body: dict[str, Any]) -> None:
    body["since"] = "-3"


@pytest.mark.parametrize(
    "lie",
    [
        _another_key,
        _a_lower_preset,
        _since_before,
        _since_the_beginning,
        _since_the_future,
        _nothing,
        _nonsense,
    ],
)
async def test_a_node_that_lies_about_the_sets_is_not_believed(query: Query, lie: Lie) -> None:
    light, verified = reader(query, Node(query, lie))
    with pytest.raises(Unproven):
        await verified.header("latest")
    assert light.head.height < query.head.height
    honest = VerifiedReader(light, Node(query))  # and nothing false was learnt
    assert (await honest.header("latest")).height == query.head.height
