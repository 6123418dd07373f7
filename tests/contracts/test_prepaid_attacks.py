"""The attacks on prepaid cards that a contract must withstand."""

from __future__ import annotations

from tests.contracts.world import DAY_MS, World, id_of, key_of

GYM = id_of("gym")
CARD = id_of("card")


def shop(paid: int = 10_000, bonus: int = 0) -> World:
    world = World()
    world.open_shop()
    world.open_shop(merchant="pool")
    assert world.open_card("card", "ann", paid, bonus) == "OK"
    return world


def test_two_terminals_spend_the_last_hundred() -> None:
    world = shop(paid=10_000)
    visit = world.ticket("ann", "consume", card=CARD, amt=10_000, seq=1)
    assert world.consume("ann", "card", 10_000, 1) == "OK"
    assert world.send("merchant", ("consume", visit)).code == "SEQ_STALE"
    assert world.consume("ann", "card", 10_000, 2) == "INSUFFICIENT"
    assert world.ask("merchant", "merchant", merchant=GYM)["earnings"] == 10_000


def test_a_repeated_visit_is_booked_once() -> None:
    world = shop()
    assert world.consume("ann", "card", 100, 1) == "OK"
    events = len(world.last.events)
    assert world.consume("ann", "card", 100, 1) == "OK"
    assert world.last.details == {"remaining": 9_900, "replayed": True}
    assert (events, len(world.last.events)) == (1, 0)
    assert world.ask("ann", "card", card=CARD)["seq"] == 1


def test_an_old_visit_replays_with_its_own_result() -> None:
    world = shop()
    assert world.consume("ann", "card", 100, 1) == "OK"
    top_up(world, "one")
    assert world.consume("ann", "card", 200, 2) == "OK"
    top_up(world, "two")
    top_up(world, "three")
    assert world.consume("ann", "card", 300, 3) == "OK"
    for seq, amount, remaining in ((1, 100, 9_900), (2, 200, 9_701), (3, 300, 9_403)):
        assert world.consume("ann", "card", amount, seq) == "OK"
        assert world.last.details == {"remaining": remaining, "replayed": True}


def top_up(world: World, order: str) -> str:
    args = world.ticket("ann", "top_up", card=CARD, order=id_of(order), paid=1, bonus=0)
    return world.send("bank", ("top_up", args)).code


def test_a_repeated_opening_or_top_up_takes_no_money_twice() -> None:
    world = shop()
    assert world.open_card("card", "ann", 10_000) == "OK"
    assert world.last.details == {"remaining": 10_000, "replayed": True}
    assert (top_up(world, "o"), top_up(world, "o")) == ("OK", "OK")
    assert world.last.details == {"remaining": 10_001, "replayed": True}
    assert world.ask("bank", "merchant", merchant=GYM)["escrow"] == 10_001


def test_a_ticket_is_worthless_on_another_card() -> None:
    world = shop()
    assert world.open_card("other", "ann", 10_000) == "OK"
    visit = world.ticket("ann", "consume", card=CARD, amt=100, seq=1)
    moved = {**visit, "card": id_of("other")}
    assert world.send("merchant", ("consume", moved)).code == "BAD_TICKET"


def test_a_ticket_is_spent_with_its_seq() -> None:
    world = shop()
    visit = world.ticket("ann", "consume", card=CARD, amt=100, seq=1)
    assert world.send("merchant", ("consume", visit)).code == "OK"
    assert world.send("merchant", ("consume", visit)).details["replayed"]
    assert world.send("bookkeeper", ("consume", visit)).code == "SEQ_STALE"
    assert world.ask("ann", "card", card=CARD)["consumed"] == 100


def test_another_merchant_cannot_charge_the_card() -> None:
    world = shop()
    visit = world.ticket("ann", "consume", card=CARD, amt=100, seq=1)
    assert world.send("other merchant", ("consume", visit)).code == "UNAUTHORIZED"


def test_a_rejected_visit_uses_no_seq() -> None:
    world = shop(paid=100)
    assert world.consume("ann", "card", 101, 1) == "INSUFFICIENT"
    assert world.consume("ann", "card", 0, 1) == "BAD_ARG"
    assert world.consume("ann", "card", 100, 1) == "OK"


def test_no_refund_of_what_is_spent_and_no_visit_after_a_refund() -> None:
    world = shop(paid=1_000)
    assert world.consume("ann", "card", 1_000, 1) == "OK"
    assert world.do("ann", "refund", card=CARD, reason="ORDINARY") == "OK"
    assert world.last.details == {"refunded": 0}
    assert world.open_card("two", "ann", 1_000) == "OK"
    assert world.do("ann", "refund", card=id_of("two"), reason="ORDINARY") == "OK"
    assert world.consume("ann", "two", 1, 1) == "BAD_STATE"
    assert world.do("ann", "refund", card=id_of("two"), reason="ORDINARY") == "OK"
    assert world.last.details == {"refunded": 1_000, "replayed": True}
    assert world.violations() == []


def test_a_small_top_up_does_not_renew_the_cooling_off() -> None:
    world = shop(paid=100_000)
    world.advance(30 * DAY_MS)
    assert top_up(world, "one fen") == "OK"
    assert world.do("ann", "refund", card=CARD, reason="COOLING_OFF") == "OK"
    assert world.last.details == {"refunded": 1}
    assert world.ask("ann", "card", card=CARD)["remaining"] == 100_000


def test_a_merchant_cannot_drain_and_close() -> None:
    world = shop(paid=100_000)
    assert world.consume("merchant", "card", 100_000, 1) == "BAD_TICKET"
    assert world.do("merchant", "wind_up", merchant=GYM, reason="bye") == "UNAUTHORIZED"
    assert world.do("regulator", "wind_up", merchant=GYM, reason="fled") == "OK"
    assert world.do("regulator", "settle_wind_up", merchant=GYM) == "OK"
    assert world.last.details["refunded"] == 100_000


def test_one_merchants_escrow_does_not_pay_anothers_cards() -> None:
    world = shop(paid=500)
    assert world.open_card("pool card", "bob", 9_000, merchant="pool") == "OK"
    assert world.consume("ann", "card", 500, 1) == "OK"
    assert world.consume("ann", "card", 1, 2) == "INSUFFICIENT"
    pool = world.ask("regulator", "merchant", merchant=id_of("pool"))
    assert (pool["escrow"], pool["earnings"]) == (9_000, 0)
    assert world.violations() == []


def test_a_bonus_is_never_paid_out() -> None:
    world = World()
    world.open_shop()
    assert world.open_card("gift", "ann", 0, 1_000) == "OK"
    assert world.consume("ann", "gift", 999, 1) == "OK"
    assert world.consume("ann", "gift", 1, 2) == "OK"
    assert world.ask("merchant", "merchant", merchant=GYM)["earnings"] == 0
    assert world.violations() == []


def test_enrolling_a_holder_does_not_change_who_is_known() -> None:
    world = World()
    world.open_shop()
    assert world.open_card("card", "merchant", 100) == "OK"
    found = world.ask(None, "identity", contract="kernel", public_key=key_of("merchant"))
    assert found["roles"] == ["merchant"]
    assert world.consume("merchant", "card", 100, 1) == "OK"
