"""What of a log remains to be booked, in which order, and what became of each row. Pure.

Rows of one card go out in file order, some at a time; cards take turns by themselves. A purchase
has the number (`seq`) that the card's counter will have after it; the contract books each number
once, so that sending a row again, in whatever doubt, never books it twice. A row of zero cents is
refused by the contract and uses no number; it is sent all the same.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from typing import NamedTuple

import msgspec

from _replay.log import Log, Purchase
from node.protocol.errors import Misconfigured

PER_CARD_MAX = 50
BOOKED = "OK"
REFUSED_ZERO = "BAD_ARG"
OUT_OF_ORDER = "SEQ_GAP"


class Row(NamedTuple):
    """A purchase on its way: its place in the log, its card's place, and the number it will use."""

    place: int
    card: int
    purchase: Purchase
    seq: int


class Fault(NamedTuple):
    """A row with an outcome that it should not have."""

    purchase: Purchase
    code: str


class _Card(msgspec.Struct):
    """One card's rows [start, stop) of the log; `next` is the first that was not taken yet."""

    customer: str
    start: int
    stop: int
    next: int
    in_flight: int = 0
    rewind: int | None = None
    queued: bool = False
    stuck: bool = False


class Plan:
    """The way of all rows of a log to their books."""

    def __init__(self, log: Log, booked: Mapping[str, int], per_card_max: int = PER_CARD_MAX):
        """`booked` has the last number used of each customer's card; 0 where there is none."""
        self.rows: list[Row] = []
        self.refused: list[Purchase] = []
        self.faults: list[Fault] = []
        self.gaps = 0
        self.settled = 0
        self._per_card_max = per_card_max
        self._in_flight = 0
        self._cards: list[_Card] = []
        self._done = bytearray(len(log.purchases))
        for purchase in log.purchases:
            self._add(purchase, booked)
        self._check_not_ahead(booked)
        self.found_booked = self.settled
        for card in self._cards:
            card.queued = self._next_open(card) is not None
        self._ready = deque(i for i, card in enumerate(self._cards) if card.queued)

    @property
    def done(self) -> bool:
        """Whether nothing is left to do, but for cards that a fault has stopped."""
        return not self._ready and self._in_flight == 0

    @property
    def purchases_of(self) -> dict[str, int]:
        """How many numbers each customer's card must have used in the end."""
        return {card.customer: self._last_seq(card) for card in self._cards}

    def customer(self, row: Row) -> str:
        """Whose row it is."""
        return row.purchase.customer

    def take(self, count: int) -> list[Row]:
        """Up to `count` rows to send now, those of a card in order; empty if none may go yet."""
        taken: list[Row] = []
        while self._ready and len(taken) < count:
            card = self._cards[self._ready[0]]
            row = self._next_open(card)
            waits = card.stuck or card.rewind is not None or card.in_flight >= self._per_card_max
            if row is None or waits:
                self._ready.popleft()
                card.queued = False
                continue
            card.next = row.place + 1
            card.in_flight += 1
            self._in_flight += 1
            taken.append(row)
        return taken

    def settle(self, row: Row, code: str) -> None:
        """The row stands in a final block with this code; tells what follows from that."""
        if code == BOOKED and row.purchase.cents:
            self._finish(row)
        elif code == REFUSED_ZERO and not row.purchase.cents:
            self.refused.append(row.purchase)
            self._finish(row)
        elif code == OUT_OF_ORDER:
            self.gaps += 1
            self._repeat(row)
        else:
            self.faults.append(Fault(row.purchase, code))
            self._cards[row.card].stuck = True
        self._land(row)

    def give_back(self, row: Row) -> None:
        """The row was taken and will never be final: it must be signed and sent again."""
        self._repeat(row)
        self._land(row)

    # ---- inside

    def _add(self, purchase: Purchase, booked: Mapping[str, int]) -> None:
        place = len(self.rows)
        if not self._cards or self._cards[-1].customer != purchase.customer:
            self._cards.append(_Card(purchase.customer, place, place, place))
        card = self._cards[-1]
        seq = self._last_seq(card) + 1
        self.rows.append(Row(place, len(self._cards) - 1, purchase, seq))
        card.stop = place + 1
        if purchase.cents and seq <= booked.get(purchase.customer, 0):
            self._finish(self.rows[place])

    def _last_seq(self, card: _Card) -> int:
        if card.start == card.stop:
            return 0
        last = self.rows[card.stop - 1]
        return last.seq if last.purchase.cents else last.seq - 1

    def _check_not_ahead(self, booked: Mapping[str, int]) -> None:
        for customer, due in self.purchases_of.items():
            found = booked.get(customer, 0)
            if found > due:
                raise Misconfigured(
                    "OTHER_LOG",
                    f"the card of customer {customer} has {found} purchases, the log {due}: "
                    "this network replayed another log; use another --dir",
                )

    def _next_open(self, card: _Card) -> Row | None:
        while card.next < card.stop and self._done[card.next]:
            card.next += 1
        return self.rows[card.next] if card.next < card.stop else None

    def _finish(self, row: Row) -> None:
        if not self._done[row.place]:
            self._done[row.place] = 1
            self.settled += 1

    def _repeat(self, row: Row) -> None:
        card = self._cards[row.card]
        card.rewind = row.place if card.rewind is None else min(card.rewind, row.place)

    def _land(self, row: Row) -> None:
        """One row less under way. A card goes back only when none of its rows is: in order."""
        card = self._cards[row.card]
        card.in_flight -= 1
        self._in_flight -= 1
        if card.rewind is not None:
            if card.in_flight:
                return
            card.next, card.rewind = card.rewind, None
        if not card.queued and not card.stuck and self._next_open(card) is not None:
            card.queued = True
            self._ready.appendleft(row.card)
