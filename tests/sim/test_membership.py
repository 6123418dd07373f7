"""Validators come and go while the network runs: 4 → 7 → 5, calmly, with dead nodes, under faults.

A light client follows the same history from genesis, knowing nothing but the genesis file.
"""

from __future__ import annotations

import pytest

from client.errors import Unproven
from client.light import LightClient
from contracts.kernel.registry import validators_at
from node.protocol.validators import ValidatorSet
from tests.sim.cluster import FOUNDERS, Cluster

SIZE = 7


def grow(cluster: Cluster, *numbers: int) -> None:
    """Admit machines and make them validators one after the other."""
    for number in numbers:
        cluster.admit(number)
        cluster.nodes[number].start()
        cluster.reach(cluster.add(number))


@pytest.fixture
def cluster() -> Cluster:
    """Four founders that run, and three machines that are off."""
    made = Cluster(seed=1, size=SIZE)
    made.start(*range(FOUNDERS))
    return made


def test_four_become_seven_and_five(cluster: Cluster) -> None:
    grow(cluster, 4, 5, 6)
    assert cluster.members() == [0, 1, 2, 3, 4, 5, 6]
    for _ in range(20):
        cluster.enrol()
    cluster.reach(cluster.remove(0))
    cluster.reach(cluster.remove(5))
    assert cluster.members() == [1, 2, 3, 4, 6]
    votes = [cluster.counts[f"votes of node{number}"] for number in range(SIZE)]
    assert all(votes)
    for _ in range(5):
        cluster.enrol()
    for gone in (0, 5):
        assert cluster.counts[f"votes of node{gone}"] == votes[gone]
    cluster.finish()


def test_an_observer_follows_and_says_nothing(cluster: Cluster) -> None:
    cluster.admit(4)
    cluster.start(4)
    for _ in range(5):
        cluster.enrol()
    cluster.caught_up(4)
    assert not cluster.counts["votes of node4"]
    assert not cluster.nodes[4].running.engine.halted
    cluster.finish()


def test_with_a_node_down_all_the_way(cluster: Cluster) -> None:
    cluster.nodes[2].crash()
    grow(cluster, 4, 5, 6)
    cluster.reach(cluster.remove(1))
    cluster.reach(cluster.remove(3))
    assert cluster.members() == [0, 2, 4, 5, 6]
    cluster.nodes[2].start()  # it knew the founders only, and follows every change
    cluster.caught_up(2)
    cluster.nodes[0].crash()  # so it is needed again
    cluster.enrol()
    cluster.nodes[0].start()
    cluster.finish()


def test_the_leader_is_removed(cluster: Cluster) -> None:
    grow(cluster, 4, 5)
    for _ in range(2):
        leader = cluster.leader()
        cluster.reach(cluster.remove(leader))
        assert leader not in cluster.members()
        assert cluster.leader() != leader
        before = cluster.counts["view changes asked for"]
        for _ in range(3):
            cluster.enrol()
        assert cluster.counts["view changes asked for"] == before  # nobody waited for the one gone
    cluster.finish()


def test_a_dead_leader_is_removed(cluster: Cluster) -> None:
    grow(cluster, 4)
    leader = cluster.leader()
    cluster.nodes[leader].crash()
    cluster.reach(cluster.remove(leader))
    for _ in range(3):
        cluster.enrol()
    cluster.nodes[leader].start()
    cluster.finish()


def test_a_node_is_replaced_by_another(cluster: Cluster) -> None:
    cluster.admit(4)
    cluster.start(4)
    cluster.nodes[1].crash()
    keys = [node.public_key for node in cluster.nodes]
    cluster.acknowledge(4)
    receipt = cluster.decide(
        "replace_validator",
        node_key=keys[4],
        replaced=keys[1],
        **cluster.ready(4),
        **cluster.next_epoch(without=1),
    )
    cluster.reach(int(receipt.details["first_height"]))
    assert cluster.members() == [0, 4, 2, 3]
    cluster.nodes[1].start()
    cluster.finish()


def test_a_removed_validator_may_come_back(cluster: Cluster) -> None:
    grow(cluster, 4)
    cluster.reach(cluster.remove(1))
    cluster.dismiss(1)
    cluster.admit(1)  # with the secret of the epoch that its removal brought
    cluster.reach(cluster.add(1))
    assert cluster.members() == [0, 2, 3, 4, 1]
    cluster.finish()


def test_a_late_newcomer_fetches_the_whole_history(cluster: Cluster) -> None:
    grow(cluster, 4, 5)
    cluster.reach(cluster.remove(0))
    cluster.reach(cluster.remove(1))
    assert cluster.members() == [2, 3, 4, 5]
    for gone in (0, 1):
        cluster.nodes[gone].crash()
    cluster.admit(6)
    cluster.start(6)
    cluster.caught_up(6)  # from those who founded nothing, back to genesis
    cluster.reach(cluster.add(6))
    cluster.finish()


@pytest.mark.parametrize("seed", range(6))
def test_under_faults(seed: int) -> None:
    """The same while nodes crash, routes break and messages get lost."""
    cluster = Cluster(seed, SIZE)
    cluster.start(*range(FOUNDERS))
    for number in (4, 5, 6):
        cluster.admit(number)
        cluster.nodes[number].start()
    cluster.trouble()
    for number in (4, 5, 6):
        cluster.reach(cluster.add(number))
    cluster.reach(cluster.remove(0))
    cluster.reach(cluster.remove(5))
    cluster.peace()
    cluster.enrol()
    cluster.finish()
    assert cluster.members() == [1, 2, 3, 4, 6]
    assert cluster.counts["blocks"] > 12


def test_a_light_client_follows_from_genesis(cluster: Cluster) -> None:
    grow(cluster, 4, 5, 6)
    for gone in (0, 1, 2):
        cluster.reach(cluster.remove(gone))
    cluster.enrol()
    cluster.caught_up()
    store = cluster.nodes[3].running.store
    light = LightClient(cluster.genesis)
    latest = store.block(store.head.height)
    assert latest is not None
    with pytest.raises(Unproven):  # the founders alone do not make it believable
        light.check(latest.header, latest.certificate)
    sizes = []
    for height in range(1, store.head.height + 1):
        block = store.block(height)
        assert block is not None
        light.check(block.header, block.certificate)
        if light.names_new_validators(block.header):
            found = validators_at(store, height + 1)
            light.learn(block.header, ValidatorSet(found.members, found.confirmations_more_than))
            sizes.append(len(found.members))
    assert sizes == [5, 6, 7, 6, 5, 4]
    assert light.head.height == store.head.height
