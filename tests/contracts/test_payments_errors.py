"""Each error code of payments has a row, and attacks are refused; nothing is lost by trying."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from contracts.kernel.types import AMOUNT_MAX, DAY_MS
from contracts.payments.contract import PAYMENTS
from tests.contracts.payments_world import MINUTE_MS, OTHER, USER, Payments, browser
from tests.contracts.world import FAR_MS, id_of, key_of


@pytest.fixture
def world() -> Payments:
    """A verified user with a bound phone and two linked channels."""
    ready = Payments().verified()
    assert ready.bind() == "OK"
    return ready


def _locked(world: Payments) -> str:
    world.grant()
    for attempt in range(5):
        world.do("service", "auth_failed", user=USER, attempt=id_of(str(attempt)))
    return world.proxy("skin", 600)


ROWS: dict[str, Callable[[Payments], str]] = {
    "BAD_ARG": lambda world: world.order(amt=0),
    "UNAUTHORIZED": lambda world: world.do("walt", "verify", user=USER, ok=True),
    "IDEM_CONFLICT": lambda world: world.shown().order(amt=1),
    "NOT_FOUND": lambda world: world.do("vera", "link_channel", channel="none"),
    "EXPIRED": lambda world: world.shown().passed(DAY_MS).start(approval=world.approval()),
    "BAD_STATE": lambda world: world.order() and world.page(),
    "NOT_FILED": lambda world: world.order("x", who="walt"),
    "SWITCHED_OFF": lambda world: world.do("vera", "set_switch", on=False) and world.order(),
    "CHANNEL_DISABLED": lambda world: (
        world.do("operator", "set_channel", channel="a", enabled=False)
        and world.order()
        and world.choose()
    ),
    "CHANNEL_NOT_LINKED": lambda world: (
        world.do("vera", "unlink_channel", channel="a") and world.order() and world.choose()
    ),
    "TERMINAL_UNKNOWN": lambda world: world.shown().start(
        approval=world.approval(terminal="tablet")
    ),
    "LINK_MISMATCH": lambda world: world.shown().start(approval=world.approval(amt=1)),
    "AUTH_FAILED": lambda world: world.grant() and world.proxy("skin", 600, service="walt"),
    "AUTH_LOCKED": _locked,
    "CAP_EXCEEDED": lambda world: world.grant() and world.proxy("dear", 5_001),
    "AMOUNT_MISMATCH": lambda world: world.charged().report(amt=25_000),
    "INSUFFICIENT": lambda world: world.paid().do(
        "cinema", "refund", refund=id_of("r"), intent=id_of("film"), amt=2_501
    ),
    "OVERFLOW": lambda world: [
        world.do(
            "operator",
            "register_channel",
            channel=f"c{number}",
            owner=key_of("channel a"),
            endpoint="http://x",
            asset="CNY",
        )
        and world.do("vera", "link_channel", channel=f"c{number}")
        for number in range(15)
    ][-1],
}


@pytest.mark.parametrize("code", ROWS)
def test_each_error_has_its_row(world: Payments, code: str) -> None:
    assert ROWS[code](world) == code


def test_every_error_of_the_contract_is_in_the_table() -> None:
    # A clear call is refused before the contract runs; see the tests of sealed calls.
    assert set(PAYMENTS.errors) - {"BAD_ENVELOPE"} <= set(ROWS)


def test_clear_calls_need_the_networks_leave() -> None:
    world = Payments()
    args: dict[str, Any] = {"user": USER, "phone_commit": b"c" * 32, "sealed_info": b"s"}
    result = world.world.send("vera", ("file_user", args), contract="payments", sealed=False)
    assert result.code == "BAD_ENVELOPE"


# ---- several calls in one transaction


def test_a_headset_orders_and_chooses_at_once(world: Payments) -> None:
    order: dict[str, Any] = {"order_hash": b"o" * 32, "payee": key_of("cinema"), "cur": "CNY"}
    film: dict[str, Any] = {"intent": id_of("film")}
    calls = (
        ("create_intent", {**film, **order, "order": "film", "amt": 2_500}),
        ("choose_channel", {**film, "channel": "a"}),
    )
    assert world.world.send("vera", *calls, contract="payments").code == "OK"
    assert world.state() == "REQUIRES_ACTION"
    assert world.do("vera", "cancel", **film) == "OK"


@pytest.mark.parametrize(
    ("status", "state"),
    [("SUCCEEDED", "SUCCEEDED"), ("FAILED", "REQUIRES_METHOD"), ("UNKNOWN", "UNKNOWN")],
)
def test_a_channel_charges_and_reports_at_once(world: Payments, status: str, state: str) -> None:
    world.shown()
    film: dict[str, Any] = {"intent": id_of("film")}
    report = {"channel": "a", "event_id": "e", "status": status, "amt": 2_500}
    calls = (
        ("start_charge", {**film, "approval": world.approval()}),
        ("callback", {**film, **report}),
    )
    assert world.world.send("channel a", *calls, contract="payments").code == "OK"
    assert world.state() == state


# ---- attacks


def test_the_page_shows_25_and_the_charge_would_be_250(world: Payments) -> None:
    world.shown()
    assert world.start(approval=world.approval(amt=25_000)) == "LINK_MISMATCH"
    world.start(approval=world.approval())
    assert world.report(amt=25_000) == "AMOUNT_MISMATCH"
    assert world.state() == "PROCESSING"


def test_an_approval_is_used_once(world: Payments) -> None:
    world.shown()
    approval = world.approval()
    assert world.start(approval=approval) == "OK"
    assert world.start(approval=approval) == "OK"
    assert world.details["replayed"]
    world.report("FAILED")
    world.choose()
    world.page(nonce="second")
    assert world.start(approval=approval) == "LINK_MISMATCH"
    assert world.details["field"] == "nonce"


def test_an_approval_is_for_one_intent(world: Payments) -> None:
    world.shown("film")
    world.shown("film2")
    stolen = world.approval("film")
    assert world.start("film2", stolen) == "LINK_MISMATCH"


def test_an_approval_that_is_too_old(world: Payments) -> None:
    world.shown()
    approval = world.approval()
    world.world.advance(5 * MINUTE_MS)
    assert world.start(approval=approval) == "EXPIRED"


def test_a_failure_after_a_success_changes_nothing(world: Payments) -> None:
    world.paid()
    assert world.report("FAILED", event="later") == "BAD_STATE"
    assert world.state() == "SUCCEEDED"


def test_guesses_over_many_intents_are_counted_for_the_user(world: Payments) -> None:
    world.grant()
    for attempt in range(5):
        world.order(f"order {attempt}", 100)
        world.do("service", "auth_failed", user=USER, attempt=id_of(f"a{attempt}"))
    assert world.proxy("order 0", 100) in ("AUTH_LOCKED", "BAD_STATE")
    assert world.choose("order 1") == "OK"
    assert world.charge_by_proxy("order 1", 100) == "AUTH_LOCKED"


def test_nobody_else_can_lock_a_user_out(world: Payments) -> None:
    for who in ("walt", "channel a", "operator", "vera"):
        code = world.do(who, "auth_failed", user=USER, attempt=id_of("x"))
        assert code == "UNAUTHORIZED"


def test_a_success_after_the_time_goes_to_reconciliation(world: Payments) -> None:
    world.charged()
    world.world.advance(DAY_MS)
    assert world.report() == "OK"
    assert world.state() == "LATE"
    assert world.balances() == {"payments.clearing": -2_500, "payments.suspense": 2_500}
    args: dict[str, Any] = {"intent": id_of("film"), "reason": "the film is over"}
    assert world.do("vera", "reconcile", **args, accept=False) == "UNAUTHORIZED"
    assert world.do("operator", "reconcile", **args, accept=False) == "OK"
    assert world.balances() == {}
    assert world.do("operator", "reconcile", **args, accept=True) == "BAD_STATE"


def test_a_late_success_may_be_accepted(world: Payments) -> None:
    world.charged()
    world.world.advance(DAY_MS)
    world.report()
    args: dict[str, Any] = {"intent": id_of("film"), "reason": "still wanted"}
    assert world.do("operator", "reconcile", **args, accept=True) == "OK"
    assert world.balances()["payments.receivable"] == 2_500


def test_a_stolen_headset_binds_no_terminal_soon(world: Payments) -> None:
    assert world.bind("thief") == "OK"
    world.shown()
    assert world.start(approval=world.approval(terminal="thief")) == "TERMINAL_UNKNOWN"
    assert world.do("vera", "unbind_terminal", terminal_pub=key_of("phone")) == "OK"
    assert world.bind("thief2") == "OK"
    assert world.start(approval=world.approval(terminal="thief2")) == "TERMINAL_UNKNOWN"
    assert world.do("vera", "unbind_terminal", terminal_pub=key_of("thief")) == "OK"
    world.world.advance(DAY_MS)
    world.shown("next")
    assert world.start("next", world.approval("next", "thief")) == "TERMINAL_UNKNOWN"


def test_a_bound_terminal_vouches_for_the_next_one(world: Payments) -> None:
    assert world.bind("tablet", voucher="phone") == "OK"
    world.shown()
    assert world.start(approval=world.approval(terminal="tablet")) == "OK"


def test_a_voucher_must_be_ones_own_and_genuine(world: Payments) -> None:
    world.verified("walt", OTHER)
    assert world.bind("watch", who="walt", user=OTHER) == "OK"
    assert world.bind("tablet", voucher="watch") == "TERMINAL_UNKNOWN"
    assert world.bind("tablet", voucher="phone", voucher_ticket=b"s" * 64) == "TERMINAL_UNKNOWN"


def test_a_terminal_serves_one_user(world: Payments) -> None:
    world.verified("walt", OTHER)
    assert world.bind("phone", who="walt", user=OTHER) == "BAD_STATE"
    world.order("his", who="walt")
    world.choose("his", who="walt")
    world.page("his")
    assert world.start("his", world.approval("his")) == "TERMINAL_UNKNOWN"


def test_nobody_pays_with_anothers_intent_mandate_or_user(world: Payments) -> None:
    world.verified("walt", OTHER)
    world.shown()
    assert world.choose(who="walt") == "UNAUTHORIZED"
    assert world.do("walt", "cancel", intent=id_of("film")) == "UNAUTHORIZED"
    assert world.order("film", who="walt") == "IDEM_CONFLICT"
    assert world.file("walt", USER) == "IDEM_CONFLICT"
    world.grant()
    args: dict[str, Any] = {"mandate": id_of("mandate")}
    assert world.do("walt", "revoke_mandate", **args) == "UNAUTHORIZED"


def test_an_assertion_is_for_one_user_amount_payee_and_channel(world: Payments) -> None:
    world.grant()
    wrong: dict[str, Any] = {
        "user": OTHER,
        "amt": 1,
        "payee": key_of("walt"),
        "channel": "b",
        "intent": id_of("other"),
        "cur": "USD",
    }
    for term, value in wrong.items():
        assert world.proxy("skin", 600, said={term: value}) == "AUTH_FAILED"
    assert world.proxy("skin", 600) == "OK"


def test_a_revoked_or_ended_mandate(world: Payments) -> None:
    world.grant(ttl_ms=MINUTE_MS)
    world.world.advance(MINUTE_MS)
    assert world.proxy("late", 600) == "EXPIRED"
    world.grant(mandate=id_of("second"))
    assert world.do("vera", "revoke_mandate", mandate=id_of("second")) == "OK"


def test_a_channel_reports_for_itself_only(world: Payments) -> None:
    world.charged()
    assert world.report(sender="channel b") == "UNAUTHORIZED"
    assert world.report(channel="b") == "BAD_STATE"


def test_a_payment_to_oneself(world: Payments) -> None:
    assert world.order(payee=key_of("vera")) == "BAD_ARG"
    assert world.order(payee=key_of("nobody")) == "BAD_ARG"


def test_failed_charges_end_some_time(world: Payments) -> None:
    world.order()
    for attempt in range(5):
        assert world.choose() == "OK"
        world.page(nonce=str(attempt))
        assert world.start(approval=world.approval(nonce=str(attempt))) == "OK"
        assert world.report("FAILED", event=str(attempt)) == "OK"
    assert world.state() == "CANCELED"


def test_the_largest_amount_moves_whole_or_not_at_all(world: Payments) -> None:
    world.charged("huge", amt=1 << 40)
    assert world.report(name="huge", event="h", amt=1 << 40) == "OK"
    world.charged("larger", amt=AMOUNT_MAX)
    assert world.report(name="larger", event="l", amt=AMOUNT_MAX) in ("OVERFLOW", "BAD_ARG", "OK")


@pytest.mark.parametrize(
    "args",
    [
        {"amt": -1},
        {"amt": 2.5},
        {"amt": "2500"},
        {"amt": True},
        {"amt": 1 << 63},
        {"intent": b"short"},
        {"order_hash": b"short"},
        {"payee": b"\x04" + b"x" * 32},
        {"ttl_ms": 0},
        {"ttl_ms": 2 * DAY_MS},
        {"order": ""},
        {"order": "x" * 65},
        {"cur": "XXX" * 30},
        {"unknown": 1},
        {"manual_capture": 1},
    ],
)
def test_bad_orders(world: Payments, args: dict[str, Any]) -> None:
    assert world.order(**args) == "BAD_ARG"


def test_a_ticket_of_a_terminal_that_came_too_late(world: Payments) -> None:
    assert world.bind("tablet", ticket_until=1) == "EXPIRED"
    other = browser("tablet", "bind_terminal", {"user": OTHER, "ticket_until": FAR_MS})
    assert world.bind("tablet", ticket=other) == "TERMINAL_UNKNOWN"
