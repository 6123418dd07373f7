"""Verified reading: what an honest node answers is proved, what a lying one answers is not."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
from aiohttp import web

from client.connection import Request
from client.errors import NotFound, Unproven
from client.interface import find, read_record, sums_of
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


async def test_the_figures_of_a_query_follow_from_its_proved_record(
    shop: World, api: NodeApi
) -> None:
    shop.commit(shop.consume(1, 300))
    interface = dict(shop.query.records.interface)
    rests_on = find(interface, "queries", "prepaid", "card").rests_on
    assert rests_on is not None
    proven = await api.verified.record("prepaid", rests_on.table, CARD, HOLDER)
    assert proven.value is not None
    record = read_record(interface, "prepaid", rests_on.table, proven.value)
    shown = (await api.query("prepaid", "card", {"card": CARD.hex()}, HOLDER))["result"]
    figures = sums_of(rests_on.sums, record)
    assert figures == {name: shown[name] for name in ("remaining", "held", "owed")}
    assert figures["remaining"] == "9700"


async def test_a_receipt_is_proved(shop: World, node: Node, api: NodeApi) -> None:
    transaction = shop.consume(1)
    shop.commit(transaction)
    proven = await api.verified.receipt(transaction.id)
    assert (proven.code, proven.receipt, proven.header.height) == ("OK", None, 4)
    proven = await api.verified.receipt(transaction.id, HOLDER)
    assert proven.receipt is not None
    assert proven.receipt.details == {"remaining": 9_000}


async def test_an_older_state_than_known_is_not_believed(
    shop: World, node: Node, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("client.verified.STALE_PAUSE_SECONDS", 0)
    async with connect(shop, [node.url]) as honest:
        path = "/v1/state/prepaid/classes/" + b"gym".hex()
        old = await honest.get(path, prove="true")

    async def replay(request: web.Request) -> web.Response:
        return web.json_response(old)

    async with serve_handler(replay) as liar, connect(shop, [node.url, liar]) as api:
        assert (await api.verified.record("prepaid", "classes", b"gym", url=liar)).height == 3
        shop.commit(shop.consume(1))
        assert (await api.verified.header("latest", node.url)).height == 4
        with pytest.raises(Unproven) as error:
            await api.verified.record("prepaid", "classes", b"gym", url=liar)
    assert error.value.code == "STALE"


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


def _long_salt(body: dict[str, Any]) -> None:
    body["proof"]["salt"] = "00" * 256


@pytest.mark.parametrize(
    "forge",
    [_wrong_value, _nothing_there, _other_root, _no_proof, _garbage, _cut_path, _long_salt],
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
