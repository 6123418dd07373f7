"""One transaction: all or nothing, who may send, what comes back, and what is poison."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import msgspec
import pytest

from contracts.catalog import CONTRACTS
from contracts.kernel import registry
from contracts.kernel.context import BlockInfo, Context, Rejected
from contracts.kernel.contract import Action
from contracts.kernel.ledger import ACCOUNTS, Account, Leg, account_key
from contracts.kernel.registry import GenesisParameters
from contracts.kernel.runtime import TRANSACTION_WRITES_MAX
from contracts.kernel.state import Changes, Overlay
from contracts.kernel.types import Args, InvariantViolation
from contracts.prepaid.money import EARNINGS, ESCROW
from contracts.prepaid.tables import CARDS
from tests.contracts.world import TICKETS, Memory, Prepared, World, id_of, key_of

EPOCH = (1, key_of("epoch 1"))


@pytest.fixture
def world() -> World:
    world = World()
    world.open_shop()
    assert world.open_card("card", "ann", 1_000) == "OK"
    return world


def run_toy(world: World, run: Any) -> tuple[registry.Result, Overlay]:
    """Execute an action of a contract that exists for one test only."""
    toy = dataclasses.replace(
        CONTRACTS["kernel"],
        actions={"act": Action(Args, run)},
        name="toy",
        tables=(),
        refusals_for=("role:operator",),
    )
    overlay = Overlay(world.memory)
    result = registry.execute(
        {**CONTRACTS, "toy": toy},
        overlay,
        BlockInfo(world.height + 1, world.time_ms + 1, 1),
        key_of("ann"),
        b"t" * 32,
        [Prepared("toy", "act", Args(), False)],
        TICKETS,
    )
    return result, overlay


def visit(amt: int, seq: int, card: str = "card") -> tuple[str, dict[str, Any]]:
    return "consume", {"card": id_of(card), "amt": amt, "seq": seq}


def test_a_silent_call_keeps_the_details_from_the_people_of_the_others(world: World) -> None:
    assert world.open_card("other", "bob", 1_000) == "OK"

    def visit_with_ticket(holder: str, card: str) -> tuple[str, dict[str, Any]]:
        terms = {"card": id_of(card), "amt": 100, "seq": 1}
        return "consume", world.ticket(holder, "consume", **terms)

    bobs = visit_with_ticket("bob", "other")
    assert world.send("merchant", bobs).code == "OK"
    result = world.send("merchant", visit_with_ticket("ann", "card"), bobs)
    assert result.details["calls"][1] == {"remaining": 900, "replayed": True}
    assert result.readers == (key_of("merchant").hex(),)
    (event,) = result.events
    assert key_of("ann").hex() in event.readers


def test_calls_of_one_transaction_see_each_other(world: World) -> None:
    result = world.send("ann", visit(100, 1), visit(200, 2), visit(300, 3))
    assert result.code == "OK"
    assert result.details == {"calls": [{"remaining": 900}, {"remaining": 700}, {"remaining": 400}]}
    assert world.ask("ann", "card", card=id_of("card"))["seq"] == 3
    assert world.violations() == []


def records_of(world: World) -> dict[tuple[str, bytes], bytes]:
    """Everything but what each block itself leaves."""
    records = world.memory.records
    return {place: raw for place, raw in records.items() if place[0] != "kernel/state_roots"}


def test_one_rejected_call_undoes_all(world: World) -> None:
    before = records_of(world)
    result = world.send("ann", visit(100, 1), visit(901, 2))
    assert (result.code, result.details) == ("INSUFFICIENT", {"remaining": 900, "call": 1})
    assert result.events == ()
    assert records_of(world) == before


def test_a_stranger_may_not_send(world: World) -> None:
    assert world.consume("stranger", "card", 1, 1) == "UNAUTHORIZED"
    assert world.last.details == {"why": "the sender is not registered"}


def test_roles_are_checked_for_each_action(world: World) -> None:
    assert world.do("ann", "approve", merchant=id_of("gym"), class_="named") == "UNAUTHORIZED"
    assert world.last.details == {"roles": ["regulator"]}


def test_a_clear_call_needs_the_networks_leave() -> None:
    world = World(allow_clear=False)
    world.open_shop()
    assert world.open_card("card", "ann", 1_000) == "OK"
    assert world.send("ann", visit(1, 1), sealed=False).code == "BAD_ENVELOPE"
    assert world.send("ann", visit(1, 1), sealed=True).code == "OK"


def test_kernel_calls_may_be_clear_everywhere() -> None:
    world = World(allow_clear=False)
    call = ("enrol", {"public_key": key_of("new"), "roles": ["holder"]})
    assert world.send("bank", call, contract="kernel", sealed=False).code == "OK"


def test_events_and_details_have_their_readers(world: World) -> None:
    result = world.send("ann", visit(100, 1))
    (event,) = result.events
    people = (key_of("ann").hex(), key_of("merchant").hex(), "role:regulator")
    assert (event.contract, event.name, event.readers) == ("prepaid", "Consumed", people)
    assert result.readers == people


def test_details_of_many_calls_are_only_for_those_who_may_see_all(world: World) -> None:
    result = world.send(
        "bank",
        ("open_card", world.opening("a", "ann", 10)),
        ("open_card", world.opening("b", "bob", 20)),
    )
    assert result.code == "OK"
    readers = {key_of("bank").hex(), key_of("merchant").hex(), "role:regulator"}
    assert set(result.readers) == readers


def test_a_rejection_is_for_the_sender_alone(world: World) -> None:
    assert world.send("ann", visit(5_000, 1)).readers == (key_of("ann").hex(),)


def test_a_broken_invariant_is_poison(world: World) -> None:
    def mint(ctx: Context, _: Args) -> dict[str, Any]:
        ctx.state.put(ACCOUNTS, id_of("loot"), Account(b"x", "CNY", "loot", 0, 0, 0, 9, False, ()))
        return {}

    with pytest.raises(InvariantViolation, match="9 of CNY came from nowhere"):
        run_toy(world, mint)


def test_a_contract_cannot_rewrite_another_ones_card(world: World) -> None:
    def forge(ctx: Context, _: Args) -> dict[str, Any]:
        card = ctx.state.need(CARDS, id_of("card"))
        ctx.state.put(CARDS, id_of("card"), msgspec.structs.replace(card, paid_out=1))
        return {}

    with pytest.raises(InvariantViolation):
        run_toy(world, forge)


def test_a_contract_cannot_move_another_ones_money(world: World) -> None:
    def steal(ctx: Context, _: Args) -> dict[str, Any]:
        shop = id_of("gym")
        escrow, earnings = (account_key(shop, "CNY", one) for one in (ESCROW, EARNINGS))
        ctx.ledger.transfer(Leg(escrow, earnings, 1))
        return {}

    with pytest.raises(AssertionError, match="its own accounts only"):
        run_toy(world, steal)


def test_only_the_contracts_concerned_judge_a_transaction(world: World) -> None:
    judged: list[str] = []

    def note(name: str) -> Callable[[Changes], list[str]]:
        def violations(_: Changes) -> list[str]:
            judged.append(name)
            return []

        return violations

    world.contracts = {
        name: dataclasses.replace(one, violations=note(name)) for name, one in CONTRACTS.items()
    }
    assert world.consume("ann", "card", 1, 1) == "OK"
    assert sorted(judged) == ["kernel", "prepaid"]


def test_every_accounts_purpose_begins_with_its_contract(world: World) -> None:
    world.consume("ann", "card", 1, 1)
    purposes = [
        ACCOUNTS.decode(raw).purpose
        for _, raw in world.memory.scan("kernel/accounts", b"", None, 100)
    ]
    assert purposes
    assert all(purpose.partition(".")[0] in CONTRACTS for purpose in purposes)


def test_what_else_is_raised_goes_up(world: World) -> None:
    def fail(ctx: Context, _: Args) -> dict[str, Any]:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        run_toy(world, fail)


def test_a_rejection_leaves_the_overlay_empty(world: World) -> None:
    def spoil(ctx: Context, _: Args) -> dict[str, Any]:
        ctx.state.delete(CARDS, id_of("card"))
        ctx.reject("BAD_STATE", why="changed my mind")

    result, overlay = run_toy(world, spoil)
    assert (result.code, result.details) == ("BAD_STATE", {"why": "changed my mind"})
    assert result.readers == (key_of("ann").hex(), "role:operator")
    assert overlay.writes == {}


def test_a_transaction_has_a_weight_limit(world: World) -> None:
    def flood(ctx: Context, _: Args) -> dict[str, Any]:
        for number in range(TRANSACTION_WRITES_MAX + 1):
            ctx.state.delete(CARDS, number.to_bytes(16, "big"))
        return {}

    result, overlay = run_toy(world, flood)
    assert (result.code, overlay.writes) == ("TOO_HEAVY", {})


def test_a_hundred_openings_fit_into_one_transaction(world: World) -> None:
    calls = [("open_card", world.opening(f"c{n}", f"h{n}", 100 + n)) for n in range(100)]
    assert world.send("bank", *calls).code == "OK"
    again = world.send("bank", *calls)
    assert again.code == "OK"
    assert all(answer["replayed"] for answer in again.details["calls"])
    assert world.ask("regulator", "merchant", merchant=id_of("gym"))["cards"] == 101


def test_genesis_state_is_the_same_each_time() -> None:
    assert World().memory.records == World().memory.records


@pytest.mark.parametrize(
    ("contracts", "field"),
    [
        ({"casino": {}}, "casino"),
        ({"prepaid": {"allow_clear": 1}}, "allow_clear"),
        ({"prepaid": {"classes": [{"name": "a", "named": True}]}}, "classes.0.asset"),
        ({"prepaid": {"classes": [{"name": "a", "asset": "X", "named": True}]}}, "asset"),
        (
            {"prepaid": {"classes": [{"name": "a", "asset": "CNY", "named": True}] * 2}},
            "classes",
        ),
    ],
)
def test_bad_genesis_parameters_are_named(contracts: dict[str, Any], field: str) -> None:
    parameters = GenesisParameters((), 0, (), (("CNY", 2),), contracts, EPOCH)
    with pytest.raises(Rejected) as caught:
        registry.genesis_writes(CONTRACTS, parameters)
    assert (caught.value.code, caught.value.details["field"]) == ("BAD_ARG", field)


def test_genesis_refuses_one_key_under_two_names() -> None:
    people = (("a", key_of("a"), ("bank",)), ("b", key_of("a"), ("merchant",)))
    with pytest.raises(Rejected):
        registry.genesis_writes(CONTRACTS, GenesisParameters((), 0, people, (), {}, EPOCH))


def test_validators_come_from_genesis(world: World) -> None:
    members, more_than = registry.next_validators(world.memory, 1)
    assert members == tuple(key_of(f"node{index}") for index in range(4))
    assert more_than == 2


def test_unknown_queries_and_tables_are_not_found(world: World) -> None:
    with pytest.raises(Rejected) as caught:
        world.ask("ann", "secrets")
    assert (caught.value.code, caught.value.details) == ("NOT_FOUND", {"what": "query"})
    with pytest.raises(Rejected) as caught:
        registry.is_private(CONTRACTS, "prepaid/secrets")
    assert caught.value.code == "NOT_FOUND"


def test_records_are_shown_by_field_names(world: World) -> None:
    raw = world.memory.get("prepaid/cards", id_of("card"))
    assert raw is not None
    fields = registry.decode_record(CONTRACTS, "prepaid/cards", raw)
    assert fields["initial"] == 1_000
    assert fields["lots"][0]["paid"] == 1_000
    readers = registry.readers_of(CONTRACTS, "prepaid/cards", raw)
    assert readers[0] == key_of("ann").hex()
    assert registry.is_private(CONTRACTS, "prepaid/cards")
    assert not registry.is_private(CONTRACTS, "prepaid/classes")


def test_an_empty_memory_has_no_roles() -> None:
    assert registry.roles_of(Memory(), key_of("ann")) == frozenset()
