"""A release agent: gives each buyer its share of the key for the degree that was paid.

It is the handler of a connector: it reacts to the chain's own confirmations and to nothing else,
holds the shares that sellers gave it, and knows neither keys nor products.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from client.connector import Happening, Trigger
from client.product.opening import CONTRACT
from client.product.packing import AgentShares, share_for_buyer
from node.protocol.errors import Refused
from node.protocol.json_view import bytes_from_json
from node.protocol.keys import PUBLIC_KEY_BYTES
from node.protocol.transaction import Call

CONFIRMED = Trigger(CONTRACT, "Confirmed")


class ReleaseAgent:
    """The handler; `shares` by product."""

    def __init__(self, shares: Mapping[str, AgentShares]) -> None:
        self._shares = shares

    async def __call__(self, happening: Happening) -> Sequence[Call]:
        """The share for a confirmed purchase; nothing where the product is not among its own."""
        data = happening.data
        kept = self._shares.get(str(data.get("product")))
        degree = int(data.get("degree", 0))
        if kept is None or not 1 <= degree <= len(kept.shares):
            return ()
        try:
            request = bytes_from_json(data.get("request"), "request")
            buyer = bytes_from_json(data.get("buyer_pub"), "buyer_pub", PUBLIC_KEY_BYTES)
            blob = share_for_buyer(buyer, request, degree, kept.shares[degree - 1])
        except Refused:
            return ()  # a buyer whose key is none gets no share, and its money back in time
        args = {"request": request, "degree": degree, "blob": blob}
        return (Call(CONTRACT, "release_share", args),)
