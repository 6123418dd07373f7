"""The SDK against a real API: submission that survives nodes, sessions, verified reading."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from aiohttp import web

from client.connection import Request
from client.errors import (
    Expired,
    NoQuorum,
    NotAllowed,
    NotFound,
    Overloaded,
    Pending,
    Rejected,
    Unproven,
    Unreachable,
)
from client.node_api import NodeApi
from node.http.service import FailedCheck
from node.http.sessions import SESSION_MS
from node.protocol.json_view import to_json
from node.protocol.sealing import Opener
from node.protocol.transaction import Call, SealedCall, Transaction
from node.state.layout import Oldest
from tests.client.support import Node, connect, serve, serve_handler, serve_silence
from tests.http.support import CARD, HOLDER, STRANGER, World
from tests.protocol.support import EPOCH_SECRET

TIMEOUT = 3.0
DEAD = "http://127.0.0.1:9"


@pytest.fixture
def shop(world: World) -> World:
    """The chain with a card of 100.00 on it, at height 3."""
    world.open_shop()
    return world


async def _consume(api: NodeApi, seq: int = 1, amount: int = 1_000, **options: Any) -> Transaction:
    call = Call("prepaid", "consume", {"card": CARD, "amt": amount, "seq": seq})
    return await api.build(HOLDER, [call], **options)


async def _settle_soon(node: Node) -> None:
    await node.service.submitted.wait()
    node.service.settle()


# ---- building


async def test_calls_are_sealed_to_the_committee(world: World, api: NodeApi) -> None:
    transaction = await _consume(api)
    sealed = transaction.body.calls[0]
    assert isinstance(sealed, SealedCall)
    body = transaction.body
    opened = Opener(world.chain, {1: EPOCH_SECRET}).open(
        sealed, body.sender, body.nonce, body.valid_until, 0
    )
    assert opened.args == {"card": CARD, "amt": 1_000, "seq": 1}
    assert CARD not in transaction.raw


async def test_a_nonce_given_again_makes_the_same_clear_transaction(world: World) -> None:
    api = connect(world, [DEAD])
    first, again = [await _consume(api, sealed=False, nonce=b"n" * 16) for _ in range(2)]
    assert first.raw == again.raw
    assert api.decode(first.raw).id == first.id


async def test_the_exchange_key_is_changed_every_hour(world: World, api: NodeApi) -> None:
    calls = [(await _consume(api)).body.calls[0] for _ in range(2)]
    world.now_ms += 60 * 60 * 1_000
    calls.append((await _consume(api)).body.calls[0])
    used = [call.ephemeral for call in calls if isinstance(call, SealedCall)]
    assert used[0] == used[1] != used[2]


# ---- submitting and waiting


async def test_a_transaction_is_final_after_its_block(
    shop: World, node: Node, api: NodeApi
) -> None:
    settling = asyncio.create_task(_settle_soon(node))
    outcome = await api.submit(await _consume(api), timeout_seconds=TIMEOUT)
    await settling
    assert (outcome.status, outcome.code, outcome.height) == ("committed", "OK", 4)
    assert outcome.require() is outcome


async def test_a_rejection_by_the_contract_is_a_final_outcome(
    shop: World, node: Node, api: NodeApi
) -> None:
    settling = asyncio.create_task(_settle_soon(node))
    transaction = await _consume(api, amount=10_001)
    outcome = await api.submit(transaction, timeout_seconds=TIMEOUT)
    await settling
    assert (outcome.status, outcome.code) == ("failed", "INSUFFICIENT")
    with pytest.raises(Rejected) as error:
        outcome.require()
    assert error.value.code == "INSUFFICIENT"
    seen = await api.outcome(transaction.id, HOLDER)
    assert seen.details == {"remaining": "10000"}


async def test_a_time_out_is_pending_and_never_a_failure(shop: World, api: NodeApi) -> None:
    outcome = await api.submit(await _consume(api), timeout_seconds=0.3)
    assert outcome.status == "pending"
    with pytest.raises(Pending):
        outcome.require()


async def test_sending_again_is_harmless(shop: World, node: Node, api: NodeApi) -> None:
    transaction = await _consume(api)
    for _ in range(3):
        await api.submit(transaction, wait="check")
    assert len(node.service.pool) == 1
    node.service.settle()
    outcome = await api.submit(transaction, timeout_seconds=TIMEOUT)
    assert outcome.height == 4
    assert shop.store.head.height == 4


async def test_what_a_node_refuses_is_rejected(shop: World, api: NodeApi) -> None:
    transaction = await _consume(api)
    forged = transaction.raw[:-1] + bytes([transaction.raw[-1] ^ 1])
    with pytest.raises(Rejected) as error:
        await api.submit(api.decode(forged), timeout_seconds=TIMEOUT)
    assert error.value.code == "BAD_SIGNATURE"


async def test_a_submission_survives_dead_and_silent_nodes(shop: World, node: Node) -> None:
    async with serve_silence() as silent, connect(shop, [DEAD, silent, node.url]) as api:
        settling = asyncio.create_task(_settle_soon(node))
        outcome = await api.submit(await _consume(api), timeout_seconds=TIMEOUT)
        await settling
    assert outcome.status == "committed"


async def test_a_node_that_keeps_a_transaction_to_itself_is_not_relied_on(
    shop: World, node: Node
) -> None:
    async def hoard(_: web.Request) -> web.Response:
        return web.json_response({"id": "00", "status": "pending"}, status=202)

    async with serve_handler(hoard) as hoarder, connect(shop, [hoarder, node.url]) as api:
        settling = asyncio.create_task(_settle_soon(node))
        outcome = await api.submit(await _consume(api), timeout_seconds=TIMEOUT)
        await settling
    assert outcome.status == "committed"


async def test_without_any_node_it_fails_at_once(shop: World) -> None:
    async with connect(shop, [DEAD, DEAD + "9"]) as api:
        async with asyncio.timeout(TIMEOUT):
            with pytest.raises(Unreachable):
                await api.submit(await _consume(api), timeout_seconds=60)


async def test_an_overloaded_node_is_asked_again_while_there_is_time(
    shop: World, node: Node, api: NodeApi
) -> None:
    node.service.capacity = 0
    with pytest.raises(Overloaded) as error:
        await api.submit(await _consume(api), wait="check", timeout_seconds=0.5)
    assert error.value.code == "MEMPOOL_FULL"

    async def make_room() -> None:
        await asyncio.sleep(0.2)
        node.service.capacity = 10

    clearing = asyncio.create_task(make_room())
    assert (
        await api.submit(await _consume(api), wait="check", timeout_seconds=5)
    ).status == "pending"
    await clearing


async def test_a_batch_gets_a_verdict_on_each(shop: World, node: Node, api: NodeApi) -> None:
    good, other = await _consume(api), await _consume(api, seq=2)
    forged = api.decode(other.raw[:-1] + bytes([other.raw[-1] ^ 1]))
    verdicts = await api.submit_many([good, forged, good])
    assert [(one.accepted, one.code) for one in verdicts] == [
        (True, "PENDING"),
        (False, "BAD_SIGNATURE"),
        (True, "KNOWN"),
    ]
    node.service.settle()
    (final,) = await api.submit_many([good])
    assert (final.accepted, final.status, final.code) == (True, "committed", "OK")


async def test_waiting_for_an_id(shop: World, node: Node, api: NodeApi) -> None:
    transaction = await _consume(api)
    assert (await api.wait(transaction.id, 0.2)).status == "unknown"
    await api.submit(transaction, wait="check")
    assert (await api.wait(transaction.id, 0.2)).status == "pending"
    node.service.settle()
    assert (await api.wait(transaction.id, TIMEOUT)).status == "committed"


async def test_simulation_sends_nothing(shop: World, node: Node, api: NodeApi) -> None:
    assert (await api.simulate(await _consume(api))).status == "committed"
    assert (await api.simulate(await _consume(api, seq=5))).code == "SEQ_GAP"
    assert not node.service.pool


# ---- expiry


async def test_expired_is_said_only_with_more_certified_heads_than_may_lie(shop: World) -> None:
    """Four validators may hold one liar, so that two nodes must be past the lifetime."""
    async with serve(shop) as first, serve(shop) as second:
        one, both = connect(shop, [first.url]), connect(shop, [first.url, second.url])
        transaction = await _consume(both, valid_for_ms=500)
        shop.commit()  # an empty block past the lifetime
        for api, certain in ((one, False), (both, True)):
            async with api:
                until = transaction.body.valid_until
                if certain:
                    with pytest.raises(Expired) as error:
                        await api.wait(transaction.id, 0.3, until)
                    assert error.value.details["id"] == transaction.id.hex()
                else:
                    assert not (await api.wait(transaction.id, 0.3, until)).final


async def test_a_node_that_has_pruned_the_blocks_of_then_cannot_tell(shop: World) -> None:
    """It may have been booked in one of those, and a new one in its place would pay twice."""
    async with (
        serve(shop) as first,
        serve(shop) as second,
        connect(shop, [first.url, second.url]) as api,
    ):
        transaction = await _consume(api, valid_for_ms=500)
        shop.commit()
        shop.commit()
        kept = shop.store.oldest
        shop.store.forget(Oldest(shop.store.head.height, shop.store.head.height))
        assert not (await api.wait(transaction.id, 0.3, transaction.body.valid_until)).final
        shop.store.forget(kept)
        with pytest.raises(Expired):
            await api.wait(transaction.id, 0.3, transaction.body.valid_until)


async def test_while_the_head_is_younger_it_is_pending(shop: World) -> None:
    async with (
        serve(shop) as first,
        serve(shop) as second,
        connect(shop, [first.url, second.url]) as api,
    ):
        transaction = await _consume(api, valid_for_ms=500)
        shop.now_ms += 501  # the clock alone proves nothing
        assert not (await api.wait(transaction.id, 0.3, transaction.body.valid_until)).final
        shop.now_ms -= 501


# ---- sessions


async def test_private_reading_opens_one_session_by_itself(
    shop: World, node: Node, api: NodeApi
) -> None:
    args = {"card": CARD.hex()}
    with pytest.raises(NotFound):
        await api.query("prepaid", "card", args)
    with pytest.raises(NotAllowed) as error:
        await api.verified.record("prepaid", "cards", CARD)
    assert error.value.code == "SESSION_REQUIRED"
    for _ in range(3):
        answer = await api.query("prepaid", "card", args, HOLDER)
    assert answer["result"]["remaining"] == "10000"
    with pytest.raises(NotFound):
        await api.query("prepaid", "card", args, STRANGER)


async def test_a_session_is_renewed_before_it_ends(shop: World, api: NodeApi) -> None:
    args = {"card": CARD.hex()}
    await api.query("prepaid", "card", args, HOLDER)
    shop.now_ms += SESSION_MS - 10_000
    await api.query("prepaid", "card", args, HOLDER)
    shop.now_ms += SESSION_MS + 1
    await api.query("prepaid", "card", args, HOLDER)


async def test_a_restarted_node_gets_a_new_session(shop: World) -> None:
    args = {"card": CARD.hex()}
    async with serve(shop) as node:
        api = connect(shop, [node.url])
        await api.query("prepaid", "card", args, HOLDER)
    async with api, serve(shop, port=int(node.url.rpartition(":")[2])):
        assert (await api.query("prepaid", "card", args, HOLDER))["height"] == "3"


async def test_private_reading_fails_over(shop: World, node: Node) -> None:
    async with connect(shop, [DEAD, node.url]) as api:
        answer = await api.query("prepaid", "card", {"card": CARD.hex()}, HOLDER)
    assert answer["result"]["remaining"] == "10000"


async def test_a_session_is_opened_with_the_node_asked_and_no_other(
    shop: World, node: Node
) -> None:
    """A node that passes on another's challenge would get the reader's token there."""
    asked: list[str] = []

    async def pass_on(request: web.Request) -> web.Response:
        asked.append(request.path)
        async with connect(shop, [node.url]) as honest:
            answer = await honest.ask(Request("POST", request.path, body=await request.json()))
        return web.json_response(answer.body)

    own = {node.url: node.service.public_key}
    async with serve_handler(pass_on) as relay:
        keys = {**own, relay: STRANGER.public_key}
        async with NodeApi(shop.genesis, [relay], node_keys=keys) as api:
            with pytest.raises(Unproven) as error:
                await api.query("prepaid", "card", {"card": CARD.hex()}, HOLDER)
    assert (error.value.code, asked) == ("OTHER_NODE", ["/v1/challenges"])
    async with NodeApi(shop.genesis, [node.url], node_keys=own, now_ms=lambda: shop.now_ms) as api:
        await api.query("prepaid", "card", {"card": CARD.hex()}, HOLDER)


# ---- status


async def test_every_node_is_asked_for_its_status(shop: World, node: Node) -> None:
    async with connect(shop, [node.url, DEAD]) as api:
        answers = await api.statuses()
    alive, dead = answers[node.url], answers[DEAD]
    assert isinstance(alive, dict)
    assert alive["height"] == "3"
    assert isinstance(dead, Unreachable)


async def test_too_few_nodes_are_no_quorum(shop: World, node: Node) -> None:
    async with connect(shop, [node.url, DEAD, DEAD + "9", DEAD + "99"]) as api:
        with pytest.raises(NoQuorum, match="1 nodes answer and 3 must agree"):
            await api.require_quorum()


async def test_a_node_without_peers_is_no_quorum(shop: World, node: Node, api: NodeApi) -> None:
    await api.require_quorum()  # one node of four is known here: nothing can be said
    failed = FailedCheck("peers", "1 of 3 needed for a quorum")
    node.service.status = lambda: {"failed_checks": [to_json(failed)]}  # type: ignore[method-assign]
    with pytest.raises(NoQuorum):
        await api.require_quorum()
