"""Products between a peripheral and a person: sealed, salted, and held against the receipt."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from client.delivery import PRODUCT_BYTES_MAX, Parcel, open_product, seal_product
from contracts.exchange.arguments import SEALED_BYTES_MAX
from node.protocol.domain import Chain
from node.protocol.errors import Refused
from node.protocol.keys import PrivateKey

CHAIN = Chain("groat-test", bytes(32))
OTHER = Chain("groat-test", b"\x01" * 32)
ORDER = b"order of 16 byte"
ANN = PrivateKey.generate()
BEN = PrivateKey.generate()


def code_of(chain: Chain, order: bytes, key: PrivateKey, parcel: Parcel) -> str:
    """The code of a refused opening."""
    with pytest.raises(Refused) as caught:
        open_product(chain, order, key, parcel)
    return caught.value.code


@given(product=st.binary(max_size=200))
def test_what_was_sealed_is_opened(product: bytes) -> None:
    parcel = seal_product(CHAIN, ORDER, ANN.public_key, product)
    assert open_product(CHAIN, ORDER, ANN, parcel) == product


def test_the_largest_product_fits_into_the_contracts_argument() -> None:
    parcel = seal_product(CHAIN, ORDER, ANN.public_key, bytes(PRODUCT_BYTES_MAX))
    assert len(parcel.sealed) <= SEALED_BYTES_MAX
    with pytest.raises(Refused, match="at most"):
        seal_product(CHAIN, ORDER, ANN.public_key, bytes(PRODUCT_BYTES_MAX + 1))


def test_nobody_else_opens_it_and_nowhere_else() -> None:
    parcel = seal_product(CHAIN, ORDER, ANN.public_key, b"gate 7")
    assert code_of(CHAIN, ORDER, BEN, parcel) == "WRONG_KEY"
    assert code_of(CHAIN, bytes(16), ANN, parcel) == "WRONG_KEY"
    assert code_of(OTHER, ORDER, ANN, parcel) == "WRONG_KEY"
    for index in (0, 40, len(parcel.sealed) - 1):
        changed = bytearray(parcel.sealed)
        changed[index] ^= 1
        altered = Parcel(bytes(changed), parcel.receipt_hash)
        assert code_of(CHAIN, ORDER, ANN, altered) == "WRONG_KEY"
    assert code_of(CHAIN, ORDER, ANN, Parcel(b"", parcel.receipt_hash)) == "WRONG_KEY"


def test_another_product_than_in_the_receipt_is_found_out() -> None:
    promised = seal_product(CHAIN, ORDER, ANN.public_key, b"business")
    sent = seal_product(CHAIN, ORDER, ANN.public_key, b"economy")
    assert code_of(CHAIN, ORDER, ANN, Parcel(sent.sealed, promised.receipt_hash)) == "WRONG_PRODUCT"


def test_the_same_product_has_another_hash_each_time() -> None:
    first, second = (seal_product(CHAIN, ORDER, ANN.public_key, b"yes") for _ in range(2))
    assert first.receipt_hash != second.receipt_hash
    assert first.sealed != second.sealed
