"""Real processes: what the regulator reads is noted, anchored on chain, and cannot be unsaid."""

from __future__ import annotations

import asyncio
import time
from typing import Any

import pytest

from client.local import LocalNetwork
from client.node_api import NodeApi
from client.reads import proven_anchors
from tests.network.shop import PAID, Shop
from tests.network.test_membership import groat

WAIT_SECONDS = 30.0


@pytest.fixture
async def watched(network: LocalNetwork, api: NodeApi, shop: Shop) -> str:
    """The name of a node at which a regulator has read a card; its log is anchored."""
    one = await shop.customer()
    (first, *_) = network.nodes
    name = first.name
    node = bytes.fromhex(network.folder.endpoint(name).public_key)
    card: dict[str, Any] = {"card": one.card.hex()}
    answer = await api.query("prepaid", "card", card, viewer=shop.regulator, url=first.http_url)
    assert answer["result"]["remaining"] == str(PAID + 1_000_00)
    deadline = time.monotonic() + WAIT_SECONDS
    while not await proven_anchors(api, node):
        assert time.monotonic() < deadline
        await asyncio.sleep(0.5)
    return name


async def test_reads_are_noted_and_anchored_and_no_node_can_forget_them(
    network: LocalNetwork, watched: str, shop: Shop
) -> None:
    listed = await groat(network, "node", "reads", watched)
    assert any(row["what"].startswith("query prepaid card") for row in listed)
    assert {row["reader"] for row in listed} == {shop.regulator.public_key.hex()}
    findings = await groat(network, "audit", "--reads")
    assert {row["subject"]: row["result"] for row in findings} == dict.fromkeys(
        (node.name for node in network.nodes), "ok"
    )
    path = network.folder.path / "nodes" / watched / "reads.log"
    content = path.read_bytes()
    for forged in (content[:-1], content[:9] + bytes([content[9] ^ 1]) + content[10:], b""):
        path.write_bytes(forged)
        said = await groat(network, "audit", "--reads", code=1)
        assert "AUDIT_FAILED" in said
        said = await groat(network, "node", "reads", watched, code=1)
        assert "READ_LOG_ALTERED" in said
    path.write_bytes(content)
    await groat(network, "audit", "--reads")
