"""Payments on a headset, requirement by requirement (R4.1–R4.16)."""

from __future__ import annotations

from typing import Any

import pytest

from contracts.kernel.types import Rejected
from tests.contracts.payments_world import COMMIT, MINUTE_MS, USER, Payments
from tests.contracts.world import id_of, key_of


@pytest.fixture
def world() -> Payments:
    """A verified user with a bound phone and two linked channels."""
    ready = Payments().verified()
    assert ready.bind() == "OK"
    return ready


def test_r4_01_only_the_filed_may_pay() -> None:
    world = Payments()
    assert world.order() == "NOT_FILED"
    assert world.file() == "OK"
    assert world.order() == "NOT_FILED"
    assert world.do("verifier", "verify", user=USER, ok=True) == "OK"
    assert world.order() == "OK"


def test_r4_02_the_public_trace_is_a_salted_commitment() -> None:
    world = Payments()
    assert world.file(sealed_info=b"sealed phone number") == "OK"
    records = world.world.memory.records
    assert records["payments/filings", USER] == b"\x91\xc4\x20" + COMMIT
    answer = world.world.ask("verifier", "user", "payments", user=USER)
    assert answer["sealed_info"] == b"sealed phone number"
    for stranger in (None, "walt", "cinema", "channel a"):
        with pytest.raises(Rejected):
            world.world.ask(stranger, "user", "payments", user=USER)


def test_r4_03_a_verifier_decides_on_the_code() -> None:
    world = Payments()
    world.file()
    assert world.do("vera", "verify", user=USER, ok=True) == "UNAUTHORIZED"
    assert world.do("verifier", "verify", user=USER, ok=False) == "OK"
    assert world.order() == "NOT_FILED"
    assert world.file(sealed_info=b"better") == "OK"
    assert world.do("verifier", "verify", user=USER, ok=True) == "OK"
    assert world.events == ["Verified"]


def test_r4_04_or_a_reviewer_does() -> None:
    world = Payments()
    world.file()
    args: dict[str, Any] = {"user": USER, "ok": True, "reason": "passport seen"}
    assert world.do("verifier", "manual_review", **args) == "UNAUTHORIZED"
    assert world.do("reviewer", "manual_review", **args) == "OK"
    assert world.order() == "OK"


def test_r4_05_the_switch_stops_new_payments_at_once(world: Payments) -> None:
    world.shown()
    assert world.do("vera", "set_switch", on=False) == "OK"
    assert world.order("another") == "SWITCHED_OFF"
    assert world.choose() == "SWITCHED_OFF"
    assert world.start(approval=world.approval()) == "SWITCHED_OFF"
    assert world.do("vera", "set_switch", on=True) == "OK"
    assert world.start(approval=world.approval()) == "OK"


def test_r4_06_usable_is_enabled_and_linked() -> None:
    world = Payments().verified(channels="a")
    world.order()
    assert world.choose(channel="b") == "CHANNEL_NOT_LINKED"
    assert world.do("operator", "set_channel", channel="a", enabled=False) == "OK"
    assert world.choose(channel="a") == "CHANNEL_DISABLED"
    assert world.choose(channel=None) == "CHANNEL_NOT_LINKED"
    assert world.do("vera", "link_channel", channel="b") == "OK"
    assert world.choose(channel=None) == "OK"
    assert world.details["channel"] == "b"
    assert world.do("vera", "unlink_channel", channel="b") == "OK"
    assert world.choose(channel="b") == "CHANNEL_NOT_LINKED"


def test_r4_07_one_charge_one_result(world: Payments) -> None:
    world.charged()
    for _ in range(3):
        assert world.report() == "OK"
    assert world.details == {"state": "SUCCEEDED", "replayed": True}
    assert world.balances() == {"payments.clearing": -2_500, "payments.receivable": 2_500}


def test_r4_08_disabling_stops_starts_and_not_reports(world: Payments) -> None:
    world.charged("film")
    world.shown("second")
    assert world.do("operator", "set_channel", channel="a", enabled=False) == "OK"
    assert world.start("second", world.approval("second")) == "CHANNEL_DISABLED"
    assert world.report() == "OK"
    assert world.state() == "SUCCEEDED"


def test_r4_09_no_charge_without_an_authorisation(world: Payments) -> None:
    world.shown()
    assert world.start() == "BAD_STATE"
    assert world.report() == "BAD_STATE"
    assert world.start(approval=world.approval()) == "OK"
    assert world.events == ["Authorised", "ChargeStarted"]


def test_r4_10_a_terminal_is_another_device_that_consents(world: Payments) -> None:
    assert (
        world.do(
            "vera",
            "bind_terminal",
            terminal_pub=key_of("vera"),
            kind="phone",
            challenge=id_of("challenge"),
            ticket_until=world.world.time_ms + MINUTE_MS,
            ticket=b"s" * 64,
        )
        == "BAD_ARG"
    )
    assert world.bind("tablet", ticket=b"s" * 64) == "TERMINAL_UNKNOWN"
    assert world.bind("phone") == "OK"
    assert world.details["replayed"]


def test_r4_11_what_is_approved_is_what_was_shown(world: Payments) -> None:
    world.shown()
    changed: dict[str, Any] = {
        "order_hash": b"x" * 32,
        "page_hash": b"x" * 32,
        "amt": 25_000,
        "cur": "USD",
        "payee": key_of("walt"),
        "channel": "b",
        "nonce": "other",
    }
    for name, value in changed.items():
        assert world.start(approval=world.approval(**{name: value})) == "LINK_MISMATCH"
        assert world.details["field"] == name
    forged = {**world.approval(amt=25_000), "amt": 2_500}
    assert world.start(approval=forged) == "LINK_MISMATCH"
    assert world.details["field"] == "signature"
    assert world.start(approval=world.approval()) == "OK"


def test_r4_12_the_chosen_channel_alone_starts_the_charge(world: Payments) -> None:
    world.shown()
    assert world.start(approval=world.approval(), channel="b") == "UNAUTHORIZED"
    assert world.start(approval=world.approval()) == "OK"


def test_r4_13_the_headset_is_told_by_an_event_that_it_may_read(world: Payments) -> None:
    world.charged()
    assert world.report() == "OK"
    (event,) = world.world.last.events
    assert (event.name, event.data["status"]) == ("Charged", "SUCCEEDED")
    assert key_of("vera").hex() in event.readers
    assert world.do("walt", "ack", intent=id_of("film")) == "UNAUTHORIZED"
    assert world.do("vera", "ack", intent=id_of("film")) == "OK"
    assert world.events == ["Notified"]


def test_r4_14_a_mandate_is_for_one_channel(world: Payments) -> None:
    assert world.grant() == "OK"
    world.order("skin", 600)
    world.choose("skin", "b")
    assert world.charge_by_proxy("skin", 600, said={"channel": "b"}) == "LINK_MISMATCH"
    world.choose("skin", "a")
    assert world.charge_by_proxy("skin", 600) == "OK"


def test_r4_15_a_password_pays_without_a_second_terminal() -> None:
    world = Payments().verified()
    assert world.grant() == "OK"
    assert world.proxy("skin", 600) == "OK"
    assert world.start("skin") == "OK"
    assert world.report(name="skin", amt=600) == "OK"
    assert world.intent("skin")["authorised_by"] == "MANDATE"


def test_r4_16_refusals_name_their_stage_and_the_operator_sees_them(world: Payments) -> None:
    assert world.order("x", who="walt") == "NOT_FILED"
    assert world.details["stage"] == "filing"
    assert "role:operator" in world.world.last.readers
    world.shown()
    assert world.start(approval=world.approval(amt=1)) == "LINK_MISMATCH"
    assert world.details["stage"] == "authorisation"
