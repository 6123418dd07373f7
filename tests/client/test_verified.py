"""Verified reading: what an honest node answers is proved, what a lying one answers is not."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
from aiohttp import web

from client.connection import Request
from client.errors import NotFound, Unproven
from client.interface import read_record
from client.node_api import NodeApi
from tests.client.support import Node, connect, serve_handler
from tests.http.support import CARD, HOLDER, World


@pytest.fixture
def shop(world: World) -> World:
    """The chain with a card of 100.00 on it, at height 3."""
    world.open_shop()
    return world


async def test_a_header_is_verified(shop: World, api: NodeApi) -> None:
    header = await api.verified.header("2")
    assert header.height == 2
    assert (await api.verified.header(header.id(shop.chain).hex())) == header
    assert (await api.verified.header("latest")).height == api.light.head.height == 3
    with pytest.raises(NotFound):
        await api.verified.header("99")


async def test_a_record_and_its_absence_are_proved(shop: World, api: NodeApi) -> None:
    proven = await api.verified.record("prepaid", "cards", CARD, HOLDER)
    assert proven.value == shop.store.get("prepaid/cards", CARD)
    assert proven.height == 3
    absent = await api.verified.record("prepaid", "cards", b"A" * 16, HOLDER)
    assert absent.value is None
    public = await api.verified.record("prepaid", "classes", b"gym")
    assert public.value is not None


async def test_a_query_is_checked_against_its_record(shop: World, api: NodeApi) -> None:
    interface = dict(shop.query.records.interface)

    def read(value: bytes) -> dict[str, Any]:
        return read_record(interface, "prepaid", "cards", value)

    args: dict[str, Any] = {"table": "cards", "key": CARD, "read": read, "viewer": HOLDER}
    result, proven = await api.verified.query("prepaid", "card", {"card": CARD.hex()}, **args)
    assert result is not None
    assert result["remaining"] == "10000"
    assert proven.height == 3


async def test_a_receipt_is_proved(shop: World, node: Node, api: NodeApi) -> None:
    transaction = shop.consume(1)
    shop.commit(transaction)
    assert (await api.verified.receipt(transaction.id)).height == 4


Forge = Callable[[dict[str, Any]], None]


async def _forging(node: Node, forge: Forge) -> Any:
    """A node that passes on what the honest one answers, changed by `forge`."""

    async def handler(request: web.Request) -> web.Response:
        async with connect(node.world, [node.url]) as honest:
            answer = await honest.ask(
                Request(request.method, request.path, dict(request.query) or None)
            )
        body = json.loads(json.dumps(answer.body))
        forge(body)
        return web.json_response(body)

    return handler


def _wrong_value(body: dict[str, Any]) -> None:
    body["value"] = body["value"][:-2] + "7f"


def _nothing_there(body: dict[str, Any]) -> None:
    body["value"] = None


def _other_root(body: dict[str, Any]) -> None:
    body["proof"]["header"] = body["proof"]["header"].replace("c4", "c5", 1)


def _no_proof(body: dict[str, Any]) -> None:
    del body["proof"]


def _garbage(body: dict[str, Any]) -> None:
    body["proof"] = {"header": "zz", "certificate": 5, "path": None, "salt": []}


def _cut_path(body: dict[str, Any]) -> None:
    body["proof"]["path"] = body["proof"]["path"][:-2]


@pytest.mark.parametrize(
    "forge", [_wrong_value, _nothing_there, _other_root, _no_proof, _garbage, _cut_path]
)
async def test_a_forged_record_is_not_believed(shop: World, node: Node, forge: Forge) -> None:
    handler = await _forging(node, forge)
    async with serve_handler(handler) as liar, connect(shop, [liar]) as api:
        with pytest.raises(Unproven):
            await api.verified.record("prepaid", "classes", b"gym")


async def test_a_forged_code_is_not_believed(shop: World, node: Node) -> None:
    transaction = shop.consume(1, amount=99_999)
    shop.commit(transaction)

    def succeed(body: dict[str, Any]) -> None:
        body["receipt"]["code"] = "OK"

    async with (
        serve_handler(await _forging(node, succeed)) as liar,
        connect(shop, [liar]) as api,
    ):
        with pytest.raises(Unproven):
            await api.verified.receipt(transaction.id)


async def test_another_block_than_asked_for_is_not_believed(shop: World, node: Node) -> None:
    async def older(_: web.Request) -> web.Response:
        async with connect(shop, [node.url]) as honest:
            return web.json_response(await honest.get("/v1/blocks/1"))

    async with serve_handler(older) as liar, connect(shop, [liar]) as api:
        with pytest.raises(Unproven) as error:
            await api.verified.header("2")
    assert error.value.code == "OTHER_BLOCK"
