"""A product on its way from a peripheral to a person: sealed to the one, proved by the other.

The peripheral seals product and salt to the person's reading key and signs the hash of both into
its receipt on chain. The person opens it and holds it against that hash: nobody else can read the
product, nor guess it from the hash, and the peripheral cannot deny what it delivered.
"""

from __future__ import annotations

import secrets
from typing import TYPE_CHECKING, NamedTuple

from client.errors import NotFound
from client.interface import Schema, read_record
from node.protocol.domain import Chain
from node.protocol.errors import Refused
from node.protocol.json_view import bytes_from_json
from node.protocol.keys import PrivateKey
from node.protocol.sealing import open_bytes, seal_bytes
from node.protocol.transaction import Call

if TYPE_CHECKING:
    from client.node_api import NodeApi

CONTRACT = "exchange"
SALT_BYTES = 16
PRODUCT_BYTES_MAX = 2_900
_SEAL = "product"
_RECEIPT = "product receipt"


class Parcel(NamedTuple):
    """A product as it travels, and the hash for the receipt."""

    sealed: bytes
    receipt_hash: bytes


class Delivered(NamedTuple):
    """A product that was opened and found to be the one in the receipt, proved at `height`."""

    product: bytes
    peripheral: str
    transaction: str
    height: int


async def delivery_of(
    network: NodeApi, peripheral: PrivateKey, order: bytes, product: bytes
) -> Call:
    """The call that delivers a product to whoever gave the order; it is not sent yet."""
    request = await network.query(CONTRACT, "request", {"order": order.hex()}, peripheral)
    reader = bytes_from_json(request["result"]["reader"], "reader")
    parcel = seal_product(network.chain, order, reader, product)
    args = {
        "order": order,
        "receipt_hash": parcel.receipt_hash,
        "sealed_product": parcel.sealed,
    }
    return Call(CONTRACT, "fulfil", args)


async def receive(
    network: NodeApi, interface: Schema, order: bytes, person: PrivateKey, reader: PrivateKey
) -> Delivered:
    """The product of an order of `person`, opened with `reader`; believes no node without proof.

    Raises `NotFound` if it was not delivered, and as `open_product` does.
    """
    proven = await network.verified.record(CONTRACT, "deliveries", order, person)
    if proven.value is None:
        raise NotFound("NOT_FOUND", f"proved: not delivered at height {proven.height}")
    record = read_record(interface, CONTRACT, "deliveries", proven.value)
    parcel = Parcel(bytes.fromhex(record["sealed_product"]), bytes.fromhex(record["receipt_hash"]))
    product = open_product(network.chain, order, reader, parcel)
    return Delivered(product, record["peripheral"], record["transaction"], proven.height)


def seal_product(chain: Chain, order: bytes, reader: bytes, product: bytes) -> Parcel:
    """Seal a product of `order` to the key `reader`; raises `Refused` `TOO_LARGE` or `BAD_KEY`."""
    if len(product) > PRODUCT_BYTES_MAX:
        raise Refused("TOO_LARGE", f"a product has at most {PRODUCT_BYTES_MAX} bytes; seal a link")
    content = secrets.token_bytes(SALT_BYTES) + product
    place = chain.prefix(_SEAL) + order
    sealed = seal_bytes(reader, PrivateKey.generate(), content, place)
    return Parcel(sealed, _hash(chain, order, content))


def open_product(chain: Chain, order: bytes, key: PrivateKey, parcel: Parcel) -> bytes:
    """The product; raises `Refused`.

    `WRONG_KEY` if the key does not open it, `WRONG_PRODUCT` if the receipt is for another one.
    """
    try:
        content = open_bytes(key, parcel.sealed, chain.prefix(_SEAL) + order)
    except Refused:
        raise Refused("WRONG_KEY", "the product was not sealed to this key, or altered") from None
    if _hash(chain, order, content) != parcel.receipt_hash:
        raise Refused("WRONG_PRODUCT", "the product is not the one in the peripheral's receipt")
    return content[SALT_BYTES:]


def _hash(chain: Chain, order: bytes, content: bytes) -> bytes:
    return chain.digest(_RECEIPT, order + content)
