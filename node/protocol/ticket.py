"""Tickets: a second party's consent to one action, carried inside the arguments of a transaction.

The signature covers the chain, the contract, the action and all terms, which include a nonce or a
sequence and a time to live; it is worthless for anything else. Which terms a ticket must name, and
that it is used once, is the contract's rule.
"""

from __future__ import annotations

from node.protocol import es256
from node.protocol.domain import Chain
from node.protocol.encoding import Value, encode
from node.protocol.keys import PrivateKey, is_valid


def ticket_digest(chain: Chain, contract: str, action: str, terms: dict[str, Value]) -> bytes:
    """What the consenting party signs, 32 bytes."""
    return chain.digest("ticket", encode([contract, action, terms]))


def sign_ticket(
    chain: Chain, key: PrivateKey, contract: str, action: str, terms: dict[str, Value]
) -> bytes:
    """The 64-byte signature of the consenting party's key."""
    return key.sign(ticket_digest(chain, contract, action, terms))


def ticket_valid(
    chain: Chain,
    public_key: bytes,
    contract: str,
    action: str,
    terms: dict[str, Value],
    signature: bytes,
) -> bool:
    """Whether `public_key` consented to exactly these terms."""
    return is_valid(public_key, ticket_digest(chain, contract, action, terms), signature)


def browser_ticket_valid(
    chain: Chain,
    public_key: bytes,
    contract: str,
    action: str,
    terms: dict[str, Value],
    signature: bytes,
) -> bool:
    """The same for a browser's P-256 key, which signs the 32-byte digest as its message."""
    return es256.is_valid(public_key, ticket_digest(chain, contract, action, terms), signature)
