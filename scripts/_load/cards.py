"""The scene of a load: one merchant, admitted, and a card for each holder.

Every step may be repeated: whoever comes again finds what is there and adds what is missing.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import NamedTuple

from _load.cast import Cast
from _load.signing import CONTRACT, Opening, SigningProcess
from client.errors import Expired, Overloaded, Pending, Rejected
from client.node_api import NodeApi
from client.wallet import Wallet
from node.protocol.json_view import integer_from_json
from node.protocol.keys import PrivateKey
from node.protocol.transaction import Call

PAGE = 100
OPENINGS_PER_TRANSACTION = 100
OPENINGS_IN_FLIGHT = 6
OPENING_SECONDS_MAX = 60.0
ATTEMPTS_MAX = 5


class House(NamedTuple):
    """The institutions' keys, by role."""

    merchant: PrivateKey
    bank: PrivateKey
    regulator: PrivateKey


class CardState(NamedTuple):
    """A card as the chain has it; amounts in minor units. `seq` counts its purchases."""

    seq: int
    initial: int
    consumed: int
    remaining: int


def open_house(wallet: Wallet, merchant: str) -> House:
    """The keys of the merchant, of `bank` and of `regulator`; raises `Misconfigured`."""
    return House(wallet.open(merchant), wallet.open("bank"), wallet.open("regulator"))


async def admit_merchant(
    network: NodeApi, house: House, cast: Cast, name: str, card_class: str, sealed: bool
) -> None:
    """File the merchant with the bank and have the regulator approve it; raises `ClientError`."""
    filing = {"merchant": cast.merchant, "name": name, "custodian": house.bank.public_key}
    approval = {"merchant": cast.merchant, "class": card_class}
    for key, action, args in (
        (house.merchant, "file_merchant", filing),
        (house.regulator, "approve", approval),
    ):
        transaction = await network.build(key, [Call(CONTRACT, action, args)], sealed=sealed)
        outcome = await network.submit(transaction, timeout_seconds=OPENING_SECONDS_MAX)
        outcome.require()


async def open_cards(
    network: NodeApi,
    signing: SigningProcess,
    house: House,
    wanted: Sequence[Opening],
    opened: Callable[[int], None],
) -> None:
    """Open a card for each; calls `opened` with how many more are. Raises `ClientError`."""
    step = OPENINGS_PER_TRANSACTION
    places = asyncio.Semaphore(OPENINGS_IN_FLIGHT)

    async def one(part: Sequence[Opening]) -> None:
        async with places:
            await _open(network, signing, house.bank, part)
            opened(len(part))

    async with asyncio.TaskGroup() as tasks:
        for start in range(0, len(wanted), step):
            tasks.create_task(one(wanted[start : start + step]))


async def read_cards(
    network: NodeApi, house: House, cast: Cast, url: str | None = None
) -> dict[bytes, CardState]:
    """All cards of the merchant by id, as the bank may see them; {} before it is admitted."""
    cards: dict[bytes, CardState] = {}
    args: dict[str, object] = {"merchant": cast.merchant.hex(), "limit": str(PAGE)}
    while True:
        try:
            answer = await network.query(CONTRACT, "cards", args, viewer=house.bank, url=url)
        except Rejected as rejected:
            if rejected.code == "NOT_FOUND" and not cards:
                return {}
            raise
        page = answer["result"]
        for item in page["items"]:
            cards[bytes.fromhex(item["card"])] = CardState(
                *(integer_from_json(item[field], field) for field in CardState._fields)
            )
        if page["next"] is None:
            return cards
        args["cursor"] = page["next"]


async def read_merchant(
    network: NodeApi, house: House, cast: Cast, url: str | None = None
) -> dict[str, int]:
    """The merchant's sums in minor units, as the bank may see them."""
    args = {"merchant": cast.merchant.hex()}
    answer = await network.query(CONTRACT, "merchant", args, viewer=house.bank, url=url)
    names = ("cards", "face", "paid", "earned", "paid_out", "escrow", "held", "earnings")
    return {name: integer_from_json(answer["result"][name], name) for name in names}


async def _open(
    network: NodeApi, signing: SigningProcess, bank: PrivateKey, part: Sequence[Opening]
) -> None:
    """One transaction, signed again where it did not come through in its lifetime."""
    for attempt in range(1, ATTEMPTS_MAX + 1):
        signed = await signing.openings(bank, part)
        transaction = network.decode(signed.raw)
        try:
            outcome = await network.submit(transaction, timeout_seconds=OPENING_SECONDS_MAX)
            outcome.require()
            return
        except (Expired, Overloaded, Pending):
            # Whatever became of it, the same openings again are no news to the contract.
            if attempt == ATTEMPTS_MAX:
                raise
