"""Settling: "committed" counts with its proof only, and one node's refusal is not the network's."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from typing import Any

import pytest
from aiohttp import web

from client.connection import Request
from client.errors import Rejected, Unproven
from client.node_api import NodeApi
from node.protocol.transaction import Call, Transaction
from tests.client.support import Node, connect, serve, serve_handler
from tests.http.support import CARD, HOLDER, World

TIMEOUT = 10.0


@pytest.fixture
def shop(world: World) -> World:
    """The chain with a card of 100.00 on it, at height 3."""
    world.open_shop()
    return world


async def visit(api: NodeApi, seq: int = 1, amount: int = 1_000) -> Transaction:
    return await api.build(
        HOLDER, [Call("prepaid", "consume", {"card": CARD, "amt": amount, "seq": seq})]
    )


async def settle_soon(node: Node) -> None:
    """Order what waits, once something does."""
    async with asyncio.timeout(TIMEOUT):
        while not node.service.pool:  # noqa: ASYNC110
            await asyncio.sleep(0.01)
    node.service.settle()


def claiming(body: dict[str, Any]) -> Any:
    """A node that says this of every transaction, and passes nothing on."""

    async def handler(_: web.Request) -> web.Response:
        return web.json_response(body)

    return handler


COMMITTED = {"status": "committed", "height": "4", "receipt": {"code": "OK", "details": {}}}
FAILED = {"status": "failed", "height": "4", "receipt": {"code": "INSUFFICIENT"}}


@pytest.mark.parametrize("claim", [COMMITTED, FAILED], ids=["committed", "failed"])
async def test_what_one_node_merely_says_is_final_is_not(
    shop: World, node: Node, claim: dict[str, Any]
) -> None:
    async with serve_handler(claiming(claim)) as liar, connect(shop, [liar, node.url]) as api:
        settling = asyncio.create_task(settle_soon(node))
        transaction = await visit(api)
        outcome = await api.submit(transaction, timeout_seconds=TIMEOUT)
        await settling
    assert (outcome.status, outcome.code, outcome.height) == ("committed", "OK", 4)
    assert outcome.view["verified"] is True
    assert shop.query.is_final(transaction.id)


async def test_where_nobody_else_answers_the_claim_is_told_from_an_outcome(shop: World) -> None:
    async with serve_handler(claiming(COMMITTED)) as liar, connect(shop, [liar]) as api:
        with pytest.raises(Unproven, match="NO_PROOF"):
            await api.submit(await visit(api), timeout_seconds=0.5)
        with pytest.raises(Unproven, match="NO_PROOF"):
            await api.wait(bytes(32), 0.5)


def _other_status(body: dict[str, Any]) -> None:
    body["status"], body["receipt"] = "committed", {"code": "OK"}


def _other_height(body: dict[str, Any]) -> None:
    body["height"] = "1"


def _other_details(body: dict[str, Any]) -> None:
    body["receipt"] |= {"details": {"remaining": "1000000"}, "events": [{"name": "Gift"}]}


async def forging(node: Node, forge: Callable[[dict[str, Any]], None]) -> Any:
    """A node that passes everything on, and changes what comes back."""

    async def handler(request: web.Request) -> web.Response:
        async with connect(node.world, [node.url]) as honest:
            answer = await honest.ask(
                Request(
                    request.method, request.path, dict(request.query) or None, await request.read()
                )
            )
        body = json.loads(json.dumps(answer.body))
        forge(body)
        return web.json_response(body)

    return handler


async def test_of_a_proved_outcome_nothing_is_shown_that_is_not_proved(
    shop: World, node: Node
) -> None:
    """The code is what was certified; height and details are not what somebody put beside it."""
    transaction = shop.consume(1, amount=99_999)
    shop.commit(transaction)
    for forge in (_other_height, _other_details):
        async with (
            serve_handler(await forging(node, forge)) as liar,
            connect(shop, [liar]) as api,
        ):
            outcome = await api.wait(transaction.id, 1.0)
        assert (outcome.status, outcome.code, outcome.height) == ("failed", "INSUFFICIENT", 4)
        assert outcome.details == {}
        assert "events" not in outcome.view["receipt"]
    async with (
        serve_handler(await forging(node, _other_status)) as liar,
        connect(shop, [liar]) as api,
    ):
        with pytest.raises(Unproven, match="BAD_PROOF"):
            await api.wait(transaction.id, 0.5)


async def test_a_proof_of_another_transaction_proves_nothing(shop: World, node: Node) -> None:
    good, bad = shop.consume(1), shop.consume(2, amount=99_999)
    shop.commit(good, bad)

    async def other(_: web.Request) -> web.Response:
        async with connect(shop, [node.url]) as honest:
            return web.json_response(
                await honest.get(f"/v1/transactions/{good.id.hex()}", prove="true")
            )

    async with serve_handler(other) as liar, connect(shop, [liar]) as api:
        with pytest.raises(Unproven, match="BAD_PROOF"):
            await api.wait(bad.id, 0.5)


async def test_who_may_read_it_gets_the_details_proved(
    shop: World, node: Node, api: NodeApi
) -> None:
    transaction = shop.consume(1)
    shop.commit(transaction)
    outcome = await api.verified.outcome(transaction.id, viewer=HOLDER)
    assert outcome.details == {"remaining": "9000"}
    assert outcome.view["receipt"]["events"][0]["name"] == "Consumed"
    assert (await api.verified.outcome(transaction.id)).details == {}


# ---- refusals


async def refuse(_: web.Request) -> web.Response:
    body = {"code": "BAD_SIGNATURE", "detail": "no", "status": 422}
    return web.json_response(body, status=422)


async def test_one_node_that_refuses_everything_keeps_nothing_out(shop: World, node: Node) -> None:
    async with serve_handler(refuse) as liar, connect(shop, [liar, node.url]) as api:
        settling = asyncio.create_task(settle_soon(node))
        outcome = await api.submit(await visit(api), timeout_seconds=TIMEOUT)
        await settling
    assert outcome.status == "committed"


async def test_more_refusals_than_may_lie_are_the_network_s(shop: World) -> None:
    async with (
        serve(shop) as first,
        serve(shop) as second,
        connect(shop, [first.url, second.url]) as api,
    ):
        good = await visit(api)
        forged = api.decode(good.raw[:-1] + bytes([good.raw[-1] ^ 1]))
        with pytest.raises(Rejected, match="BAD_SIGNATURE"):
            await api.submit(forged, timeout_seconds=TIMEOUT)
        assert not first.service.pool
        assert not second.service.pool
