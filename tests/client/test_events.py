"""The stream of events: resumed behind the last one handled, on any node, missing nothing."""

from __future__ import annotations

import asyncio

import pytest
from aiohttp import web

from client.errors import Rejected
from client.node_api import NodeApi
from tests.client.support import Node, connect, serve, serve_handler
from tests.http.support import HOLDER, World

DEAD = "http://127.0.0.1:9"


async def _take(
    api: NodeApi, count: int, after: str | None = "0.0", **options: object
) -> list[str]:
    seen = []
    stream = api.events(after=after, **options)  # type: ignore[arg-type]
    async with asyncio.timeout(5):
        async for event in stream:
            seen.append(f"{event.id} {event.kind}")
            if len(seen) == count:
                break
    await stream.aclose()
    return seen


@pytest.fixture
def shop(world: World) -> World:
    """Three blocks of one transaction."""
    world.open_shop()
    return world


EVERYTHING = [f"{height}.{index}" for height in (1, 2, 3) for index in (0, 1)]


async def test_history_is_replayed_in_order(shop: World, api: NodeApi) -> None:
    seen = await _take(api, 6)
    assert [line.split()[0] for line in seen] == EVERYTHING
    assert [line.split()[1] for line in seen] == ["block", "tx"] * 3


async def test_it_resumes_behind_any_event(shop: World, api: NodeApi) -> None:
    assert await _take(api, 2, "2.1") == ["3.0 block", "3.1 tx"]


async def test_events_are_for_those_who_may_see_them(shop: World, api: NodeApi) -> None:
    assert await _take(api, 1, "2.1", kinds=["event"], viewer=HOLDER) == ["3.2 event"]


async def test_what_happens_now_arrives(shop: World, node: Node, api: NodeApi) -> None:
    taking = asyncio.create_task(_take(api, 2, "3.1"))
    await asyncio.sleep(0.1)
    shop.commit(shop.consume(1))
    node.service.announce()
    assert await taking == ["4.0 block", "4.1 tx"]


async def test_a_break_in_the_middle_loses_and_repeats_nothing(shop: World, node: Node) -> None:
    """The first node breaks off inside its second event; the second one continues."""
    calls = []

    async def breaks(request: web.Request) -> web.StreamResponse:
        calls.append(request.headers.get("Last-Event-ID"))
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
        await response.prepare(request)
        await response.write(
            b": hello\n\nid: 1.0\nevent: block\ndata: {}\n\nid: 1.1\nevent: tx\nda"
        )
        assert request.transport is not None
        request.transport.close()
        return response

    async with serve_handler(breaks) as flaky, connect(shop, [flaky, node.url]) as api:
        seen = await _take(api, 6)
    assert [line.split()[0] for line in seen] == EVERYTHING
    assert calls == ["0.0"]


@pytest.mark.parametrize(
    "content",
    [
        b"id: 1.0\nevent: block\ndata: not json\n\n",
        b"\xff\xfe\n\n",
        b"event: lagged\ndata: {}\n\n",
        b"event: block\ndata: {}\n\n",
        b"id: 1.0\nevent: block\ndata: [1]\n\n",
        b"id: 0.0\nevent: block\ndata: {}\n\n",
        b"id: x.y\nevent: block\ndata: {}\n\n",
        b"",
    ],
)
async def test_a_node_that_talks_nonsense_is_left(shop: World, node: Node, content: bytes) -> None:
    async def nonsense(_: web.Request) -> web.Response:
        return web.Response(body=content, content_type="text/event-stream")

    async with serve_handler(nonsense) as liar, connect(shop, [liar, node.url]) as api:
        seen = await _take(api, 6)
    assert [line.split()[0] for line in seen] == EVERYTHING


async def test_a_dead_node_is_left(shop: World, node: Node) -> None:
    async with connect(shop, [DEAD, node.url]) as api:
        assert len(await _take(api, 6)) == 6


async def test_a_refused_request_is_not_repeated(shop: World, api: NodeApi) -> None:
    with pytest.raises(Rejected) as error:
        await _take(api, 1, "not a cursor")
    assert error.value.code == "BAD_PARAMETER"


async def test_a_node_that_lags_behind_the_cursor_is_left_for_another(world: World) -> None:
    """A fresh node calls the cursor beyond its head: it is behind, the cursor is good."""
    behind = World()
    world.open_shop()
    async with (
        serve(behind) as fresh,
        serve(world) as ahead,
        connect(world, [fresh.url, ahead.url]) as api,
    ):
        assert await _take(api, 2, "2.1") == ["3.0 block", "3.1 tx"]
