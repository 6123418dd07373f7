"""Arguments: whatever is wrong becomes BAD_ARG with the field's name, in our own words."""

from __future__ import annotations

from typing import Any

import pytest

from contracts.catalog import CONTRACTS
from contracts.kernel.context import Rejected
from contracts.kernel.registry import validate
from tests.contracts.world import id_of, key_of

CONSUME = {"card": id_of("card"), "amt": 100, "seq": 1}


def rejection(action: str, args: Any, contract: str = "prepaid") -> Rejected:
    with pytest.raises(Rejected) as caught:
        validate(CONTRACTS, contract, action, args)
    return caught.value


@pytest.mark.parametrize(
    ("field", "value", "why"),
    [
        ("amt", 0, "out of range"),
        ("amt", -1, "out of range"),
        ("amt", 1 << 63, "out of range"),
        ("amt", (1 << 64) - 1, "out of range"),
        ("amt", 1.0, "wrong type"),
        ("amt", True, "wrong type"),
        ("amt", "100", "wrong type"),
        ("amt", None, "wrong type"),
        ("amt", [100], "wrong type"),
        ("seq", 0, "out of range"),
        ("seq", False, "wrong type"),
        ("seq", 1.5, "wrong type"),
        ("card", b"short", "wrong length"),
        ("card", b"x" * 17, "wrong length"),
        ("card", "0" * 16, "wrong type"),
        ("card", 7, "wrong type"),
        ("ticket", b"x" * 63, "wrong length"),
        ("ticket_until", -1, "out of range"),
        ("extra", 1, "unknown field"),
        ("terms", 1, "unknown field"),
    ],
)
def test_a_bad_field_is_named(field: str, value: object, why: str) -> None:
    rejected = rejection("consume", {**CONSUME, field: value})
    assert rejected.code == "BAD_ARG"
    assert rejected.details == {"field": field, "why": why}


@pytest.mark.parametrize("field", ["card", "amt", "seq"])
def test_a_missing_field_is_named(field: str) -> None:
    given = {name: value for name, value in CONSUME.items() if name != field}
    assert rejection("consume", given).details == {"field": field, "why": "missing"}


@pytest.mark.parametrize(
    ("action", "contract", "args", "field"),
    [
        ("refund", "prepaid", {"card": id_of("c"), "reason": "BECAUSE"}, "reason"),
        ("freeze", "prepaid", {"merchant": id_of("m"), "scope": "NONE", "reason": "r"}, "scope"),
        ("freeze", "prepaid", {"merchant": id_of("m"), "scope": "ALL", "reason": ""}, "reason"),
        ("wind_up", "prepaid", {"merchant": id_of("m"), "reason": "x" * 201}, "reason"),
        ("approve", "prepaid", {"merchant": id_of("m"), "card_class": "named"}, "class"),
        (
            "approve",
            "prepaid",
            {"merchant": id_of("m"), "class": "named", "custody_bps": 10_001},
            "custody_bps",
        ),
        ("payout", "prepaid", {"merchant": id_of("m"), "limit": 101}, "limit"),
        ("enrol", "kernel", {"public_key": b"\x04" + b"x" * 32, "roles": ["a"]}, "public_key"),
        ("enrol", "kernel", {"public_key": key_of("a"), "roles": []}, "roles"),
        ("enrol", "kernel", {"public_key": key_of("a"), "roles": ["a", 1]}, "roles.1"),
        ("enrol", "kernel", {"public_key": key_of("a"), "roles": ["a\x00"]}, "roles.0"),
        ("enrol", "kernel", {"public_key": key_of("a"), "roles": ["x" * 65]}, "roles.0"),
    ],
)
def test_each_kind_of_field_is_checked(
    action: str, contract: str, args: dict[str, Any], field: str
) -> None:
    rejected = rejection(action, args, contract)
    assert (rejected.code, rejected.details["field"]) == ("BAD_ARG", field)


def test_arguments_that_are_no_mapping() -> None:
    assert rejection("consume", [1, 2]).details == {"field": "args", "why": "wrong type"}


def test_what_is_said_never_repeats_the_input() -> None:
    rejected = rejection("consume", {**CONSUME, "x" * 500: 1})
    assert len(rejected.details["field"]) == 64


@pytest.mark.parametrize(
    ("contract", "action", "what"),
    [("casino", "bet", "contract"), ("prepaid", "bet", "action"), ("prepaid", "card", "action")],
)
def test_unknown_calls(contract: str, action: str, what: str) -> None:
    with pytest.raises(Rejected) as caught:
        validate(CONTRACTS, contract, action, {})
    assert (caught.value.code, caught.value.details) == ("NOT_FOUND", {"what": what})


def test_the_largest_amount_is_an_amount() -> None:
    args = validate(CONTRACTS, "prepaid", "consume", {**CONSUME, "amt": (1 << 63) - 1})
    assert args.terms() == {**CONSUME, "amt": (1 << 63) - 1}


def test_terms_leave_out_the_ticket_and_what_was_not_given() -> None:
    given = {**CONSUME, "ticket_until": 5, "ticket": b"s" * 64}
    args = validate(CONTRACTS, "prepaid", "consume", given)
    assert args.terms() == {**CONSUME, "ticket_until": 5}


def test_of_many_unknown_fields_one_is_described(monkeypatch: pytest.MonkeyPatch) -> None:
    def describe(*_: object) -> None:
        raise AssertionError("the library describes each one of them")

    monkeypatch.setattr("contracts.kernel.types.Args.model_validate", describe)
    surplus = {f"x{number}": 0 for number in range(9)}
    rejected = rejection("consume", {**CONSUME, **surplus})
    assert rejected.details == {"field": "x0", "why": "unknown field"}
    assert rejection("consume", {"": 0, **surplus}).details["field"] == "args"
