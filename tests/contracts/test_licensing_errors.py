"""Each error code that the licensing contract itself gives has a row, and attacks are refused."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from contracts.kernel.types import DAY_MS
from contracts.licensing.contract import LICENSING
from tests.contracts.licensing_world import AGENTS, BOOK, COMMITMENTS, MACHINES, YUAN, Shop
from tests.contracts.world import id_of, key_of

CLIENT_CODES = {"BAD_PROGRAM", "FORGED_CONFIRMATION", "BOMB", "BAD_ENVELOPE"}


@pytest.fixture
def shop() -> Shop:
    """A shop with one book."""
    ready = Shop()
    assert ready.publish() == "OK"
    return ready


def _expired(_: Shop) -> str:
    shop = Shop()
    shop.publish(degrees=[{**BOOK[0], "lasts_ms": DAY_MS}])
    shop.request(degree=1)
    shop.report(1)
    shop.shares(1)
    return shop.passed(DAY_MS).activate()


ROWS: dict[str, Callable[[Shop], str]] = {
    "BAD_ARG": lambda shop: shop.publish("other", degrees=[BOOK[1], BOOK[0]]),
    "UNAUTHORIZED": lambda shop: shop.do("friend", "withdraw", product="book"),
    "IDEM_CONFLICT": lambda shop: shop.publish(name="Another"),
    "NOT_FOUND": lambda shop: shop.request(product="none"),
    "EXPIRED": _expired,
    "BAD_STATE": lambda shop: shop.request() and shop.share(),
    "BAD_CODE": lambda shop: shop.request(code_hash=b"x" * 32),
    "DEGREE_LOW": lambda shop: shop.sold().activate() and shop.use("print", 1, 1),
    "WRONG_BUYER": lambda shop: shop.sold().activate(who="friend"),
    "TOO_MANY_MACHINES": lambda shop: [
        shop.sold().activate(),
        shop.activate("m2"),
        shop.activate("m3"),
    ][-1],
    "RIGHT_EXHAUSTED": lambda shop: shop.sold().activate() and shop.use("copy", 2_001, 2_001),
    "REVOKED": lambda shop: shop.sold().refund() and shop.activate(),
    "INSUFFICIENT": lambda shop: shop.sold().refund(19),
    "OVERFLOW": lambda shop: shop.request() and shop.report(1 << 50),
}


@pytest.mark.parametrize("code", ROWS)
def test_each_error_has_its_row(shop: Shop, code: str) -> None:
    assert ROWS[code](shop) == code


def test_every_error_of_the_contract_is_in_the_table() -> None:
    assert set(LICENSING.errors) - CLIENT_CODES <= set(ROWS)


# ---- attacks


def test_one_payment_told_by_two_channels_counts_once(shop: Shop) -> None:
    shop.request()
    assert shop.report(9, "same") == "OK"
    assert shop.report(9, "same", "b") == "OK"
    assert shop.details["replayed"]
    assert shop.purchase()["paid"] == 900
    assert shop.report(9, "same", amt=1_800) == "IDEM_CONFLICT"


def test_one_payment_does_not_buy_two_products(shop: Shop) -> None:
    shop.request("r")
    shop.request("other", nonce=id_of("n2"))
    shop.report(18, "same", name="r")
    assert shop.report(18, "same", "b", "other") == "IDEM_CONFLICT"


def test_nobody_makes_up_a_payment(shop: Shop) -> None:
    shop.request()
    args: dict[str, Any] = {"request": id_of("r"), "channel": "a", "event_id": "e", "amt": 1_800}
    for who in ("buyer", "press", "bank", "agent 1"):
        assert shop.do(who, "report_payment", provider_ref="x", **args) == "UNAUTHORIZED"
    assert shop.do("buyer", "pay", request=id_of("r"), payment=id_of("p"), amt=1) == "INSUFFICIENT"


def test_the_seller_gets_nothing_before_the_shares(shop: Shop) -> None:
    shop.request()
    shop.report(18)
    shop.share("agent 1")
    out: dict[str, Any] = {"bank": key_of("bank"), "cur": "CNY", "purpose": "REVENUE"}
    assert shop.do("press", "pay_out", payment=id_of("o"), amt=1, **out) == "INSUFFICIENT"
    shop.share("agent 2")
    assert shop.do("press", "pay_out", payment=id_of("o"), amt=1_800, **out) == "OK"
    assert shop.balances() == {}


def test_one_agent_alone_opens_nothing(shop: Shop) -> None:
    shop.request()
    shop.report(18)
    for blob in (b"one", b"one", b"two"):
        code = shop.share("agent 1", blob=blob)
    assert code == "IDEM_CONFLICT"
    assert shop.purchase()["state"] == "CONFIRMED"


def test_silent_agents_cost_the_buyer_nothing(shop: Shop) -> None:
    shop.request()
    shop.report(18)
    assert shop.do("friend", "claim_refund", request=id_of("r")) == "BAD_STATE"
    shop.passed(DAY_MS)
    assert shop.do("friend", "claim_refund", request=id_of("r")) == "OK"
    assert shop.balances()["licensing.cash"] == 1_800
    assert shop.share() == "BAD_STATE"
    assert shop.report(18, "late") == "BAD_STATE"


def test_a_failed_upgrade_leaves_the_lower_degree(shop: Shop) -> None:
    shop.sold()
    shop.report(12, "p2", "b")
    shop.passed(DAY_MS)
    assert shop.do("friend", "claim_refund", request=id_of("r")) == "OK"
    assert shop.licence()["degree"] == 2
    assert shop.activate() == "OK"
    assert shop.balances()["licensing.cash"] == 1_200


def test_what_was_paid_too_much_is_the_buyers(shop: Shop) -> None:
    shop.request()
    shop.report(20)
    shop.shares()
    assert shop.do("friend", "claim_refund", request=id_of("r")) == "WRONG_BUYER"
    assert shop.do("buyer", "claim_refund", request=id_of("r")) == "OK"
    assert shop.balances()["licensing.cash"] == 200
    assert shop.licence()["degree"] == 2


def test_a_part_payment_can_be_had_back() -> None:
    shop = Shop()
    shop.publish(degrees=BOOK[1:])
    shop.request(degree=1)
    shop.report(5)
    assert shop.do("friend", "claim_refund", request=id_of("r")) == "WRONG_BUYER"
    assert shop.do("buyer", "claim_refund", request=id_of("r")) == "OK"
    assert shop.report(13, "more") == "OK"
    assert shop.details["degree"] == 0
    assert shop.report(5, "again") == "OK"
    assert shop.details["degree"] == 1


def test_a_refund_after_the_release_revokes(shop: Shop) -> None:
    shop.sold().activate()
    assert shop.refund(who="buyer") == "UNAUTHORIZED"
    assert shop.refund(18) == "OK"
    args: dict[str, Any] = {"licence": id_of("r"), "fingerprint": MACHINES["m1"]}
    assert shop.do("buyer", "checkout", **args, ttl_ms=DAY_MS) == "REVOKED"
    assert shop.refund(18) == "OK"
    assert shop.details["replayed"]


def test_machines_are_not_changed_at_will(shop: Shop) -> None:
    shop.sold()
    for _ in range(6):
        assert shop.activate() == "OK"
        assert shop.deactivate() == "OK"
    assert shop.activate() == "OK"
    assert shop.deactivate() == "TOO_MANY_MACHINES"


def test_a_suspended_licence_rests(shop: Shop) -> None:
    shop.sold().activate()
    args: dict[str, Any] = {"licence": id_of("r"), "reason": "shared"}
    assert shop.do("buyer", "suspend", **args, suspended=True) == "UNAUTHORIZED"
    assert shop.do("press", "suspend", **args, suspended=True) == "OK"
    assert shop.use("read", 1, 1) == "REVOKED"
    assert shop.do("press", "suspend", **args, suspended=False) == "OK"
    assert shop.use("read", 1, 1) == "OK"


def test_a_withdrawn_product_is_not_sold_but_still_used(shop: Shop) -> None:
    shop.sold().activate()
    assert shop.do("press", "withdraw", product="book") == "OK"
    assert shop.request("new", nonce=id_of("n2")) == "BAD_STATE"
    assert shop.use("read", 1, 1) == "OK"


@pytest.mark.parametrize(
    "args",
    [
        {"degrees": []},
        {"degrees": [{**BOOK[0], "price": 0}]},
        {"degrees": [{**BOOK[0], "rights": []}]},
        {"degrees": [{**BOOK[0], "commitments": COMMITMENTS[:2]}]},
        {"degrees": [{**BOOK[0], "machines": 99}]},
        {"degrees": [*BOOK, {**BOOK[2], "price": 40 * YUAN}]},
        {"agents": []},
        {"agents": [key_of(AGENTS[0])] * 3},
        {"shares_needed": 4},
        {"code_hash": b"short"},
        {"kind": "WEAPON"},
        {"unknown": True},
    ],
)
def test_bad_products(args: dict[str, Any]) -> None:
    assert Shop().publish(**args) == "BAD_ARG"


def test_agents_must_be_agents() -> None:
    agents = [key_of(name) for name in ("agent 1", "agent 2", "friend")]
    assert Shop().publish(agents=agents) == "NOT_FOUND"
