"""A prepaid card as a register that many write: what a visit or a look may answer, and when.

A visit is a compare-and-set: it succeeds only with the next seq, and its amount tells it from all
others. A look asks through consensus, by a visit far beyond the next seq, which is refused with the
seq that would be right. So every answer says something about the one state, (seq, remaining).
"""

from __future__ import annotations

from typing import NamedTuple

# No card ever gets there.
FAR_SEQ = 1_000_000_000


class State(NamedTuple):
    """A card: the seq of its last visit, and what is left."""

    seq: int
    remaining: int


class Visit(NamedTuple):
    """One visit and its answer: `code` None where none came; the rest is as the receipt says."""

    seq: int
    amount: int
    code: str | None = None
    remaining: int | None = None
    expected: int | None = None


def step(state: State, visit: Visit) -> State | None:
    """The card after a visit with this answer, None where it cannot have given it."""
    is_next = visit.seq == state.seq + 1
    after = State(visit.seq, state.remaining - visit.amount)
    match visit.code:
        case None:  # without an effect it need not be placed at all
            return after if is_next and after.remaining >= 0 else None
        case "OK":
            fits = is_next and after.remaining >= 0
            known = visit.remaining in (None, after.remaining)
            return after if fits and known else None
        case "IDEM_CONFLICT" | "SEQ_STALE":
            return state if visit.seq <= state.seq else None
        case "SEQ_GAP":
            right = visit.expected in (None, state.seq + 1)
            return state if visit.seq > state.seq + 1 and right else None
        case "INSUFFICIENT":
            return state if is_next and after.remaining < 0 else None
        case _:
            return None
