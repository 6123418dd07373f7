"""A node that no longer knows what it signed at some heights only watches there."""

from __future__ import annotations

from node.consensus import events as e
from node.consensus.replica import Replica
from node.protocol.encoding import sha256
from node.protocol.messages import Prepare, sign_message
from tests.consensus.cluster import CHAIN, KEYS, TIMEOUTS, Cluster


def mute(cluster: Cluster, index: int, below: int) -> list[tuple[int, e.Effect]]:
    """Restart a node that must not vote below a height; what it says or writes from now on."""
    node = cluster.nodes[index]
    node.replica = Replica(
        CHAIN,
        node.key,
        cluster.validators(len(node.blocks) + 1),
        node.head,
        TIMEOUTS,
        [record for _, record in node.records],
        vote_from=below,
    )
    said: list[tuple[int, e.Effect]] = []

    def note(source: int, effect: e.Effect) -> None:
        if source == index and isinstance(effect, e.Broadcast | e.Persist):
            said.append((len(node.blocks) + 1, effect))

    cluster.trace = note
    return said


def order(cluster: Cluster, name: str) -> None:
    """Tell everybody of a transaction, and deliver all messages, with a time-out if need be."""
    heights = [len(node.blocks) for node in cluster.nodes]
    for index in range(len(cluster.nodes)):
        cluster.submit(index, [name])
    for _ in range(3):
        while cluster.packets:
            cluster.arrive(cluster.packets.pop(0))
        if all(len(node.blocks) > at for node, at in zip(cluster.nodes, heights, strict=True)):
            return
        for index in range(len(cluster.nodes)):
            cluster.fire(index)
    raise AssertionError("no block")


def test_it_follows_without_a_vote_and_votes_from_that_height_on() -> None:
    cluster = Cluster(4)
    said = mute(cluster, 3, below=4)
    for name in "abcde":
        order(cluster, name)
    assert [len(node.blocks) for node in cluster.nodes] == [5, 5, 5, 5]
    assert {height for height, _ in said} == {4, 5}


def test_it_neither_leads_nor_asks_for_another_view() -> None:
    cluster = Cluster(4)
    said = mute(cluster, 0, below=3)  # it would lead the first height
    cluster.submit(0, ["a"])
    assert cluster.nodes[0].timer is None
    order(cluster, "a")
    order(cluster, "b")
    assert said == []
    order(cluster, "c")
    assert {height for height, _ in said} == {3}


def test_its_own_forgotten_vote_is_no_reason_to_stop() -> None:
    """Others may still show it what it signed before; where it may vote, that means a twin."""
    me = KEYS[3]
    forgotten = sign_message(CHAIN, me, Prepare(1, 0, sha256(b"a"), me.public_key, b""))
    for below, halted in ((2, False), (1, True)):
        cluster = Cluster(4)
        mute(cluster, 3, below=below)
        cluster.feed(3, e.MessageReceived(KEYS[0].public_key, forgotten))
        assert cluster.nodes[3].halted is halted
