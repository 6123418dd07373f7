"""The customers: they compete for the next seq of shared cards, through whichever node answers.

Each remembers what it was told and nothing else. A time-out is no answer: the customer goes on with
another transaction, and the one without an answer may still come true.
"""

from __future__ import annotations

import asyncio
import math
from contextlib import suppress
from random import Random

from client.errors import ClientError
from client.node_api import NodeApi
from client.outcomes import Json, Outcome
from node.protocol.errors import Refused
from node.protocol.transaction import Call, Transaction
from tests.network.shop import Customer as Holder
from tests.network.shop import Shop
from tests.siege.cards import FAR_SEQ, Visit
from tests.siege.field import Field
from tests.siege.history import CardHistory, Deed, History, Reading
from tests.siege.linear import Operation

CARD_CLASS = "usd-replay"
FACE = 1_000_000_000_000
OPERATIONS_PER_CARD = 250
LIFETIME_MS = 30_000
PATIENCE_S = (1.0, 8.0)
REST_S_MAX = 0.5
ATTEMPT_S = 2.0
# Of what a customer does: visits, looks through consensus, and readings at one node.
VISIT, LOOK = 0.7, 0.85


class Desk:
    """The shop's desk: opens cards, and a new one wherever enough was done with the old."""

    def __init__(self, shop: Shop, history: History, cards: int) -> None:
        self._shop = shop
        self._history = history
        self._count = cards
        self._opening = asyncio.Lock()
        self._open: list[tuple[Holder, CardHistory]] = []
        self._last_amount = 0

    async def open(self) -> None:
        """The first cards."""
        await self._shop.open()
        for _ in range(self._count):
            self._open.append(await self._new_card())

    async def pick(self, chance: Random) -> tuple[Holder, CardHistory]:
        """A card to do something with."""
        at = chance.randrange(self._count)
        if len(self._open[at][1].deeds) >= OPERATIONS_PER_CARD and not self._opening.locked():
            async with self._opening:
                with suppress(ClientError):  # in the midst of it the old one must do
                    self._open[at] = await self._new_card()
        return self._open[at]

    def next_amount(self) -> int:
        """An amount that no other visit has."""
        self._last_amount += 1
        return self._last_amount

    async def settle(self) -> None:
        """One more visit to every open card, which must be acknowledged."""
        for holder, _ in self._open:
            args = {"card": holder.card, "amt": 1, "seq": FAR_SEQ}
            outcome = await self._shop.call(holder.key, "consume", args)
            assert outcome.code == "SEQ_GAP", outcome

    async def _new_card(self) -> tuple[Holder, CardHistory]:
        holder = await self._shop.customer()
        return holder, self._history.add_card(holder.card, FACE)


class Customer:
    """One client with a session and a verified head of its own."""

    def __init__(self, field: Field, desk: Desk, history: History, seed: str, began: float) -> None:
        """`began` is when the siege did, by the loop's clock."""
        self._chance = Random(seed)
        urls = list(field.urls)
        self._chance.shuffle(urls)
        self._names = dict(zip(field.urls, field.names, strict=True))
        self._api = NodeApi(field.folder.genesis, urls, attempt_seconds=ATTEMPT_S)
        self._desk, self._history = desk, history
        self._seqs: dict[bytes, int] = {}
        self._began = began

    async def live(self, stopping: asyncio.Event) -> None:
        """Do one thing after another until told to stop."""
        async with self._api:
            while not stopping.is_set():
                holder, card = await self._desk.pick(self._chance)
                kind = self._chance.random()
                if kind < LOOK:
                    await self._visit(holder, card, look=kind >= VISIT)
                else:
                    await self._read(holder, card)
                await asyncio.sleep(self._chance.uniform(0, REST_S_MAX))

    def _now(self) -> float:
        return asyncio.get_running_loop().time() - self._began

    async def _visit(self, holder: Holder, card: CardHistory, *, look: bool) -> None:
        seq = FAR_SEQ if look else self._seqs.get(holder.card, 0) + 1
        amount = self._desk.next_amount()
        call = Call("prepaid", "consume", {"card": holder.card, "amt": amount, "seq": seq})
        sealed = self._chance.random() < 0.5
        try:
            transaction = await self._api.build(
                holder.key, [call], sealed=sealed, valid_for_ms=LIFETIME_MS
            )
        except ClientError:
            return  # nobody says which key to seal to: nothing was sent
        invoked = self._now()
        outcome = await self._submit(transaction)
        returned = self._now()
        if outcome is None:
            deed = Deed(transaction.id, Operation(Visit(seq, amount), invoked, math.inf), None)
            if not look:  # a look without an answer says nothing at all
                self._history.add_deed(card, deed)
            return
        details = await self._details(transaction, holder)
        visit = Visit(seq, amount, outcome.code, *_said(details, outcome.code))
        self._learn(holder.card, visit)
        told = (outcome.height or 0, str(outcome.code))
        deed = Deed(transaction.id, Operation(visit, invoked, returned), told)
        self._history.add_deed(card, deed)

    async def _submit(self, transaction: Transaction) -> Outcome | None:
        """The final outcome, or None where nobody can say."""
        patience = self._chance.uniform(*PATIENCE_S)
        try:
            outcome = await self._api.submit(transaction, timeout_seconds=patience)
        except (ClientError, Refused):
            return None
        return outcome if outcome.final else None

    async def _details(self, transaction: Transaction, holder: Holder) -> Json:
        """What the receipt says, where it can be had at once."""
        try:
            return (await self._api.verified.outcome(transaction.id, viewer=holder.key)).details
        except ClientError:
            return {}

    def _learn(self, card: bytes, visit: Visit) -> None:
        known = self._seqs.get(card, 0)
        if visit.code == "OK":
            known = visit.seq
        elif visit.expected is not None:
            known = visit.expected - 1
        elif visit.code in ("IDEM_CONFLICT", "SEQ_STALE"):
            known = visit.seq
        self._seqs[card] = known

    async def _read(self, holder: Holder, card: CardHistory) -> None:
        url = self._chance.choice(self._api.connection.urls)
        invoked, args = self._now(), {"card": holder.card.hex()}
        try:
            answer = await self._api.query("prepaid", "card", args, viewer=holder.key, url=url)
        except ClientError:
            return
        result = answer["result"]
        reading = Reading(
            self._names[url],
            int(answer["height"]),
            int(result["seq"]),
            int(result["remaining"]),
            invoked,
            self._now(),
        )
        self._history.add_reading(card, reading)


def _said(details: Json, code: str | None) -> tuple[int | None, int | None]:
    """What a receipt says is left after a visit, and which seq would have been right."""
    left = details.get("remaining") if code == "OK" else None
    expected = details.get("expected") if code == "SEQ_GAP" else None
    return (
        None if left is None else int(left),
        None if expected is None else int(expected),
    )
