"""The net catches fish: with one classic fault planted, some early seed breaks a promise."""

from __future__ import annotations

from collections.abc import Callable
from random import Random

import pytest

from node import outputs as io
from node.consensus.pacemaker import Pacemaker
from node.engine import Engine
from node.execution import Salts
from node.protocol.validators import ValidatorSet
from node.state.store import Batch, Store
from node.state.vote_log import VoteLog
from tests.sim.run import run_seed

SEEDS_MAX = 40

Patch = pytest.MonkeyPatch


def quorum_of_two(patch: Patch) -> None:
    """Two quorums of four need not share an honest member."""
    patch.setattr(ValidatorSet, "quorum", property(lambda _: 2))


def forgotten_votes(patch: Patch) -> None:
    """A restarted node does not know what it signed."""
    patch.setattr(VoteLog, "load", lambda _: [])


def votes_sent_before_written(patch: Patch) -> None:
    """Messages leave first, the record is written afterwards."""
    handle = Engine.handle

    def reordered(engine: Engine, event: io.Input, now_ms: int) -> list[io.Output]:
        outputs = handle(engine, event, now_ms)
        return sorted(outputs, key=lambda output: isinstance(output, io.WriteVote))

    patch.setattr(Engine, "handle", reordered)


def unsynced_block(patch: Patch) -> None:
    """A block is reported as final while it is only in the cache of the disk."""

    def write(store: Store, batch: Batch) -> None:
        store._database.write(batch.puts, sync=False)

    patch.setattr(Store, "write", write)


def no_replay_check(patch: Patch) -> None:
    """Nobody looks whether a transaction is final already."""
    patch.setattr(Store, "find", lambda *_: None)


def no_timer(patch: Patch) -> None:
    """A dead leader is waited for in vain."""
    patch.setattr(Pacemaker, "update", lambda *_: [])


def chance_in_execution(patch: Patch) -> None:
    """Nodes do not compute the same state."""
    chance = Random(0)
    patch.setattr(Salts, "of", lambda *_: chance.randbytes(32))


PLANTS: list[tuple[Callable[[Patch], None], set[str]]] = [
    (quorum_of_two, {"fork", "certificate", "halt"}),
    (forgotten_votes, {"contradiction", "halt"}),
    (votes_sent_before_written, {"unsynced vote"}),
    (unsynced_block, {"forgotten"}),
    (no_replay_check, {"executed twice"}),
    (no_timer, {"liveness"}),
    (chance_in_execution, {"roots"}),
]


@pytest.mark.parametrize(("plant", "kinds"), PLANTS, ids=[plant.__name__ for plant, _ in PLANTS])
def test_a_planted_fault_is_found(plant: Callable[[Patch], None], kinds: set[str]) -> None:
    with pytest.MonkeyPatch.context() as patch:
        plant(patch)
        for seed in range(SEEDS_MAX):
            result = run_seed(seed)
            if result.violation:
                assert result.kind in kinds, result.violation
                return
    pytest.fail(f"{SEEDS_MAX} seeds did not find it")
