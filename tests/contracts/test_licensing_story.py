"""Digital products on chain, by requirement (R5.3–R5.9, R5.11); rights, licences, the demo."""

from __future__ import annotations

from typing import Any

import pytest

from contracts.kernel.types import DAY_MS, Rejected
from tests.contracts.licensing_world import BOOK, COMMITMENTS, MACHINES, YUAN, Shop
from tests.contracts.world import FAR_MS, id_of, key_of, signature_of


@pytest.fixture
def shop() -> Shop:
    """A shop with one book."""
    ready = Shop()
    assert ready.publish() == "OK"
    return ready


def test_r5_03_a_code_is_bound_for_ever(shop: Shop) -> None:
    assert shop.publish() == "OK"
    assert shop.details["replayed"]
    assert shop.publish(code_hash=b"x" * 32) == "IDEM_CONFLICT"
    shown = shop.world.ask(None, "product", "licensing", product="book")
    assert shown["code_hash"] == b"k" * 32


def test_r5_04_another_code_for_the_product_is_refused(shop: Shop) -> None:
    assert shop.request(code_hash=b"x" * 32) == "BAD_CODE"


def test_r5_05_payment_data_follow_from_the_product(shop: Shop) -> None:
    assert shop.request(degree=3) == "OK"
    assert shop.details == {
        "state": "PENDING",
        "payee": key_of("press"),
        "price": 3_000,
        "cur": "CNY",
    }


def test_r5_06_the_confirmation_is_bound_to_buyer_product_and_degree(shop: Shop) -> None:
    shop.request()
    assert shop.report(18) == "OK"
    assert shop.events == ["PaymentReported", "Confirmed"]
    confirmed = shop.world.last.events[1].data
    assert (confirmed["product"], confirmed["degree"]) == ("book", 2)
    assert confirmed["buyer_pub"] == key_of("buyer box")


def test_r5_07_only_the_degree_paid_for_is_released(shop: Shop) -> None:
    shop.request()
    assert shop.share() == "BAD_STATE"
    shop.report(18)
    assert shop.share(degree=3) == "DEGREE_LOW"
    assert shop.share(degree=1) == "DEGREE_LOW"
    assert shop.do("friend", "release_share", request=id_of("r"), degree=2, blob=b"x") == (
        "UNAUTHORIZED"
    )
    assert shop.share("agent 1") == "OK"
    assert shop.purchase()["state"] == "CONFIRMED"
    assert shop.share("agent 2") == "OK"
    assert shop.purchase()["state"] == "RELEASED"
    assert shop.balances()["licensing.revenue"] == 1_800


@pytest.mark.parametrize(
    ("degree", "items"),
    [(1, ["sample"]), (2, ["read", "copy"]), (3, ["read", "copy", "print"])],
)
def test_r5_08_three_degrees_have_three_sets_of_rights(degree: int, items: list[str]) -> None:
    shop = Shop().sold(degree)
    assert [right["item"] for right in shop.licence()["rights"]] == items


@pytest.mark.parametrize("channel", ["a", "b", "on-chain"])
def test_r5_09_any_channel_gives_the_same_rights(shop: Shop, channel: str) -> None:
    shop.request()
    if channel == "on-chain":
        args: dict[str, Any] = {"buyer": key_of("buyer"), "cur": "CNY", "amt": 1_800}
        assert shop.do("bank", "pay_in", payment=id_of("in"), **args) == "OK"
        code = shop.do("buyer", "pay", request=id_of("r"), payment=id_of("pay"), amt=1_800)
        assert code == "OK"
    else:
        assert shop.report(18, channel=channel) == "OK"
    shop.shares()
    assert shop.licence()["degree"] == 2


@pytest.mark.parametrize("kind", ["CONTENT", "TICKET", "PROCESS"])
def test_r5_11_each_kind_of_product(kind: str) -> None:
    shop = Shop()
    once = {"price": 100, "rights": [{"item": "run", "limit": 1}], "commitments": COMMITMENTS}
    assert shop.publish(kind=kind, degrees=[once]) == "OK"
    shop.request(degree=1)
    shop.report(1)
    shop.shares(1)
    assert shop.activate() == "OK"
    assert shop.use("run", 1, 1) == "OK"
    assert shop.use("run", 1, 2) == "RIGHT_EXHAUSTED"


def test_paying_the_difference_lifts_the_degree(shop: Shop) -> None:
    shop.sold()
    assert shop.do("buyer", "upgrade", request=id_of("r"), degree=3) == "OK"
    assert shop.details["price"] == 1_200
    assert shop.report(12, "p2", "b") == "OK"
    assert shop.licence()["degree"] == 2
    shop.shares(3)
    assert shop.licence()["degree"] == 3
    assert shop.balances()["licensing.revenue"] == 3_000


def test_a_degree_may_ask_for_two_channels() -> None:
    shop = Shop()
    assert shop.publish(degrees=[{**BOOK[0], "channels": 2}]) == "OK"
    shop.request(degree=1)
    shop.report(1)
    assert shop.details["degree"] == 0
    shop.report(1, "p2", "b")
    assert shop.details["degree"] == 1


def test_counters_machines_and_offline_files(shop: Shop) -> None:
    shop.sold()
    assert shop.use("copy", 1, 1) == "BAD_STATE"
    assert shop.activate("m1") == "OK"
    assert shop.use("copy", 1_500, 1_500) == "OK"
    assert shop.use("copy", 1_500, 1_500) == "OK"
    assert shop.details["replayed"]
    assert shop.use("copy", 501, 2_001) == "RIGHT_EXHAUSTED"
    assert shop.use("print", 1, 1) == "DEGREE_LOW"
    args: dict[str, Any] = {"licence": id_of("r"), "fingerprint": MACHINES["m1"]}
    assert shop.do("buyer", "checkout", **args, ttl_ms=100 * DAY_MS) == "OK"
    assert shop.details["until_ms"] == shop.world.time_ms + 30 * DAY_MS
    assert shop.deactivate("m1") == "BAD_STATE"
    shop.passed(30 * DAY_MS)
    assert shop.deactivate("m1") == "OK"


def test_a_licence_ends_when_its_degree_says() -> None:
    shop = Shop()
    shop.publish(degrees=[{**BOOK[0], "lasts_ms": 30 * DAY_MS}])
    shop.request(degree=1)
    shop.report(1)
    shop.shares(1)
    shop.activate()
    args: dict[str, Any] = {"licence": id_of("r"), "fingerprint": MACHINES["m1"]}
    shop.passed(29 * DAY_MS)
    assert shop.do("buyer", "checkout", **args, ttl_ms=30 * DAY_MS) == "OK"
    assert shop.details["until_ms"] <= shop.world.time_ms + DAY_MS
    shop.passed(DAY_MS)
    assert shop.use("sample", 1, 1) == "EXPIRED"
    assert shop.licence()["state"] == "EXPIRED"


def ticket(shop: Shop, to: str) -> dict[str, Any]:
    terms: dict[str, Any] = {"licence": id_of("r"), "to": key_of(to), "ticket_until": FAR_MS}
    return {**terms, "ticket": signature_of(key_of(to), "licensing", "transfer", terms)}


def test_a_licence_is_given_away_whole(shop: Shop) -> None:
    shop.sold(3)
    shop.activate()
    assert shop.do("buyer", "transfer", **ticket(shop, "friend")) == "BAD_STATE"
    assert shop.deactivate() == "OK"
    assert shop.do("friend", "transfer", **ticket(shop, "friend")) == "WRONG_BUYER"
    assert shop.do("buyer", "transfer", licence=id_of("r"), to=key_of("friend")) == "BAD_TICKET"
    assert shop.do("buyer", "transfer", **ticket(shop, "friend")) == "OK"
    assert shop.activate() == "WRONG_BUYER"
    assert shop.activate(who="friend") == "OK"


def test_the_demo_of_the_book() -> None:
    """§5d: ¥18 by A, two machines; ¥12 by B; 50 pages; a friend; a refund revokes."""
    shop = Shop().sold()
    assert [shop.activate(machine) for machine in ("m1", "m2", "m3")] == [
        "OK",
        "OK",
        "TOO_MANY_MACHINES",
    ]
    shop.report(12, "p2", "b")
    shop.shares(3)
    assert shop.use("print", 50, 50) == "OK"
    assert shop.use("print", 1, 51) == "RIGHT_EXHAUSTED"
    assert shop.use("read", 1, 1, who="friend") == "WRONG_BUYER"
    assert shop.refund(30) == "OK"
    assert shop.events == ["Revoked", "Refunded"]
    assert shop.use("read", 1, 1) == "REVOKED"
    assert shop.balances()["licensing.cash"] == 30 * YUAN


def test_who_may_see_what(shop: Shop) -> None:
    shop.sold()
    for viewer in (None, "friend", "bank"):
        with pytest.raises(Rejected):
            shop.purchase(viewer or "friend")
        with pytest.raises(Rejected):
            shop.licence(viewer or "friend")
        with pytest.raises(Rejected):
            shop.world.ask(viewer, "sales", "licensing", product="book")
    (sale,) = shop.world.ask("press", "sales", "licensing", product="book")["items"]
    assert (sale["state"], sale["to_seller"]) == ("RELEASED", 1_800)
    assert shop.world.ask(None, "products", "licensing")["items"][0]["from_price"] == 100
