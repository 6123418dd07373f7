"""The net catches fish: with one classic fault planted, some early seed breaks a promise."""

from __future__ import annotations

from collections.abc import Callable
from random import Random

import pytest

from node import admission
from node import outputs as io
from node.consensus import inbox
from node.consensus.committee import Committee
from node.consensus.height import OpenHeight
from node.consensus.pacemaker import Pacemaker
from node.consensus.proposal import CLOCK_SKEW_MS_MAX, check_proposal
from node.consensus.votes import Tally
from node.engine import Engine
from node.execution import Executor, Salts
from node.intake import FinalState, Intake
from node.proposals import Proposals
from node.protocol.errors import Refused
from node.protocol.keys import CURVE_ORDER, verify
from node.protocol.messages import Commit, PrePrepare
from node.protocol.transaction import Transaction
from node.protocol.validators import ValidatorSet
from node.state.store import Batch, Store
from node.state.vote_log import VoteLog
from tests.sim.run import run_seed

SEEDS_MAX = 120

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
    """Nobody looks whether a transaction is final already, neither at the door nor in a block."""

    class Forgetful:
        def __init__(self, state: FinalState) -> None:
            self.get, self.scan = state.get, state.scan

        def find(self, _: bytes) -> None:
            return None

    found = Intake.__init__

    def found_forgetful(self: Intake, chain, contracts, state, *others) -> None:  # type: ignore[no-untyped-def]
        found(self, chain, contracts, Forgetful(state), *others)

    patch.setattr(Intake, "__init__", found_forgetful)
    patch.setattr(Executor, "find", lambda *_: None)


def no_timer(patch: Patch) -> None:
    """A dead leader is waited for in vain."""
    patch.setattr(Pacemaker, "update", lambda *_: [])


def chance_in_execution(patch: Patch) -> None:
    """Nodes do not compute the same state."""
    chance = Random(0)
    patch.setattr(Salts, "of", lambda *_: chance.randbytes(32))


def prepared_block_forgotten(patch: Patch) -> None:
    """A VIEW-CHANGE does not tell what was prepared, so a committed block can be replaced."""
    patch.setattr(OpenHeight, "note_prepared", lambda *_: None)


def body_not_persisted(patch: Patch) -> None:
    """Whoever prepared a block cannot serve its transactions after a restart."""
    patch.setattr(Proposals, "body_to_persist", lambda *_: ())


def clock_check_on_a_prepared_block(patch: Patch) -> None:
    """A block that must be proposed again is too old to be accepted."""
    check = check_proposal

    def strict(committee: Committee, proposal: PrePrepare, received_ms: int) -> None:
        check(committee, proposal, received_ms)
        if abs(proposal.header.time_ms - received_ms) > CLOCK_SKEW_MS_MAX:
            raise Refused("CLOCK_SKEW", "too old")

    patch.setattr(inbox, "check_proposal", strict)


def quorum_of_2f_plus_1_at_five(patch: Patch) -> None:
    """Right for n = 3f + 1, too few for any other n."""
    patch.setattr(ValidatorSet, "quorum", property(lambda members: 2 * members.faulty_max + 1))


def certificate_of_mixed_views(patch: Patch) -> None:
    """COMMITs are counted whatever view they are of."""

    def matching(tally: Tally[Commit], _view: int, block_id: bytes) -> tuple[Commit, ...]:
        votes = [
            [vote for vote in slots.values() if vote.block_id == block_id]
            for _, slots in sorted(tally._votes.items())
        ]
        return tuple(same_block[-1] for same_block in votes if same_block)

    patch.setattr(Tally, "matching", matching)


def high_s_accepted(patch: Patch) -> None:
    """The malleable twin of a signature counts as well."""

    def lenient(transaction: Transaction) -> None:
        signature = transaction.signature
        s = int.from_bytes(signature[32:], "big")
        low_s = min(s, CURVE_ORDER - s).to_bytes(32, "big")
        verify(transaction.body.sender, transaction.id, signature[:32] + low_s)

    patch.setattr(admission, "verify_signature", lenient)


PLANTS: list[tuple[Callable[[Patch], None], set[str]]] = [
    (quorum_of_two, {"fork", "certificate", "halt"}),
    (forgotten_votes, {"contradiction", "halt"}),
    (votes_sent_before_written, {"unsynced vote"}),
    (unsynced_block, {"forgotten"}),
    (no_replay_check, {"executed twice"}),
    (no_timer, {"liveness"}),
    (prepared_block_forgotten, {"fork", "halt"}),
    (body_not_persisted, {"liveness"}),
    (clock_check_on_a_prepared_block, {"liveness"}),
    (quorum_of_2f_plus_1_at_five, {"fork", "certificate", "halt"}),
    (certificate_of_mixed_views, {"certificate", "punished"}),
    (high_s_accepted, {"high S", "signature", "impossible"}),
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
