"""Prepaid: one row for each way in which a call is rejected, in the order of precedence."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from contracts.catalog import CONTRACTS
from contracts.kernel.context import BlockInfo
from contracts.kernel.registry import execute
from contracts.kernel.state import Overlay
from contracts.prepaid.contract import PREPAID
from contracts.prepaid.models import FACE_MAX, LOTS_MAX
from tests.contracts.prepaid_scenes import (
    CARD,
    CARD_OF_GIFT,
    GYM,
    beyond,
    frozen,
    gift,
    nearly_full,
    open_with,
    prepared,
    refunded,
    topping,
    winding_up,
    with_ticket,
)
from tests.contracts.world import DAY_MS, TICKETS, Prepared, World, id_of, key_of

MAX = (1 << 63) - 1
Case = Callable[[World], str]

CASES: list[tuple[str, str, Case]] = [
    # who may
    ("BAD_ARG", "no top-up of nothing", lambda w: topping(w, paid=0)),
    (
        "UNAUTHORIZED",
        "filed by a bank",
        lambda w: w.do(
            "bank", "file_merchant", merchant=id_of("m"), name="m", custodian=key_of("bank")
        ),
    ),
    (
        "UNAUTHORIZED",
        "filed under another's id",
        lambda w: w.do(
            "other merchant", "file_merchant", merchant=GYM, name="gym", custodian=key_of("bank")
        ),
    ),
    (
        "UNAUTHORIZED",
        "approved by a bank",
        lambda w: w.do("bank", "approve", merchant=GYM, class_="named"),
    ),
    (
        "UNAUTHORIZED",
        "opened by a merchant",
        lambda w: w.send("merchant", ("open_card", w.opening("new", "bob", 5))).code,
    ),
    (
        "UNAUTHORIZED",
        "opened by another bank",
        lambda w: w.send("other bank", ("open_card", w.opening("new", "bob", 5))).code,
    ),
    (
        "UNAUTHORIZED",
        "opened again by another bank",
        lambda w: w.send("other bank", ("open_card", w.opening("card", "ann", 1_000, 200))).code,
    ),
    (
        "UNAUTHORIZED",
        "consumed by another merchant",
        lambda w: w.consume("other merchant", "card", 50, 2),
    ),
    ("UNAUTHORIZED", "consumed by the bank", lambda w: w.consume("bank", "card", 50, 2)),
    ("UNAUTHORIZED", "consumed by the regulator", lambda w: w.consume("regulator", "card", 50, 2)),
    (
        "UNAUTHORIZED",
        "no such card, and no business with cards",
        lambda w: w.consume("regulator", "nothing", 50, 2),
    ),
    (
        "UNAUTHORIZED",
        "cooling off by the merchant",
        lambda w: w.do("merchant", "refund", card=CARD, reason="COOLING_OFF"),
    ),
    (
        "UNAUTHORIZED",
        "fault found by the holder",
        lambda w: w.do("ann", "refund", card=CARD, reason="MERCHANT_FAULT"),
    ),
    (
        "UNAUTHORIZED",
        "refund by the bank",
        lambda w: w.do("bank", "refund", card=CARD, reason="ORDINARY"),
    ),
    (
        "UNAUTHORIZED",
        "refund of nothing by the bank",
        lambda w: w.do("bank", "refund", card=id_of("nothing"), reason="ORDINARY"),
    ),
    (
        "UNAUTHORIZED",
        "freeze by the bank",
        lambda w: w.do("bank", "freeze", merchant=GYM, scope="ALL", reason="r"),
    ),
    (
        "UNAUTHORIZED",
        "payout by another merchant",
        lambda w: w.do("other merchant", "payout", merchant=GYM),
    ),
    (
        "UNAUTHORIZED",
        "settlement by a holder",
        lambda w: winding_up(w).do("ann", "settle_wind_up", merchant=GYM),
    ),
    # done before, otherwise
    (
        "IDEM_CONFLICT",
        "filed under another name",
        lambda w: w.do(
            "merchant", "file_merchant", merchant=GYM, name="pool", custodian=key_of("bank")
        ),
    ),
    (
        "IDEM_CONFLICT",
        "opened with another sum",
        lambda w: w.send("bank", ("open_card", w.opening("card", "ann", 1_001, 199))).code,
    ),
    (
        "IDEM_CONFLICT",
        "opened for another holder",
        lambda w: w.send("bank", ("open_card", w.opening("card", "bob", 1_000, 200))).code,
    ),
    (
        "IDEM_CONFLICT",
        "order used with another sum",
        lambda w: topping(w, paid=5) and topping(w, paid=6),
    ),
    ("IDEM_CONFLICT", "seq used with another amount", lambda w: w.consume("ann", "card", 101, 1)),
    (
        "IDEM_CONFLICT",
        "refunded for another reason",
        lambda w: refunded(w).do("regulator", "refund", card=CARD, reason="MERCHANT_FAULT"),
    ),
    (
        "IDEM_CONFLICT",
        "frozen for another reason",
        lambda w: frozen(w, "ALL").do(
            "regulator", "freeze", merchant=GYM, scope="ALL", reason="other"
        ),
    ),
    # what must exist
    (
        "NOT_FOUND",
        "custodian is no bank",
        lambda w: w.do(
            "merchant",
            "file_merchant",
            merchant=id_of("m"),
            name="m",
            custodian=key_of("administrator"),
        ),
    ),
    (
        "NOT_FOUND",
        "custodian unknown",
        lambda w: w.do(
            "merchant", "file_merchant", merchant=id_of("m"), name="m", custodian=key_of("x")
        ),
    ),
    (
        "NOT_FOUND",
        "approval of nobody",
        lambda w: w.do("regulator", "approve", merchant=id_of("m"), class_="named"),
    ),
    (
        "NOT_FOUND",
        "approval for no class",
        lambda w: w.do("regulator", "approve", merchant=GYM, class_="gold"),
    ),
    ("NOT_FOUND", "card with nobody", lambda w: open_with(w, merchant=id_of("m"))),
    (
        "NOT_FOUND",
        "top-up of nothing",
        lambda w: (
            w.send(
                "bank",
                (
                    "top_up",
                    w.ticket(
                        "ann", "top_up", card=id_of("nothing"), order=id_of("o"), paid=1, bonus=0
                    ),
                ),
            ).code
        ),
    ),
    ("NOT_FOUND", "visit without a card", lambda w: w.consume("ann", "nothing", 50, 2)),
    (
        "NOT_FOUND",
        "refund without a card",
        lambda w: w.do("ann", "refund", card=id_of("nothing"), reason="ORDINARY"),
    ),
    (
        "NOT_FOUND",
        "freeze of nobody",
        lambda w: w.do("regulator", "freeze", merchant=id_of("m"), scope="ALL", reason="r"),
    ),
    ("NOT_FOUND", "payout of nobody", lambda w: w.do("merchant", "payout", merchant=id_of("m"))),
    # freezes
    ("FROZEN", "opening, issue frozen", lambda w: frozen(w, "ISSUE").open_card("n", "bob", 5)),
    ("FROZEN", "opening, all frozen", lambda w: frozen(w, "ALL").open_card("n", "bob", 5)),
    ("FROZEN", "top-up, issue frozen", lambda w: topping(frozen(w, "ISSUE"))),
    ("FROZEN", "visit, all frozen", lambda w: frozen(w, "ALL").consume("ann", "card", 50, 2)),
    (
        "FROZEN",
        "payout frozen",
        lambda w: frozen(w, "PAYOUT").do("merchant", "payout", merchant=GYM),
    ),
    (
        "FROZEN",
        "refund, all frozen",
        lambda w: frozen(w, "ALL").do("ann", "refund", card=CARD, reason="ORDINARY"),
    ),
    # states
    (
        "BAD_STATE",
        "class of another asset",
        lambda w: w.do("regulator", "approve", merchant=GYM, class_="usd"),
    ),
    (
        "BAD_STATE",
        "class not approved",
        lambda w: open_with(w, **w.opening("new", "bob", 5, class_="open")),
    ),
    ("BAD_STATE", "opening in a winding-up", lambda w: winding_up(w).open_card("n", "bob", 5)),
    ("BAD_STATE", "visit in a winding-up", lambda w: winding_up(w).consume("ann", "card", 50, 2)),
    ("BAD_STATE", "visit on a closed card", lambda w: refunded(w).consume("ann", "card", 50, 2)),
    ("BAD_STATE", "top-up of a closed card", lambda w: topping(refunded(w))),
    (
        "BAD_STATE",
        "approval in a winding-up",
        lambda w: winding_up(w).do("regulator", "approve", merchant=GYM, class_="plain"),
    ),
    (
        "BAD_STATE",
        "settlement of a living merchant",
        lambda w: w.do("regulator", "settle_wind_up", merchant=GYM),
    ),
    (
        "BAD_STATE",
        "unfreezing what is not frozen",
        lambda w: w.by_two("unfreeze", merchant=GYM, scope="ALL"),
    ),
    # limits
    ("CARD_LIMIT", "opening beyond the class", lambda w: w.open_card("n", "bob", 500_000, 1)),
    ("CARD_LIMIT", "opening beyond all bounds", lambda w: beyond(w, FACE_MAX)),
    ("CARD_LIMIT", "paid and bonus beyond 64 bits", lambda w: beyond(w, MAX)),
    (
        "CARD_LIMIT",
        "good for less than the class says",
        lambda w: open_with(
            gift(w), **w.ticket("bob", "open_card", **CARD_OF_GIFT, validity_ms=DAY_MS)
        ),
    ),
    (
        "CARD_LIMIT",
        "an end where the class has none",
        lambda w: open_with(
            w,
            **w.ticket(
                "bob", "open_card", **{**CARD_OF_GIFT, "class": "named"}, validity_ms=9 * DAY_MS
            ),
        ),
    ),
    ("CARD_LIMIT", "top-up beyond the class", lambda w: topping(w, paid=498_901)),
    (
        "CARD_LIMIT",
        "too many lots",
        lambda w: [topping(w, order=f"o{n}") for n in range(LOTS_MAX)][-1],
    ),
    # seq
    (
        "SEQ_STALE",
        "the same visit, booked by another",
        lambda w: w.send("merchant", ("consume", with_ticket(w, amt=100, seq=1))).code,
    ),
    ("SEQ_GAP", "a visit left out", lambda w: w.consume("ann", "card", 50, 3)),
    # consent
    (
        "COOLING_OFF_PASSED",
        "after the seventh day",
        lambda w: w.advance(8 * DAY_MS).do("ann", "refund", card=CARD, reason="COOLING_OFF"),
    ),
    ("BAD_TICKET", "no ticket", lambda w: w.consume("merchant", "card", 50, 2)),
    (
        "BAD_TICKET",
        "another's ticket",
        lambda w: w.send("merchant", ("consume", with_ticket(w, signer="bob"))).code,
    ),
    (
        "BAD_TICKET",
        "ticket for less",
        lambda w: w.send("merchant", ("consume", {**with_ticket(w), "amt": 51})).code,
    ),
    (
        "BAD_TICKET",
        "ticket for another visit",
        lambda w: w.send("merchant", ("consume", {**with_ticket(w, seq=3), "seq": 2})).code,
    ),
    (
        "BAD_TICKET",
        "ticket stretched",
        lambda w: w.send("merchant", ("consume", {**with_ticket(w), "ticket_until": 1 << 50})).code,
    ),
    (
        "BAD_TICKET",
        "ticket expired",
        lambda w: w.send("merchant", ("consume", with_ticket(w, ticket_until=w.time_ms + 1))).code,
    ),
    (
        "BAD_TICKET",
        "ticket for another action",
        lambda w: (
            w.send(
                "merchant",
                (
                    "consume",
                    {
                        "card": CARD,
                        "amt": 50,
                        "seq": 2,
                        "ticket_until": 1 << 50,
                        "ticket": w.ticket("ann", "refund", card=CARD, amt=50, seq=2)["ticket"],
                    },
                ),
            ).code
        ),
    ),
    ("BAD_TICKET", "opening without consent", lambda w: open_with(w, paid=6)),
    (
        "BAD_TICKET",
        "ordinary refund by the merchant alone",
        lambda w: w.do("merchant", "refund", card=CARD, reason="ORDINARY"),
    ),
    # money
    ("INSUFFICIENT", "more than remains", lambda w: w.consume("ann", "card", 1_101, 2)),
]


@pytest.mark.parametrize(
    ("code", "case"), [(code, case) for code, _, case in CASES], ids=[name for _, name, _ in CASES]
)
def test_rejection(code: str, case: Case) -> None:
    world = prepared()
    assert case(world) == code, world.last
    assert world.last.events == ()
    assert world.violations() == []


def test_every_code_has_its_row() -> None:
    covered = {code for code, _, _ in CASES}
    # Envelopes are the kernel's and the node's to judge; custody has a file of its own.
    assert set(PREPAID.errors) - covered == {"BAD_ENVELOPE", "WRONG_EPOCH", "CUSTODY_SHORT"}


def test_sums_beyond_64_bits_are_rejected() -> None:
    world = nearly_full(prepared())
    assert world.open_card("n", "bob", 10) == "OVERFLOW"
    assert world.last.details == {"what": "paid"}


@pytest.mark.parametrize("action", [*PREPAID.actions, *PREPAID.governed])
def test_r3_1_a_clear_call_is_refused_where_genesis_does_not_allow_it(action: str) -> None:
    world = World(allow_clear=False)
    known = PREPAID.actions.get(action) or PREPAID.governed[action]
    call = Prepared("prepaid", action, known.args.model_construct(), sealed=False)
    block = BlockInfo(1, world.time_ms, 1)
    result = execute(
        CONTRACTS, Overlay(world.memory), block, key_of("bank"), bytes(32), [call], TICKETS
    )
    assert result.code == "BAD_ENVELOPE"
