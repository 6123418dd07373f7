"""A merchant with customers, as the network tests need them: real calls, real keys, known sums."""

from __future__ import annotations

import asyncio
import secrets
import time
from collections.abc import Mapping
from dataclasses import dataclass, field

from client.errors import ClientError, EpochEnded
from client.node_api import NodeApi
from client.outcomes import Outcome
from node.protocol.keys import PrivateKey
from node.protocol.ticket import sign_ticket
from node.protocol.transaction import Call, Transaction

CLASS = "cny-named"
PAID = 300_000
BONUS = 100_000
VISIT = 100
TICKET_MS = 60_000
SETTLE_SECONDS = 30.0


@dataclass
class Customer:
    """A card, its holder's key, and how many visits the network acknowledged as final."""

    key: PrivateKey
    card: bytes
    acknowledged: int = 0


@dataclass
class Shop:
    """Sends transactions of one merchant's story and remembers what was acknowledged."""

    api: NodeApi
    bank: PrivateKey
    merchant: PrivateKey
    regulator: PrivateKey
    card_class: str = CLASS
    paid: int = PAID
    bonus: int = BONUS
    identity: bytes = field(default_factory=lambda: secrets.token_bytes(16))

    async def call(
        self, key: PrivateKey, action: str, args: Mapping[str, object], *, sealed: bool = True
    ) -> Outcome:
        """One call, final: sent again until the network gives an answer."""
        calls = [Call("prepaid", action, dict(args))]
        transaction: Transaction | None = None
        deadline = time.monotonic() + SETTLE_SECONDS
        while True:
            try:
                if transaction is None:
                    transaction = await self.api.build(key, calls, sealed=sealed)
                outcome = await self.api.submit(transaction, timeout_seconds=SETTLE_SECONDS)
                if outcome.final:
                    return outcome
                outcome.require()
            except EpochEnded:
                transaction = None
            except ClientError:
                if time.monotonic() > deadline:
                    raise
                await asyncio.sleep(0.2)

    async def open(self) -> None:
        """File the merchant and let the regulator approve it."""
        filing = {"merchant": self.identity, "name": "Gym", "custodian": self.bank.public_key}
        (await self.call(self.merchant, "file_merchant", filing)).require()
        approval = {"merchant": self.identity, "class": self.card_class}
        (await self.call(self.regulator, "approve", approval)).require()

    async def customer(self) -> Customer:
        """A new holder with a card: of ¥3,000 and ¥1,000 bonus unless the shop says otherwise."""
        one = Customer(PrivateKey.generate(), secrets.token_bytes(16))
        args: dict[str, object] = {
            "card": one.card,
            "merchant": self.identity,
            "holder_pub": one.key.public_key,
            "class": self.card_class,
            "paid": self.paid,
            "bonus": self.bonus,
            "ticket_until": time.time_ns() // 1_000_000 + TICKET_MS,
        }
        args["ticket"] = sign_ticket(self.api.chain, one.key, "prepaid", "open_card", dict(args))  # type: ignore[arg-type]
        (await self.call(self.bank, "open_card", args)).require()
        return one

    async def visit(self, one: Customer, *, sealed: bool = True) -> Outcome:
        """The customer's next visit; acknowledged once it is final."""
        args = {"card": one.card, "amt": VISIT, "seq": one.acknowledged + 1}
        outcome = (await self.call(one.key, "consume", args, sealed=sealed)).require()
        one.acknowledged += 1
        return outcome

    async def remaining(self, one: Customer, url: str) -> int:
        """What one node says is left on the card."""
        answer = await self.api.query(
            "prepaid", "card", {"card": one.card.hex()}, viewer=one.key, url=url
        )
        return int(answer["result"]["remaining"])


async def agreed(
    api: NodeApi, *, nodes: int, at_least: int = 0, seconds: float = SETTLE_SECONDS
) -> tuple[int, str]:
    """Wait until `nodes` nodes have the same head, of `at_least` this height: height and root."""
    deadline = time.monotonic() + seconds
    while True:
        answers = await api.statuses()
        heads = [
            (int(answer["height"]), str(answer["state_root"]))
            for answer in answers.values()
            if isinstance(answer, dict)
        ]
        if len(heads) >= nodes and len(set(heads)) == 1 and heads[0][0] >= at_least:
            return heads[0]
        assert time.monotonic() < deadline, f"no agreement: {answers}"
        await asyncio.sleep(0.1)
