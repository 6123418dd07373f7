"""Random acts on prepaid cards, held against a model of plain integers after each one.

`execute` checks the invariants of each transaction; the audit of the whole state is run here.
"""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from typing import Any

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from tests.contracts.world import DAY_MS, World, id_of

GYM = id_of("gym")
CARDS = st.integers(0, 3)
MONEY = st.integers(0, 400)
SENDERS = st.sampled_from(["holder", "merchant", "bookkeeper", "other merchant", "bank"])


@dataclass
class ModelLot:
    """One payment, and the UTC+8 day it was made on."""

    paid: int
    bonus: int
    day: int
    used: int = 0

    @property
    def left(self) -> int:
        """What can still be used."""
        return self.paid + self.bonus - self.used

    @property
    def earned(self) -> int:
        """The merchant's part, by fractions."""
        face = self.paid + self.bonus
        return int(Fraction(self.paid * self.used, face)) if face else 0


class Model:
    """What a card should be, from all of its lots, used up or not."""

    def __init__(self) -> None:
        self.lots: list[ModelLot] = []
        self.consumed: list[int] = []
        self.open = True
        self.refunded = 0
        self.forfeited = 0

    @property
    def remaining(self) -> int:
        """What is left of all lots."""
        return sum(lot.left for lot in self.lots)

    @property
    def earned(self) -> int:
        """What the merchant has earned."""
        return sum(lot.earned for lot in self.lots) + self.forfeited

    def spend(self, amount: int) -> None:
        """Use lots in order."""
        self.consumed.append(amount)
        for lot in self.lots:
            step = min(amount, lot.left)
            lot.used += step
            amount -= step

    def refund(self, reason: str, today: int) -> int:
        """Cancel lots; the money given back."""
        money = 0
        for lot in [lot for lot in self.lots if lot.left]:
            if reason == "COOLING_OFF" and today > lot.day + 7:
                continue
            owed = lot.paid - lot.earned
            part = max(lot.paid - lot.used, 0) if reason == "ORDINARY" else owed
            money += part
            self.forfeited += lot.earned + owed - part
            self.lots.remove(lot)
        self.refunded += money
        self.open = any(lot.left for lot in self.lots)
        return money


class PrepaidMachine(RuleBasedStateMachine):
    """One gym, four cards, everybody trying everything."""

    def __init__(self) -> None:
        super().__init__()
        self.world = World()
        self.world.open_shop()
        self.models: dict[int, Model] = {}
        self.frozen: set[str] = set()
        self.winding = False
        self.orders = 0
        self.cash = 0

    def code(self, sender: str, action: str, **args: Any) -> str:
        return self.world.send(sender, (action, args)).code

    @rule(card=CARDS, paid=MONEY, bonus=MONEY)
    def open_card(self, card: int, paid: int, bonus: int) -> None:
        code = self.world.open_card(f"c{card}", f"h{card}", paid, bonus)
        if card in self.models:
            assert code in ("OK", "IDEM_CONFLICT")
        elif self.frozen & {"ISSUE", "ALL"}:
            assert code == "FROZEN"
        elif self.winding:
            assert code == "BAD_STATE"
        else:
            assert code == "OK"
            self.models[card] = model = Model()
            model.lots.append(ModelLot(paid, bonus, self.today()))
            self.cash += paid

    @rule(card=CARDS, paid=MONEY, bonus=MONEY)
    def top_up(self, card: int, paid: int, bonus: int) -> None:
        self.orders += 1
        order = id_of(f"order {self.orders}")
        args = self.world.ticket(
            f"h{card}", "top_up", card=id_of(f"c{card}"), order=order, paid=paid, bonus=bonus
        )
        if self.code("bank", "top_up", **args) == "OK":
            assert not self.frozen & {"ISSUE", "ALL"}
            assert self.models[card].open
            self.models[card].lots.append(ModelLot(paid, bonus, self.today()))
            self.cash += paid

    @rule(card=CARDS, amount=st.integers(0, 500), sender=SENDERS, skip=st.integers(-1, 1))
    def consume(self, card: int, amount: int, sender: str, skip: int) -> None:
        model = self.models.get(card)
        seq = (len(model.consumed) if model else 0) + 1 + skip
        args: dict[str, Any] = {"card": id_of(f"c{card}"), "amt": amount, "seq": seq}
        if sender == "holder":
            sender = f"h{card}"
        else:
            args = self.world.ticket(f"h{card}", "consume", **args)
        if self.code(sender, "consume", **args) != "OK" or self.world.last.details.get("replayed"):
            return
        assert model is not None
        assert skip == 0
        assert model.open
        assert "ALL" not in self.frozen
        assert not self.winding
        assert sender in (f"h{card}", "merchant", "bookkeeper")
        model.spend(amount)
        assert self.world.last.details == {"remaining": model.remaining}

    @rule(
        card=CARDS,
        reason=st.sampled_from(["COOLING_OFF", "MERCHANT_FAULT", "ORDINARY"]),
        sender=st.sampled_from(["holder", "merchant", "regulator"]),
    )
    def refund(self, card: int, reason: str, sender: str) -> None:
        who = f"h{card}" if sender == "holder" else sender
        if self.code(who, "refund", card=id_of(f"c{card}"), reason=reason) != "OK":
            return
        if not self.world.last.details.get("replayed"):
            money = self.models[card].refund(reason, self.today())
            assert self.world.last.details == {"refunded": money}
            self.cash -= money

    @rule(scope=st.sampled_from(["ISSUE", "PAYOUT", "ALL"]), on=st.booleans())
    def freeze(self, scope: str, on: bool) -> None:
        action = "freeze" if on else "unfreeze"
        code = self.code("regulator", action, merchant=GYM, scope=scope, reason="r")
        assert code == ("OK" if on or scope in self.frozen else "BAD_STATE")
        (self.frozen.add if on else self.frozen.discard)(scope)

    @rule(limit=st.integers(1, 3))
    def payout(self, limit: int) -> None:
        code = self.code("merchant", "payout", merchant=GYM, limit=limit)
        assert code == ("FROZEN" if self.frozen & {"PAYOUT", "ALL"} else "OK")

    @precondition(lambda self: len(self.models) > 2)
    @rule()
    def wind_up(self) -> None:
        assert self.code("regulator", "wind_up", merchant=GYM, reason="r") == "OK"
        self.winding = True

    @precondition(lambda self: self.winding)
    @rule(limit=st.integers(1, 3))
    def settle(self, limit: int) -> None:
        assert self.code("bank", "settle_wind_up", merchant=GYM, limit=limit) == "OK"
        refunded = 0
        for card, model in self.models.items():
            found = self.world.ask("regulator", "card", card=id_of(f"c{card}"))
            if model.open and found["state"] == "CLOSED":
                refunded += model.refund("WIND_UP", self.today())
        assert self.world.last.details["refunded"] == refunded
        self.cash -= refunded

    @rule(days=st.integers(1, 5))
    def wait(self, days: int) -> None:
        self.world.advance(days * DAY_MS)

    @invariant()
    def the_whole_state_is_sound(self) -> None:
        assert self.world.violations() == []

    @invariant()
    def cards_are_what_the_model_says(self) -> None:
        for card, model in self.models.items():
            found = self.world.ask("regulator", "card", card=id_of(f"c{card}"))
            assert found["remaining"] == model.remaining
            assert found["seq"] == len(model.consumed)
            assert found["consumed"] == sum(model.consumed)
            assert found["earned"] == model.earned
            assert found["refunded"] == model.refunded
            assert (found["state"] == "ACTIVE") == model.open
            assert found["paid_out"] <= found["earned"] <= found["paid"]

    @invariant()
    def all_the_money_is_somewhere(self) -> None:
        gym = self.world.ask("regulator", "merchant", merchant=GYM)
        assert gym["escrow"] + gym["held"] + gym["earnings"] == self.cash
        assert gym["escrow"] + gym["held"] == gym["paid"] - gym["paid_out"] - gym["refunded"]

    def today(self) -> int:
        return (self.world.time_ms + 28_800_000) // DAY_MS


PrepaidMachine.TestCase.settings = settings(max_examples=40, stateful_step_count=30, deadline=None)
TestPrepaid = PrepaidMachine.TestCase
