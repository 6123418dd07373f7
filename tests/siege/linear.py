"""Is a history linearizable: can every operation be put at one moment between its call and its
answer, so that one object, serving one at a time, would have given just these answers?

The search of Wing and Gong (1993) with Lowe's memory (2017) of what has been tried: at each step
any operation may be next that was called before the first answer still owed. An operation whose
answer never came may have happened at any moment after its call, or never. What changes nothing is
put first wherever it fits, since no later place could be better. Searches are bounded: what is too
hard to decide is said to be undecided, never linearizable. It knows nothing of cards.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Hashable, Sequence
from enum import StrEnum
from typing import Generic, NamedTuple, TypeVar

CONFIGURATIONS_MAX = 100_000

A = TypeVar("A")
S = TypeVar("S", bound=Hashable)


class Operation(NamedTuple, Generic[A]):
    """What somebody did: `action` holds the answer too. `returned` infinite: no answer came."""

    action: A
    invoked: float
    returned: float

    @property
    def answered(self) -> bool:
        """Whether its answer is known."""
        return self.returned < math.inf


# The state behind an operation with its answer, or None where it cannot have been next.
Step = Callable[[S, A], S | None]


class Answer(StrEnum):
    """What the search found."""

    LINEARIZABLE = "linearizable"
    NOT_LINEARIZABLE = "not linearizable"
    UNDECIDED = "undecided"


class Verdict(NamedTuple, Generic[A]):
    """The answer; where there is no order, `stuck` has the operations that none of them fits."""

    answer: Answer
    stuck: tuple[Operation[A], ...] = ()


class _Choice(NamedTuple, Generic[S]):
    """A point of the search: what has been ordered (a bit for each), and what remains to try."""

    done: int
    first: int
    state: S
    untried: list[int]


def check(
    operations: Sequence[Operation[A]],
    initial: S,
    step: Step[S, A],
    configurations_max: int = CONFIGURATIONS_MAX,
) -> Verdict[A]:
    """Whether the operations on one object, `initial` at first, are linearizable."""
    history = sorted(operations, key=lambda one: (one.invoked, one.returned))
    owed = sum(1 << at for at, one in enumerate(history) if one.answered)
    deepest = -1
    stuck: tuple[Operation[A], ...] = ()
    tried: set[tuple[int, S]] = {(0, initial)}
    path = [_choice(history, step, 0, 0, initial)]
    while path:
        here = path[-1]
        if here.done & owed == owed:
            return Verdict(Answer.LINEARIZABLE)
        if not here.untried:
            path.pop()
            depth = (here.done & owed).bit_count()
            if depth > deepest:
                deepest, stuck = depth, _candidates_of(history, here)
            continue
        at = here.untried.pop()
        state = step(here.state, history[at].action)
        if state is None:
            continue
        done = here.done | 1 << at
        if (done, state) in tried:
            continue
        if len(tried) >= configurations_max:
            return Verdict(Answer.UNDECIDED)
        tried.add((done, state))
        path.append(_choice(history, step, done, here.first, state))
    return Verdict(Answer.NOT_LINEARIZABLE, stuck)


def _choice(
    history: Sequence[Operation[A]], step: Step[S, A], done: int, first: int, state: S
) -> _Choice[S]:
    """The point after `done`; of the candidates the earliest called is tried first."""
    while first < len(history) and done >> first & 1:
        first += 1
    found = _candidates(history, done, first)
    for at in found:
        if step(state, history[at].action) == state:
            return _Choice(done, first, state, [at])
    return _Choice(done, first, state, found[::-1])


def _candidates(history: Sequence[Operation[A]], done: int, first: int) -> list[int]:
    """What may be next: called before the first answer that is still owed."""
    found: list[int] = []
    deadline = math.inf
    for at in range(first, len(history)):
        if history[at].invoked > deadline:
            break
        if not done >> at & 1:
            found.append(at)
            deadline = min(deadline, history[at].returned)
    return [at for at in found if history[at].invoked <= deadline]


def _candidates_of(history: Sequence[Operation[A]], here: _Choice[S]) -> tuple[Operation[A], ...]:
    return tuple(history[at] for at in _candidates(history, here.done, here.first))
