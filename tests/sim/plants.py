"""Classic faults, to be planted one at a time: the net must catch every one of them.

Each plant breaks one rule in the code of a node, as somebody might have written it. `hunt` says at
which seed the promises are first seen broken, and in what way.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from random import Random

import pytest

from node import admission, importer, proposals
from node import outputs as io
from node.admission import Candidate, Verdict
from node.consensus import inbox, proposal, replica, view_change, voter, votes
from node.consensus.committee import Committee
from node.consensus.events import Effect
from node.consensus.height import OpenHeight
from node.consensus.pacemaker import Pacemaker
from node.consensus.proposal import CLOCK_SKEW_MS_MAX, check_proposal
from node.consensus.votes import Tally
from node.engine import Engine
from node.execution import Executor, Salts
from node.intake import FinalState, Intake
from node.proposals import Proposals
from node.protocol import block, messages
from node.protocol.domain import Chain
from node.protocol.encoding import encode, sha256
from node.protocol.errors import Refused
from node.protocol.keys import CURVE_ORDER, SIGNATURE_BYTES, verify
from node.protocol.messages import Commit, PrePrepare
from node.protocol.transaction import Transaction
from node.protocol.validators import ValidatorSet
from node.state.store import Batch, Store
from node.state.vote_log import VoteLog
from tests.sim import checkers
from tests.sim.run import run_seed

SEEDS_MAX = 200

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

    def strict(committee: Committee, message: PrePrepare, received_ms: int) -> None:
        check(committee, message, received_ms)
        if abs(message.header.time_ms - received_ms) > CLOCK_SKEW_MS_MAX:
            raise Refused("CLOCK_SKEW", "too old")

    patch.setattr(inbox, "check_proposal", strict)


def quorum_of_2f_plus_1_at_five(patch: Patch) -> None:
    """Right for n = 3f + 1, too few for any other n."""
    patch.setattr(ValidatorSet, "quorum", property(lambda members: 2 * members.faulty_max + 1))


def certificate_of_mixed_views(patch: Patch) -> None:
    """COMMITs are counted whatever view they are of."""

    def matching(tally: Tally[Commit], _view: int, block_id: bytes) -> tuple[Commit, ...]:
        of_members = [
            [vote for vote in slots.values() if vote.block_id == block_id]
            for _, slots in sorted(tally._votes.items())
        ]
        return tuple(same_block[-1] for same_block in of_members if same_block)

    patch.setattr(Tally, "matching", matching)


def high_s_accepted(patch: Patch) -> None:
    """The malleable twin of a signature counts as well."""

    def lenient(transaction: Transaction) -> None:
        signature = transaction.signature
        s = int.from_bytes(signature[32:], "big")
        low_s = min(s, CURVE_ORDER - s).to_bytes(32, "big")
        verify(transaction.body.sender, transaction.id, signature[:32] + low_s)

    patch.setattr(admission, "verify_signature", lenient)


def quorum_of_2f_at_five(patch: Patch) -> None:
    """At five nodes two such quorums need not share anybody."""
    right = ValidatorSet.quorum.fget  # type: ignore[attr-defined]

    def quorum(validators: ValidatorSet) -> int:
        at_five = len(validators.members) == 5
        return 2 * validators.faulty_max if at_five else right(validators)

    patch.setattr(ValidatorSet, "quorum", property(quorum))


def seal_without_the_height(patch: Patch) -> None:
    """A vote for one height is as good for any other."""

    def digest(chain: Chain, kind: str, _height: int, view: int, block_id: bytes) -> bytes:
        return chain.digest(kind, encode([view, block_id]))

    for module in (block, messages, checkers):
        patch.setattr(module, "vote_digest", digest)


def vote_without_the_view(patch: Patch) -> None:
    """A vote for one view is as good for any other."""

    def digest(chain: Chain, kind: str, height: int, _view: int, block_id: bytes) -> bytes:
        return chain.digest(kind, encode([height, block_id]))

    for module in (block, messages, checkers):
        patch.setattr(module, "vote_digest", digest)


def one_member_drags_all(patch: Patch) -> None:
    """No f + 1 rule: whoever asks for a view is followed there."""
    patch.setattr(voter, "supported_view", lambda _, views: max(views, default=0))


def nobody_joins_by_f_plus_1(patch: Patch) -> None:
    """Whoever fell behind climbs view by view, each at its own time-out."""
    patch.setattr(voter, "supported_view", lambda *_: 0)


def justification_not_checked(patch: Patch) -> None:
    """What a leader of a later view proposes is believed to be what it has to propose."""
    patch.setattr(proposal, "required_block", lambda *_: None)
    patch.setattr(proposal, "_check_fresh", lambda *_: None)


def votes_without_bounds(patch: Patch) -> None:
    """All votes of a member are kept, whatever view it says they are for."""
    patch.setattr(votes, "VIEWS_PER_MEMBER_MAX", 1 << 40)


def timer_not_armed_when_idle(patch: Patch) -> None:
    """The timer runs once there is a proposal; of a leader that makes none, nobody complains."""
    update = Pacemaker.update

    def patient(
        pacemaker: Pacemaker, opened: OpenHeight, _pending: bool, now_ms: int
    ) -> list[Effect]:
        return update(pacemaker, opened, False, now_ms)

    patch.setattr(Pacemaker, "update", patient)


def dedupe_before_the_signature_check(patch: Patch) -> None:
    """Whoever sends a forged copy first keeps the true transaction out."""
    take_one = Intake._take_one

    def hasty(
        intake: Intake, raw: bytes, verdict: Verdict, from_client: bool, now_ms: int
    ) -> tuple[io.SubmitResult, Candidate | None]:
        seen = intake.__dict__.setdefault("seen", {})
        body = raw[:-SIGNATURE_BYTES]
        if seen.setdefault(body, raw) != raw:
            return io.SubmitResult(sha256(body), "KNOWN", ""), None
        return take_one(intake, raw, verdict, from_client, now_ms)

    patch.setattr(Intake, "_take_one", hasty)


def prepares_not_checked(patch: Patch) -> None:
    """What a VIEW-CHANGE claims as prepared is believed."""
    patch.setattr(view_change, "check_prepares", lambda *_: None)


def certificate_not_checked(patch: Patch) -> None:
    """Blocks that peers send are taken for final because they say so."""
    patch.setattr(importer, "check_certificate", lambda *_: None)
    patch.setattr(replica, "check_certificate", lambda *_: None)


def vote_signatures_not_checked(patch: Patch) -> None:
    """Anybody may vote in anybody's name."""
    patch.setattr(inbox, "has_valid_signature", lambda *_: True)


def own_result_not_compared(patch: Patch) -> None:
    """The leader's roots are taken over without comparing them with one's own."""
    patch.setattr(proposals, "matches", lambda *_: True)


def contradictions_overlooked(patch: Patch) -> None:
    """Nobody notices who signs two things for one place."""
    patch.setattr(inbox, "contradicts", lambda *_: False)


SAFETY = {"fork", "roots", "certificate", "halt"}

PLANTS: dict[Callable[[Patch], None], set[str]] = {
    quorum_of_2f_at_five: SAFETY,
    prepared_block_forgotten: SAFETY,
    votes_sent_before_written: {"unsynced vote"},
    certificate_of_mixed_views: {"certificate", "punished"},
    body_not_persisted: {"liveness", "views"},
    seal_without_the_height: {"slander", "halt", "certificate"},
    one_member_drags_all: {"liveness", "limits", "storm", "views"},
    nobody_joins_by_f_plus_1: {"views", "liveness"},
    justification_not_checked: SAFETY,
    votes_without_bounds: {"limits"},
    timer_not_armed_when_idle: {"liveness", "views"},
    clock_check_on_a_prepared_block: {"liveness", "views"},
    dedupe_before_the_signature_check: {"liveness", "views"},
    high_s_accepted: {"high S", "signature", "impossible"},
    vote_without_the_view: {"slander", "halt", "certificate", "punished"},
    quorum_of_two: SAFETY,
    quorum_of_2f_plus_1_at_five: SAFETY,
    no_timer: {"liveness", "views"},
    forgotten_votes: {"contradiction", "halt"},
    unsynced_block: {"forgotten"},
    no_replay_check: {"executed twice"},
    chance_in_execution: {"roots", "dissent", "alarm"},
    prepares_not_checked: SAFETY | {"punished", "liveness"},
    certificate_not_checked: SAFETY | {"chain"},
    vote_signatures_not_checked: SAFETY | {"slander", "punished", "liveness"},
    own_result_not_compared: SAFETY | {"crash"},
    contradictions_overlooked: {"no evidence"},
}
"""Each plant with the ways in which it may show."""


@dataclass(frozen=True)
class Catch:
    """What a plant came to: how many seeds it took, and what broke. `seeds` 0: not caught."""

    plant: str
    seeds: int
    kind: str
    violation: str
    expected: bool


def hunt(plant: Callable[[Patch], None], seeds: Iterable[int]) -> Catch:
    """Run seeds with one fault planted until a promise is broken."""
    with Patch.context() as patch:
        plant(patch)
        for count, seed in enumerate(seeds, 1):
            result = run_seed(seed)
            if result.violation:
                expected = result.kind in PLANTS[plant]
                return Catch(plant.__name__, count, result.kind, result.violation, expected)
    return Catch(plant.__name__, 0, "", "", False)
