"""What the best payment systems have beyond the requirements (B4.1–B4.8), the demo, queries."""

from __future__ import annotations

from typing import Any

import pytest

from contracts.kernel.types import DAY_MS, Rejected
from tests.contracts.payments_world import MINUTE_MS, OTHER, USER, Payments, browser
from tests.contracts.world import id_of, key_of


@pytest.fixture
def world() -> Payments:
    """A verified user with a bound phone and two linked channels."""
    ready = Payments().verified()
    assert ready.bind() == "OK"
    return ready


def test_b4_01_the_states_of_an_intent(world: Payments) -> None:
    world.order()
    states = [world.state()]
    world.choose()
    states.append(world.state())
    world.page()
    world.start(approval=world.approval())
    states.append(world.state())
    world.world.advance(3 * MINUTE_MS)
    states.append(world.state())
    world.report("UNKNOWN", event="e0")
    world.report()
    states.append(world.state())
    assert states == [
        "REQUIRES_METHOD",
        "REQUIRES_ACTION",
        "PROCESSING",
        "UNKNOWN",
        "SUCCEEDED",
    ]


def test_b4_02_five_wrong_passwords_lock(world: Payments) -> None:
    world.grant()
    for attempt in range(5):
        args: dict[str, Any] = {"user": USER, "attempt": id_of(f"attempt {attempt}")}
        assert world.do("service", "auth_failed", **args) == "OK"
        assert world.do("service", "auth_failed", **args) == "OK"
        assert world.details["failures"] == attempt + 1
    assert world.details["locked"]
    assert world.proxy("skin", 600) == "AUTH_LOCKED"
    more = id_of("more")
    assert world.do("service", "auth_failed", user=USER, attempt=more) == "AUTH_LOCKED"
    assert world.do("verifier", "verify", user=USER, ok=True) == "OK"
    assert world.charge_by_proxy("skin", 600) == "OK"


def test_b4_02_a_right_password_starts_the_count_again(world: Payments) -> None:
    world.grant()
    for attempt in range(4):
        world.do("service", "auth_failed", user=USER, attempt=id_of(f"attempt {attempt}"))
    assert world.proxy("skin", 600) == "OK"
    world.do("service", "auth_failed", user=USER, attempt=id_of("next"))
    assert world.details == {"failures": 1, "locked": False}


def test_b4_03_the_terminal_says_no(world: Payments) -> None:
    world.shown()
    args: dict[str, Any] = {
        "intent": id_of("film"),
        "terminal_pub": key_of("phone"),
        "nonce": id_of("nonce"),
    }
    signed: dict[str, Any] = {"intent": id_of("film"), "nonce": id_of("nonce")}
    forged = browser("tablet", "reject", signed)
    assert world.do("server", "reject", **args, signature=forged) == "LINK_MISMATCH"
    genuine = browser("phone", "reject", signed)
    assert world.do("server", "reject", **args, signature=genuine) == "OK"
    assert world.state() == "CANCELED"
    assert world.start(approval=world.approval()) == "BAD_STATE"


def test_b4_04_routing_prefers_what_succeeds_and_fails_over(world: Payments) -> None:
    world.order()
    assert world.choose(channel=None) == "OK"
    assert world.details["channel"] == "a"
    world.page()
    world.start(approval=world.approval())
    assert world.report("FAILED") == "OK"
    assert world.state() == "REQUIRES_METHOD"
    assert world.choose(channel=None) == "OK"
    assert world.details["channel"] == "b"
    assert world.page(nonce="again") == "OK"
    second = world.approval(nonce="again", channel="b")
    assert world.start(approval=second, channel="b") == "OK"
    assert world.report(channel="b") == "OK"
    assert world.state() == "SUCCEEDED"


def test_b4_05_an_unknown_outcome_is_never_taken_for_a_failure(world: Payments) -> None:
    world.charged()
    world.world.advance(3 * MINUTE_MS)
    assert world.state() == "UNKNOWN"
    assert world.do("vera", "cancel", intent=id_of("film")) == "BAD_STATE"
    assert world.choose() == "BAD_STATE"
    assert world.report() == "OK"
    assert world.state() == "SUCCEEDED"


def test_b4_06_reports_in_any_order_have_one_effect(world: Payments) -> None:
    world.charged()
    assert world.report(event="e2") == "OK"
    assert world.report("FAILED", event="e1") == "BAD_STATE"
    assert world.report("UNKNOWN", event="e0") == "BAD_STATE"
    assert world.report("FAILED", event="e2") == "IDEM_CONFLICT"
    assert world.balances()["payments.receivable"] == 2_500


def test_b4_07_caps_of_a_charge_of_a_day_and_of_policy(world: Payments) -> None:
    assert world.grant(per_cap=200_000) == "CAP_EXCEEDED"
    assert world.grant(day_cap=600_000) == "CAP_EXCEEDED"
    assert world.grant(per_cap=5_000, day_cap=12_000) == "OK"
    assert world.proxy("dear", 6_000) == "CAP_EXCEEDED"
    assert world.proxy("one", 5_000) == "OK"
    assert world.proxy("two", 5_000) == "OK"
    assert world.proxy("three", 5_000) == "CAP_EXCEEDED"
    world.start("one")
    world.report("FAILED", "one", "f1", 5_000)
    assert world.charge_by_proxy("three", 5_000) == "OK"
    world.start("two")
    world.report("UNKNOWN", "two", "f2", 5_000)
    world.order("four", 5_000)
    world.choose("four")
    assert world.charge_by_proxy("four", 5_000) == "CAP_EXCEEDED"
    world.world.advance(DAY_MS)
    assert world.proxy("tomorrow", 5_000) == "OK"


def test_b4_07_a_refund_does_not_restore_the_day(world: Payments) -> None:
    world.grant(per_cap=5_000, day_cap=5_000)
    world.proxy("one", 5_000)
    world.start("one")
    world.report(name="one", amt=5_000)
    args: dict[str, Any] = {"refund": id_of("r"), "intent": id_of("one"), "amt": 5_000}
    assert world.do("cinema", "refund", **args) == "OK"
    assert world.proxy("two", 5_000) == "CAP_EXCEEDED"


def test_b4_08_authorise_then_capture_in_part(world: Payments) -> None:
    world.charged(manual_capture=True)
    world.report()
    assert world.state() == "REQUIRES_CAPTURE"
    assert world.balances() == {}
    args: dict[str, Any] = {"intent": id_of("film")}
    assert world.do("vera", "capture", **args, amt=2_000) == "UNAUTHORIZED"
    assert world.do("cinema", "capture", **args, amt=2_501) == "INSUFFICIENT"
    assert world.do("cinema", "capture", **args, amt=2_000) == "OK"
    assert world.balances()["payments.receivable"] == 2_000
    assert world.do("cinema", "capture", **args, amt=2_000) == "OK"
    assert world.do("cinema", "capture", **args, amt=1_000) == "IDEM_CONFLICT"


def test_b4_08_what_is_not_captured_in_time_is_released(world: Payments) -> None:
    world.charged(manual_capture=True)
    world.report()
    world.world.advance(7 * DAY_MS)
    assert world.state() == "CANCELED"
    assert world.do("cinema", "capture", intent=id_of("film"), amt=1) == "BAD_STATE"
    assert world.do("walt", "expire_pending", contract="kernel") == "OK"
    assert world.balances() == {}


def test_b4_08_refunds_in_parts(world: Payments) -> None:
    world.paid()
    for name, amount, code in (
        ("r1", 1_000, "OK"),
        ("r1", 1_000, "OK"),
        ("r1", 999, "IDEM_CONFLICT"),
        ("r2", 1_501, "INSUFFICIENT"),
        ("r2", 1_500, "OK"),
        ("r3", 1, "INSUFFICIENT"),
    ):
        args: dict[str, Any] = {"refund": id_of(name), "intent": id_of("film"), "amt": amount}
        assert world.do("cinema", "refund", **args) == code
    assert world.balances() == {}


def test_b4_08_a_contested_payment_is_set_aside_and_divided(world: Payments) -> None:
    world.paid()
    film: dict[str, Any] = {"intent": id_of("film")}
    assert world.do("walt", "dispute", **film, reason="never came") == "UNAUTHORIZED"
    assert world.do("vera", "dispute", **film, reason="never came") == "OK"
    assert world.balances()["payments.contested"] == 2_500
    assert world.do("cinema", "refund", refund=id_of("r"), **film, amt=1) == "INSUFFICIENT"
    assert world.do("cinema", "respond", **film, evidence=b"e" * 32) == "OK"
    assert world.do("vera", "resolve", **film, to_user=2_500, to_payee=0) == "UNAUTHORIZED"
    assert world.do("arbiter", "resolve", **film, to_user=1_000, to_payee=1) == "AMOUNT_MISMATCH"
    assert world.do("arbiter", "resolve", **film, to_user=1_000, to_payee=1_500) == "OK"
    assert world.balances() == {"payments.clearing": -1_500, "payments.receivable": 1_500}


def test_b4_08_a_payee_that_is_silent_loses(world: Payments) -> None:
    world.paid()
    film: dict[str, Any] = {"intent": id_of("film")}
    world.do("vera", "dispute", **film, reason="never came")
    world.world.advance(14 * DAY_MS)
    assert world.do("cinema", "respond", **film, evidence=b"e" * 32) == "EXPIRED"
    assert world.do("walt", "resolve", **film, to_user=2_000, to_payee=500) == "UNAUTHORIZED"
    assert world.do("walt", "resolve", **film, to_user=2_500, to_payee=0) == "OK"
    assert world.balances() == {}


def test_the_demo_of_the_headset(world: Payments) -> None:
    """§4d: film ¥25.00, channel B disabled, tampering, proxy caps, five bad passwords, UNKNOWN."""
    world.do("operator", "set_channel", channel="b", enabled=False)
    world.shown()
    assert world.start(approval=world.approval(amt=25_000)) == "LINK_MISMATCH"
    assert world.start(approval=world.approval()) == "OK"
    for _ in range(3):
        assert world.report() == "OK"
    assert world.grant(per_cap=5_000, day_cap=20_000) == "OK"
    assert world.proxy("item", 600) == "OK"
    assert world.start("item") == "OK"
    assert world.report(name="item", event="e2", amt=600) == "OK"
    assert world.proxy("dear", 6_000) == "CAP_EXCEEDED"
    for attempt in range(5):
        world.do("service", "auth_failed", user=USER, attempt=id_of(str(attempt)))
    assert world.proxy("again", 600) == "AUTH_LOCKED"
    world.charged("late")
    world.world.advance(3 * MINUTE_MS)
    assert world.state("late") == "UNKNOWN"
    assert world.report(name="late", event="e3") == "OK"
    assert world.state("late") == "SUCCEEDED"
    assert world.balances()["payments.receivable"] == 2_500 + 600 + 2_500


def test_policy_takes_two_persons(world: Payments) -> None:
    given: dict[str, Any] = {
        "mandate_charge_max": 1_000,
        "mandate_day_max": 2_000,
        "failures_max": 3,
        "processing_ms": MINUTE_MS,
        "cooling_ms": MINUTE_MS,
        "capture_ms": MINUTE_MS,
        "dispute_ms": MINUTE_MS,
        "respond_ms": MINUTE_MS,
    }
    proposal: dict[str, Any] = {"proposal": id_of("policy"), "reason": "smaller caps"}
    assert world.do("operator", "set_policy", **proposal, **given) == "OK"
    assert world.do("operator", "approve", contract="kernel", proposal=id_of("policy")) == (
        "UNAUTHORIZED"
    )
    assert world.do("regulator", "approve", contract="kernel", proposal=id_of("policy")) == "OK"
    assert world.grant(per_cap=1_001, day_cap=2_000) == "CAP_EXCEEDED"
    assert world.world.ask(None, "policy", "payments")["failures_max"] == 3


def test_queries_show_each_what_concerns_it(world: Payments) -> None:
    world.paid()
    mine = world.world.ask("vera", "me", "payments")
    assert (mine["user"], mine["intents"], mine["channels"]) == (USER, 1, ["a", "b"])
    listed = world.world.ask("vera", "intents", "payments", user=USER)
    assert [item["order"] for item in listed["items"]] == ["film"]
    shown = world.world.ask(None, "channels", "payments")["items"]
    assert [one["channel"] for one in shown] == ["a", "b"]
    assert "started" not in shown[0]
    assert world.world.ask("operator", "channels", "payments")["items"][0]["succeeded"] == 1
    assert world.intent(viewer="cinema")["state"] == "SUCCEEDED"
    for stranger in (None, "walt", "channel b", "bank"):
        with pytest.raises(Rejected):
            world.world.ask(stranger, "intent", "payments", intent=id_of("film"))
    with pytest.raises(Rejected):
        world.world.ask("vera", "user", "payments", user=OTHER)
