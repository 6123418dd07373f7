"""Anchors of read logs: by nodes only, one a day, never shorter, followed back by their days."""

from __future__ import annotations

from typing import Any

import pytest

from contracts.kernel.anchors import NEVER, READ_ANCHORS
from contracts.kernel.context import day_of
from contracts.kernel.registry import anchor_of
from node.protocol.anchors import AnchorRecord, anchor_codec, day_key
from tests.contracts.network import Network
from tests.contracts.world import DAY_MS, key_of

NODE = key_of("node1")


@pytest.fixture
def network() -> Network:
    return Network()


def today(network: Network) -> int:
    return day_of(network.time_ms, network.time_scale)


def anchor(network: Network, number: int, sender: str = "node1", **other: Any) -> str:
    args = {"day": today(network), "head": bytes([number]) * 32, "count": number, **other}
    return network.do(sender, "anchor_reads", contract="kernel", **args)


def test_each_day_s_anchor_leads_to_the_one_before(network: Network) -> None:
    days = []
    for count in (3, 4, 90):
        assert anchor(network, count) == "OK", network.last
        days.append(today(network))
        network.advance(DAY_MS)
    newest = anchor_of(network.memory, NODE)
    assert newest is not None
    assert (newest.day, newest.count, newest.previous_day) == (days[2], 90, days[1])
    found, day = [], newest.day
    while day != NEVER:
        raw = network.memory.get(READ_ANCHORS.name, day_key(NODE, day))
        assert raw is not None
        record = anchor_codec.decode(raw)
        found.append((record.count, record.head))
        day = record.previous_day
    assert found == [(count, bytes([count]) * 32) for count in (90, 4, 3)]
    assert isinstance(record, AnchorRecord)
    assert network.last.events[0].name == "ReadsAnchored"
    assert network.last.events[0].readers == ("public",)


def test_one_a_day(network: Network) -> None:
    assert anchor(network, 3) == "OK"
    assert anchor(network, 3) == "OK"
    assert network.last.details == {"replayed": True}
    assert anchor(network, 4) == "IDEM_CONFLICT"
    assert anchor(network, 3, head=bytes(32)) == "IDEM_CONFLICT"


def test_a_log_never_becomes_shorter(network: Network) -> None:
    assert anchor(network, 3) == "OK"
    network.advance(DAY_MS)
    assert anchor(network, 3) == "BAD_STATE"
    assert anchor(network, 2) == "BAD_STATE"
    assert network.last.details["count"] == 3
    assert anchor(network, 4) == "OK"


def test_no_day_to_come_and_none_that_is_past(network: Network) -> None:
    assert anchor(network, 3, day=today(network) + 1) == "BAD_STATE"
    assert anchor(network, 3) == "OK"
    network.advance(DAY_MS)
    assert anchor(network, 4, day=today(network) - 2) == "BAD_STATE"


def test_nodes_anchor_their_own(network: Network) -> None:
    for sender in ("regulator", "administrator", "stranger"):
        assert anchor(network, 3, sender=sender) == "UNAUTHORIZED"
    assert anchor(network, 3) == "OK"
    assert anchor(network, 1, sender="node2") == "OK"
    newest = anchor_of(network.memory, NODE)
    assert newest is not None
    assert newest.count == 3


@pytest.mark.parametrize("bad", [{"head": b"short"}, {"count": 0}, {"day": -1}, {"count": 1 << 63}])
def test_arguments(network: Network, bad: dict[str, Any]) -> None:
    assert anchor(network, 3, **bad) == "BAD_ARG"
    assert network.last.details["field"] in bad
