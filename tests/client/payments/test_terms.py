"""What terminals sign is what the contract verifies, and nothing else is."""

from __future__ import annotations

import pytest

from client.payments import terms
from client.payments.terminal import Terminal
from node.protocol.domain import Chain
from node.protocol.encoding import Value
from node.protocol.ticket import browser_ticket_valid

CHAIN = Chain("groat-test", b"g" * 32)
ORDER = terms.Order(b"i" * 16, b"o" * 32, b"\x02" + b"p" * 32, 2_500, "CNY", "channel-a")
APPROVAL = terms.approval(ORDER, b"h" * 32, b"n" * 16, 1_000)


def valid(terminal: Terminal, statement: str, given: dict[str, Value], signature: bytes) -> bool:
    return browser_ticket_valid(
        CHAIN, terminal.public_key, terms.CONTRACT, statement, given, signature
    )


def test_r4_11_an_approval_is_for_just_what_was_shown() -> None:
    phone = Terminal()
    signature = phone.sign(CHAIN, terms.APPROVE, APPROVAL)
    assert valid(phone, terms.APPROVE, APPROVAL, signature)
    assert not valid(phone, terms.REJECT, APPROVAL, signature)
    assert not valid(Terminal(), terms.APPROVE, APPROVAL, signature)


@pytest.mark.parametrize("name", sorted(APPROVAL))
def test_b4_02_any_change_voids_it(name: str) -> None:
    phone = Terminal()
    signature = phone.sign(CHAIN, terms.APPROVE, APPROVAL)
    old = APPROVAL[name]
    other: Value = 25_000 if isinstance(old, int) else b"x" * 16
    assert not valid(phone, terms.APPROVE, {**APPROVAL, name: other}, signature)


def test_an_order_hash_binds_every_field() -> None:
    first = terms.order_hash({"title": "film", "amt": 2_500})
    assert first == terms.order_hash({"amt": 2_500, "title": "film"})
    assert first != terms.order_hash({"title": "film", "amt": 25_000})
