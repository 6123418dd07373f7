"""Bodies: what is kept of the proposals of a height that does not end."""

from __future__ import annotations

import pytest

from node import bodies
from node.admission import Candidate
from node.bodies import Bodies
from node.protocol.transaction import Call
from tests.test_engine import START_MS, transaction


def candidates(*numbers: int) -> list[Candidate]:
    """One for each number, always the same."""
    made = [
        transaction("bank", Call("kernel", "enrol", {}), valid_until=START_MS + number)
        for number in numbers
    ]
    return [Candidate(one, (), "", {}) for one in made]


def test_of_more_than_there_is_room_for_the_oldest_go(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bodies, "KEPT_MAX", 5)
    room = Bodies(lambda _: None)
    first, second, third = (candidates(*numbers) for numbers in ((1, 2), (3, 4), (5, 6)))
    for proposal in (first, second, first, third):  # the first is prepared, and proposed again
        room.keep(proposal)
    for kept in (*first, *third):
        assert room.find(kept.content_hash) == kept
    assert room.find(second[0].content_hash) is None


def test_what_came_for_a_waiting_proposal_is_kept_with_it() -> None:
    room = Bodies(lambda _: None)
    (one,) = candidates(1)
    header = object()
    room.wait(header, [one.content_hash])  # type: ignore[arg-type]
    assert room.take_complete() is None
    assert room.arrived(one)
    assert room.take_complete() is not None
    assert room.resolve([one.content_hash]) == (one,)
