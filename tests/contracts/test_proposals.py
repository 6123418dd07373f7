"""What two persons decide: proposing, approving, withdrawing, refusing, for any contract."""

from __future__ import annotations

from typing import Any

import pytest

from contracts.kernel.context import Rejected
from contracts.kernel.interface import interface
from contracts.kernel.proposals import PROPOSAL_TTL_MS
from tests.contracts.taps import TAPS, WITH_TAPS
from tests.contracts.world import World, id_of, key_of

ONE = id_of("proposal one")


class Waterworks(World):
    """A merchant proposes levels of taps, an operator or regulator decides."""

    def __init__(self, time_scale: int = 1) -> None:
        super().__init__(contracts=WITH_TAPS, time_scale=time_scale)

    def propose(self, sender: str = "merchant", kind: str = "set", **other: Any) -> str:
        args = {"proposal": ONE, "reason": "it is hot", "tap": "a", "level": 3, **other}
        return self.do(sender, kind, contract="taps", **args)

    def decide(self, sender: str, action: str = "approve", **more: Any) -> str:
        return self.do(sender, action, contract="kernel", **{"proposal": ONE, **more})

    def level(self) -> int:
        raw = self.memory.get("taps/taps", b"a")
        return 0 if raw is None else TAPS.decode(raw).level

    def shown(self, viewer: str | None = None) -> Any:
        return self.ask(viewer, "proposal", contract="kernel", proposal=ONE)


@pytest.fixture
def works() -> Waterworks:
    return Waterworks()


def test_one_proposes_and_another_approves(works: Waterworks) -> None:
    assert works.propose() == "OK"
    expires_ms = works.time_ms + PROPOSAL_TTL_MS
    assert works.last.details == {"expires_ms": expires_ms}
    (proposed,) = works.last.events
    assert (proposed.contract, proposed.name) == ("kernel", "Proposed")
    assert proposed.data == {
        "proposal": ONE,
        "contract": "taps",
        "kind": "set",
        "args": {"tap": "a", "level": 3, "notes": []},
        "reason": "it is hot",
    }
    assert works.level() == 0
    assert works.decide("operator") == "OK"
    assert works.level() == 3
    assert works.last.details == {"level": 3, "did": "taps set"}
    changed, approved = works.last.events
    assert (changed.contract, changed.data["by"]) == ("taps", key_of("operator"))
    assert (approved.contract, approved.name) == ("kernel", "Approved")
    shown = works.shown()
    assert shown["state"] == "EXECUTED"
    assert (shown["proposer"], shown["decided_by"]) == (key_of("merchant"), key_of("operator"))
    assert shown["args"] == {"tap": "a", "level": 3, "notes": []}
    assert works.violations() == []


def test_the_proposer_never_approves_even_with_both_roles(works: Waterworks) -> None:
    assert works.propose("operator") == "OK"
    assert works.decide("operator") == "UNAUTHORIZED"
    assert works.decide("operator", "refuse", reason="no") == "UNAUTHORIZED"
    assert works.last.details["why"] == "another person must decide"
    assert works.decide("second operator") == "OK"


@pytest.mark.parametrize("sender", ["bank", "administrator", "bookkeeper"])
def test_only_those_with_the_roles_propose_and_decide(works: Waterworks, sender: str) -> None:
    assert works.propose(sender) == "UNAUTHORIZED"
    assert works.last.details["roles"] == ["merchant", "operator"]
    works.propose()
    assert works.decide(sender) == "UNAUTHORIZED"
    assert works.last.details["roles"] == ["regulator", "operator"]
    assert works.decide(sender, "refuse", reason="no") == "UNAUTHORIZED"
    assert works.decide(sender, "withdraw") == "UNAUTHORIZED"
    assert works.level() == 0


def test_the_same_again_is_a_replay_and_another_a_conflict(works: Waterworks) -> None:
    assert works.propose() == "OK"
    assert works.propose() == "OK"
    assert works.last.details["replayed"] is True
    for other in ({"level": 4}, {"tap": "b"}, {"reason": "another"}, {"notes": ["x"]}):
        assert works.propose(**other) == "IDEM_CONFLICT"
    assert works.propose("operator") == "IDEM_CONFLICT"
    assert works.propose(kind="set_quietly") == "IDEM_CONFLICT"
    works.decide("operator")
    assert works.decide("operator") == "OK"
    assert works.last.details == {"replayed": True}
    assert works.propose() == "OK"
    assert works.last.details["state"] == "EXECUTED"
    assert works.decide("regulator") == "BAD_STATE"


def test_it_is_checked_twice(works: Waterworks) -> None:
    assert works.propose(level=0) == "BAD_STATE"
    assert works.last.details["saw"] == "taps set"
    assert works.propose() == "OK"
    assert works.propose(proposal=id_of("two")) == "OK"
    assert works.decide("operator", proposal=id_of("two")) == "OK"
    assert works.decide("operator") == "BAD_STATE"
    assert works.last.details["saw"] == "taps set"
    assert works.shown()["state"] == "OPEN"


def test_arguments_are_checked_like_any(works: Waterworks) -> None:
    assert works.propose(level=10) == "BAD_ARG"
    assert works.propose(reason="") == "BAD_ARG"
    assert works.last.details["field"] == "reason"
    assert works.propose(proposal=b"short") == "BAD_ARG"
    assert works.propose(other=1) == "BAD_ARG"
    works.propose()
    assert works.decide("operator", ready_height=1) == "BAD_ARG"


def test_the_proposer_takes_it_back(works: Waterworks) -> None:
    works.propose()
    assert works.decide("merchant", "withdraw") == "OK"
    assert works.decide("merchant", "withdraw") == "OK"
    assert works.last.details == {"replayed": True}
    assert works.decide("operator") == "BAD_STATE"
    assert works.last.details["state"] == "WITHDRAWN"
    assert works.shown()["state"] == "WITHDRAWN"


def test_an_approver_refuses_with_a_reason(works: Waterworks) -> None:
    works.propose()
    assert works.decide("operator", "refuse") == "BAD_ARG"
    assert works.decide("operator", "refuse", reason="too much") == "OK"
    assert works.last.events[0].name == "Refused"
    assert works.decide("operator", "refuse", reason="too much") == "OK"
    assert works.last.details == {"replayed": True}
    assert works.decide("regulator") == "BAD_STATE"
    assert works.decide("merchant", "withdraw") == "BAD_STATE"
    shown = works.shown()
    assert (shown["state"], shown["refusal"]) == ("REFUSED", "too much")


@pytest.mark.parametrize("scale", [1, 1_000])
def test_it_lapses(scale: int) -> None:
    works = Waterworks(time_scale=scale)
    works.propose()
    works.propose(proposal=id_of("two"))
    works.advance(PROPOSAL_TTL_MS // scale - 2)
    assert works.shown()["state"] == "OPEN"
    assert works.decide("operator", "refuse", reason="no") == "EXPIRED"
    assert works.shown()["state"] == "EXPIRED"
    assert works.decide("operator") == "EXPIRED"
    assert works.decide("merchant", "withdraw") == "EXPIRED"
    assert works.decide("operator", proposal=id_of("two")) == "EXPIRED"


def test_who_may_no_longer_propose_is_not_approved(works: Waterworks) -> None:
    works.propose()
    del works.memory.records[("kernel/identities", key_of("merchant"))]
    assert works.decide("operator") == "BAD_STATE"
    assert works.last.details["why"] == "whoever proposed it no longer may"


def test_some_proposals_are_for_their_parties(works: Waterworks) -> None:
    assert works.propose(kind="set_quietly") == "OK"
    assert works.last.events[0].readers == (key_of("merchant").hex(), "role:regulator")
    for viewer in ("merchant", "regulator"):
        assert works.shown(viewer)["kind"] == "set_quietly"
    for stranger in (None, "bank"):
        with pytest.raises(Rejected):
            works.shown(stranger)
    assert works.ask(None, "proposals", contract="kernel")["items"] == []
    assert works.decide("regulator") == "OK"
    assert works.level() == 3


def test_a_page_holds_what_may_be_read_in_a_wanted_state(works: Waterworks) -> None:
    for number in range(6):
        kind = "set_quietly" if number % 2 else "set"
        assert works.propose(proposal=id_of(f"{number}"), kind=kind) == "OK"
    assert works.decide("operator", "refuse", proposal=id_of("0"), reason="no") == "OK"

    def listed(viewer: str | None, **args: Any) -> list[Any]:
        found: list[Any] = []
        cursor: bytes | None = None
        while True:
            more: dict[str, Any] = {} if cursor is None else {"cursor": cursor}
            page = works.ask(viewer, "proposals", contract="kernel", **args, **more)
            found += [one["proposal"] for one in page["items"]]
            cursor = page["next"]
            if cursor is None:
                return found

    for limit in (1, 2, 50):
        assert sorted(listed(None, limit=limit)) == sorted(id_of(f"{one}") for one in (0, 2, 4))
        assert len(listed("regulator", limit=limit)) == 6
        assert listed(None, limit=limit, state="REFUSED") == [id_of("0")]
        assert len(listed("regulator", limit=limit, state="OPEN")) == 5


def test_unknown_proposals_and_changes(works: Waterworks) -> None:
    for action, more in (("approve", {}), ("withdraw", {}), ("refuse", {"reason": "no"})):
        assert works.decide("operator", action, **more) == "NOT_FOUND"
    works.propose()
    works.contracts = {name: one for name, one in WITH_TAPS.items() if name != "taps"}
    assert works.decide("operator") == "NOT_FOUND"


def test_clients_see_governed_changes_as_actions() -> None:
    action = interface(WITH_TAPS)["taps"]["actions"]["set"]
    assert action["doc"] == "Propose: A tap is set to a level."
    assert action["args"]["required"] == ["proposal", "reason", "tap", "level"]
    assert (action["roles"], action["approvers"]) == (
        ["merchant", "operator"],
        ["regulator", "operator"],
    )
