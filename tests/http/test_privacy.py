"""One role predicate everywhere: what strangers, senders, readers and the regulator may see."""

from __future__ import annotations

import json
from typing import Any

import pytest

from node.protocol.block import (
    BlockHeader,
    Receipt,
    public_receipt_hash,
    receipt_hash,
)
from node.protocol.encoding import Codec, Value
from node.protocol.keys import PrivateKey
from node.protocol.proofs import list_proof_codec, verify_path
from node.protocol.ticket import sign_ticket
from node.protocol.transaction import Call
from tests.http.conftest import Api
from tests.http.support import (
    ADMIN,
    BANK,
    CARD,
    DEPUTY,
    HOLDER,
    LIFETIME_MS,
    MERCHANT,
    OTHER,
    REGULATOR,
    SHOP,
    STRANGER,
    World,
)
from tests.protocol.support import key

PROPOSAL = {"proposal": b"1" * 16, "reason": "an inspector"}
NEW_KEY = key(38)

header_codec: Codec[BlockHeader] = Codec(BlockHeader, 4096)
receipt_codec: Codec[Receipt] = Codec(Receipt, 1 << 20)


def secrets_of(world: World) -> list[str]:
    """Words that no stranger may read about a visit of the holder."""
    return [CARD.hex(), SHOP.hex(), HOLDER.public_key.hex(), "Consumed", "consume", "prepaid"]


@pytest.fixture(params=[False, True], ids=["clear", "sealed"])
def visit(request: pytest.FixtureRequest, world: World) -> Any:
    """A visit to the gym, settled."""
    world.open_shop(sealed=request.param)
    transaction = world.consume(1, sealed=request.param)
    world.commit(transaction)
    return transaction


async def test_a_stranger_sees_id_code_and_ciphertext(api: Api, world: World, visit: Any) -> None:
    identity = visit.id.hex()
    for outsider in (None, STRANGER, OTHER, BANK):
        found = await api.get(f"/v1/transactions/{identity}", outsider)
        assert found["status"] == "committed"
        assert found["receipt"] == {"code": "OK", "hidden": True}
        text = json.dumps(found)
        assert [word for word in secrets_of(world) if word in text] == []
        (call,) = found["calls"]
        if call["kind"] == "clear":
            assert call == {"kind": "clear", "hidden": True}
        else:
            assert {"ciphertext", "wraps", "epoch", "ephemeral", "key_commitment"} <= set(call)


async def test_the_sender_sees_what_it_sent(api: Api, visit: Any) -> None:
    found = await api.get(f"/v1/transactions/{visit.id.hex()}", HOLDER)
    (call,) = found["calls"]
    assert (call["contract"], call["action"]) == ("prepaid", "consume")
    assert call["args"] == {"card": CARD.hex(), "amt": "1000", "seq": "1"}
    assert found["sender"] == HOLDER.public_key.hex()
    assert found["receipt"]["details"]["remaining"] == "9000"
    assert [event["name"] for event in found["receipt"]["events"]] == ["Consumed"]


async def test_readers_see_the_receipt_but_not_the_call(api: Api, visit: Any) -> None:
    for reader in (MERCHANT, REGULATOR):
        found = await api.get(f"/v1/transactions/{visit.id.hex()}", reader)
        assert found["receipt"]["events"][0]["data"]["card"] == CARD.hex()
        assert "args" not in found["calls"][0]


async def test_a_blocks_transactions_pass_the_same_predicate(api: Api, visit: Any) -> None:
    path = "/v1/blocks/latest/transactions"
    (hidden,) = (await api.get(path))["items"]
    assert hidden["receipt"] == {"code": "OK", "hidden": True}
    assert "sender" not in hidden
    (shown,) = (await api.get(path, HOLDER))["items"]
    assert shown == await api.get(f"/v1/transactions/{visit.id.hex()}", HOLDER)


async def test_simulation_passes_the_same_predicate(api: Api, world: World) -> None:
    world.open_shop()
    options: dict[str, Any] = {
        "data": world.consume(1).raw,
        "headers": {"Content-Type": "application/octet-stream"},
    }
    path = "/v1/transactions/simulate"
    assert (await api.ask("POST", path, 200, **options))["receipt"] == {
        "code": "OK",
        "hidden": True,
    }
    shown = await api.ask("POST", path, 200, MERCHANT, **options)
    assert shown["receipt"]["details"]["remaining"] == "9000"


async def test_queries_pass_the_same_predicate(api: Api, world: World) -> None:
    world.open_shop()
    path, args = "/v1/contracts/prepaid/queries/card", {"card": CARD.hex()}
    for insider in (HOLDER, MERCHANT, BANK, REGULATOR):
        found = await api.ask("POST", path, 200, insider, json=args)
        assert found["result"]["remaining"] == "10000"
        assert found["height"] == "3"
    for outsider in (None, STRANGER, OTHER):
        refused = await api.ask("POST", path, 404, outsider, json=args)
        absent = await api.ask("POST", path, 404, outsider, json={"card": "00" * 16})
        assert refused == absent


async def test_receipt_proofs(api: Api, world: World, visit: Any) -> None:
    path = f"/v1/transactions/{visit.id.hex()}?prove=true"
    readers: tuple[PrivateKey | None, ...] = (None, HOLDER, REGULATOR)
    for reader in readers:
        found = await api.get(path, reader)
        proof = found["proof"]
        header = header_codec.decode(bytes.fromhex(proof["header"]))
        place = list_proof_codec.decode(bytes.fromhex(proof["transaction_path"]))
        verify_path(header.transactions_root, visit.content_hash, place)
        if reader is None:
            assert proof["receipt"] is None
            assert proof["salt"] is None
            private = bytes.fromhex(proof["private_hash"])
            leaf = public_receipt_hash(visit.id, found["receipt"]["code"], private)
        else:
            receipt = receipt_codec.decode(bytes.fromhex(proof["receipt"]))
            leaf = receipt_hash(receipt, bytes.fromhex(proof["salt"]))
        place = list_proof_codec.decode(bytes.fromhex(proof["receipt_path"]))
        verify_path(header.receipts_root, leaf, place)


async def test_roles_are_asked_at_each_request(api: Api, world: World) -> None:
    world.open_shop()
    visit = world.consume(1)
    world.commit(visit)
    path = f"/v1/transactions/{visit.id.hex()}"
    assert "details" not in (await api.get(path, STRANGER))["receipt"]
    grant = {"public_key": STRANGER.public_key, "role": "regulator", **PROPOSAL}
    world.commit(world.transaction(ADMIN, Call("kernel", "grant_role", grant)))
    assert "details" not in (await api.get(path, STRANGER))["receipt"]
    approval = Call("kernel", "approve", {"proposal": PROPOSAL["proposal"]})
    world.commit(world.transaction(DEPUTY, approval))
    assert "details" in (await api.get(path, STRANGER))["receipt"], "with the token of before"


async def test_a_rotated_key_reads_all_that_was_its_owners_and_the_old_one_nothing(
    api: Api, world: World
) -> None:
    world.open_shop()
    before = world.consume(1, sealed=True)
    world.commit(before)
    card = f"/v1/state/prepaid/cards/{CARD.hex()}"
    assert (await api.get(card, HOLDER))["record"]
    terms: dict[str, Value] = {
        "identity": HOLDER.public_key,
        "new_key": NEW_KEY.public_key,
        "ticket_until": world.now_ms + LIFETIME_MS,
    }
    ticket = sign_ticket(world.chain, NEW_KEY, "kernel", "rotate_key", terms)
    world.commit(
        world.transaction(HOLDER, Call("kernel", "rotate_key", {**terms, "ticket": ticket}))
    )
    spent = Call("prepaid", "consume", {"card": CARD, "amt": 1_000, "seq": 2})
    after = world.transaction(NEW_KEY, spent, sealed=True)
    world.commit(after)
    assert (await api.get(card, NEW_KEY))["record"]["seq"] == "2"
    for sent in (before, after):
        seen = await api.get(f"/v1/transactions/{sent.id.hex()}", NEW_KEY)
        assert seen["calls"][0]["args"]["amt"] == "1000", seen
        assert "details" in seen["receipt"]
    # The token of before names a key that is no longer in use.
    assert await api.code("GET", card, 401, reader=HOLDER) == "SESSION_REQUIRED"
    assert (
        "details" not in (await api.get(f"/v1/transactions/{before.id.hex()}", HOLDER))["receipt"]
    )
    del api.tokens[HOLDER.public_key]
    asked = await api.ask(
        "POST", "/v1/challenges", 201, json={"public_key": HOLDER.public_key.hex()}
    )
    answer = {
        "public_key": HOLDER.public_key.hex(),
        "challenge": asked["challenge"],
        "signature": api.sign(HOLDER, asked).hex(),
    }
    assert await api.code("POST", "/v1/sessions", 403, json=answer) == "KEY_NOT_IN_USE"
    late = world.transaction(HOLDER, spent)
    world.commit(late)
    outcome = world.query.outcome(late.id)
    assert outcome is not None
    assert outcome[1:] == ("failed", "UNAUTHORIZED")
