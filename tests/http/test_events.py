"""The event stream: order, ids, resuming, filters, privacy, lag and the end."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import aiohttp
import pytest

from node.http import events, feed
from node.protocol.transaction import Call
from node.state.layout import Oldest
from tests.http.conftest import Api
from tests.http.support import BANK, HOLDER, STRANGER, World

READ_TIMEOUT_S = 5.0


class Listener:
    """One open stream."""

    def __init__(self, response: aiohttp.ClientResponse) -> None:
        self.response = response

    async def next(self) -> dict[str, Any]:
        """The next event: id (None without), kind and data; comments are kind `comment`."""
        fields: dict[str, Any] = {"id": None}
        async with asyncio.timeout(READ_TIMEOUT_S):
            while line := (await self.response.content.readline()).decode():
                line = line.rstrip("\n")
                name, _, value = line.partition(": ")
                if not line and "event" in fields:
                    return {**fields, "data": json.loads(fields["data"])}
                if line.startswith(":"):
                    return {"id": None, "event": "comment"}
                if line:
                    fields[name] = value
        return {"id": None, "event": "end"}

    async def ids(self, count: int) -> list[str]:
        """The ids of the next events."""
        return [(await self.next())["id"] for _ in range(count)]


async def listen(
    api: Api, query: str = "", last: str | None = None, reader: Any = None
) -> Listener:
    """An open stream, past its headers."""
    headers = {} if last is None else {"Last-Event-ID": last}
    if reader is not None:
        headers["Authorization"] = f"Bearer {await api.token(reader)}"
    response = await api.http.get(f"{api.server.url}/v1/events{query}", headers=headers)
    api.streams.append(response)
    assert response.status == 200
    assert response.content_type == "text/event-stream"
    return Listener(response)


async def test_live_blocks_and_transactions(api: Api, world: World) -> None:
    stream = await listen(api)
    transaction = world.transaction(HOLDER, *world.consume(1).body.calls)  # type: ignore[arg-type]
    await api.send(transaction.raw, 202)
    api.service.settle()
    block, one = await stream.next(), await stream.next()
    assert (block["id"], block["event"], block["data"]["height"]) == ("1.0", "block", "1")
    assert (one["id"], one["event"]) == ("1.1", "tx")
    assert one["data"] == {
        "id": transaction.id.hex(),
        "height": "1",
        "index": 0,
        "status": "failed",
        "code": "NOT_FOUND",
    }


async def test_resuming_misses_nothing_and_repeats_nothing(api: Api, world: World) -> None:
    world.open_shop()
    world.commit(world.consume(1), world.consume(2))
    whole = await listen(api, last="0.0", reader=HOLDER)
    seen: list[str] = []
    while not seen or seen[-1] != "4.100002":
        seen += await whole.ids(1)
    assert seen[-5:] == ["4.0", "4.1", "4.2", "4.100001", "4.100002"]
    for position, last in enumerate(seen[:-1]):
        stream = await listen(api, last=last, reader=HOLDER)
        assert (await stream.next())["id"] == seen[position + 1]
    by_url = await listen(api, f"?after={seen[2]}", reader=HOLDER)
    assert await by_url.ids(2) == seen[3:5]


async def test_ids_are_the_same_for_every_viewer(api: Api, world: World) -> None:
    world.open_shop()
    world.commit(world.consume(1), world.consume(2))
    stranger = await listen(api, "?type=tx", last="3.9")
    assert await stranger.ids(2) == ["4.1", "4.100001"]
    holder = await listen(api, "?type=tx,event", last="3.9", reader=HOLDER)
    assert await holder.ids(4) == ["4.1", "4.2", "4.100001", "4.100002"]


async def test_ids_do_not_tell_how_many_events_others_have(api: Api, world: World) -> None:
    world.open_shop()
    silent = world.transaction(BANK, Call("kernel", "expire_pending", {}))
    world.commit(silent, world.consume(1), world.consume(2))
    stranger = await listen(api, "?type=tx", last="3.9")
    assert await stranger.ids(3) == ["4.1", "4.100001", "4.200001"]


async def test_strangers_get_no_details_and_no_private_events(api: Api, world: World) -> None:
    world.open_shop()
    world.commit(world.consume(1))
    stranger = await listen(api, last="3.9")
    assert (await stranger.next())["event"] == "block"
    assert set((await stranger.next())["data"]) == {"id", "height", "index", "status", "code"}
    world.commit()
    api.service.announce()
    assert (await stranger.next())["id"] == "5.0"


async def test_filters(api: Api, world: World) -> None:
    world.open_shop()
    world.commit(world.consume(1))
    wanted = await listen(api, "?type=event&contract=prepaid&name=Consumed", "0.0", HOLDER)
    event = await wanted.next()
    assert (event["id"], event["data"]["name"]) == ("4.2", "Consumed")
    other = await listen(api, "?type=event,block&contract=other", "2.9", HOLDER)
    assert await other.ids(2) == ["3.0", "4.0"]


async def test_comments_keep_the_connection(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(events, "HEARTBEAT_S", 0.02)
    stream = await listen(api)
    assert (await stream.next())["event"] == "comment"


async def test_a_lagging_live_client_is_told_and_cut_off(
    api: Api, world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(events, "LAG_BLOCKS_MAX", 2)
    stream = await listen(api)
    await asyncio.sleep(0.02)
    for _ in range(3):
        world.commit()
    api.service.announce()
    lagged = await stream.next()
    assert (lagged["event"], lagged["data"]) == ("lagged", {"height": "3"})
    assert (await stream.next())["event"] == "end"
    replay = await listen(api, last="0.0")
    assert await replay.ids(3) == ["1.0", "2.0", "3.0"]


async def test_streams_are_bounded(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(feed, "STRANGERS_STREAMS_MAX", 1)
    stream = await listen(api)
    assert await api.code("GET", "/v1/events", 429) == "TOO_MANY_STREAMS"
    stream.response.close()
    await asyncio.sleep(0.05)
    api.service.world.commit()
    api.service.announce()  # the write into the closed socket ends the first stream
    await asyncio.sleep(0.05)
    await listen(api)


async def test_strangers_leave_streams_to_readers_who_leave_some_to_others(
    api: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(feed, "STRANGERS_STREAMS_MAX", 1)
    monkeypatch.setattr(feed, "READER_STREAMS_MAX", 1)
    await listen(api)
    for outsider in (None, STRANGER):
        code = await api.code("GET", "/v1/events", 429, reader=outsider)
        assert code == "TOO_MANY_STREAMS"
    await listen(api, reader=HOLDER)
    assert await api.code("GET", "/v1/events", 429, reader=HOLDER) == "TOO_MANY_STREAMS"
    await listen(api, reader=BANK)


async def test_an_expired_session_ends_the_stream(api: Api, world: World) -> None:
    stream = await listen(api, reader=HOLDER)
    world.now_ms += 16 * 60 * 1000
    world.commit()
    api.service.announce()
    told = await stream.next()
    assert (told["event"], told["data"]["code"]) == ("refused", "SESSION_EXPIRED")
    assert (await stream.next())["event"] == "end"


async def test_shutdown_ends_streams_at_once(api: Api) -> None:
    stream = await listen(api)
    async with asyncio.timeout(2):
        await api.server.stop()
    assert (await stream.next())["event"] == "end"


@pytest.mark.parametrize(
    ("query", "last"),
    [
        ("?type=blocks", None),
        ("?type=", None),
        ("?contract=", None),
        ("?colour=red", None),
        ("", "x"),
        ("", "1"),
        ("", "-1.0"),
        ("", "1.0"),
        ("", "9999999999999999999.0"),
    ],
)
async def test_bad_requests(api: Api, query: str, last: str | None) -> None:
    headers = {} if last is None else {"Last-Event-ID": last}
    assert await api.code("GET", f"/v1/events{query}", 400, headers=headers) == "BAD_PARAMETER"


async def test_resuming_before_the_oldest_block_is_refused_as_pruned(
    api: Api, world: World
) -> None:
    for _ in range(3):
        world.commit()
    world.store.forget(Oldest(3, 3))
    for last in ("0.0", "2.7"):
        response = await api.http.get(
            f"{api.server.url}/v1/events", headers={"Last-Event-ID": last}
        )
        assert response.status == 410
        assert (await response.json())["code"] == "PRUNED"
    await listen(api, last="3.0")


async def test_a_bad_token_is_refused_before_the_stream(api: Api) -> None:
    headers = {"Authorization": "Bearer 00"}
    assert await api.code("GET", "/v1/events", 401, headers=headers) == "BAD_TOKEN"
