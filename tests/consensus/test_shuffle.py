"""Seeded disorder: messages lost, doubled and shuffled, crashes between effects, f traitors.

The cluster itself checks that there is one block a height, that certificates hold and that no
correct member contradicts itself. Here chaos is made, then healed, and progress must follow: the
traitors fall silent and every correct member must reach a further height within bounded time.
`GROAT_SEEDS=200` runs more seeds; a failure names its own.
"""

from __future__ import annotations

import os
import random

import pytest

from node.consensus import events as e
from tests.consensus.adversary import Adversary
from tests.consensus.cluster import Cluster, Node

SEEDS = int(os.environ.get("GROAT_SEEDS", "6"))
STEPS_PER_PAIR = 80
FAULTS_PER_ROUND = 4
STEP_MS = 4
HEAL_MS_MAX = 240_000


class Disorder:
    """One seeded run."""

    def __init__(self, size: int, seed: int) -> None:
        self.chance = random.Random(seed * 1_000 + size)
        self.cluster = Cluster(size, trace=self._trace)
        self.behind: set[int] = set()
        self.submitted = 0
        traitors = set(self.chance.sample(range(size), (size - 1) // 3))
        if seed % 3 == 0:
            traitors = set()
        self.adversary = Adversary(self.cluster, traitors, self.chance) if traitors else None
        self.correct = [n for n in self.cluster.nodes if n.index not in traitors]

    def _trace(self, index: int, effect: e.Effect) -> None:
        if isinstance(effect, e.RequestCatchUp):
            self.behind.add(index)

    def chaos(self) -> None:
        """Many random steps."""
        pairs = len(self.cluster.nodes) ** 2
        for _ in range(STEPS_PER_PAIR * pairs):
            self.cluster.now_ms += STEP_MS
            if self.chance.random() < FAULTS_PER_ROUND / (pairs + FAULTS_PER_ROUND):
                self._disturb()
            else:
                self._deliver_one()

    def _disturb(self) -> None:
        cluster, chance = self.cluster, self.chance
        node, dice = chance.choice(self.correct), chance.random()
        if dice < 0.20 and self.adversary is not None:
            self.adversary.act()
        elif dice < 0.35:
            self._submit([node])
        elif dice < 0.55:
            cluster.fire(node.index)
        elif dice < 0.75:
            cluster.feed(node.index, e.Tick())
        elif dice < 0.82 and node.replica is not None:
            node.effects_left = chance.randrange(8)
        elif node.replica is None:
            self._restart(node)
        else:
            self._catch_up(node)

    def _deliver_one(self) -> None:
        cluster, chance = self.cluster, self.chance
        if not cluster.packets:
            return
        place = chance.randrange(min(len(cluster.packets), 40))
        packet = cluster.packets.pop(place)
        if self.adversary is not None:
            self.adversary.see(packet)
        fate = chance.random()
        if fate < 0.05:
            return
        if fate < 0.08:
            cluster.packets.append(packet)
        if cluster.nodes[packet.target].replica is not None:
            cluster.arrive(packet)

    def _submit(self, nodes: list[Node]) -> None:
        self.submitted += 1
        for node in nodes:
            self.cluster.submit(node.index, [f"t{self.submitted}"])

    def _restart(self, node: Node) -> None:
        self.cluster.start(node.index)
        self.cluster.feed(node.index, e.Tick())

    def _catch_up(self, node: Node) -> None:
        best = max(self.correct, key=lambda other: len(other.blocks))
        if node.replica is not None:
            self.cluster.catch_up(node.index, best.index)

    def heal(self) -> None:
        """No more faults: within bounded time all correct members agree on a further block."""
        cluster = self.cluster
        for node in self.correct:
            node.effects_left = None
            if node.replica is None:
                self._restart(node)
        goal = 1 + max(len(node.blocks) for node in self.correct)
        self._submit(self.correct)
        end_ms = cluster.now_ms + HEAL_MS_MAX
        while any(len(node.blocks) < goal for node in self.correct):
            assert cluster.now_ms < end_ms, [(len(n.blocks), n.replica) for n in self.correct]
            while cluster.packets:
                cluster.arrive(cluster.packets.pop(0))
            for index in sorted(self.behind):
                self._catch_up(cluster.nodes[index])
            self.behind.clear()
            cluster.now_ms += 250
            for node in self.correct:
                if node.timer is not None and node.timer[1] <= cluster.now_ms:
                    cluster.fire(node.index)
                if cluster.now_ms % 1_000 < 250:
                    cluster.feed(node.index, e.Tick())


@pytest.mark.parametrize("seed", range(SEEDS))
@pytest.mark.parametrize("size", [1, 4, 5, 7])
def test_disorder(size: int, seed: int) -> None:
    run = Disorder(size, seed)
    run.chaos()
    run.heal()
    assert not any(node.halted for node in run.correct)
    ids = [[header for header, _ in node.blocks] for node in run.correct]
    longest = max(ids, key=len)
    assert all(blocks == longest[: len(blocks)] for blocks in ids)
