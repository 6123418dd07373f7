"""Transactions that a bug keeps from executing: left out, quarantined, named in one line."""

from __future__ import annotations

from typing import Any

from contracts.kernel.context import Context
from node.protocol.transaction import Call
from tests.test_engine import Cluster, filing, transaction, with_action


def crash(_: Context, __: Any) -> dict[str, Any]:
    raise ZeroDivisionError("a bug and somebody's balance")


def test_poison_is_left_out_and_the_rest_is_ordered() -> None:
    contracts = with_action("crash", crash)
    cluster = Cluster(dict.fromkeys(("node0", "node1", "node2", "node3"), contracts))
    poison, good = transaction("gym", Call("kernel", "crash", {})), filing()
    cluster.submit("node0", poison, good)
    assert cluster.heights == [1, 1, 1, 1]
    assert cluster.code_of(good) == "OK"
    # Each of the others finds the poison when it leads, at the price of one empty block at most.
    cluster.pass_time(60_000)
    settled = cluster.heights
    assert max(settled) <= 4
    cluster.pass_time(60_000)
    assert cluster.heights == settled
    assert all(node.core.store.find(poison.id) is None for node in cluster.nodes.values())
    assert "POISON" in cluster.nodes["node0"].alarms
    (text,) = {text.partition(": ")[2] for text in cluster.nodes["node0"].alarm_details}
    assert text.startswith(f"{poison.id.hex()}: ZeroDivisionError in tests.test_poison:")
    assert "balance" not in text


def test_quarantined_poison_runs_no_timer() -> None:
    contracts = with_action("crash", crash)
    cluster = Cluster(dict.fromkeys(("node0", "node1", "node2", "node3"), contracts))
    cluster.submit("node0", transaction("gym", Call("kernel", "crash", {})))
    cluster.pass_time(20_000)
    views = [node.core.engine.view for node in cluster.nodes.values()]
    cluster.pass_time(20_000)
    assert [node.core.engine.view for node in cluster.nodes.values()] == views
