"""A second opinion on prepaid cards: lots that are never dropped, and fractions instead of floors.

Written apart from the contract, on purpose in another way; the random machine compares the two.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from fractions import Fraction


@dataclass(eq=False)
class Lot:
    """One payment, and the UTC+8 day it was made on. Compared by identity."""

    paid: int
    bonus: int
    day: int
    used: int = 0

    @property
    def left(self) -> int:
        """What can still be used."""
        return self.paid + self.bonus - self.used

    def part(self, used: int) -> int:
        """The merchant's part of so much use, by fractions."""
        return int(Fraction(self.paid * used, self.paid + self.bonus))

    @property
    def owed(self) -> int:
        """What is still the consumer's."""
        return self.paid - self.part(self.used)


class Shop:
    """A merchant: who it is, what is stopped, what it got."""

    def __init__(self, owner: str) -> None:
        self.owner = owner
        self.frozen: set[str] = set()
        self.winding = False
        self.advanced = 0
        self.earnings = 0
        self.cashed = 0
        self.estate = 0
        self.estate_owed = 0

    def may_move(self) -> bool:
        """Whether balances move at all."""
        return "ALL" not in self.frozen and not self.winding

    def may_issue(self) -> bool:
        """Whether it may take money in."""
        return self.may_move() and "ISSUE" not in self.frozen

    def owed(self, cards: Mapping[str, CardModel]) -> int:
        """The consumers' money."""
        return sum(lot.owed for card in cards.values() if card.shop is self for lot in card.lots)

    def escrow(self, cards: Mapping[str, CardModel]) -> int:
        """What of it is there."""
        return self.owed(cards) - self.advanced

    def pay_back(self, amount: int) -> None:
        """What was advanced comes back first."""
        back = min(amount, self.advanced, self.earnings)
        self.advanced -= back
        self.earnings -= back


@dataclass
class CardModel:
    """What a card should be. `lines` has each line's kind, its visit, and its parts of lots."""

    holder: str
    shop: Shop
    due_ms: int = 0
    lost_ms: int = 0
    closed: bool = False
    lots: list[Lot] = field(default_factory=list)
    visits: list[int] = field(default_factory=list)
    lines: list[tuple[str, int, list[tuple[Lot, int]]]] = field(default_factory=list)
    earned: int = 0
    held: int = 0
    refunded: int = 0
    cash: int = 0

    @property
    def remaining(self) -> int:
        """What is left of all lots."""
        return sum(lot.left for lot in self.lots)

    def active(self, now_ms: int) -> bool:
        """Whether it may be used, as far as the card goes."""
        return not self.closed and not self.lost_ms and now_ms < self.due_ms

    def may_move(self, now_ms: int) -> bool:
        """Whether this balance moves."""
        return self.active(now_ms) and self.shop.may_move()

    def line(self, kind: str, slices: list[tuple[Lot, int]] | None = None) -> None:
        """One line more on the statement."""
        self.lines.append((kind, len(self.visits) - 1, slices or []))

    # ---- payments and visits

    def pay(self, paid: int, bonus: int, day: int, due_ms: int) -> None:
        """One lot more, and a later end."""
        self.cash += paid
        self.due_ms = max(self.due_ms, due_ms)
        made = []
        if paid + bonus:
            self.lots.append(Lot(paid, bonus, day))
            made = [(self.lots[-1], paid + bonus)]
        self.line("PAY", made)

    def spend(self, amount: int) -> None:
        """Use lots in order."""
        self.visits.append(amount)
        slices = []
        earned = 0
        for lot in self.lots:
            step = min(amount, lot.left)
            if step:
                earned += lot.part(lot.used + step) - lot.part(lot.used)
                lot.used += step
                amount -= step
                slices.append((lot, step))
        self.line("VISIT", slices)
        self.earn(earned)

    def earn(self, amount: int) -> None:
        """The merchant earned so much: it settles advances, is held, or is paid."""
        self.earned += amount
        settled = min(amount, self.shop.advanced)
        self.shop.advanced -= settled
        self.held += amount - settled
        if not self.shop.frozen & {"PAYOUT", "ALL"}:
            self.release()

    def release(self) -> int:
        """The merchant gets what is held."""
        released, self.held = self.held, 0
        self.shop.earnings += released
        return released

    # ---- money back

    def refund(self, reason: str, today: int) -> int:
        """Cancel lots; the money given back."""
        returned = [lot for lot in self.lots if lot.left]
        if reason == "COOLING_OFF":
            returned = [lot for lot in returned if today <= lot.day + 7]
        owed = sum(lot.owed for lot in returned)
        money = owed
        if reason == "ORDINARY":
            money = sum(max(lot.paid - lot.used, 0) for lot in returned)
        self.shop.pay_back(money)
        self.give(money, returned)
        self.earn(owed - money)
        self.closed = self.remaining == 0
        self.line("REFUND")
        return money

    def give(self, money: int, returned: list[Lot]) -> None:
        """Money out at the bank, lots gone."""
        self.refunded += money
        self.cash -= money
        self.lots = [lot for lot in self.lots if lot not in returned]

    def wind_up(self) -> int:
        """This holder's part of the estate."""
        owed = sum(lot.owed for lot in self.lots)
        money = owed
        if self.shop.estate_owed:
            money = int(Fraction(owed * self.shop.estate, self.shop.estate_owed))
        self.give(money, list(self.lots))
        self.closed = True
        return money

    def lapse(self) -> None:
        """What nobody claimed is earned."""
        owed = sum(lot.owed for lot in self.lots)
        self.lots = []
        self.closed = True
        self.earn(owed)
        self.line("LAPSE")

    # ---- undoing

    def void_visit(self, number: int) -> None:
        """Give the parts of a visit back."""
        kind, visit, slices = self.lines[number - 1]
        assert kind == "VISIT"
        unearned = 0
        for lot, amount in slices:
            assert lot in self.lots
            unearned += lot.part(lot.used) - lot.part(lot.used - amount)
            lot.used -= amount
        self.visits[visit] = 0
        self.earned -= unearned
        from_held = min(self.held, unearned)
        self.held -= from_held
        self.shop.earnings -= unearned - from_held
        self.lines[number - 1] = ("VOIDED", 0, [])
        self.line("VOID")

    def void_payment(self, number: int) -> None:
        """Give a payment back of which nothing was used."""
        kind, _, slices = self.lines[number - 1]
        assert kind == "PAY"
        ((lot, amount),) = slices
        assert (lot.used, lot.left) == (0, amount)
        self.shop.pay_back(lot.paid)
        self.give(lot.paid, [lot])
        self.lines[number - 1] = ("VOIDED", 0, [])
        self.line("VOID")

    # ---- moving on

    def move_to(self, target: CardModel, due_ms: int) -> None:
        """All lots to another card, each as it is."""
        for lot in self.lots:
            if lot.left:
                target.lots.append(Lot(lot.paid, lot.bonus, lot.day, lot.used))
        target.due_ms = max(target.due_ms, due_ms)
        target.line("MOVE")
        self.lots = []
        self.closed = True
        self.line("MOVE")
