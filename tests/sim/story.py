"""What clients ask for: real signed transactions about prepaid cards, good ones and bad ones.

The story knows what a client would know: which cards it asked for and which receipts it saw. It
makes what goes wrong in practice too: conflicting visits, wrong sequences, foreign senders, broken
signatures and seals, times that are over, and one body under two valid signatures.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from random import Random
from typing import Any

import coincurve
from coincurve._libsecp256k1 import ffi, lib

from contracts.prepaid.arguments import OpenCard, TopUp
from node.protocol.block import Receipt
from node.protocol.genesis import Genesis
from node.protocol.keys import CURVE_ORDER, PrivateKey
from node.protocol.sealing import seal_call
from node.protocol.ticket import sign_ticket
from node.protocol.transaction import (
    VALID_FOR_MS_MAX,
    Call,
    SealedCall,
    Transaction,
    parse_transaction,
    sign_transaction,
)
from tests.sim.world import CARD_CLASS, HOLDERS, ephemeral_of, key_of

TICKET_MS = 500_000
PAID_MAX = 50_000
MERCHANTS = ("gym", "cafe")
KINDS = {
    "consume": 40,
    "open_card": 12,
    "top_up": 6,
    "several": 6,
    "conflict": 6,
    "twins": 4,
    "enrol": 4,
    "refund": 3,
    "freeze": 2,
    "wrong_seq": 3,
    "too_much": 3,
    "bad_argument": 2,
    "no_contract": 1,
    "stranger": 2,
    "bad_signature": 2,
    "bad_seal": 2,
    "forged": 3,
    "expired": 2,
    "short_lived": 3,
    "distant": 2,
}

Wanted = tuple[str, str, dict[str, Any]]
"""Contract, action, arguments."""


@dataclass(frozen=True)
class Made:
    """A signed transaction, and what its maker knows of it. `hopeless`: no node may take it.

    `forgery` is a copy with a signature that does not count, which somebody sends ahead of it.
    """

    transaction: Transaction
    sender: str
    calls: tuple[Wanted, ...]
    hopeless: bool = False
    forgery: bytes = b""


@dataclass
class Merchant:
    """A merchant, and how far its admission has come as far as it knows."""

    id: bytes
    owner: str
    filed: bool = False
    admitted: bool = False


@dataclass
class Card:
    """A card as its holder remembers it."""

    id: bytes
    holder: str
    next_seq: int = 1


class Story:
    """Makes transactions; everything random comes from `chance`."""

    def __init__(self, genesis: Genesis, chance: Random) -> None:
        self._genesis = genesis
        self._chain = genesis.chain
        self._chance = chance
        self._merchants = [Merchant(chance.randbytes(16), owner) for owner in MERCHANTS]
        self._cards: list[Card] = []
        self._by_id: dict[bytes, Card] = {}
        self._frozen = False
        self._now_ms = 0

    def foundation(self, now_ms: int) -> list[Made]:
        """What must be booked before anybody can have a card; empty once it is."""
        self._now_ms = now_ms
        bank = key_of("bank").public_key
        made = []
        for merchant in self._merchants:
            if not merchant.filed:
                args = {"merchant": merchant.id, "name": merchant.owner, "custodian": bank}
                made.append(self._make(merchant.owner, ("prepaid", "file_merchant", args)))
            elif not merchant.admitted:
                admission = {"merchant": merchant.id, "class": CARD_CLASS}
                made.append(self._make("regulator", ("prepaid", "approve", admission)))
        return made

    def next(self, now_ms: int) -> list[Made]:
        """One or two transactions of a random kind."""
        self._now_ms = now_ms
        kind = self._chance.choices(list(KINDS), list(KINDS.values()))[0]
        made: Made | list[Made] = getattr(self, f"_{kind}")()
        return made if isinstance(made, list) else [made]

    def probe(self, now_ms: int) -> Made:
        """Something that every healthy network books."""
        self._now_ms = now_ms
        return self._enrol()

    def governance(self, now_ms: int, sender: str, action: str, args: dict[str, Any]) -> Made:
        """What an administrator wants of the kernel."""
        self._now_ms = now_ms
        return self._make(sender, ("kernel", action, args))

    def learn(self, made: Made, receipt: Receipt) -> None:
        """A client saw a receipt."""
        for _, action, args in made.calls:
            card = self._by_id.get(args.get("card", b""))
            merchant = next((m for m in self._merchants if m.id == args.get("merchant")), None)
            if receipt.code == "SEQ_GAP" and card is not None:
                card.next_seq = int(receipt.details["expected"])
            elif receipt.ok and action == "open_card" and card is not None:
                self._cards.append(card)
            elif receipt.ok and action == "refund" and card in self._cards:
                self._cards.remove(card)
            elif receipt.ok and action == "file_merchant" and merchant is not None:
                merchant.filed = True
            elif receipt.ok and action == "approve" and merchant is not None:
                merchant.admitted = True

    # ---- good ones

    def _consume(self) -> Made:
        if not self._cards:
            return self._open_card()
        card = self._chance.choice(self._cards)
        return self._make(card.holder, self._visit(card))

    def _open_card(self) -> Made:
        holder = f"holder{self._chance.randrange(HOLDERS)}"
        merchant = self._chance.choice(self._merchants)
        card = Card(self._chance.randbytes(16), holder)
        self._by_id[card.id] = card
        terms = {
            "card": card.id,
            "merchant": merchant.id,
            "holder_pub": key_of(holder).public_key,
            "class": CARD_CLASS,
            "paid": self._chance.randint(0, PAID_MAX),
            "bonus": self._chance.randint(0, PAID_MAX // 10),
            "ticket_until": self._now_ms + TICKET_MS,
        }
        whole = OpenCard.model_validate({**terms, "ticket": bytes(64)}).terms()
        return self._make(
            "bank", ("prepaid", "open_card", self._consented(holder, "open_card", whole))
        )

    def _top_up(self) -> Made:
        if not self._cards:
            return self._open_card()
        card = self._chance.choice(self._cards)
        terms = {
            "card": card.id,
            "order": self._chance.randbytes(16),
            "paid": self._chance.randint(1, PAID_MAX),
            "bonus": 0,
            "ticket_until": self._now_ms + TICKET_MS,
        }
        whole = TopUp.model_validate({**terms, "ticket": bytes(64)}).terms()
        return self._make(
            "bank", ("prepaid", "top_up", self._consented(card.holder, "top_up", whole))
        )

    def _several(self) -> Made:
        """Two to four visits in one transaction, all or nothing."""
        if not self._cards:
            return self._open_card()
        card = self._chance.choice(self._cards)
        visits = [self._visit(card) for _ in range(self._chance.randint(2, 4))]
        return self._make(card.holder, *visits)

    def _enrol(self) -> Made:
        key = PrivateKey(self._chance.randbytes(31) + b"\x01").public_key
        return self._make("bank", ("kernel", "enrol", {"public_key": key, "roles": ["holder"]}))

    def _refund(self) -> Made:
        if not self._cards:
            return self._open_card()
        card = self._chance.choice(self._cards)
        reason = self._chance.choice(("COOLING_OFF", "ORDINARY"))
        return self._make(card.holder, ("prepaid", "refund", {"card": card.id, "reason": reason}))

    def _freeze(self) -> list[Made]:
        """A stop by two regulators, or the end of one; what is refused is refused everywhere."""
        self._frozen = not self._frozen
        args = {"merchant": self._merchants[0].id, "scope": "PAYOUT"}
        stated = {**args, "reason": "inspection"}
        if self._frozen:
            return [
                self._make("regulator", ("prepaid", "freeze", stated)),
                self._make("inspector", ("prepaid", "ratify_freeze", args)),
            ]
        proposal = {"proposal": self._chance.randbytes(16)}
        return [
            self._make("regulator", ("prepaid", "unfreeze", {**stated, **proposal})),
            self._make("inspector", ("kernel", "approve", proposal)),
        ]

    def _short_lived(self) -> Made:
        return self._make("bank", self._enrolment(), lifetime_ms=self._chance.randint(200, 2_500))

    def _distant(self) -> Made:
        edge_ms = VALID_FOR_MS_MAX + self._chance.randint(-1_000, 1_000)
        return self._make("bank", self._enrolment(), lifetime_ms=edge_ms)

    def _twins(self) -> list[Made]:
        """One body under two valid signatures: two contents, one id, to be booked once."""
        first = self._consume()
        transaction = first.transaction
        signature = _sign_otherwise(
            key_of(first.sender), transaction.id, self._chance.randbytes(32)
        )
        return [first, replace(first, transaction=self._resigned(transaction, signature))]

    def _conflict(self) -> list[Made]:
        """Two different visits under one sequence: one of them can be booked."""
        if not self._cards:
            return [self._open_card()]
        card = self._chance.choice(self._cards)
        contract, action, args = self._visit(card)
        other = (contract, action, {**args, "amt": args["amt"] + 1})
        return [self._make(card.holder, (contract, action, args)), self._make(card.holder, other)]

    # ---- bad ones

    def _wrong_seq(self) -> Made:
        if not self._cards:
            return self._open_card()
        card = self._chance.choice(self._cards)
        args = {"card": card.id, "amt": 1, "seq": card.next_seq + 7}
        return self._make(card.holder, ("prepaid", "consume", args))

    def _too_much(self) -> Made:
        if not self._cards:
            return self._open_card()
        card = self._chance.choice(self._cards)
        args = {"card": card.id, "amt": 1 << 40, "seq": card.next_seq}
        return self._make(card.holder, ("prepaid", "consume", args))

    def _bad_argument(self) -> Made:
        args = {"card": self._chance.randbytes(16), "amt": -1, "seq": 1}
        return self._make("holder0", ("prepaid", "consume", args))

    def _no_contract(self) -> Made:
        return self._make("holder0", ("lottery", "play", {}))

    def _stranger(self) -> Made:
        return self._make("stranger", self._enrolment())

    def _bad_signature(self) -> Made:
        """The signature of another body."""
        made, other = self._enrol(), self._enrol()
        wrong = self._resigned(made.transaction, other.transaction.signature)
        return replace(made, transaction=wrong, hopeless=True)

    def _forged(self) -> Made:
        """Somebody spoils a good transaction: with another signature, or its high-S twin."""
        made = self._consume()
        signature = made.transaction.signature
        if self._chance.random() < 0.5:
            high_s = CURVE_ORDER - int.from_bytes(signature[32:], "big")
            spoilt = signature[:32] + high_s.to_bytes(32, "big")
        else:
            spoilt = self._enrol().transaction.signature
        return replace(made, forgery=self._resigned(made.transaction, spoilt).raw)

    def _bad_seal(self) -> Made:
        """A seal that was made for another transaction of the same sender."""
        key = key_of("bank")
        nonce, valid_until = self._chance.randbytes(16), self._now_ms + 60_000
        sealed = self._seal("bank", self._chance.randbytes(16), valid_until, 0, self._enrolment())
        transaction = sign_transaction(self._chain, key, nonce, valid_until, (sealed,))
        return Made(transaction, "bank", (), hopeless=True)

    def _expired(self) -> Made:
        made = self._make("bank", self._enrolment(), lifetime_ms=-10_000)
        return replace(made, hopeless=True)

    # ---- the craft

    def _visit(self, card: Card) -> Wanted:
        card.next_seq += 1
        args = {"card": card.id, "amt": self._chance.randint(1, 500), "seq": card.next_seq - 1}
        return "prepaid", "consume", args

    def _enrolment(self) -> Wanted:
        return self._enrol().calls[0]

    def _consented(self, holder: str, action: str, terms: dict[str, Any]) -> dict[str, Any]:
        ticket = sign_ticket(self._chain, key_of(holder), "prepaid", action, terms)
        return {**terms, "ticket": ticket}

    def _make(self, sender: str, *calls: Wanted, lifetime_ms: int | None = None) -> Made:
        if lifetime_ms is None:
            lifetime_ms = self._chance.randint(VALID_FOR_MS_MAX // 4, VALID_FOR_MS_MAX - 10_000)
        valid_until = self._now_ms + lifetime_ms
        nonce = self._chance.randbytes(16)
        wire: tuple[Call | SealedCall, ...] = tuple(
            self._seal(sender, nonce, valid_until, index, call)
            if self._chance.random() < 0.5
            else Call(*call)
            for index, call in enumerate(calls)
        )
        transaction = sign_transaction(self._chain, key_of(sender), nonce, valid_until, wire)
        return Made(transaction, sender, calls)

    def _seal(
        self, sender: str, nonce: bytes, valid_until: int, index: int, call: Wanted
    ) -> SealedCall:
        return seal_call(
            self._chain,
            self._genesis.epoch_key,
            key_of(sender).public_key,
            nonce,
            valid_until,
            index,
            Call(*call),
            ephemeral_of(sender),
        )

    def _resigned(self, transaction: Transaction, signature: bytes) -> Transaction:
        return parse_transaction(self._chain, transaction.raw[: -len(signature)] + signature)


def _sign_otherwise(key: PrivateKey, digest: bytes, entropy: bytes) -> bytes:
    """A valid low-S signature that is not the RFC 6979 one."""
    signature = ffi.new("secp256k1_ecdsa_signature *")
    context = coincurve.GLOBAL_CONTEXT.ctx
    if not lib.secp256k1_ecdsa_sign(context, signature, digest, key.secret, ffi.NULL, entropy):
        raise AssertionError("libsecp256k1 could not sign with a valid key")
    output = ffi.new("unsigned char[64]")
    lib.secp256k1_ecdsa_signature_serialize_compact(context, output, signature)
    return bytes(ffi.buffer(output, 64))
