"""Random acts of people on identities and proposals: the kernel's promises hold after each.

The model says who may act with which key, and that two administrators who may act always remain.
"""

from __future__ import annotations

from typing import Any

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from contracts.kernel import registry
from tests.contracts.world import FAR_MS, World, id_of, key_of, signature_of

FOUNDERS = (
    "administrator",
    "second administrator",
    "operator",
    "second operator",
    "bank",
    "regulator",
    "merchant",
)
NEWCOMERS = ("ann", "ben", "cyd")
ROLES = ("administrator", "regulator", "bank", "operator", "merchant", "holder")
people = st.sampled_from((*FOUNDERS, *NEWCOMERS))
roles = st.sampled_from(ROLES)
GOVERNED = ("grant_role", "revoke_role", "suspend_officer", "reinstate", "recover_key")


class Kernel(RuleBasedStateMachine):
    """People are named by their first keys; `keys` counts each one's keys so far."""

    def __init__(self) -> None:
        super().__init__()
        self.world = World()
        self.keys: dict[str, int] = {}
        self.retired: list[str] = []
        self.proposals: dict[int, tuple[str, str]] = {}
        self.number = 0

    def key(self, person: str, number: int | None = None) -> str:
        """The name of the key in use, or of a numbered one."""
        number = self.keys.get(person, 0) if number is None else number
        return person if number == 0 else f"{person}/{number}"

    def act(self, person: str, action: str, **args: Any) -> str:
        return self.world.do(self.key(person), action, contract="kernel", **args)

    @rule(sender=people, person=st.sampled_from(NEWCOMERS), role=roles)
    def enrol(self, sender: str, person: str, role: str) -> None:
        code = self.act(sender, "enrol", public_key=key_of(person), roles=[role])
        assert code in ("OK", "UNAUTHORIZED", "IDEM_CONFLICT")
        if role in ("administrator", "regulator", "bank", "operator"):
            assert code == "UNAUTHORIZED"

    @rule(sender=people, person=people, kind=st.sampled_from(GOVERNED), role=roles)
    def propose(self, sender: str, person: str, kind: str, role: str) -> None:
        self.number += 1
        args: dict[str, Any] = {"proposal": id_of(f"{self.number}"), "reason": "x"}
        args["public_key"] = key_of(person)
        if kind in ("grant_role", "revoke_role"):
            args["role"] = role
        if kind == "recover_key":
            args["new_key"] = key_of(self.key(person, self.keys.get(person, 0) + 1))
        if self.act(sender, kind, **args) == "OK":
            self.proposals[self.number] = (sender, kind if kind != "recover_key" else person)

    @precondition(lambda self: self.proposals)
    @rule(sender=people, data=st.data())
    def approve(self, sender: str, data: st.DataObject) -> None:
        number = data.draw(st.sampled_from(sorted(self.proposals)))
        proposer, what = self.proposals[number]
        if self.act(sender, "approve", proposal=id_of(f"{number}")) != "OK":
            return
        del self.proposals[number]
        assert sender != proposer
        if what not in GOVERNED:
            self.replaced(what)

    @rule(sender=people, person=people)
    def suspend(self, sender: str, person: str) -> None:
        self.act(sender, "suspend", public_key=key_of(person), reason="x")

    @rule(person=people)
    def rotate(self, person: str) -> None:
        new = self.key(person, self.keys.get(person, 0) + 1)
        terms = {"identity": key_of(person), "new_key": key_of(new), "ticket_until": FAR_MS}
        ticket = signature_of(key_of(new), "kernel", "rotate_key", terms)
        if self.act(person, "rotate_key", **terms, ticket=ticket) == "OK":
            self.replaced(person)

    def replaced(self, person: str) -> None:
        self.retired.append(self.key(person))
        self.keys[person] = self.keys.get(person, 0) + 1
        # Whoever else proposed that same key for this person will not get it.
        assert key_of(self.key(person)) != key_of(self.retired[-1])

    @invariant()
    def nothing_is_broken(self) -> None:
        assert self.world.violations() == []

    @invariant()
    def two_administrators_may_act(self) -> None:
        items = self.world.ask(None, "offices", contract="kernel")["items"]
        able = [
            one for one in items if one["office"] == "administrator" and not one["suspended_for"]
        ]
        assert len(able) >= 2

    @invariant()
    def a_replaced_key_is_dead(self) -> None:
        for key in self.retired:
            assert not registry.may_send(self.world.memory, key_of(key))
            assert registry.viewer_of(self.world.memory, key_of(key)).public_key is None


TestKernel = Kernel.TestCase
TestKernel.settings = settings(max_examples=25, stateful_step_count=40, deadline=None)
