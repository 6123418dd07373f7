"""The checker itself: histories known to be good and bad, and small ones against brute force."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.siege.cards import FAR_SEQ, State, Visit, step
from tests.siege.linear import Answer, Operation, check

NEVER = math.inf
START = State(0, 100)
Op = Operation[Visit]


def paid(seq: int, invoked: float, returned: float, amount: int = 10, left: int = -1) -> Op:
    """A visit that succeeded; `left` -1: nobody said how much remained."""
    return Operation(Visit(seq, amount, "OK", None if left < 0 else left), invoked, returned)


def lost(seq: int, invoked: float, amount: int = 10) -> Op:
    """A visit without an answer."""
    return Operation(Visit(seq, amount), invoked, NEVER)


def refused(seq: int, code: str, invoked: float, returned: float, expected: int = -1) -> Op:
    said = None if expected < 0 else expected
    return Operation(Visit(seq, 10, code, None, said), invoked, returned)


def look(expected: int, invoked: float, returned: float) -> Op:
    return refused(FAR_SEQ, "SEQ_GAP", invoked, returned, expected)


GOOD: dict[str, list[Op]] = {
    "nothing": [],
    "one after the other": [paid(1, 0, 1, left=90), paid(2, 2, 3, left=80)],
    "answered in the other order": [paid(1, 0, 9), paid(2, 1, 2)],
    "of two at once one wins": [paid(1, 0, 5), refused(1, "IDEM_CONFLICT", 0, 5)],
    "a look before and after": [look(1, 0, 1), paid(1, 0, 5), look(2, 6, 7)],
    "a look beside it may see either": [paid(1, 0, 5), look(1, 1, 2), look(2, 3, 4)],
    "lost and never done": [lost(1, 0), paid(1, 5, 6), look(2, 7, 8)],
    "lost and done": [lost(1, 0), look(2, 5, 6), paid(2, 7, 8)],
    "lost and done much later": [lost(1, 0), look(1, 5, 6), look(2, 7, 8)],
    "many lost, one done": [*(lost(1, at, amount=at + 1) for at in range(9)), look(2, 20, 21)],
    "what is left tells which": [
        lost(1, 0, amount=5),
        lost(1, 0, amount=7),
        paid(2, 1, 2, amount=1, left=92),
    ],
    "empty": [paid(1, 0, 1, amount=95), refused(2, "INSUFFICIENT", 2, 3)],
}
BAD: dict[str, list[Op]] = {
    "both of two won": [paid(1, 0, 5), paid(1, 0, 5, amount=7)],
    "an acknowledged visit is lost": [paid(1, 0, 1), look(1, 2, 3)],
    "a visit from nowhere": [look(2, 0, 1)],
    "time runs backwards": [paid(1, 0, 9), look(2, 1, 2), look(1, 3, 4)],
    "one sees what another no longer does": [
        paid(1, 0, 9),
        look(2, 1, 2),
        refused(2, "SEQ_GAP", 3, 4),
    ],
    "twice executed": [paid(1, 0, 1, left=80)],
    "a refusal without a cause": [refused(1, "IDEM_CONFLICT", 0, 1)],
    "refused for want of what is there": [refused(1, "INSUFFICIENT", 0, 1)],
    "a lost visit done twice": [lost(1, 0), look(2, 1, 2), look(1, 3, 4)],
    "done before it was asked for": [look(2, 0, 1), lost(1, 2)],
    "what is left tells that neither": [
        lost(1, 0, amount=5),
        lost(1, 0, amount=7),
        paid(2, 1, 2, amount=1, left=91),
    ],
    "an answer that no card gives": [refused(1, "NO_SUCH_CODE", 0, 1)],
}


@pytest.mark.parametrize("name", GOOD)
def test_good_histories_are_linearizable(name: str) -> None:
    assert check(GOOD[name], START, step).answer is Answer.LINEARIZABLE


@pytest.mark.parametrize("name", BAD)
def test_bad_histories_are_not(name: str) -> None:
    verdict = check(BAD[name], START, step)
    assert verdict.answer is Answer.NOT_LINEARIZABLE
    assert set(verdict.stuck) <= set(BAD[name])


def test_it_says_what_fits_nowhere() -> None:
    history = [paid(seq, seq, seq + 0.5) for seq in range(1, 6)]
    stale = look(3, 10, 11)
    assert check([*history, stale], START, step).stuck == (stale,)


def test_what_is_too_hard_is_undecided() -> None:
    history = [*(lost(1, 0, amount=one) for one in range(1, 9)), *(lost(2, 0) for _ in range(8))]
    hard = [*history, look(2, 20, 21), look(1, 22, 23)]
    assert check(hard, START, step, 5).answer is Answer.UNDECIDED
    assert check(hard, START, step).answer is Answer.NOT_LINEARIZABLE


def test_long_histories_take_moments() -> None:
    history: list[Op] = []
    for seq in range(1, 201):
        history += [paid(seq, seq, seq + 2.5), lost(seq, seq - 0.5, amount=1)]
        history.append(refused(seq, "IDEM_CONFLICT", seq, seq + 3))
    state = State(0, 1_000_000)
    assert check(history, state, step).answer is Answer.LINEARIZABLE
    history.append(look(17, 900, 901))
    assert check(history, state, step).answer is Answer.NOT_LINEARIZABLE


def brute_force(history: Sequence[Op]) -> bool:
    """Whether any order of any part of it that has all answers obeys time and the card."""
    answered = [one for one in history if one.answered]
    open_ones = [one for one in history if not one.answered]
    for count in range(len(open_ones) + 1):
        for chosen in itertools.combinations(open_ones, count):
            for order in itertools.permutations([*answered, *chosen]):
                if _obeys_time(order) and _obeys_the_card(order):
                    return True
    return False


def _obeys_time(order: Sequence[Op]) -> bool:
    return not any(
        later.returned < earlier.invoked for earlier, later in itertools.combinations(order, 2)
    )


def _obeys_the_card(order: Sequence[Op]) -> bool:
    state = START
    for one in order:
        after = step(state, one.action)
        if after is None:
            return False
        state = after
    return True


visits = st.one_of(
    st.builds(Visit, st.integers(1, 3), st.integers(1, 2), st.just("OK")),
    st.builds(Visit, st.integers(1, 3), st.integers(1, 2)),
    st.builds(Visit, st.integers(1, 3), st.just(1), st.just("IDEM_CONFLICT")),
    st.builds(
        Visit, st.just(FAR_SEQ), st.just(1), st.just("SEQ_GAP"), st.none(), st.integers(1, 4)
    ),
)


@st.composite
def operations(draw: st.DrawFn) -> Op:
    visit, invoked = draw(visits), draw(st.integers(0, 6))
    lasted = draw(st.integers(1, 4))
    return Operation(visit, invoked, invoked + lasted if visit.code is not None else NEVER)


@settings(max_examples=300)
@given(st.lists(operations(), max_size=5))
def test_it_decides_as_trying_everything_would(history: list[Op]) -> None:
    wanted = Answer.LINEARIZABLE if brute_force(history) else Answer.NOT_LINEARIZABLE
    assert check(history, START, step).answer is wanted
