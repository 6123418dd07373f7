"""Buying and opening: from a scanned code to the product, believing nothing but proofs.

The payment confirmation is the purchase's record on chain, proved against a certified header: it
names product, degree and the buyer's box, the key that agents encrypt their shares to. Only with it
does the program run; another's, an altered or a lower one gives no byte.
"""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from typing import Any, NamedTuple

from client.errors import Unproven
from client.interface import Schema, read_record
from client.node_api import NodeApi
from client.product import keys
from client.product.code import Code
from client.product.packing import release, share_of_purchase
from node.protocol.errors import Refused
from node.protocol.json_view import bytes_from_json
from node.protocol.keys import PrivateKey
from node.protocol.transaction import Call

CONTRACT = "licensing"
ID_BYTES = 16
_BOX_LABEL = "groat/product/box/1"


class Confirmation(NamedTuple):
    """What the chain says of a purchase, proved; `degree` is the one that the agents opened."""

    request: bytes
    product: str
    code_hash: bytes
    degree: int
    shares_needed: int
    commitments: tuple[bytes, ...]
    blobs: Mapping[int, bytes]
    buyer_pub: bytes
    height: int


def box_of(buyer: PrivateKey) -> PrivateKey:
    """The buyer's key for shares: it follows from the key that signs, so there is none to keep."""
    return PrivateKey.derive(buyer.secret, _BOX_LABEL)


def request_call(code: Code, degree: int, buyer: PrivateKey) -> tuple[bytes, Call]:
    """A purchase of a scanned code under a fresh id; raises `Refused` `BAD_ARG` for no degree."""
    attributes = code.content.attributes
    if not 1 <= degree <= len(attributes.degrees):
        raise Refused("BAD_ARG", f"degrees are 1 to {len(attributes.degrees)}", field="degree")
    request = secrets.token_bytes(ID_BYTES)
    args = {
        "request": request,
        "product": attributes.product,
        "code_hash": code.hash,
        "degree": degree,
        "buyer_pub": box_of(buyer).public_key,
        "nonce": secrets.token_bytes(ID_BYTES),
    }
    return request, Call(CONTRACT, "request_payment", args)


async def confirmation(
    network: NodeApi, interface: Schema, request: bytes, viewer: PrivateKey
) -> Confirmation:
    """The proved confirmation of a purchase.

    Raises `Refused` `FORGED_CONFIRMATION` where the chain has none, `DEGREE_LOW` while nothing was
    opened, or `Unproven`.
    """
    proven = await network.verified.record(CONTRACT, "requests", request, viewer=viewer)
    if proven.value is None:
        raise Refused("FORGED_CONFIRMATION", "the chain knows no such purchase")
    purchase = read_record(interface, CONTRACT, "requests", proven.value)
    degree = int(purchase["released"])
    if degree == 0:
        state = purchase["state"]
        raise Refused("DEGREE_LOW", f"nothing was opened yet: the purchase is {state}")
    name = str(purchase["product"])
    proven_product = await network.verified.record(CONTRACT, "products", name.encode())
    if proven_product.value is None:
        raise Unproven("NO_PRODUCT", "the product of the purchase is not on chain")
    product = read_record(interface, CONTRACT, "products", proven_product.value)
    agents = [str(agent) for agent in product["agents"]]
    blobs = {
        agents.index(str(share["agent"])): bytes_from_json(share["blob"], "blob")
        for share in purchase["shares"]
        if int(share["degree"]) == degree and share["agent"] in agents
    }
    terms: dict[str, Any] = product["degrees"][degree - 1]
    return Confirmation(
        request,
        name,
        bytes_from_json(product["code_hash"], "code_hash"),
        degree,
        int(product["shares_needed"]),
        tuple(bytes_from_json(one, "commitment") for one in terms["commitments"]),
        blobs,
        bytes_from_json(purchase["buyer_pub"], "buyer_pub"),
        proven.height,
    )


def open_product(code: Code, confirmed: Confirmation, buyer: PrivateKey) -> list[tuple[str, bytes]]:
    """The product, by running the code's program on the confirmation (R5.7).

    Raises `Refused`: `BAD_CODE` for another code than was published, `WRONG_BUYER` for another's
    confirmation, `DEGREE_LOW` for too few genuine shares.
    """
    if confirmed.code_hash != code.hash:
        raise Refused("BAD_CODE", "not the code that its seller published")
    box = box_of(buyer)
    if confirmed.buyer_pub != box.public_key:
        raise Refused("WRONG_BUYER", "the purchase is another buyer's")
    given = {
        agent: share_of_purchase(box, confirmed.request, confirmed.degree, blob)
        for agent, blob in confirmed.blobs.items()
    }
    genuine = keys.valid_shares(confirmed.product, confirmed.degree, confirmed.commitments, given)
    key = keys.combine(genuine, confirmed.shares_needed)
    return release(code, confirmed.degree, key)
