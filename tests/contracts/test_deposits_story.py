"""Deposit modes, requirement by requirement (R2.1–R2.16), and the demo's figures."""

from __future__ import annotations

from typing import Any

import pytest

from contracts.deposits.models import MODES
from contracts.deposits.uscc import check_digit, is_valid
from contracts.kernel.types import DAY_MS, Rejected
from tests.contracts.deposits_world import BUILDER, INFO, STEEL, TRADER, YUAN, Market
from tests.contracts.world import id_of, key_of


@pytest.fixture
def market() -> Market:
    """Three members."""
    return Market().member("steel", "builder", "trader")


def seeded(market: Market, *, paid_out: int = 0) -> Market:
    """Five settled sales over 30 days, 60 % of the value with one buyer."""
    for buyer, yuan in (
        ("builder", 90_000),
        ("builder", 90_000),
        ("trader", 40_000),
        ("trader", 40_000),
        ("trader", 40_000),
    ):
        market.settled(buyer=buyer, yuan=yuan)
        market.passed(6 * DAY_MS)
    if paid_out:
        args: dict[str, Any] = {"payment": id_of("wages"), "bank": key_of("bank")}
        assert market.do("steel", "pay_out", amt=paid_out * YUAN, **args) == "OK"
    return market


def test_r2_01_platform_enterprises_and_bank_exchange_messages(market: Market) -> None:
    seeded(market).grant()
    assert market.analyse() == "OK"
    assert market.recommend() == "OK"
    (event,) = market.world.last.events
    assert {key_of("steel").hex(), key_of("bank").hex()} <= set(event.readers)


def test_r2_02_a_member_can_list_and_trade(market: Market) -> None:
    trade = market.settled()
    assert market.ask("steel", "trade", trade=trade)["state"] == "SETTLED"


def test_r2_03_facts_are_the_banks_only_by_a_revocable_grant(market: Market) -> None:
    seeded(market)
    assert market.analyse() == "UNAUTHORIZED"
    with pytest.raises(Rejected):
        market.ask("bank", "facts", enterprise=STEEL)
    assert market.grant() == "OK"
    assert market.analyse() == "OK"
    answer = market.ask("bank", "facts", enterprise=STEEL)
    assert {"SOLD", "LISTED"} == {item["kind"] for item in answer["items"]}
    assert all(item["source"] for item in answer["items"])
    assert market.do("steel", "revoke_grant", bank=key_of("bank")) == "OK"
    assert market.analyse(name="again") == "UNAUTHORIZED"
    market.grant()
    market.passed(30 * DAY_MS)
    assert market.analyse(name="again") == "UNAUTHORIZED"


def test_r2_04_the_analysis_gives_a_type_and_its_evidence(market: Market) -> None:
    seeded(market, paid_out=2_900_000).grant()
    assert market.analyse() == "OK"
    assert market.events == ["Analysed"]
    explained = market.ask("bank", "explain", analysis=id_of("analysis"))
    assert explained["mode"] == "SALES"
    for name, lines in explained["lines"].items():
        assert sum(line["points"] for line in lines) == explained["points"][name]
    sales = explained["lines"]["SALES"][0]
    expected = sales["value"] // sales["unit"] * sales["points_each"]
    assert sales["points"] == min(expected, 400)


def test_r2_05_the_mode_names_the_rule_that_fired(market: Market) -> None:
    seeded(market, paid_out=2_900_000).grant()
    market.analyse()
    explained = market.ask("bank", "explain", analysis=id_of("analysis"))
    best = max(explained["points"].values())
    assert explained["points"][explained["mode"]] == best
    assert not explained["stale"]


def test_r2_06_recommendations_are_pushed(market: Market) -> None:
    seeded(market).grant()
    market.analyse()
    assert market.recommend() == "OK"
    assert market.events == ["Recommended"]
    (item,) = market.ask("steel", "inbox", enterprise=STEEL)["items"]
    assert (item["recommendation"], item["state"]) == (id_of("rec"), "PUSHED")


def test_r2_07_the_events_from_end_to_end() -> None:
    market = Market()
    seen: list[str] = []

    def did(code: str) -> None:
        assert code == "OK"
        seen.extend(market.events)

    did(market.register("steel"))
    did(market.do("reviewer", "review", enterprise=STEEL, ok=True, reason="papers"))
    market.member("builder")
    did(market.publish("steel", "SELL", 10, 1_000, "s"))
    did(market.publish("builder", "BUY", 10, 1_000, "b"))
    trade = market.details["trades"][0]
    did(market.do("steel", "accept_match", trade=trade))
    did(market.do("builder", "accept_match", trade=trade))
    did(market.pay_in("builder", 10_000))
    did(market.do("builder", "fund", trade=trade))
    did(market.do("steel", "ship", trade=trade, doc_hash=b"d" * 32))
    did(market.do("builder", "confirm", trade=trade, qty=10))
    did(market.commit("steel", "SELLER", trade, 5))
    did(market.commit("builder", "BUYER", trade, 4))
    did(market.reveal("builder", trade, 4))
    did(market.grant())
    did(market.analyse())
    did(market.recommend())
    did(market.accept(mode="FINANCE", amt=500_000, term_days=90, purpose="RESERVE"))
    assert seen == [
        "Submitted",
        "Reviewed",
        "Listed",
        "Matched",
        "Listed",
        "Accepted",
        "Accepted",
        "Escrowed",
        "Shipped",
        "Settled",
        "Evaluated",
        "Granted",
        "Analysed",
        "Recommended",
        "DepositOpened",
    ]


@pytest.mark.parametrize("how", ["never", "rejected", "suspended", "unreviewed"])
def test_r2_08_who_is_not_a_member_publishes_nothing(how: str) -> None:
    market = Market()
    if how != "never":
        market.register("steel")
    if how == "rejected":
        market.do("reviewer", "review", enterprise=STEEL, ok=False, reason="no papers")
    if how == "suspended":
        market.do("reviewer", "review", enterprise=STEEL, ok=True, reason="papers")
        market.do("operator", "suspend", enterprise=STEEL, suspended=True, reason="fraud")
    assert market.publish("steel", "SELL", 1, 1) == "NOT_MEMBER"


def test_r2_08_the_applicant_is_not_the_reviewer() -> None:
    market = Market()
    args: dict[str, Any] = {"enterprise": STEEL, "ok": True, "reason": "me"}
    market.register("steel")
    assert market.do("steel", "review", **args) == "UNAUTHORIZED"


def test_r2_09_a_listing_is_public_and_a_fact(market: Market) -> None:
    assert market.publish("steel", "SELL", 5, 10, "l") == "OK"
    assert market.ask(None, "listing", listing=id_of("l"))["quantity"] == 5
    (fact,) = market.ask("steel", "facts", enterprise=STEEL)["items"]
    assert (fact["kind"], fact["source"]) == ("LISTED", id_of("l"))


def test_r2_10_both_sides_are_told_of_a_match(market: Market) -> None:
    market.publish("steel", "SELL", 5, 10)
    market.publish("builder", "BUY", 5, 10)
    event = market.world.last.events[0]
    assert event.name == "Matched"
    assert {key_of("steel").hex(), key_of("builder").hex()} <= set(event.readers)


def test_r2_11_a_settled_trade_is_a_fact_for_both(market: Market) -> None:
    trade = market.settled(yuan=100)
    for who, enterprise, kind in (("steel", STEEL, "SOLD"), ("builder", BUILDER, "BOUGHT")):
        facts = market.ask(who, "facts", enterprise=enterprise)["items"]
        assert [(f["kind"], f["value"], f["source"]) for f in facts[1:]] == [(kind, 100_000, trade)]


def test_r2_12_evaluations_move_the_score(market: Market) -> None:
    trade = market.settled()
    market.commit("builder", "BUYER", trade, 4)
    market.commit("steel", "SELLER", trade, 5)
    before = market.ask("steel", "facts", enterprise=STEEL)["rating"]
    assert market.reveal("builder", trade, 4) == "OK"
    assert (before, market.ask("steel", "facts", enterprise=STEEL)["rating"]) == (0, 400)


@pytest.mark.parametrize("field", list(INFO))
def test_r2_13_each_of_the_seven_fields_is_needed(field: str) -> None:
    market = Market()
    assert market.register("steel", **{field: None}) == "INCOMPLETE_INFO"
    assert market.details["missing"] == [field]


def test_r2_13_what_stays_is_a_salted_commitment() -> None:
    market = Market()
    assert market.register("steel") == "OK"
    written = b"".join(market.world.memory.records.values())
    for text in (b"Fuzhou", b"head of steel", b"91350100", b"0591", b"rebar"):
        assert text not in written
    assert market.register("steel", extra="x") == "BAD_ARG"


def test_r2_13_the_credit_code_is_checked() -> None:
    market = Market()
    bad = {"uscc": "91350100M000100Y4Z"}
    assert market.register("steel", qualifications=bad) == "BAD_USCC"
    assert market.details == {"check_digit": "3"}
    assert is_valid("91350100M000100Y43")
    assert (check_digit("9135010OM000100Y4"), is_valid("91350100M000100Y4"), is_valid("")) == (
        "",
        False,
        False,
    )


PROFILES: dict[str, tuple[str, dict[str, Any]]] = {
    "SALES": ("steel", {}),
    "PURCHASE": ("builder", {"prepaid": True}),
    "LOGISTICS": ("builder", {"category": "FREIGHT"}),
    "FINANCE": ("builder", {}),
    "MEMBERSHIP": ("builder", {"category": "DUES"}),
    "RIGHTS": ("builder", {"category": "RIGHTS"}),
}


@pytest.mark.parametrize("mode", MODES)
def test_r2_14_each_mode_has_a_profile_that_reaches_it(market: Market, mode: str) -> None:
    who, options = PROFILES[mode]
    for _ in range(4):
        market.settled(yuan=50_000 if mode != "FINANCE" else 10, **options)
    if mode == "FINANCE":
        market.pay_in("builder", 1_000_000)
    if mode == "SALES":
        args: dict[str, Any] = {"payment": id_of("wages"), "bank": key_of("bank")}
        market.do("steel", "pay_out", amt=1_990_000 * YUAN, **args)
    market.grant(who)
    assert market.analyse(who) == "OK"
    assert market.details["mode"] == mode
    assert market.recommend() == "OK"
    assert market.details["mode"] == mode


def test_r2_15_the_same_facts_give_the_same_result() -> None:
    results = []
    for _ in range(2):
        market = seeded(Market().member("steel", "builder", "trader"))
        market.grant()
        market.analyse()
        results.append(market.ask("bank", "explain", analysis=id_of("analysis")))
    assert results[0] == results[1]


def test_r2_16_the_enterprise_shapes_the_deposit(market: Market) -> None:
    seeded(market).grant()
    market.analyse()
    market.recommend()
    assert market.accept(amt=1) == "BAD_ARG"
    assert market.accept(term_days=8) == "BAD_ARG"
    assert market.accept(purpose="YACHT") == "PURPOSE_MISMATCH"
    assert market.accept(amt=2_000_000 * YUAN, term_days=30, purpose="SETTLEMENT") == "OK"
    deposit = market.ask("steel", "deposit", deposit=id_of("deposit"))
    assert (deposit["amount"], deposit["term_days"], deposit["purpose"]) == (
        2_000_000 * YUAN,
        30,
        "SETTLEMENT",
    )


def test_the_demo_of_the_steel_seller(market: Market) -> None:
    """§2d, to the fen: 500 t at ¥3,620, fee ¥1,810, deposit ¥1,000,000 for 7 days → ¥213.88."""
    seeded(market, paid_out=2_900_000)
    before = market.balance("steel")
    assert market.publish("steel", "SELL", 500, 3_620, "sell") == "OK"
    assert market.publish("builder", "BUY", 800, 3_650, "buy") == "OK"
    (trade,) = market.details["trades"]
    shown = market.ask("builder", "trade", trade=trade)
    assert (shown["quantity"], shown["amount"]) == (500, 1_810_000 * YUAN)
    resting = market.ask(None, "book", sku="rebar", region="Fujian", side="BUY")["items"]
    assert [(one["price"], one["quantity"]) for one in resting] == [(3_650 * YUAN, 300)]
    for who in ("steel", "builder"):
        market.do(who, "accept_match", trade=trade)
    market.pay_in("builder", 1_810_000)
    market.do("builder", "fund", trade=trade)
    market.do("steel", "ship", trade=trade, doc_hash=b"d" * 32)
    assert market.do("builder", "confirm", trade=trade, qty=500) == "OK"
    assert market.details["fees"] == 1_810 * YUAN
    assert market.balance("steel") - before == 1_808_190 * YUAN
    market.commit("steel", "SELLER", trade, 5)
    market.commit("builder", "BUYER", trade, 5)
    assert market.reveal("steel", trade, 5) == market.reveal("builder", trade, 5) == "OK"
    market.grant()
    assert market.analyse() == "OK"
    assert market.details["reasons"] == ["SHORT_HISTORY", "ONE_BUYER_60PCT"]
    assert market.recommend() == "OK"
    assert (market.details["mode"], market.details["amount"]) == ("SALES", 1_000_000 * YUAN)
    before = market.balance("steel")
    assert market.accept() == "OK"
    assert market.do("trader", "mature", deposit=id_of("deposit")) == "BAD_STATE"
    market.passed(7 * DAY_MS)
    assert market.do("trader", "mature", deposit=id_of("deposit")) == "OK"
    assert market.balance("steel") - before == 21_388


def test_who_may_see_what(market: Market) -> None:
    seeded(market).grant()
    market.analyse()
    market.recommend()
    market.accept()
    for viewer in (None, "trader", "other bank"):
        for query, args in (
            ("explain", {"analysis": id_of("analysis")}),
            ("recommendation", {"recommendation": id_of("rec")}),
            ("deposit", {"deposit": id_of("deposit")}),
            ("inbox", {"enterprise": STEEL}),
            ("facts", {"enterprise": STEEL}),
            ("what_if", {"enterprise": STEEL}),
        ):
            with pytest.raises(Rejected):
                market.ask(viewer, query, **args)
    assert market.ask("trader", "me")["enterprise"] == TRADER
