"""A validator's stolen keys at work in a real network: everybody holds the proof, no harm is done.

A program in the place of a dead node, with all its keys, contradicts itself. Its votes are those of
one of four: they decide nothing, and what they prove is at /v1/evidence of every node.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator

import pytest

from client.connection import Request
from client.local import LocalNetwork
from client.node_api import NodeApi
from node.consensus.votes import check_evidence
from node.folder import NodeSettings, load_node
from node.net.peers import PeerAddress
from node.net.transport import Transport
from node.protocol.messages import (
    Commit,
    Message,
    Prepare,
    ViewChange,
    decode_message,
    sign_message,
)
from node.protocol.settings import split_address
from tests.network.shop import Shop, agreed

SECONDS_MAX = 20.0
TRAITOR = "node4"


class Silent:
    """It hears everything and answers nothing."""

    def on_connected(self, peer: bytes) -> None:
        pass

    def on_disconnected(self, peer: bytes) -> None:
        pass

    async def on_message(self, peer: bytes, message: Message) -> None:
        pass


@pytest.fixture
def stolen(network: LocalNetwork) -> Iterator[NodeSettings]:
    """All that a node's folder holds; the node itself is dead meanwhile."""
    network.kill([TRAITOR])
    password = (network.folder.path / "keys" / ".password").read_bytes().strip()
    yield load_node(network.folder.path / "nodes" / TRAITOR, password)
    network.start([TRAITOR])


def impersonate(settings: NodeSettings) -> Transport:
    """The dead node's place in the network."""
    peers = {
        bytes.fromhex(one.public_key): PeerAddress(
            *split_address(one.address), bytes.fromhex(one.tls_fingerprint)
        )
        for one in settings.genesis.validators
    }
    chain, key = settings.genesis.chain, settings.key
    return Transport(chain, key, settings.tls, settings.listen, peers, Silent())


def contradictions(settings: NodeSettings, height: int) -> list[Message]:
    """Two PREPAREs and two COMMITs for different blocks, and a view number beyond reason."""
    chain, key, no = settings.genesis.chain, settings.key, b""
    me, blocks = key.public_key, (b"a" * 32, b"b" * 32)
    prepares = [sign_message(chain, key, Prepare(height, 0, one, me, no)) for one in blocks]
    commits = [sign_message(chain, key, Commit(height, 0, one, me, no)) for one in blocks]
    far = sign_message(chain, key, ViewChange(height, 4_000_000_000, -1, b"", me, no, None))
    return [*prepares, *commits, far]


async def test_who_contradicts_itself_is_shown_by_everybody(
    network: LocalNetwork, shop: Shop, api: NodeApi, stolen: NodeSettings
) -> None:
    one = await shop.customer()
    height, _ = await agreed(api, nodes=3)
    transport = impersonate(stolen)
    await transport.start()
    try:
        deadline = time.monotonic() + SECONDS_MAX
        while len(transport.connected) < 3:
            assert time.monotonic() < deadline, transport.stats()
            await asyncio.sleep(0.05)
        for vote in contradictions(stolen, height + 1):
            transport.broadcast(vote)
        for node in network.nodes[:3]:
            items = await evidence(api, node.http_url, deadline)
            for item in items:
                first, second = (
                    decode_message(bytes.fromhex(item[name])) for name in ("first", "second")
                )
                assert isinstance(first, Prepare | Commit)
                assert isinstance(second, Prepare | Commit)
                found = check_evidence(stolen.genesis.chain, first, second)
                assert found == stolen.key.public_key
            status = await api.status(node.http_url)
            assert "EQUIVOCATION" in status["alarms"]
            assert int(status["view"]) == 0
        await shop.visit(one)  # three honest ones decide without it, and none asked for its view
        assert len(transport.connected) == 3
    finally:
        await transport.stop()
    await agreed(api, nodes=3)


async def evidence(api: NodeApi, url: str, deadline: float) -> list[dict[str, str]]:
    """What a node holds, once it holds something."""
    while True:
        items: list[dict[str, str]] = (await api.ask(Request("GET", "/v1/evidence"), url=url)).body[
            "items"
        ]
        if items:
            return items
        assert time.monotonic() < deadline, f"{url} holds no evidence"
        await asyncio.sleep(0.1)
