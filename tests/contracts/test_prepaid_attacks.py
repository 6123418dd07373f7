"""The attacks on prepaid cards that a contract must withstand."""

from __future__ import annotations

from typing import Any

from contracts.prepaid.models import LOTS_MAX
from tests.contracts.world import DAY_MS, World, id_of, key_of

GYM = id_of("gym")
CARD = id_of("card")
BOB, BANK = key_of("bob"), key_of("bank")


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


# ---- ways to money that is somebody else's


def test_a_refund_and_a_visit_in_one_block_cannot_both_have_the_money() -> None:
    world = shop(paid=1_000)
    visit = ("consume", {"card": CARD, "amt": 600, "seq": 1})
    refund = ("refund", {"card": CARD, "reason": "ORDINARY"})
    assert world.send("ann", refund, visit).code == "BAD_STATE"
    assert world.ask("ann", "card", card=CARD)["remaining"] == 1_000
    assert world.send("ann", visit, refund).details["calls"][1] == {"refunded": 400}
    assert world.violations() == []


def test_a_ticket_for_a_refund_is_for_one_sum_at_one_time() -> None:
    """The merchant keeps a ticket for a small refund until the card is worth more."""
    world = shop(paid=1_000)
    assert world.consume("ann", "card", 900, 1) == "OK"
    agreed = world.ticket("ann", "refund", card=CARD, reason="ORDINARY", line=3, amt=100)
    assert world.top_up("card", "ann", 5_000) == "OK"
    assert world.send("merchant", ("refund", agreed)).code == "IDEM_CONFLICT"
    assert world.send("merchant", ("refund", {**agreed, "line": 4})).code == "BAD_STATE"
    parts: list[dict[str, Any]] = [{}, {"line": 4}, {"amt": 5_100}]
    for more in parts:
        loose = world.ticket("ann", "refund", card=CARD, reason="ORDINARY", **more)
        assert world.send("merchant", ("refund", loose)).code == "BAD_TICKET"
    assert world.ask("ann", "card", card=CARD)["remaining"] == 5_100


def test_voids_and_visits_in_turn_leak_nothing() -> None:
    world = shop(paid=1_000, bonus=337)
    for seq in range(1, 60):
        assert world.consume("ann", "card", 7, seq) == "OK"
        assert world.do("merchant", "void", card=CARD, line=2 * seq) == "OK"
    found = world.ask("ann", "card", card=CARD)
    assert (found["remaining"], found["earned"], found["owed"]) == (1_337, 0, 1_000)
    assert world.ask("merchant", "merchant", merchant=GYM)["earnings"] == 0
    assert world.violations() == []


def test_a_visit_is_not_voided_twice_nor_in_parts() -> None:
    world = shop(paid=1_000)
    assert world.consume("ann", "card", 500, 1) == "OK"
    void = ("void", {"card": CARD, "line": 2})
    answers = world.send("merchant", void, void).details["calls"]
    assert answers == [{"remaining": 1_000}, {"remaining": 1_000, "replayed": True}]
    assert world.consume("ann", "card", 1_000, 2) == "OK"
    assert world.do("merchant", "void", card=CARD, line=2) == "OK"
    assert world.ask("ann", "card", card=CARD)["remaining"] == 0


def test_a_payment_that_was_spent_is_not_voided() -> None:
    """Bank and holder agree to undo a payment whose money the merchant has earned."""
    world = shop(paid=1_000)
    void = world.ticket("ann", "void", card=CARD, line=1)
    assert world.consume("ann", "card", 1, 1) == "OK"
    assert world.send("bank", ("void", void)).code == "BAD_STATE"
    assert world.do("merchant", "void", card=CARD, line=2) == "OK"
    assert world.send("bank", ("void", void)).code == "OK"
    assert world.send("bank", ("void", void)).details["replayed"]
    assert world.violations() == []


def test_moving_a_balance_does_not_copy_it() -> None:
    world = shop(paid=1_000)
    first = world.ticket("bob", "transfer_card", card=CARD, new_card=id_of("n"), holder_pub=BOB)
    second = world.ticket("bob", "transfer_card", card=CARD, new_card=id_of("m"), holder_pub=BOB)
    assert world.send("ann", ("transfer_card", first), ("transfer_card", second)).code == (
        "IDEM_CONFLICT"
    )
    assert world.send("ann", ("transfer_card", first)).code == "OK"
    assert world.send("ann", ("transfer_card", second)).code == "IDEM_CONFLICT"
    assert world.do("ann", "refund", card=CARD, reason="ORDINARY") == "BAD_STATE"
    assert world.do("ann", "refund", card=id_of("n"), reason="ORDINARY") == "UNAUTHORIZED"
    assert world.violations() == []


def test_a_moved_lot_is_not_cheaper_than_it_was() -> None:
    """Half used at 2 to 1, then moved: the rest is worth the rest, not the whole price."""
    world = shop(paid=1_000, bonus=1_000)
    assert world.consume("ann", "card", 1_000, 1) == "OK"
    args = world.ticket("bob", "transfer_card", card=CARD, new_card=id_of("n"), holder_pub=BOB)
    assert world.send("ann", ("transfer_card", args)).code == "OK"
    assert world.do("bob", "refund", card=id_of("n"), reason="COOLING_OFF") == "OK"
    assert world.last.details == {"refunded": 500}
    assert world.violations() == []


def test_a_bank_cannot_move_a_card_to_itself() -> None:
    world = shop(paid=1_000)
    assert world.do("bank", "report_loss", card=CARD, reason="says the bank") == "OK"
    stolen = world.ticket("bank", "replace", card=CARD, new_card=id_of("n"))
    assert world.send("bank", ("replace", stolen)).code == "BAD_TICKET"
    taken = world.ticket("bank", "transfer_card", card=CARD, new_card=id_of("n"), holder_pub=BANK)
    assert world.send("bank", ("transfer_card", taken)).code == "UNAUTHORIZED"
    assert world.do("ann", "reactivate", card=CARD) == "OK"


def test_several_small_draws_are_no_large_one() -> None:
    world = World()
    world.open_shop("open", kind="scale", custody_bps=2_000)
    assert world.open_card("card", "ann", 1_000, class_="open") == "OK"
    draws: list[tuple[str, dict[str, Any]]] = [
        ("draw", {"merchant": GYM, "order": id_of(f"o{number}"), "amt": 401}) for number in range(2)
    ]
    assert world.send("merchant", *draws).code == "CUSTODY_SHORT"
    assert world.ask("merchant", "merchant", merchant=GYM)["escrow"] == 1_000


def test_a_drawn_balance_is_not_paid_out_again_by_visits_or_refunds() -> None:
    """Draw, serve, refund, void in every order: the merchant ends with what it earned."""
    world = World()
    world.open_shop("open", kind="scale", custody_bps=2_000)
    assert world.open_card("card", "ann", 1_000, class_="open") == "OK"
    for turn in range(5):
        order: dict[str, Any] = {"merchant": GYM, "order": id_of(f"o{turn}"), "amt": 100}
        assert world.do("merchant", "draw", **order) == "OK"
        assert world.consume("ann", "card", 50, turn + 1) == "OK"
        assert world.do("merchant", "void", card=CARD, line=2 * turn + 2) == "OK"
    assert world.do("ann", "refund", card=CARD, reason="COOLING_OFF") == "OK"
    assert world.last.details == {"refunded": 1_000}
    found = world.ask("merchant", "merchant", merchant=GYM)
    assert (found["escrow"], found["advanced"], found["earnings"]) == (0, 0, 0)
    assert world.violations() == []


def test_a_replaced_regulator_key_or_a_lone_regulator_moves_no_money() -> None:
    """What one regulator can do alone gives nothing to anybody but the holders."""
    world = shop(paid=1_000)
    alone: list[tuple[str, dict[str, Any]]] = [
        ("set_custody", {"merchant": GYM, "kind": "scale", "custody_bps": 2_000}),
        ("set_policy", {"breakage": "EARNED", "breakage_after_ms": 1}),
    ]
    for action, args in alone:
        proposal: dict[str, Any] = {"proposal": id_of(action), "reason": "r"}
        assert world.do("regulator", action, **proposal, **args) == "OK"
        approval: dict[str, Any] = {"contract": "kernel", "proposal": id_of(action)}
        assert world.do("regulator", "approve", **approval) == "UNAUTHORIZED"
    order: dict[str, Any] = {"merchant": GYM, "order": id_of("o"), "amt": 1}
    assert world.do("merchant", "draw", **order) == "CUSTODY_SHORT"
    assert world.ask(None, "policy")["breakage"] == "KEPT"


def test_nobody_makes_a_page_too_heavy() -> None:
    """Cards full of lots: sweeps and the winding-up end their pages early instead of failing."""
    world = World(policy={"breakage": "EARNED", "breakage_after_ms": DAY_MS})
    world.open_shop("gift")
    for card in range(12):
        assert world.open_card(f"c{card}", "ann", 1, class_="gift") == "OK"
        tops = [
            (
                "top_up",
                world.ticket(
                    "ann",
                    "top_up",
                    card=id_of(f"c{card}"),
                    order=id_of(f"{card}/{n}"),
                    paid=1,
                    bonus=0,
                ),
            )
            for n in range(LOTS_MAX - 1)
        ]
        assert world.send("bank", *tops).code == "OK"
    world.advance(1_100 * DAY_MS)
    assert world.do("bookkeeper", "expire", limit=100) == "OK"
    assert world.last.details["expired"] == 12
    world.advance(DAY_MS)
    assert world.do("bookkeeper", "expire", limit=100) == "OK", world.last
    assert world.last.details == {"expired": 0, "lapsed": 4, "next": 0, "done": False}
    assert world.do("regulator", "wind_up", merchant=GYM, reason="r") == "OK"
    pages = 0
    while not pages or not world.last.details["done"]:
        assert world.do("bank", "settle_wind_up", merchant=GYM, limit=100) == "OK", world.last
        pages += 1
    assert pages == 3
    assert world.violations() == []


def test_a_sweep_is_not_stopped_by_a_merchant_that_took_the_money_away() -> None:
    world = World(policy={"breakage": "ESCHEAT", "breakage_after_ms": DAY_MS})
    world.open_shop("gift", kind="scale", custody_bps=2_000)
    world.open_shop("gift", "pool")
    assert world.open_card("card", "ann", 1_000, class_="gift") == "OK"
    assert world.open_card("pool card", "bob", 500, class_="gift", merchant="pool") == "OK"
    for action in ("draw", "cash_out"):
        order: dict[str, Any] = {"merchant": GYM, "order": id_of(action), "amt": 800}
        assert world.do("merchant", action, **order) == "OK"
    for days in (1_100, 1, 1):
        world.advance(days * DAY_MS)
        assert world.do("bookkeeper", "expire") == "OK"
    assert world.ask("ann", "card", card=CARD)["state"] == "EXPIRED"
    assert world.ask("bob", "card", card=id_of("pool card"))["state"] == "CLOSED"
    assert world.violations() == []
