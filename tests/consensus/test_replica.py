"""What holds for every step of a replica, whatever the scenario."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from node.consensus import events as e
from node.consensus.replica import Replica
from node.protocol.encoding import sha256
from node.protocol.messages import Commit, Prepare, ViewChange, sign_message
from node.protocol.validators import ValidatorSet
from tests.consensus.cluster import CHAIN, KEYS, TIMEOUTS, Cluster

DIGEST_OF_A_RUN = """
from tests.consensus.test_shuffle import Disorder
from node.protocol.encoding import sha256
lines = []
run = Disorder(5, 1)
inner = run.cluster.trace
def trace(index, effect):
    inner(index, effect)
    lines.append(f"{index} {effect!r}")
run.cluster.trace = trace
run.chaos()
print(len(lines), sha256("\\n".join(lines).encode()).hex())
"""


def test_one_seed_gives_one_run_whatever_the_hash_seed() -> None:
    outcomes = set()
    for seed in ("1", "2"):
        outcomes.add(
            subprocess.run(
                [sys.executable, "-c", DIGEST_OF_A_RUN],
                env={"PYTHONHASHSEED": seed, "PYTHONPATH": "."},
                cwd=Path(__file__).parents[2],
                check=True,
                capture_output=True,
                text=True,
            ).stdout
        )
    assert len(outcomes) == 1
    assert int(outcomes.pop().split()[0]) > 100


def test_persists_stand_before_everything_else() -> None:
    seen: list[e.Effect] = []
    cluster = Cluster(1, trace=lambda _, effect: seen.append(effect))
    cluster.submit(0, ["a"])
    first_send = next(i for i, effect in enumerate(seen) if isinstance(effect, e.Broadcast))
    assert sum(isinstance(effect, e.Persist) for effect in seen[:first_send]) == 3


@pytest.mark.parametrize("size", [1, 2, 3, 4, 5, 6, 7, 10])
def test_every_size_of_network_orders_blocks(size: int) -> None:
    cluster = Cluster(size)
    for round_number in range(3):
        for index in range(size):
            cluster.submit(index, [f"t{round_number}"])
        while cluster.packets:
            cluster.arrive(cluster.packets.pop(0))
    assert [len(node.blocks) for node in cluster.nodes] == [3] * size


def test_a_flood_of_views_from_one_member_is_forgotten() -> None:
    """f = 1: nothing that one member signs moves anybody or grows without bound."""
    members = ValidatorSet(tuple(key.public_key for key in KEYS[:4]), 0)
    replica = Replica(CHAIN, KEYS[0], members, None, TIMEOUTS)
    liar = KEYS[3]
    for view in range(1, 200):
        block = sha256(b"%d" % view)
        for message in (
            sign_message(CHAIN, liar, Prepare(1, view, block, liar.public_key, b"")),
            sign_message(CHAIN, liar, Commit(1, view, block, liar.public_key, b"")),
            sign_message(CHAIN, liar, ViewChange(1, view, -1, b"", liar.public_key, b"", None)),
        ):
            assert replica.handle(e.MessageReceived(liar.public_key, message), 0) == []
    assert replica.view == 0


def test_strangers_and_stale_answers_do_nothing() -> None:
    cluster = Cluster(4)
    replica = cluster.nodes[1].replica
    assert replica is not None
    stranger = KEYS[9]
    vote = sign_message(CHAIN, stranger, Prepare(1, 0, sha256(b"a"), stranger.public_key, b""))
    for event in (
        e.MessageReceived(stranger.public_key, vote),
        e.ProposalExecuted(sha256(b"unknown"), e.Outcome.MATCHES),
        e.ProposalBuilt(1, 0, None, ()),
        e.TimerFired(77),
        e.PendingChanged(False),
        e.Tick(),
    ):
        assert replica.handle(event, 0) == []


def test_a_forged_signature_is_the_delivering_peers_fault() -> None:
    cluster = Cluster(4)
    replica = cluster.nodes[1].replica
    assert replica is not None
    forged = Prepare(1, 0, sha256(b"a"), KEYS[0].public_key, bytes(64))
    effects = replica.handle(e.MessageReceived(KEYS[3].public_key, forged), 0)
    assert effects == [e.ReportPeer(KEYS[3].public_key, "BAD_SIGNATURE", "a Prepare")]


def test_a_fork_halts() -> None:
    """More than f traitors: the node stops rather than choose."""
    cluster = Cluster(4)
    replica = cluster.nodes[3].replica
    assert replica is not None
    effects: list[e.Effect] = []
    for block in (b"a", b"b"):
        for key in KEYS[:3]:
            vote = sign_message(CHAIN, key, Commit(1, 0, sha256(block), key.public_key, b""))
            if block == b"b":
                vote = sign_message(CHAIN, key, Commit(1, 1, sha256(block), key.public_key, b""))
            effects += replica.handle(e.MessageReceived(key.public_key, vote), 0)
    assert [effect.code for effect in effects if isinstance(effect, e.Halt)] == ["FORK"]
    assert replica.handle(e.Tick(), 0) == []
