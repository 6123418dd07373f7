"""Who may enrol whom, and who may see it."""

from __future__ import annotations

import pytest

from contracts.catalog import CONTRACTS
from contracts.kernel import registry
from contracts.kernel.context import Rejected
from tests.contracts.world import World, key_of


@pytest.mark.parametrize(
    ("sender", "roles", "code"),
    [
        ("administrator", ["merchant", "reviewer"], "OK"),
        ("administrator", ["holder"], "OK"),
        ("administrator", ["regulator"], "UNAUTHORIZED"),
        ("administrator", ["merchant", "operator"], "UNAUTHORIZED"),
        ("administrator", ["bank"], "UNAUTHORIZED"),
        ("administrator", ["administrator"], "UNAUTHORIZED"),
        ("operator", ["merchant"], "OK"),
        ("operator", ["holder", "bookkeeper"], "OK"),
        ("operator", ["bank"], "UNAUTHORIZED"),
        ("operator", ["operator"], "UNAUTHORIZED"),
        ("operator", ["merchant", "regulator"], "UNAUTHORIZED"),
        ("operator", ["administrator"], "UNAUTHORIZED"),
        ("bank", ["holder"], "OK"),
        ("bank", ["merchant"], "UNAUTHORIZED"),
        ("bank", ["holder", "merchant"], "UNAUTHORIZED"),
        ("merchant", ["holder"], "UNAUTHORIZED"),
        ("bookkeeper", ["holder"], "UNAUTHORIZED"),
    ],
)
def test_who_may_enrol_whom(sender: str, roles: list[str], code: str) -> None:
    world = World()
    args = {"public_key": key_of("new"), "roles": roles}
    assert world.do(sender, "enrol", contract="kernel", **args) == code
    known = registry.roles_of(world.memory, key_of("new"))
    assert known == (frozenset(roles) if code == "OK" else frozenset())


def test_enrolling_again_is_a_replay_and_otherwise_a_conflict() -> None:
    world = World()
    args = {"public_key": key_of("new"), "roles": ["merchant"], "name": "Shop"}
    assert world.do("operator", "enrol", contract="kernel", **args) == "OK"
    assert world.do("operator", "enrol", contract="kernel", **args) == "OK"
    assert world.last.details == {"replayed": True}
    for other in ({"roles": ["holder"], "name": ""}, {"name": "Store"}, {"commitment": b"c" * 32}):
        assert world.do("operator", "enrol", contract="kernel", **{**args, **other}) == (
            "IDEM_CONFLICT"
        )


def test_a_holder_has_no_name_and_at_most_a_commitment() -> None:
    world = World()
    args = {"public_key": key_of("ann"), "roles": ["holder"]}
    assert world.do("bank", "enrol", contract="kernel", name="Ann", **args) == "BAD_ARG"
    assert world.last.details["field"] == "name"
    assert world.do("bank", "enrol", contract="kernel", commitment=b"short", **args) == "BAD_ARG"
    assert world.do("bank", "enrol", contract="kernel", commitment=b"c" * 32, **args) == "OK"
    found = world.ask("bank", "identity", contract="kernel", public_key=key_of("ann"))
    assert (found["name"], found["commitment"]) == ("", b"c" * 32)


def test_the_enrolled_may_send() -> None:
    world = World()
    assert world.do("new", "expire_pending", contract="kernel") == "UNAUTHORIZED"
    world.do("bank", "enrol", contract="kernel", public_key=key_of("new"), roles=["holder"])
    assert world.do("new", "expire_pending", contract="kernel") == "OK"
    assert world.last.details == {"expired": 0, "done": True}


def test_institutions_are_public_and_holders_are_not() -> None:
    world = World()
    world.do("bank", "enrol", contract="kernel", public_key=key_of("ann"), roles=["holder"])
    found = world.ask(None, "identity", contract="kernel", public_key=key_of("bank"))
    assert found == {
        "public_key": key_of("bank"),
        "name": "bank",
        "roles": ["bank"],
        "key": key_of("bank"),
        "commitment": b"",
        "suspended_for": "",
    }
    for viewer in ("ann", "bank", "regulator"):
        found = world.ask(viewer, "identity", contract="kernel", public_key=key_of("ann"))
        assert found["roles"] == ["holder"]
    for stranger in (None, "merchant", "other bank"):
        with pytest.raises(Rejected):
            world.ask(stranger, "identity", contract="kernel", public_key=key_of("ann"))
    raw = world.memory.get("kernel/identities", key_of("ann"))
    assert raw is not None
    assert "public" not in registry.readers_of(CONTRACTS, "kernel/identities", raw)


def test_assets_and_validators_are_public() -> None:
    world = World()
    assert world.ask(None, "assets", contract="kernel") == {
        "items": [{"code": "CNY", "scale": 2}, {"code": "USD", "scale": 2}],
        "next": None,
    }
    page = world.ask(None, "assets", contract="kernel", limit=1)
    assert page["next"] == "CNY"
    rest = world.ask(None, "assets", contract="kernel", limit=1, cursor="CNY")
    assert [one["code"] for one in rest["items"]] == ["USD"]
    assert world.ask(None, "validators", contract="kernel")["confirmations_more_than"] == 2
