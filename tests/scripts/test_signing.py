"""What the loads sign is what nodes take and contracts accept."""

from __future__ import annotations

import pytest

from _load.cast import Cast
from _load.signing import Opening, Signer, SigningProcess, Visit
from contracts.catalog import CONTRACTS
from contracts.kernel.registry import validate
from node.protocol.domain import Chain
from node.protocol.keys import PrivateKey
from node.protocol.sealing import EpochKey, Opener
from node.protocol.ticket import ticket_valid
from node.protocol.transaction import Call, SealedCall, parse_transaction, verify_signature

CHAIN = Chain("test", bytes(32))
EPOCH = PrivateKey.generate()
BANK = PrivateKey.generate()
NOW_MS = 1_700_000_000_000


def make_signer(sealed: bool, scope: str = "x") -> Signer:
    """A signer for one scope."""
    epoch = EpochKey(1, EPOCH.public_key)
    return Signer(CHAIN, epoch, Cast(bytes(32), scope), "usd-replay", sealed)


def open_calls(raw: bytes) -> list[Call]:
    """The clear calls of a transaction whose signature holds."""
    transaction = parse_transaction(CHAIN, raw)
    verify_signature(transaction)
    body, opener = transaction.body, Opener(CHAIN, {1: EPOCH})
    return [
        opener.open(call, body.sender, body.nonce, body.valid_until, index)
        if isinstance(call, SealedCall)
        else call
        for index, call in enumerate(body.calls)
    ]


@pytest.mark.parametrize("sealed", [True, False])
def test_a_visit_is_signed_by_its_holder(sealed: bool) -> None:
    (signed,) = make_signer(sealed).visits([Visit("7", 1_177, 3)], NOW_MS)
    transaction = parse_transaction(CHAIN, signed.raw)
    cast = Cast(bytes(32), "x")
    assert transaction.body.sender == cast.holder("7").public_key
    assert isinstance(transaction.body.calls[0], SealedCall) is sealed
    assert (transaction.id, transaction.body.valid_until) == (signed.id, signed.valid_until)
    (call,) = open_calls(signed.raw)
    assert call.args == {"card": cast.card("7"), "amt": 1_177, "seq": 3}
    validate(CONTRACTS, call.contract, call.action, call.args)


@pytest.mark.parametrize("sealed", [True, False])
def test_a_hundred_openings_fit_with_the_holders_tickets(sealed: bool) -> None:
    wanted = [Opening(f"{number}", 2**40) for number in range(100)]
    calls = open_calls(make_signer(sealed).openings(BANK, wanted, NOW_MS).raw)
    cast = Cast(bytes(32), "x")
    for opening, call in zip(wanted, calls, strict=True):
        args = validate(CONTRACTS, call.contract, call.action, call.args)
        holder = cast.holder(opening.holder).public_key
        assert call.args["holder_pub"] == holder
        ticket = call.args["ticket"]
        assert ticket_valid(CHAIN, holder, "prepaid", "open_card", args.terms(), ticket)


def test_scopes_share_holders_and_nothing_else() -> None:
    one, other = Cast(bytes(32), "one"), Cast(bytes(32), "other")
    assert one.holder("7").public_key == other.holder("7").public_key
    assert one.card("7") != other.card("7")
    assert one.merchant != other.merchant
    assert Cast(b"\x01" * 32, "one").card("7") != one.card("7")
    assert len(one.card("7")) == len(one.merchant) == 16


async def test_the_worker_process_signs_the_same_way() -> None:
    signing = SigningProcess(make_signer(sealed=True))
    try:
        (visit,) = await signing.visits([Visit("7", 5, 1)])
        opening = await signing.openings(BANK, [Opening("7", 5)])
    finally:
        signing.close()
    assert open_calls(visit.raw)[0].action == "consume"
    assert open_calls(opening.raw)[0].action == "open_card"
