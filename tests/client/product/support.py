"""An e-book in three degrees, packed for a network of tests."""

from __future__ import annotations

from functools import cache

from client.product import code as codes
from client.product.packing import Packed, pack
from node.protocol.domain import Chain
from node.protocol.keys import PrivateKey

CHAIN = Chain("test", b"g" * 32)
SELLER = PrivateKey.derive(b"s" * 32, "seller")
AGENTS = [PrivateKey.derive(b"s" * 32, f"agent {number}") for number in range(3)]
SAMPLE, BOOK, EXTRAS = b"Chapter one. " * 20, b"The whole book. " * 400, b"Plates. " * 30


def attributes(**changed: object) -> codes.Attributes:
    """The terms of the e-book."""
    degrees = (
        codes.Degree(100, "a sample", 1, False, (codes.Right("sample", 0),)),
        codes.Degree(1_800, "the book", 2, False, (codes.Right("read", 0),)),
        codes.Degree(3_000, "and its plates", 2, True, (codes.Right("print", 50),)),
    )
    fields: dict[str, object] = {
        "network": CHAIN.network,
        "product": "book",
        "name": "A book",
        "kind": "CONTENT",
        "media_type": "text/plain",
        "cur": "CNY",
        "degrees": degrees,
        "agents": tuple(agent.public_key for agent in AGENTS),
        "shares_needed": 2,
        **changed,
    }
    return codes.Attributes(**fields)  # type: ignore[arg-type]


@cache
def book() -> Packed:
    """The e-book, packed once."""
    files = {1: ("sample.txt", SAMPLE), 2: ("book.txt", BOOK), 3: ("plates.txt", EXTRAS)}
    return pack(CHAIN, SELLER, attributes(), files)
