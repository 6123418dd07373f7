"""What is signed around a payment, term by term, and how the contract will look at it.

A terminal signs its consent to be trusted, an approval, or a no; the pay service signs its word
for one charge; a headset signs what it asks the pay service. Each is a ticket over all of its
terms. Who signs with which key is not decided here.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from node.protocol.domain import Chain
from node.protocol.encoding import Value, encode, sha256
from node.protocol.ticket import ticket_digest

CONTRACT = "payments"
ID_BYTES = 16
# What a terminal signs; the names are the contract's.
BIND, APPROVE, REJECT = "bind_terminal", "approve", "reject"
# What the pay service signs, and what a headset signs for it (which the contract never sees).
ASSERT, ATTEMPT = "assert", "password"


class Order(NamedTuple):
    """A payment as headset, page and channel speak of it; amounts in minor units."""

    intent: bytes
    order_hash: bytes
    payee: bytes
    amt: int
    cur: str
    channel: str


def order_hash(order: Mapping[str, Value]) -> bytes:
    """Binds what was ordered, 32 bytes."""
    return sha256(encode(["groat/order/1", dict(order)]))


def binding(
    user: bytes, terminal_pub: bytes, kind: str, challenge: bytes, until_ms: int
) -> dict[str, Value]:
    """The terms under which a terminal lets itself be trusted (R4.10)."""
    return {
        "user": user,
        "terminal_pub": terminal_pub,
        "kind": kind,
        "challenge": challenge,
        "ticket_until": until_ms,
    }


def approval(order: Order, page_hash: bytes, nonce: bytes, expiry_ms: int) -> dict[str, Value]:
    """The terms of an approval: all that was shown (R4.11, dynamic linking)."""
    return {
        "intent": order.intent,
        "order_hash": order.order_hash,
        "page_hash": page_hash,
        "amt": order.amt,
        "cur": order.cur,
        "payee": order.payee,
        "channel": order.channel,
        "nonce": nonce,
        "expiry": expiry_ms,
    }


def refusal(intent: bytes, nonce: bytes) -> dict[str, Value]:
    """The terms of a terminal's no."""
    return {"intent": intent, "nonce": nonce}


def assertion(user: bytes, order: Order, expiry_ms: int) -> dict[str, Value]:
    """The pay service's word that the password was right, for one charge (R4.15)."""
    return {
        "user": user,
        "intent": order.intent,
        "amt": order.amt,
        "cur": order.cur,
        "payee": order.payee,
        "channel": order.channel,
        "expiry": expiry_ms,
    }


def digest(chain: Chain, statement: str, terms: dict[str, Value]) -> bytes:
    """The 32 bytes that are signed."""
    return ticket_digest(chain, CONTRACT, statement, terms)
