"""Identities in change: roles by two persons, suspension, new keys, lost keys."""

from __future__ import annotations

from typing import Any

import pytest

from contracts.kernel import registry
from contracts.kernel.context import Rejected
from contracts.kernel.identity import OFFICERS_MAX, OFFICES
from contracts.kernel.types import ROLES_MAX
from tests.contracts.world import FAR_MS, World, id_of, key_of, signature_of

CHAIR, DEPUTY, SECRETARY = "administrator", "second administrator", "third administrator"


class Registry(World):
    """Three administrators, a card, and short ways to say what they do."""

    def __init__(self) -> None:
        super().__init__()
        self.number = 0
        self.open_shop()
        assert self.open_card("card", "ann", 1_000) == "OK", self.last
        assert self.decide("grant_role", "third administrator", role="administrator") == "OK"

    def kernel(self, sender: str, action: str, **args: Any) -> str:
        return self.do(sender, action, contract="kernel", **args)

    def propose(self, kind: str, subject: str, sender: str = CHAIR, **more: Any) -> str:
        self.number += 1
        args = {"proposal": id_of(f"proposal {self.number}"), "reason": "because"}
        return self.kernel(sender, kind, public_key=key_of(subject), **args, **more)

    def approve(self, sender: str = DEPUTY) -> str:
        return self.kernel(sender, "approve", proposal=id_of(f"proposal {self.number}"))

    def decide(self, kind: str, subject: str, **more: Any) -> str:
        """Propose and approve; the first code that is not OK."""
        code = self.propose(kind, subject, **more)
        return code if code != "OK" else self.approve()

    def suspend(self, sender: str, name: str) -> str:
        return self.kernel(sender, "suspend", public_key=key_of(name), reason="stolen")

    def rotation(self, identity: str, new: str, signer: str | None = None) -> dict[str, Any]:
        terms = {
            "identity": key_of(identity),
            "new_key": key_of(new),
            "ticket_until": FAR_MS,
        }
        signature = signature_of(key_of(signer or new), "kernel", "rotate_key", terms)
        return {**terms, "ticket": signature}

    def rotate(self, sender: str, new: str, identity: str | None = None, **other: Any) -> str:
        args = {**self.rotation(identity or sender, new), **other}
        return self.kernel(sender, "rotate_key", **args)

    def roles(self, name: str) -> set[str]:
        return set(registry.roles_of(self.memory, key_of(name)))

    def office(self, name: str) -> list[bytes]:
        items = self.ask(None, "offices", contract="kernel")["items"]
        return [item["public_key"] for item in items if item["office"] == name]

    @property
    def why(self) -> Any:
        return self.last.details.get("why")


@pytest.fixture
def world() -> Registry:
    return Registry()


# ---- roles


@pytest.mark.parametrize("role", OFFICES)
def test_offices_are_given_and_taken_by_two(world: Registry, role: str) -> None:
    for sender in ("operator", "bank", "regulator", "merchant"):
        assert world.propose("grant_role", "newcomer", sender, role=role) == "UNAUTHORIZED"
    assert world.propose("grant_role", "newcomer", role=role, name="New Co") == "OK"
    assert world.approve(CHAIR) == "UNAUTHORIZED"
    assert world.approve("operator") == "UNAUTHORIZED"
    assert world.roles("newcomer") == set()
    assert world.approve() == "OK"
    assert world.last.events[0].name == "RoleGranted"
    assert world.roles("newcomer") == {role}
    assert world.office(role)[-1] == key_of("newcomer")
    found = world.ask(None, "identity", contract="kernel", public_key=key_of("newcomer"))
    assert found["name"] == "New Co"
    assert world.decide("revoke_role", "newcomer", role=role) == "OK"
    assert world.roles("newcomer") == set()
    assert key_of("newcomer") not in world.office(role)
    assert world.violations() == []


def test_a_known_identity_gets_a_further_role(world: Registry) -> None:
    assert world.decide("grant_role", "merchant", role="operator") == "OK"
    assert world.roles("merchant") == {"merchant", "operator"}
    assert world.decide("grant_role", "merchant", role="operator") == "BAD_STATE"
    assert world.decide("grant_role", "merchant", role="x", name="Other") == "BAD_STATE"
    assert world.decide("revoke_role", "merchant", role="bank") == "BAD_STATE"
    assert world.decide("revoke_role", "nobody", role="bank") == "NOT_FOUND"
    for number in range(ROLES_MAX - 2):
        assert world.decide("grant_role", "merchant", role=f"role {number}") == "OK"
    assert world.decide("grant_role", "merchant", role="one more") == "BAD_STATE"


def test_the_founders_hold_their_offices(world: Registry) -> None:
    assert world.office("bank") == [key_of("bank"), key_of("other bank")]
    assert world.office("administrator") == [key_of(one) for one in (CHAIR, DEPUTY, SECRETARY)]


def test_an_office_has_room_for_so_many(world: Registry) -> None:
    for number in range(OFFICERS_MAX - 2):
        assert world.decide("grant_role", f"bank {number}", role="bank") == "OK"
    assert world.decide("grant_role", "bank too many", role="bank") == "BAD_STATE"


def test_two_administrators_remain(world: Registry) -> None:
    assert world.decide("revoke_role", SECRETARY, role="administrator") == "OK"
    assert world.decide("revoke_role", DEPUTY, role="administrator") == "BAD_STATE"
    assert world.why == "two administrators must remain"
    assert world.propose("suspend_officer", DEPUTY) == "BAD_STATE"
    assert world.suspend(DEPUTY, DEPUTY) == "BAD_STATE"


# ---- suspension


@pytest.mark.parametrize("sender", ["operator", CHAIR, "ann"])
def test_one_person_suspends_at_once_and_two_reinstate(world: Registry, sender: str) -> None:
    assert world.suspend(sender, "ann") == "OK"
    assert world.last.events[0].name == "Suspended"
    assert world.consume("ann", "card", 100, 1) == "UNAUTHORIZED"
    assert world.why == "the sender is suspended"
    assert world.ask("regulator", "card", card=id_of("card"))["remaining"] == 1_000
    with pytest.raises(Rejected):
        world.ask("ann", "card", card=id_of("card"))
    assert not registry.may_send(world.memory, key_of("ann"))
    assert world.suspend("second operator", "ann") == "OK"
    assert world.last.details == {"replayed": True}
    assert world.propose("reinstate", "ann", "operator") == "OK"
    assert world.approve("operator") == "UNAUTHORIZED"
    assert world.approve("bank") == "UNAUTHORIZED"
    assert world.approve("second operator") == "OK"
    assert world.consume("ann", "card", 100, 1) == "OK"
    assert world.decide("reinstate", "ann") == "BAD_STATE"


@pytest.mark.parametrize("sender", ["bank", "regulator", "merchant", "other merchant"])
def test_others_suspend_nobody(world: Registry, sender: str) -> None:
    assert world.suspend(sender, "ann") == "UNAUTHORIZED"
    assert world.suspend(sender, "nobody") == "UNAUTHORIZED"


def test_whoever_holds_an_office_is_suspended_by_two(world: Registry) -> None:
    assert world.suspend(CHAIR, "nobody") == "NOT_FOUND"
    assert world.suspend(CHAIR, "regulator") == "UNAUTHORIZED"
    assert world.why == "it holds an office; propose suspend_officer"
    assert world.propose("suspend_officer", "regulator", "operator") == "UNAUTHORIZED"
    assert world.decide("suspend_officer", "merchant") == "BAD_STATE"
    assert world.decide("suspend_officer", "nobody") == "NOT_FOUND"
    assert world.decide("suspend_officer", "regulator") == "OK"
    assert world.do("regulator", "wind_up", merchant=id_of("gym"), reason="x") == "UNAUTHORIZED"
    assert world.decide("suspend_officer", "regulator") == "BAD_STATE"
    assert world.propose("reinstate", "regulator", "operator") == "UNAUTHORIZED"
    assert world.decide("reinstate", "regulator") == "OK"
    assert world.roles("regulator") == {"regulator"}


def test_an_operator_does_not_approve_what_is_for_administrators(world: Registry) -> None:
    world.decide("suspend_officer", "regulator")
    assert world.propose("reinstate", "regulator") == "OK"
    assert world.approve("operator") == "UNAUTHORIZED"
    assert world.approve(DEPUTY) == "OK"


def test_the_ticket_of_a_suspended_holder_is_worth_nothing(world: Registry) -> None:
    visit = world.ticket("ann", "consume", card=id_of("card"), amt=100, seq=1)
    world.suspend("operator", "ann")
    assert world.do("merchant", "consume", **visit) == "BAD_TICKET"
    assert world.open_card("second card", "ann", 1_000) == "BAD_TICKET"


def test_who_was_suspended_meanwhile_has_proposed_nothing(world: Registry) -> None:
    assert world.propose("grant_role", "newcomer", SECRETARY, role="bank") == "OK"
    waiting = world.number
    assert world.decide("suspend_officer", SECRETARY) == "OK"
    world.number = waiting
    assert world.approve() == "BAD_STATE"


# ---- new keys


def test_a_key_is_rotated_and_all_that_was_its_owners_stays(world: Registry) -> None:
    assert world.consume("ann", "card", 100, 1) == "OK"
    assert world.rotate("ann", "ann's second") == "OK"
    assert world.last.events[0].name == "KeyReplaced"
    assert world.consume("ann", "card", 100, 2) == "UNAUTHORIZED"
    assert world.why == "this key was replaced"
    assert world.consume("ann's second", "card", 100, 2) == "OK"
    assert world.last.readers[0] == key_of("ann").hex()
    assert world.ask("ann's second", "card", card=id_of("card"))["remaining"] == 800
    with pytest.raises(Rejected):
        world.ask("ann", "card", card=id_of("card"))
    assert registry.owner_of(world.memory, key_of("ann's second")) == key_of("ann")
    found = world.ask("regulator", "identity", contract="kernel", public_key=key_of("ann's second"))
    assert (found["public_key"], found["key"]) == (key_of("ann"), key_of("ann's second"))
    assert world.rotate("ann's second", "ann's third", identity="ann") == "OK"
    assert world.consume("ann's second", "card", 100, 3) == "UNAUTHORIZED"
    assert world.consume("ann's third", "card", 100, 3) == "OK"
    assert world.violations() == []


def test_tickets_are_signed_with_the_key_in_use(world: Registry) -> None:
    world.rotate("ann", "ann's second")

    def visit(signer: str, seq: int) -> str:
        terms: dict[str, Any] = {"ticket_until": FAR_MS, "card": id_of("card"), "amt": 100}
        terms["seq"] = seq
        ticket = signature_of(key_of(signer), "prepaid", "consume", terms)
        return world.do("merchant", "consume", **terms, ticket=ticket)

    assert visit("ann", 1) == "BAD_TICKET"
    assert visit("ann's second", 1) == "OK"


def test_a_card_for_the_new_key_is_the_identitys(world: Registry) -> None:
    world.rotate("ann", "ann's second")
    assert world.open_card("second card", "ann's second", 500) == "OK"
    assert world.ask("ann's second", "card", card=id_of("second card"))["holder"] == key_of("ann")
    assert world.consume("ann's second", "second card", 100, 1) == "OK"
    again = world.opening("second card", "ann's second", 500)
    assert world.send("bank", ("open_card", again)).code == "OK"


def test_an_institution_rotates_its_key(world: Registry) -> None:
    assert world.rotate("bank", "bank's second") == "OK"
    opening = world.opening("second card", "ben", 500)
    assert world.send("bank", ("open_card", opening)).code == "UNAUTHORIZED"
    assert world.send("bank's second", ("open_card", opening)).code == "OK"


def test_rotation_needs_the_new_keys_consent_and_a_new_key(world: Registry) -> None:
    stolen = world.rotation("ann", "ann's second", signer="ann")
    assert world.kernel("ann", "rotate_key", **stolen) == "BAD_TICKET"
    assert world.rotate("ann", "bank") == "BAD_STATE"
    assert world.rotate("merchant", "ann's second", identity="ann") == "UNAUTHORIZED"
    for_ann = world.rotation("ann", "ann's second")
    assert world.kernel(
        "merchant", "rotate_key", **{**for_ann, "identity": key_of("merchant")}
    ) == ("BAD_TICKET")
    assert world.rotate("ann", "ann's second", ticket_until=world.time_ms) == "BAD_TICKET"
    assert world.rotate("ann", "ann's second") == "OK"
    assert world.rotate("ann's second", "ann's second", identity="ann") == "OK"
    assert world.last.details == {"replayed": True}


def test_a_key_is_one_identitys_for_ever(world: Registry) -> None:
    world.rotate("ann", "ann's second")
    for sender, roles in (("bank", ["holder"]), ("operator", ["merchant"])):
        for taken in ("ann", "ann's second"):
            code = world.kernel(sender, "enrol", public_key=key_of(taken), roles=roles)
            assert code in ("IDEM_CONFLICT", "OK"), taken
            assert code == "IDEM_CONFLICT" or world.last.details == {"replayed": True}
    assert world.decide("grant_role", "ann's second", role="bank") == "BAD_STATE"
    assert world.rotate("merchant", "ann's second") == "BAD_STATE"
    assert world.rotate("ann's second", "ann", identity="ann") == "BAD_TICKET"
    assert world.decide("recover_key", "merchant", new_key=key_of("ann")) == "BAD_STATE"
    assert world.roles("ann's second") == {"holder"}


# ---- lost keys


@pytest.mark.parametrize(
    ("proposer", "approver"), [("bank", "operator"), ("operator", DEPUTY), (CHAIR, "operator")]
)
def test_a_lost_key_is_replaced_by_two(world: Registry, proposer: str, approver: str) -> None:
    new = key_of("ann's second")
    assert world.propose("recover_key", "ann", proposer, new_key=new) == "OK"
    assert world.approve(proposer) == "UNAUTHORIZED"
    for stranger in (None, "other bank", "merchant"):
        proposal = id_of(f"proposal {world.number}")
        with pytest.raises(Rejected):
            world.ask(stranger, "proposal", contract="kernel", proposal=proposal)
    assert world.approve(approver) == "OK"
    assert world.consume("ann", "card", 100, 1) == "UNAUTHORIZED"
    assert world.consume("ann's second", "card", 100, 1) == "OK"
    assert world.violations() == []


def test_a_bank_recovers_its_own_holders_only_and_learns_nothing_of_others(
    world: Registry,
) -> None:
    new = key_of("new")
    for name in ("ann", "nobody", "merchant"):
        assert world.propose("recover_key", name, "other bank", new_key=new) == "UNAUTHORIZED"
    for sender in ("regulator", "merchant", "ann"):
        assert world.propose("recover_key", "ann", sender, new_key=new) == "UNAUTHORIZED"
    assert world.propose("recover_key", "nobody", new_key=new) == "NOT_FOUND"


def test_an_office_is_recovered_by_administrators(world: Registry) -> None:
    new = key_of("regulator's second")
    assert world.propose("recover_key", "regulator", "operator", new_key=new) == "UNAUTHORIZED"
    assert world.propose("recover_key", "regulator", new_key=new) == "OK"
    assert world.approve("operator") == "UNAUTHORIZED"
    assert world.approve() == "OK"
    assert world.roles("regulator") == set()
    assert world.roles("regulator's second") == {"regulator"}
    assert world.office("regulator")[0] == key_of("regulator")


def test_the_key_of_a_suspended_identity_is_replaced_without_lifting(world: Registry) -> None:
    world.suspend("ann", "ann")
    assert world.decide("recover_key", "ann", new_key=key_of("ann's second")) == "OK"
    assert world.consume("ann's second", "card", 100, 1) == "UNAUTHORIZED"
    assert world.why == "the sender is suspended"
    assert world.decide("reinstate", "ann") == "OK"
    assert world.consume("ann's second", "card", 100, 1) == "OK"
