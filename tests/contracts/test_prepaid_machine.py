"""Random acts on prepaid cards, held against a model of plain integers after each one.

Two merchants, one with full custody and one in ratio mode; everybody tries everything, at every
time. `execute` checks the invariants of each transaction; the audit of the whole state is run here.
"""

from __future__ import annotations

from typing import Any

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from tests.contracts.prepaid_model import CardModel, Shop
from tests.contracts.world import DAY_MS, World, id_of

CARDS = st.integers(0, 9)
SHOPS = st.sampled_from(["gym", "pool"])
MONEY = st.integers(0, 400)
LARGE = st.integers(100, 900)
SENDERS = st.sampled_from(["holder", "merchant", "other merchant", "bookkeeper", "bank"])
SCOPES = st.sampled_from(["ISSUE", "PAYOUT", "ALL"])
RATIO_BPS = 2_000
VALIDITY_MS = 400 * DAY_MS
CLASS = {
    "name": "card",
    "asset": "CNY",
    "named": True,
    "face_max": 2_000,
    "min_validity_ms": VALIDITY_MS,
}
POLICY = {"breakage": "EARNED", "breakage_after_ms": 5 * DAY_MS}


class PrepaidMachine(RuleBasedStateMachine):
    """A gym, a pool, six cards and those that come of them."""

    def __init__(self) -> None:
        super().__init__()
        self.world = self.make_world()
        self.shops = {"gym": Shop("merchant"), "pool": Shop("other merchant")}
        self.world.open_shop("card")
        self.world.open_shop("card", "pool", kind="scale", custody_bps=RATIO_BPS)
        self.cards: dict[str, CardModel] = {}
        self.count = 0

    def make_world(self) -> World:
        """A network of one; `tests/test_prepaid_machine_nodes` has four nodes instead."""
        return World([CLASS], policy=POLICY)

    # ---- helpers

    def today(self) -> int:
        return (self.world.time_ms + 28_800_000) // DAY_MS

    def due_ms(self) -> int:
        return self.world.time_ms + VALIDITY_MS

    def active(self, model: CardModel) -> bool:
        return model.active(self.world.time_ms)

    def sent(self, sender: str, action: str, **args: Any) -> bool:
        """Send a call; whether it changed anything."""
        code = self.world.send(sender, (action, args)).code
        return code == "OK" and not self.world.last.details.get("replayed")

    def consented(self, holder: str, action: str, **terms: Any) -> dict[str, Any]:
        return self.world.ticket(holder, action, **terms)

    def pick(self, number: int) -> tuple[str, CardModel]:
        """One of the cards, closed ones too."""
        names = list(self.cards)
        name = names[number % len(names)]
        return name, self.cards[name]

    def next_name(self) -> str:
        self.count += 1
        return f"new{self.count}"

    # ---- money in

    @initialize(money=st.lists(LARGE, min_size=5, max_size=5))
    def begin(self, money: list[int]) -> None:
        for card, paid in enumerate(money):
            self.open_card(card, ("gym", "pool")[card % 2], paid, paid // 3)

    @rule(card=CARDS, shop=SHOPS, paid=MONEY, bonus=MONEY)
    def open_card(self, card: int, shop: str, paid: int, bonus: int) -> None:
        name, model = f"c{card}", CardModel(f"h{card}", self.shops[shop])
        args = self.world.opening(name, f"h{card}", paid, bonus, "card", shop)
        if not self.sent("bank", "open_card", **args):
            return
        assert name not in self.cards
        assert model.shop.may_issue()
        self.cards[name] = model
        model.pay(paid, bonus, self.today(), self.due_ms())

    @rule(card=CARDS, paid=MONEY, bonus=MONEY)
    def top_up(self, card: int, paid: int, bonus: int) -> None:
        name, model = self.pick(card)
        args = {"card": id_of(name), "order": id_of(self.next_name())}
        terms = self.consented(model.holder, "top_up", **args, paid=paid, bonus=bonus)
        if self.sent("bank", "top_up", **terms):
            assert model.shop.may_issue()
            assert self.active(model)
            model.pay(paid, bonus, self.today(), self.due_ms())

    # ---- visits and money back

    @rule(card=CARDS, amount=MONEY, sender=SENDERS, skip=st.sampled_from([0, 0, 0, -1, 1]))
    def consume(self, card: int, amount: int, sender: str, skip: int) -> None:
        name, model = self.pick(card)
        args: dict[str, Any] = {
            "card": id_of(name),
            "amt": amount,
            "seq": len(model.visits) + 1 + skip,
        }
        if sender == "holder":
            sender = model.holder
        else:
            args = self.consented(model.holder, "consume", **args)
        if self.sent(sender, "consume", **args):
            assert skip == 0
            assert model.may_move(self.world.time_ms)
            assert sender in (model.holder, model.shop.owner, "bookkeeper")
            model.spend(amount)
            assert self.world.last.details == {"remaining": model.remaining}

    @rule(
        card=CARDS,
        reason=st.sampled_from(["COOLING_OFF", "MERCHANT_FAULT", "ORDINARY"]),
        sender=st.sampled_from(["holder", "merchant", "regulator"]),
    )
    def refund(self, card: int, reason: str, sender: str) -> None:
        name, model = self.pick(card)
        who = model.holder if sender == "holder" else sender
        if self.sent(who, "refund", card=id_of(name), reason=reason):
            assert self.active(model)
            money = model.refund(reason, self.today())
            assert self.world.last.details == {"refunded": money}

    @rule(card=CARDS, line=st.integers(1, 5), days=st.sampled_from([0, 0, 1]))
    def void(self, card: int, line: int, days: int) -> None:
        self.world.advance(days * DAY_MS)
        name, model = self.pick(card)
        line = max(len(model.lines) + 1 - line, 1)
        args = {"card": id_of(name), "line": line}
        if self.sent(model.shop.owner, "void", **args):
            model.void_visit(line)
        elif self.sent("bank", "void", **self.consented(model.holder, "void", **args)):
            model.void_payment(line)
        else:
            return
        assert model.may_move(self.world.time_ms)
        assert self.world.last.details == {"remaining": model.remaining}

    # ---- other cards

    @rule(card=CARDS, paid=MONEY, other=CARDS)
    def merge(self, card: int, paid: int, other: int) -> None:
        """Another card of the same holder is opened and gets the balance; a stranger's does not."""
        own, source = self.pick(card)
        shop = next(key for key, one in self.shops.items() if one is source.shop)
        name, target = self.next_name(), CardModel(source.holder, source.shop)
        args = self.world.opening(name, source.holder, paid, 1, "card", shop)
        if self.sent("bank", "open_card", **args):
            self.cards[name] = target
            target.pay(paid, 1, self.today(), self.due_ms())
        stranger, model = self.pick(other)
        if model.holder != source.holder:
            wrong = {"card": id_of(own), "into": id_of(stranger)}
            assert not self.sent(source.holder, "merge", **wrong)
        if self.sent(source.holder, "merge", card=id_of(own), into=id_of(name)):
            assert self.active(source)
            assert self.active(target)
            source.move_to(target, source.due_ms)

    @rule(card=CARDS)
    def transfer(self, card: int) -> None:
        own, source = self.pick(card)
        name = self.next_name()
        terms = {"card": id_of(own), "new_card": id_of(name), "holder_pub": self.world.key("eve")}
        args = self.consented("eve", "transfer_card", **terms)
        if self.sent(source.holder, "transfer_card", **args):
            assert self.active(source)
            self.cards[name] = CardModel("eve", source.shop)
            source.move_to(self.cards[name], source.due_ms)

    @rule(card=CARDS, by=st.sampled_from(["holder", "bank", "merchant"]))
    def lose(self, card: int, by: str) -> None:
        name, model = self.pick(card)
        sender = model.holder if by == "holder" else by
        if self.sent(sender, "report_loss", card=id_of(name), reason="gone"):
            assert by != "merchant"
            assert self.active(model)
            model.lost_ms = self.world.time_ms
            model.line("LOSS")

    @rule(card=CARDS, same=st.sampled_from([True, True, False]))
    def replace(self, card: int, same: bool) -> None:
        own, source = self.pick(card)
        name = self.next_name()
        terms = {"card": id_of(own), "new_card": id_of(name)}
        consent = self.consented(source.holder if same else "new key", "replace", **terms)
        if self.sent("bank", "replace", **consent):
            assert same
            assert not self.active(source)
            self.cards[name] = CardModel(source.holder, source.shop)
            source.move_to(self.cards[name], self.due_ms())

    @rule(card=CARDS, by=st.sampled_from(["holder", "bank", "merchant"]))
    def reactivate(self, card: int, by: str) -> None:
        name, model = self.pick(card)
        sender = model.holder if by == "holder" else by
        if self.sent(sender, "reactivate", card=id_of(name)):
            assert not model.closed
            assert by == "holder" or not model.lost_ms
            model.lost_ms, model.due_ms = 0, self.due_ms()
            model.line("REACTIVATE")

    @rule(limit=st.integers(1, 3), days=st.sampled_from([0, 6, 399, 401]))
    def expire(self, limit: int, days: int) -> None:
        self.world.advance(days * DAY_MS)
        states = {name: self.state_of(name) for name in self.cards}
        assert self.sent("bookkeeper", "expire", limit=limit)
        for name, before in states.items():
            after = self.state_of(name)
            if before != after:
                assert self.cards[name].shop.may_move()
            if before != after and after == "CLOSED":
                assert before == "EXPIRED"
                self.cards[name].lapse()
            elif before != after:
                assert not self.active(self.cards[name])
                self.cards[name].line("EXPIRE")

    def state_of(self, name: str) -> str:
        return str(self.world.ask("regulator", "card", card=id_of(name))["state"])

    # ---- the merchants' money

    @rule(amount=st.integers(1, 500), shop=SHOPS)
    def draw(self, amount: int, shop: str) -> None:
        one = self.shops[shop]
        args = {"merchant": id_of(shop), "order": id_of(self.next_name()), "amt": amount}
        if self.sent(one.owner, "draw", **args):
            assert shop == "pool"
            assert not one.frozen & {"PAYOUT", "ALL"}
            one.advanced += amount
            one.earnings += amount

    @rule(amount=st.integers(1, 500), shop=SHOPS)
    def repay(self, amount: int, shop: str) -> None:
        one = self.shops[shop]
        args = {"merchant": id_of(shop), "order": id_of(self.next_name()), "amt": amount}
        if self.sent(one.owner, "repay", **args):
            one.advanced -= amount
            one.earnings -= amount

    @rule(amount=st.integers(1, 300), shop=SHOPS)
    def cash_out(self, amount: int, shop: str) -> None:
        one = self.shops[shop]
        args = {"merchant": id_of(shop), "order": id_of(self.next_name()), "amt": amount}
        if self.sent(one.owner, "cash_out", **args):
            assert not one.frozen & {"PAYOUT", "ALL"}
            one.earnings -= amount
            one.cashed += amount

    @rule(limit=st.integers(1, 3), shop=SHOPS)
    def payout(self, limit: int, shop: str) -> None:
        one = self.shops[shop]
        if self.sent("bank", "payout", merchant=id_of(shop), limit=limit):
            assert not one.frozen & {"PAYOUT", "ALL"}
            assert self.world.last.details["released"] == self.released(one)

    # ---- supervision

    @rule(scope=SCOPES, on=st.booleans(), shop=SHOPS)
    def freeze(self, scope: str, on: bool, shop: str) -> None:
        frozen = self.shops[shop].frozen
        args: dict[str, Any] = {"merchant": id_of(shop), "scope": scope}
        if on:
            # The second regulator ratifies, so that no time passed makes it lapse.
            assert self.world.do("regulator", "freeze", **args, reason="r") == "OK"
            assert self.world.do("second regulator", "ratify_freeze", **args) == "OK"
            frozen.add(scope)
        else:
            code = self.world.by_two("unfreeze", **args)
            assert code == ("OK" if scope in frozen else "BAD_STATE")
            frozen.discard(scope)

    @precondition(lambda self: len(self.cards) > 7)
    @rule(shop=SHOPS)
    def wind_up(self, shop: str) -> None:
        one = self.shops[shop]
        if self.sent("regulator", "wind_up", merchant=id_of(shop), reason="r"):
            back = min(one.advanced, one.earnings)
            one.advanced -= back
            one.earnings -= back
            one.winding = True
            one.estate, one.estate_owed = one.escrow(self.cards), one.owed(self.cards)

    @precondition(lambda self: any(one.winding for one in self.shops.values()))
    @rule(limit=st.integers(1, 3), shop=SHOPS)
    def settle(self, limit: int, shop: str) -> None:
        one = self.shops[shop]
        states = {name: self.state_of(name) for name in self.cards}
        if not self.sent("bank", "settle_wind_up", merchant=id_of(shop), limit=limit):
            return
        assert one.winding
        details = self.world.last.details
        refunded = 0
        for name, model in self.cards.items():
            if model.shop is one and states[name] != "CLOSED" and self.state_of(name) == "CLOSED":
                refunded += model.wind_up()
        assert details["refunded"] == refunded
        assert details["released"] == self.released(one)

    def released(self, shop: Shop) -> int:
        """Let the model release what the contract has: cards whose held money is gone."""
        mine = [(name, card) for name, card in self.cards.items() if card.shop is shop]
        gone = [
            card
            for name, card in mine
            if not self.world.ask("regulator", "card", card=id_of(name))["held"]
        ]
        return sum(card.release() for card in gone)

    @rule(days=st.integers(1, 5))
    def wait(self, days: int) -> None:
        self.world.advance(days * DAY_MS)

    # ---- what must hold

    @invariant()
    def the_whole_state_is_sound(self) -> None:
        assert self.world.violations() == []

    @invariant()
    def cards_are_what_the_model_says(self) -> None:
        for name, model in self.cards.items():
            found = self.world.ask("regulator", "card", card=id_of(name))
            assert found["remaining"] == model.remaining, name
            assert found["seq"] == len(model.visits)
            assert found["consumed"] == sum(model.visits)
            assert found["earned"] == model.earned
            assert found["held"] == model.held
            assert found["refunded"] == model.refunded
            assert (found["state"] == "CLOSED") == model.closed
            assert found["paid_out"] <= found["earned"] <= found["paid"]

    @invariant()
    def all_the_money_is_somewhere(self) -> None:
        for shop, one in self.shops.items():
            found = self.world.ask("regulator", "merchant", merchant=id_of(shop))
            mine = [card for card in self.cards.values() if card.shop is one]
            cash = sum(card.cash for card in mine) - one.cashed
            assert found["escrow"] + found["held"] + found["earnings"] == cash
            assert found["advanced"] == one.advanced
            assert found["earnings"] == one.earnings
            if shop == "gym":
                held = found["paid"] - found["paid_out"] - found["refunded"]
                assert found["escrow"] + found["held"] == held
            if not one.winding:
                assert found["escrow"] * 10_000 >= found["custody_bps"] * found["outstanding"]


PrepaidMachine.TestCase.settings = settings(max_examples=40, stateful_step_count=40, deadline=None)
TestPrepaid = PrepaidMachine.TestCase
