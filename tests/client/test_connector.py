"""Connectors: final events reach the handler, effects happen once, liars are not believed.

The connector here is a holder's: when its card was opened, it makes the first visit.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from client.connector import Connector, Happening, Trigger, webhook_handler
from client.journal import Journal
from client.keeper import Keeper, Sweep
from client.node_api import NodeApi
from client.webhook import Undelivered, Webhook, parse_secret, verify
from contracts.catalog import CONTRACTS
from contracts.kernel.registry import interface
from node.protocol.json_view import to_json
from node.protocol.keys import PrivateKey
from node.protocol.transaction import Call
from tests.client.support import Node, connect, serve, serve_handler
from tests.http.support import CARD, HOLDER, World

OPENED = Trigger("prepaid", "CardOpened")
PAUSE = 0.01
SECONDS = 10.0
SECRET = parse_secret("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")
VISIT = Call("prepaid", "consume", {"card": CARD, "amt": 1_000, "seq": 1})


class Crash(BaseException):
    """The process is gone, at this very point."""


class Outside:
    """The handler, and what it has seen."""

    def __init__(self, calls: Sequence[Call] = (VISIT,)) -> None:
        self.calls = calls
        self.seen: list[Happening] = []

    async def __call__(self, happening: Happening) -> Sequence[Call]:
        self.seen.append(happening)
        return self.calls


@pytest.fixture
def shop(world: World) -> World:
    """A card of 100.00, opened in block 3."""
    world.open_shop()
    return world


def connector(api: NodeApi, journal: Journal, outside: Any) -> Connector:
    return Connector(api, HOLDER, journal, [OPENED], outside, pause_seconds=PAUSE)


async def run_until(
    running: Connector, done: Callable[[], bool], node: Node, settle: bool = True
) -> None:
    """Run it, settling what it submits, until `done`."""
    task = asyncio.create_task(running.run())
    try:
        async with asyncio.timeout(SECONDS):
            while not done() and not task.done():
                await asyncio.sleep(0.01)
                if settle and node.service.pool:
                    node.service.settle()
        if task.done():
            task.result()
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def run_for(running: Connector, seconds: float) -> None:
    """Run it for a while."""
    with contextlib.suppress(TimeoutError):
        await asyncio.wait_for(running.run(), seconds)


def visits(world: World) -> list[str]:
    """The codes of all consumptions."""
    return [
        receipt.code
        for height in range(4, world.store.head.height + 1)
        for receipt in world.store.receipts(height)
    ]


def open_journal(folder: Path) -> Journal:
    return Journal(folder / "journal", "test")


async def test_an_event_is_handled_and_reported_once(
    shop: World, node: Node, api: NodeApi, tmp_path: Path
) -> None:
    outside = Outside()
    with open_journal(tmp_path) as journal:
        await run_until(connector(api, journal, outside), lambda: journal.height == 3, node)
        (entry,) = journal.entries(5)
        assert entry.outcome == "OK"
    (happening,) = outside.seen
    assert (happening.contract, happening.event, happening.height) == (*OPENED, 3)
    assert happening.data["card"] == CARD.hex()
    assert visits(shop) == ["OK"]
    again = Outside()
    with open_journal(tmp_path) as journal:
        shop.commit(shop.consume(2))
        node.service.announce()
        await run_for(connector(api, journal, again), 0.3)
    assert (again.seen, visits(shop)) == ([], ["OK", "OK"])


@pytest.mark.parametrize(
    "point", ["before record", "after record", "before finish", "after finish"]
)
async def test_a_crash_anywhere_loses_and_repeats_no_effect(
    shop: World, node: Node, api: NodeApi, tmp_path: Path, point: str
) -> None:
    class Fragile(Journal):
        def record(self, event: str, raw: bytes) -> None:
            if point == "before record":
                raise Crash
            super().record(event, raw)
            if point == "after record":
                raise Crash

        def finish(self, event: str, height: int, outcome: str) -> None:
            if point == "before finish":
                raise Crash
            super().finish(event, height, outcome)
            raise Crash

    first, second = Outside(), Outside()
    journal: Journal = Fragile(tmp_path / "journal", "test")
    with journal, pytest.raises(Crash):
        await run_until(connector(api, journal, first), lambda: False, node)
    with open_journal(tmp_path) as journal:
        await run_until(connector(api, journal, second), lambda: journal.height == 3, node)
    assert visits(shop) == ["OK"]
    assert len(first.seen) == 1
    # Only where nothing was written is the handler asked again, under the same id.
    assert second.seen == (first.seen if point == "before record" else [])


async def test_an_unwilling_handler_is_asked_again(
    shop: World, node: Node, api: NodeApi, tmp_path: Path
) -> None:
    class Unwilling(Outside):
        async def __call__(self, happening: Happening) -> Sequence[Call]:
            await super().__call__(happening)
            if len(self.seen) < 3:
                raise Undelivered("come back later")
            return ()

    outside = Unwilling()
    with open_journal(tmp_path) as journal:
        await run_until(connector(api, journal, outside), lambda: journal.height == 3, node)
    assert len(outside.seen) == 3
    assert len({happening.id for happening in outside.seen}) == 1
    assert visits(shop) == []


async def test_a_rejection_is_an_answer(
    shop: World, node: Node, api: NodeApi, tmp_path: Path
) -> None:
    outside = Outside([Call("prepaid", "consume", {"card": CARD, "amt": 1_000, "seq": 9})])
    with open_journal(tmp_path) as journal:
        await run_until(connector(api, journal, outside), lambda: journal.height == 3, node)
        assert journal.entries(1)[0].outcome == "SEQ_GAP"


async def test_a_report_that_expired_is_signed_anew(
    shop: World, node: Node, tmp_path: Path
) -> None:
    outside = Outside()
    async with serve(shop) as other, connect(shop, [node.url, other.url]) as api:
        with open_journal(tmp_path) as journal:

            def expire() -> bool:
                if not node.service.submitted.is_set():
                    return False
                node.service.pool.clear()  # lost, and its time passes
                shop.now_ms += 11 * 60_000
                shop.commit()
                return True

            await run_until(connector(api, journal, outside), expire, node, settle=False)
            await run_until(connector(api, journal, outside), lambda: journal.height == 3, node)
    assert visits(shop) == ["OK"]
    assert len(outside.seen) == 2
    assert outside.seen[0] == outside.seen[1]


def lying(data: dict[str, Any], place: str) -> Any:
    """A node that streams one event which never was."""

    async def answer(request: web.Request) -> web.StreamResponse:
        if request.path != "/v1/events":
            return web.Response(status=503)
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
        await response.prepare(request)
        await response.write(f"id: {place}\nevent: event\ndata: {json.dumps(data)}\n\n".encode())
        await asyncio.sleep(SECONDS)
        return response

    return answer


@pytest.mark.parametrize("place", ["3.2", "900000.1"])
@pytest.mark.parametrize("genuine_id", [True, False])
async def test_an_invented_event_is_not_believed(
    shop: World,
    node: Node,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    place: str,
    genuine_id: bool,
) -> None:
    identity = shop.store.receipts(3)[0].transaction_id if genuine_id else bytes(32)
    fake = {
        "id": identity.hex(),
        "height": "3",
        "index": 0,
        "contract": "prepaid",
        "name": "CardOpened",
        "data": {"card": "00" * 16, "class": "gym", "paid": "1", "bonus": "0"},
    }
    outside = Outside()
    async with (
        serve_handler(lying(fake, place)) as liar,
        connect(shop, [liar, node.url]) as api,
    ):
        # The liar needs no session: it says what it likes anyway.
        genuine = api._sessions.headers

        async def headers(key: PrivateKey, url: str) -> dict[str, str]:
            return {} if url == liar else await genuine(key, url)

        monkeypatch.setattr(api._sessions, "headers", headers)
        with open_journal(tmp_path) as journal:
            running = connector(api, journal, outside)
            await run_until(running, lambda: journal.height == 3, node)
    assert visits(shop) == ["OK"]
    assert all(one.data["card"] == CARD.hex() for one in outside.seen)


async def test_a_webhook_is_told_and_its_answer_reported(
    shop: World, node: Node, api: NodeApi, tmp_path: Path
) -> None:
    told: list[dict[str, Any]] = []
    args = {"card": CARD.hex(), "amt": "1000", "seq": "1"}

    async def receive(request: web.Request) -> web.Response:
        identity = verify(SECRET, request.headers, await request.read(), 1_000)
        told.append({**await request.json(), "webhook-id": identity})
        calls = [{"contract": "prepaid", "action": "consume", "args": args}]
        return web.json_response({"calls": calls})

    async with serve_handler(receive) as url, Webhook(url, SECRET) as webhook:
        handler = webhook_handler(webhook, to_json(interface(CONTRACTS)), lambda: 1_000)
        with open_journal(tmp_path) as journal:
            await run_until(connector(api, journal, handler), lambda: journal.height == 3, node)
    (message,) = told
    assert (message["type"], message["height"]) == ("prepaid.CardOpened", "3")
    assert message["webhook-id"] == f"evt_{message['id']}"
    assert visits(shop) == ["OK"]


@pytest.mark.parametrize(
    "answer",
    [
        {"calls": 7},
        {"calls": [{}]},
        {"calls": [{"contract": "prepaid", "action": "steal", "args": {}}]},
        {"calls": [{"contract": "prepaid", "action": "consume", "args": {"amt": 1.5}}]},
        {"calls": [{"contract": "prepaid", "action": "consume", "args": {"card": "xyz"}}]},
        {"calls": [{}] * 101},
    ],
)
async def test_a_webhook_that_wants_to_report_nonsense(answer: dict[str, Any]) -> None:
    async def receive(_: web.Request) -> web.Response:
        return web.json_response(answer)

    async with serve_handler(receive) as url, Webhook(url, SECRET) as webhook:
        handler = webhook_handler(webhook, to_json(interface(CONTRACTS)), lambda: 1_000)
        with pytest.raises(Undelivered):
            await handler(Happening("id", "aa", 1, "prepaid", "CardOpened", {}))


async def test_the_keeper_sends_nothing_where_nothing_has_expired(
    shop: World, node: Node, api: NodeApi
) -> None:
    keeper = Keeper(api, HOLDER, [], 1.0)
    assert await keeper.sweep(Sweep("kernel", "expire_pending", {})) == 0
    assert node.service.pool == {}
