"""Tickets: a consent to one action on one chain under exactly its terms."""

from __future__ import annotations

from typing import Any

import pytest

from node.protocol.domain import Chain
from node.protocol.encoding import Value
from node.protocol.ticket import sign_ticket, ticket_valid
from tests.protocol.support import CHAIN, HOLDER, SENDER

TERMS: dict[str, Value] = {"card": bytes(16), "paid": 300_000, "nonce": bytes(range(16))}
SIGNATURE = sign_ticket(CHAIN, HOLDER, "prepaid", "open_card", TERMS)
GOOD: dict[str, Any] = {
    "chain": CHAIN,
    "public_key": HOLDER.public_key,
    "contract": "prepaid",
    "action": "open_card",
    "terms": TERMS,
    "signature": SIGNATURE,
}
CHANGES = {
    "another chain": {"chain": Chain("other", CHAIN.genesis_hash)},
    "another genesis": {"chain": Chain(CHAIN.chain_id, bytes(32))},
    "another party": {"public_key": SENDER.public_key},
    "no key at all": {"public_key": b""},
    "another contract": {"contract": "deposits"},
    "another action": {"action": "top_up"},
    "another amount": {"terms": TERMS | {"paid": 300_001}},
    "one term more": {"terms": TERMS | {"bonus": 0}},
    "one term less": {"terms": {"card": bytes(16), "paid": 300_000}},
    "another signature": {"signature": bytes(64)},
    "a signature cut short": {"signature": SIGNATURE[:-1]},
}


def test_a_ticket_holds_whatever_the_order_of_its_terms() -> None:
    assert ticket_valid(**GOOD)
    assert ticket_valid(**GOOD | {"terms": dict(reversed(TERMS.items()))})


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES.keys())
def test_a_ticket_is_worthless_for_anything_else(change: dict[str, Any]) -> None:
    assert not ticket_valid(**GOOD | change)
