"""Each error code of deposit modes has a row, and attacks are refused."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from contracts.deposits.contract import DEPOSITS_CONTRACT
from contracts.deposits.models import trade_key
from contracts.kernel.types import DAY_MS, Rejected
from tests.contracts.deposits_world import BUILDER, STEEL, YUAN, Market
from tests.contracts.world import id_of, key_of

MODE: dict[str, Any] = {
    "mode": "SALES",
    "weights": [{"feature": "sales_30", "unit": 1, "points": 1, "most": 10_000}],
    "base": "sales_30",
    "share_ppm": 1_000_000,
    "step": 1,
    "amount_min": 1,
    "amount_max": 1 << 40,
    "terms_days": [7],
    "rate_ppm": 20_000,
    "early_rate_ppm": 0,
    "purposes": ["ANY"],
}


@pytest.fixture
def market() -> Market:
    """Three members."""
    return Market().member("steel", "builder", "trader")


def recommended(market: Market) -> Market:
    """A sales deposit in the inbox of the steelworks."""
    for _ in range(3):
        market.settled(yuan=150_000)
    args: dict[str, Any] = {"payment": id_of("wages"), "bank": key_of("bank")}
    market.do("steel", "pay_out", amt=3_400_000 * YUAN, **args)
    market.grant()
    assert market.analyse() == "OK"
    assert market.recommend() == "OK"
    assert market.details["mode"] == "SALES"
    return market


def changed(market: Market, **other: Any) -> str:
    """The sales mode with another scorecard, by two persons."""
    proposal = id_of(market.number())
    args = {**MODE, **other}
    code = market.do("bank", "set_mode", proposal=proposal, reason="better", **args)
    if code != "OK":
        return code
    return market.do("regulator", "approve", "kernel", proposal=proposal)


def _stale(market: Market) -> str:
    recommended(market)
    assert changed(market) == "OK"
    return market.accept()


def _closed(market: Market) -> str:
    trade = market.settled()
    market.passed(8 * DAY_MS)
    return market.commit("steel", "SELLER", trade, 5)


ROWS: dict[str, Callable[[Market], str]] = {
    "BAD_ARG": lambda market: market.publish("steel", "SELL", 0, 1),
    "UNAUTHORIZED": lambda market: market.analyse(),
    "IDEM_CONFLICT": lambda market: [
        market.publish("steel", "SELL", quantity, 1, "same") for quantity in (1, 2)
    ][-1],
    "NOT_FOUND": lambda market: market.do("steel", "cancel", listing=id_of("none")),
    "EXPIRED": lambda market: recommended(market).passed(7 * DAY_MS).accept(),
    "BAD_STATE": lambda market: market.do("builder", "fund", trade=market.matched()),
    "INCOMPLETE_INFO": lambda _: Market().register("steel", contacts=None),
    "BAD_USCC": lambda _: Market().register("steel", qualifications={"uscc": "0" * 17 + "1"}),
    "NOT_MEMBER": lambda _: Market().publish("steel", "SELL", 1, 1),
    "SELF_TRADE": lambda market: [market.publish("steel", side, 1, 1) for side in ("SELL", "BUY")][
        -1
    ],
    "NO_FILL": lambda market: market.publish("steel", "SELL", 1, 1, duration="IOC"),
    "REVIEW_CLOSED": _closed,
    "THIN_DATA": lambda market: market.grant() and market.analyse(),
    "POLICY_STALE": _stale,
    "PURPOSE_MISMATCH": lambda market: recommended(market).accept(purpose="YACHT"),
    "INSUFFICIENT": lambda market: market.do("builder", "fund", trade=market.agreed()),
    "OVERFLOW": lambda market: market.publish("steel", "SELL", 1 << 40, 1 << 30),
}


@pytest.mark.parametrize("code", ROWS)
def test_each_error_has_its_row(market: Market, code: str) -> None:
    assert ROWS[code](market) == code


def test_every_error_of_the_contract_is_in_the_table() -> None:
    # A clear call is refused before the contract runs; see the tests of sealed calls.
    assert set(DEPOSITS_CONTRACT.errors) - {"BAD_ENVELOPE"} <= set(ROWS)


# ---- matching (B2.1)


def test_the_best_price_then_the_oldest_trades_first(market: Market) -> None:
    for name, yuan in (("dear", 12), ("early", 10), ("late", 10), ("cheap", 9)):
        market.publish("steel", "SELL", 10, yuan, name)
    assert market.publish("builder", "BUY", 25, 11, "taker") == "OK"
    order = [trade_key(id_of("taker"), id_of(name)) for name in ("cheap", "early", "late")]
    assert market.details["trades"] == order
    prices = [market.ask("steel", "trade", trade=trade)["price"] for trade in order]
    assert prices == [9 * YUAN, 10 * YUAN, 10 * YUAN]
    assert market.ask(None, "listing", listing=id_of("late"))["filled"] == 5


def test_fill_or_kill_leaves_no_trace(market: Market) -> None:
    market.publish("steel", "SELL", 10, 10, "rests")
    assert market.publish("builder", "BUY", 11, 10, duration="FOK") == "NO_FILL"
    assert market.ask(None, "listing", listing=id_of("rests"))["filled"] == 0
    assert market.publish("builder", "BUY", 11, 10, "ioc", duration="IOC") == "OK"
    assert market.ask(None, "listing", listing=id_of("ioc"))["state"] == "CANCELED"


def test_smallest_fills_are_kept(market: Market) -> None:
    market.publish("steel", "SELL", 10, 10, "large", min_fill=8)
    market.publish("builder", "BUY", 7, 10, "small")
    assert market.details["trades"] == []
    market.publish("trader", "BUY", 8, 10)
    assert len(market.details["trades"]) == 1
    market.publish("trader", "BUY", 2, 10)
    assert len(market.details["trades"]) == 1


def test_an_expired_listing_does_not_trade(market: Market) -> None:
    market.publish("steel", "SELL", 10, 10, "old", ttl_ms=DAY_MS)
    market.passed(DAY_MS)
    market.publish("builder", "BUY", 10, 10)
    assert market.details["trades"] == []
    assert market.ask(None, "listing", listing=id_of("old"))["state"] == "CANCELED"


def test_a_canceled_listing_does_not_trade(market: Market) -> None:
    market.publish("steel", "SELL", 10, 10, "gone")
    assert market.do("builder", "cancel", listing=id_of("gone")) == "UNAUTHORIZED"
    assert market.do("steel", "cancel", listing=id_of("gone")) == "OK"
    market.publish("builder", "BUY", 10, 10)
    assert market.details["trades"] == []


# ---- escrow (B2.2)


def test_a_buyer_accepts_and_funds_at_once(market: Market) -> None:
    trade = market.matched()
    market.do("steel", "accept_match", trade=trade)
    market.pay_in("builder", 10_000)
    calls = (("accept_match", {"trade": trade}), ("fund", {"trade": trade}))
    assert market.world.send("builder", *calls, contract="deposits").code == "OK"
    assert market.ask("builder", "trade", trade=trade)["state"] == "ESCROWED"


def test_parts_are_paid_as_they_are_taken_over(market: Market) -> None:
    trade = market.shipped(qty=3, yuan=333)
    for _ in range(3):
        assert market.do("builder", "confirm", trade=trade, qty=1) == "OK"
    assert market.balance("steel") == 99_900 - 99
    assert market.details["fees"] == 99


def test_time_takes_over_for_a_silent_buyer(market: Market) -> None:
    trade = market.shipped()
    assert market.do("steel", "auto_release", trade=trade) == "BAD_STATE"
    market.passed(7 * DAY_MS)
    assert market.do("trader", "auto_release", trade=trade) == "OK"
    assert market.balance("steel") == 1_000_000 - 1_000


@pytest.mark.parametrize(("buyer", "lost"), [(700_000, "steel"), (300_000, "builder")])
def test_an_arbiter_divides_exactly(market: Market, buyer: int, lost: str) -> None:
    trade = market.shipped()
    assert market.do("builder", "dispute", trade=trade, reason="rusty") == "OK"
    assert market.do("builder", "confirm", trade=trade, qty=1) == "BAD_STATE"
    args: dict[str, Any] = {"trade": trade, "buyer_amt": buyer}
    assert market.do("arbiter", "resolve", **args, seller_amt=1) == "BAD_ARG"
    assert market.do("steel", "resolve", **args, seller_amt=1_000_000 - buyer) == "UNAUTHORIZED"
    assert market.do("arbiter", "resolve", **args, seller_amt=1_000_000 - buyer) == "OK"
    assert market.balance("builder") == buyer
    enterprise = {"steel": STEEL, "builder": BUILDER}[lost]
    facts = market.ask(lost, "facts", enterprise=enterprise)["items"]
    assert "LOST" in [fact["kind"] for fact in facts]


def test_a_trade_nobody_funded_can_be_left(market: Market) -> None:
    trade = market.agreed()
    assert market.do("trader", "cancel_trade", trade=trade) == "UNAUTHORIZED"
    assert market.do("builder", "cancel_trade", trade=trade) == "OK"
    assert market.do("builder", "fund", trade=trade) == "BAD_STATE"


# ---- attacks


def test_enterprises_of_one_person_do_not_trade_with_each_other() -> None:
    market = Market().member("steel", "builder", legal_representative=" Li  WEI")
    market.publish("steel", "SELL", 1, 1)
    assert market.publish("builder", "BUY", 1, 1) == "SELF_TRADE"


def test_one_partners_praise_counts_for_half_at_most(market: Market) -> None:
    for _ in range(3):
        trade = market.settled(yuan=100_000)
        market.commit("builder", "BUYER", trade, 5)
        market.commit("steel", "SELLER", trade, 5)
        market.reveal("builder", trade, 5)
    trade = market.settled(buyer="trader", yuan=1_000)
    market.commit("trader", "BUYER", trade, 1)
    market.commit("steel", "SELLER", trade, 1)
    market.reveal("trader", trade, 1)
    rating = market.ask("steel", "facts", enterprise=STEEL)["rating"]
    alone = market.ask("steel", "facts", enterprise=STEEL)["items"]
    assert [fact["value"] for fact in alone if fact["kind"] == "RATED"] == [5, 5, 5, 1]
    assert rating < 500


def test_nobody_copies_a_review_or_takes_revenge(market: Market) -> None:
    trade = market.settled()
    market.commit("builder", "BUYER", trade, 1)
    assert market.reveal("builder", trade, 1) == "BAD_STATE"
    market.commit("steel", "SELLER", trade, 5)
    assert market.reveal("builder", trade, 1) == "OK"
    assert market.reveal("steel", trade, 1) == "BAD_ARG"
    assert market.commit("steel", "SELLER", trade, 1) == "IDEM_CONFLICT"
    assert market.reveal("steel", trade, 5) == "OK"


def test_an_unrevealed_commitment_counts_as_none(market: Market) -> None:
    trade = market.settled()
    market.commit("builder", "BUYER", trade, 1)
    market.passed(7 * DAY_MS)
    assert market.commit("steel", "SELLER", trade, 5) == "REVIEW_CLOSED"
    assert market.reveal("builder", trade, 1) == "OK"
    market.passed(7 * DAY_MS)
    assert market.ask("steel", "facts", enterprise=STEEL)["rating"] == 100
    late = market.settled()
    market.commit("builder", "BUYER", late, 5)
    market.passed(14 * DAY_MS)
    assert market.reveal("builder", late, 5) == "REVIEW_CLOSED"


def test_reviews_are_for_settled_trades_and_their_sides(market: Market) -> None:
    assert market.commit("steel", "SELLER", market.shipped(), 5) == "BAD_STATE"
    assert market.commit("trader", "BUYER", market.settled(), 5) == "UNAUTHORIZED"


def test_small_trades_do_not_farm_a_mode(market: Market) -> None:
    for _ in range(8):
        market.settled(qty=1, yuan=1)
    market.grant()
    market.analyse()
    points = market.details.get("points") or {"SALES": 0}
    assert points["SALES"] <= 10


def test_another_mode_needs_a_persons_reason(market: Market) -> None:
    recommended(market)
    assert market.recommend("second", mode="FINANCE") == "BAD_ARG"
    assert market.recommend("second", mode="FINANCE", override="knows the owner") == "OK"
    assert market.recommend("third", override="no need") == "BAD_ARG"
    found = market.ask("steel", "recommendation", recommendation=id_of("second"))
    assert found["override"] == "knows the owner"


def test_a_recommendation_is_taken_once_and_by_its_own_enterprise(market: Market) -> None:
    recommended(market)
    assert market.accept("builder") == "UNAUTHORIZED"
    assert market.accept() == "OK"
    assert market.accept(deposit=id_of("other")) == "BAD_STATE"
    assert market.accept() == "OK"
    assert market.details["replayed"]


def test_what_was_declined_stays_declined(market: Market) -> None:
    recommended(market)
    assert market.do("builder", "decline", recommendation=id_of("rec")) == "UNAUTHORIZED"
    assert market.do("steel", "decline", recommendation=id_of("rec")) == "OK"
    assert market.accept() == "BAD_STATE"


# ---- deposits (B2.7, B2.8)


def test_leaving_early_pays_the_lower_rate(market: Market) -> None:
    recommended(market).accept()
    before = market.balance("steel")
    market.passed(3 * DAY_MS)
    assert market.do("builder", "break_early", deposit=id_of("deposit")) == "UNAUTHORIZED"
    assert market.do("steel", "break_early", deposit=id_of("deposit")) == "OK"
    interest = 100_000_000 * 3_500 * 3 // (360 * 1_000_000)
    assert market.balance("steel") - before == 100_000_000 + interest
    assert market.do("steel", "break_early", deposit=id_of("deposit")) == "OK"


def test_a_bound_deposit_pays_for_its_purpose_alone(market: Market) -> None:
    for _ in range(3):
        market.settled(yuan=1_000, category="FREIGHT")
    market.grant("builder")
    market.pay_in("builder", 10_000)
    market.analyse("builder")
    market.recommend()
    args: dict[str, Any] = {"mode": "LOGISTICS", "amt": 500_000, "term_days": 30}
    assert market.accept("builder", purpose="FREIGHT", **args) == "OK"
    goods, freight = market.agreed(), market.agreed(yuan=800, category="FREIGHT")
    given: dict[str, Any] = {"deposit": id_of("deposit")}
    assert market.do("builder", "release", **given, trade=goods) == "PURPOSE_MISMATCH"
    assert market.do("steel", "release", **given, trade=freight) == "UNAUTHORIZED"
    assert market.do("builder", "release", **given, trade=freight) == "OK"
    assert market.details == {"released": 500_000, "left": 0}
    assert market.ask("builder", "trade", trade=freight)["escrow"] == 800_000


def test_policy_takes_two_persons_and_is_simulated_first(market: Market) -> None:
    recommended(market)
    harsher = {**MODE, "weights": [{**MODE["weights"][0], "unit": 1 << 40}]}
    answer = market.ask("steel", "what_if", enterprise=STEEL, change=harsher)
    assert answer["points"]["SALES"] == 0
    assert market.ask("steel", "what_if", enterprise=STEEL)["points"]["SALES"] > 0
    proposal = id_of("change")
    args: dict[str, Any] = {"proposal": proposal, "reason": "harsher"}
    assert market.do("steel", "set_mode", **args, **harsher) == "UNAUTHORIZED"
    assert market.do("bank", "set_mode", **args, **harsher) == "OK"
    assert market.do("bank", "approve", "kernel", proposal=proposal) == "UNAUTHORIZED"
    assert market.do("regulator", "approve", "kernel", proposal=proposal) == "OK"
    assert market.details["policy_hash"] == answer["policy_hash"]
    assert market.recommend("late") == "POLICY_STALE"
    assert changed(market, early_rate_ppm=30_000) == "BAD_ARG"


def test_a_payment_is_booked_once(market: Market) -> None:
    args: dict[str, Any] = {"payment": id_of("p"), "enterprise": STEEL}
    for _ in range(2):
        assert market.do("bank", "pay_in", **args, amt=100) == "OK"
    assert market.balance("steel") == 100
    assert market.do("bank", "pay_in", **args, amt=200) == "IDEM_CONFLICT"
    out: dict[str, Any] = {"payment": id_of("q"), "bank": key_of("bank")}
    assert market.do("steel", "pay_out", **out, amt=101) == "INSUFFICIENT"
    assert market.do("steel", "pay_out", **out, amt=100) == "OK"


def test_a_suspended_member_comes_back(market: Market) -> None:
    args: dict[str, Any] = {"enterprise": STEEL, "reason": "looked into"}
    assert market.do("operator", "suspend", **args, suspended=True) == "OK"
    assert market.publish("steel", "SELL", 1, 1) == "NOT_MEMBER"
    assert market.do("operator", "suspend", **args, suspended=False) == "OK"
    assert market.publish("steel", "SELL", 1, 1) == "OK"


def test_strangers_see_listings_and_nothing_else(market: Market) -> None:
    trade = market.settled()
    for viewer in (None, "trader", "bank"):
        with pytest.raises(Rejected):
            market.ask(viewer, "trade", trade=trade)
        with pytest.raises(Rejected):
            market.ask(viewer, "enterprise", enterprise=STEEL)


@pytest.mark.parametrize(
    "args",
    [
        {"qty": -1},
        {"qty": 1.5},
        {"price": 0},
        {"price": "100"},
        {"side": "HOLD"},
        {"category": "DRUGS"},
        {"region": ""},
        {"ttl_ms": 1},
        {"min_fill": 2},
        {"listing": b"short"},
        {"unknown": 1},
    ],
)
def test_bad_listings(market: Market, args: dict[str, Any]) -> None:
    wrong: dict[str, Any] = {"side": "SELL", "qty": 1, "price": 100, **args}
    given: dict[str, Any] = {"listing": id_of("l"), "sku": "rebar", "region": "Fujian"}
    given["ttl_ms"] = DAY_MS
    assert market.do("steel", "publish", **{**given, **wrong}) == "BAD_ARG"
