"""Submission, batches, waiting, and every state that a transaction can be said to be in."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest

from node.http.api import SHARED
from node.http.requests import BodyRoom
from node.http.routes_transactions import BATCH_BYTES_MAX, BATCH_TRANSACTIONS_MAX
from node.protocol.encoding import encode
from node.protocol.json_view import time_to_json
from node.protocol.transaction import Call
from tests.http.conftest import Api
from tests.http.support import BANK, BLOCK_MS, HOLDER, LIFETIME_MS, World

BATCH = {"Content-Type": "application/x-groat-batch"}


def noop(world: World) -> Any:
    """A transaction that does no harm."""
    return world.transaction(BANK, Call("kernel", "expire_pending", {}))


async def send_batch(api: Api, raws: list[bytes], status: int, query: str = "") -> Any:
    return await api.ask(
        "POST", f"/v1/transactions{query}", status, data=encode(raws), headers=BATCH
    )


async def test_accepted_then_final(api: Api, world: World) -> None:
    transaction = noop(world)
    identity = transaction.id.hex()
    answer = await api.send(transaction.raw, 202)
    assert answer == {"id": identity, "status": "pending", "code": "PENDING"}
    assert api.headers["Location"] == f"/v1/transactions/{identity}"
    pending = await api.get(f"/v1/transactions/{identity}")
    assert pending["status"] == "pending"
    assert pending["valid_until"] == time_to_json(transaction.body.valid_until)
    api.service.settle()
    final = await api.get(f"/v1/transactions/{identity}")
    assert (final["status"], final["height"], final["index"]) == ("committed", "1", 0)
    assert final["receipt"]["code"] == "OK"


async def test_sending_again_is_harmless(api: Api, world: World) -> None:
    transaction = noop(world)
    await api.send(transaction.raw, 202)
    assert (await api.send(transaction.raw, 202))["code"] == "KNOWN"
    api.service.settle()
    assert (await api.send(transaction.raw, 200))["status"] == "committed"


async def test_wait_for_commit(api: Api, world: World) -> None:
    transaction = noop(world)
    waiting = asyncio.ensure_future(api.send(transaction.raw, 200, "?wait=commit&timeout=5"))
    await api.service.submitted.wait()
    api.service.settle()
    assert (await waiting)["status"] == "committed"


async def test_a_timeout_is_pending_and_never_failed(api: Api, world: World) -> None:
    answer = await api.send(noop(world).raw, 202, "?wait=commit&timeout=0.05")
    assert answer["status"] == "pending"


async def test_no_verdict_is_waited_for(api: Api, world: World) -> None:
    transaction = noop(world)
    answer = await api.send(transaction.raw, 202, "?wait=none")
    assert (answer["id"], answer["code"]) == (transaction.id.hex(), "RECEIVED")
    await api.service.submitted.wait()
    assert transaction.id in api.service.pool


async def test_what_nobody_waits_for_is_not_read_on_the_way(
    api: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(api.service, "submit", lambda _: asyncio.sleep(0, ()))
    answer = await api.send(b"nonsense", 202, "?wait=none")
    assert (answer["status"], answer["code"]) == ("unknown", "RECEIVED")
    items = (await send_batch(api, [b"nonsense", b""], 202, "?wait=none"))["items"]
    assert [item["code"] for item in items] == ["RECEIVED", "RECEIVED"]


async def test_long_poll(api: Api, world: World) -> None:
    transaction = noop(world)
    await api.send(transaction.raw, 202)
    waiting = asyncio.ensure_future(api.get(f"/v1/transactions/{transaction.id.hex()}?wait=5"))
    await asyncio.sleep(0.02)
    assert not waiting.done()
    api.service.settle()
    assert (await waiting)["status"] == "committed"


async def test_a_rejected_one_is_final_and_failed(api: Api, world: World) -> None:
    call = Call("kernel", "enrol", {"public_key": BANK.public_key, "roles": ["administrator"]})
    transaction = world.transaction(HOLDER, call)
    world.commit(transaction)
    answer = await api.send(transaction.raw, 200)
    assert answer["status"] == "failed"
    assert answer["receipt"] == {"code": "UNAUTHORIZED", "hidden": True}


async def test_unknown_until_somebody_knows_its_lifetime(api: Api, world: World) -> None:
    path = f"/v1/transactions/{'ab' * 32}"
    assert (await api.get(path))["status"] == "unknown"
    world.commit()
    future = time_to_json(world.now_ms + 1)
    assert (await api.get(f"{path}?valid_until={future}"))["status"] == "pending"
    at_head = time_to_json(world.now_ms)
    assert (await api.get(f"{path}?valid_until={at_head}"))["status"] == "pending"
    past = time_to_json(world.now_ms - 1)
    assert (await api.get(f"{path}?valid_until={past}"))["status"] == "expired"


async def test_expired_only_past_its_lifetime(api: Api, world: World) -> None:
    transaction = noop(world)
    path = f"/v1/transactions/{transaction.id.hex()}"
    await api.send(transaction.raw, 202)
    api.service.pool.clear()  # dropped, but another node may still order it
    world.now_ms = transaction.body.valid_until - BLOCK_MS
    world.commit()
    assert (await api.get(path))["status"] == "pending"
    world.commit()
    assert (await api.get(path))["status"] == "expired"


async def test_refusals_have_their_own_codes(api: Api, world: World) -> None:
    raw = noop(world).raw
    flipped = raw[:-1] + bytes([raw[-1] ^ 1])
    assert (await api.send(flipped, 422))["code"] == "BAD_SIGNATURE"
    assert (await api.send(raw[:-70], 400))["code"] == "BAD_MSGPACK"
    assert (await api.send(b"", 400))["code"] == "BAD_MSGPACK"
    assert (await api.send(b"\xff" * 100, 400))["code"] in ("BAD_SHAPE", "TRAILING_BYTES")
    assert (await api.send(bytes(65_537), 413))["code"] == "TOO_LARGE"
    assert not api.service.pool


async def test_no_room_says_when_to_come_back(api: Api, world: World) -> None:
    api.service.capacity = 0
    answer = await api.send(noop(world).raw, 429)
    assert answer["code"] == "MEMPOOL_FULL"
    assert api.headers["Retry-After"] == "1"
    answer = await send_batch(api, [noop(world).raw, noop(world).raw], 429)
    assert [item["code"] for item in answer["items"]] == ["MEMPOOL_FULL"] * 2


async def test_batch_has_a_verdict_for_each(api: Api, world: World) -> None:
    good, again, final = noop(world), noop(world), noop(world)
    world.commit(final)
    await api.send(again.raw, 202)
    raws = [good.raw, b"junk", again.raw, final.raw]
    items = (await send_batch(api, raws, 202))["items"]
    assert [item["code"] for item in items[:1] + items[2:]] == ["PENDING", "KNOWN", "COMMITTED"]
    assert items[0] == {"id": good.id.hex(), "code": "PENDING"}
    assert items[1]["id"] is None
    assert items[1]["message"]
    assert items[3]["status"] == "committed"
    assert api.service.submissions == 2


async def test_batch_waits_for_all(api: Api, world: World) -> None:
    transactions = [noop(world) for _ in range(3)]
    raws = [one.raw for one in transactions]
    waiting = asyncio.ensure_future(send_batch(api, raws, 202, "?wait=commit&timeout=5"))
    await api.service.submitted.wait()
    api.service.settle()
    for item in (await waiting)["items"]:
        assert (item["status"], item["height"], item["receipt"]) == (
            "committed",
            "1",
            {"code": "OK"},
        )


@pytest.mark.parametrize(
    ("body", "status", "code"),
    [
        (encode([]), 400, "BAD_SHAPE"),
        (encode([b"x"] * (BATCH_TRANSACTIONS_MAX + 1)), 400, "BAD_SHAPE"),
        (encode(["text"]), 400, "BAD_SHAPE"),
        (encode([b"x"]) + b"x", 400, "TRAILING_BYTES"),
        (b"\xdc\x00\x01\xc4\x01x", 400, "NON_MINIMAL"),
        (b"", 400, "BAD_MSGPACK"),
    ],
)
async def test_bad_batches(api: Api, body: bytes, status: int, code: str) -> None:
    found = await api.code("POST", "/v1/transactions", status, data=body, headers=BATCH)
    assert found == code


async def test_a_body_is_not_read_beyond_its_limit(api: Api) -> None:
    async def endless() -> AsyncIterator[bytes]:
        for _ in range(1 + BATCH_BYTES_MAX // 65_536):
            yield bytes(65_536)

    path, options = "/v1/transactions", {"data": endless(), "headers": BATCH}
    assert await api.code("POST", path, 413, **options) == "TOO_LARGE"


async def test_content_type_is_checked(api: Api) -> None:
    for path in ("/v1/transactions", "/v1/transactions/simulate"):
        code = await api.code("POST", path, 415, json={"a": 1})
        assert code == "BAD_CONTENT_TYPE"


async def test_simulation_keeps_nothing(api: Api, world: World) -> None:
    transaction = noop(world)
    options = {"data": transaction.raw, "headers": {"Content-Type": "application/octet-stream"}}
    answer = await api.ask("POST", "/v1/transactions/simulate", 200, **options)
    assert answer["status"] == "committed"
    assert answer["receipt"] == {"code": "OK", "hidden": True}
    answer = await api.ask("POST", "/v1/transactions/simulate", 200, BANK, **options)
    assert answer["receipt"]["details"]["expired"] == "0"
    assert (await api.get(f"/v1/transactions/{transaction.id.hex()}"))["status"] == "unknown"


async def test_simulating_what_no_block_may_hold_is_refused(api: Api, world: World) -> None:
    final, minute = noop(world), 60_000
    world.commit(final)
    call = Call("kernel", "expire_pending", {})
    cases = {
        "REPLAYED": final,
        "TX_EXPIRED": world.transaction(BANK, call, lifetime_ms=-minute),
        "TX_TOO_DISTANT": world.transaction(BANK, call, lifetime_ms=11 * minute),
    }
    for code, transaction in cases.items():
        options = {"data": transaction.raw, "headers": {"Content-Type": "application/octet-stream"}}
        assert await api.code("POST", "/v1/transactions/simulate", 422, **options) == code


@pytest.mark.parametrize("identity", ["00", "zz" * 32, "AB" * 32, "0" * 63, "%FF"])
async def test_bad_ids(api: Api, identity: str) -> None:
    assert await api.code("GET", f"/v1/transactions/{identity}", 400) == "BAD_PARAMETER"


@pytest.mark.parametrize("query", ["wait=61", "wait=-1", "wait=nan", "prove=1", "valid_until=now"])
async def test_bad_parameters(api: Api, query: str) -> None:
    path = f"/v1/transactions/{'ab' * 32}?{query}"
    assert await api.code("GET", path, 400) == "BAD_PARAMETER"


async def test_lifetime_bounds_come_from_the_node(api: Api, world: World) -> None:
    transaction = world.transaction(
        BANK, Call("kernel", "expire_pending", {}), lifetime_ms=LIFETIME_MS
    )
    await api.send(transaction.raw, 202)
    found = await api.get(f"/v1/transactions/{transaction.id.hex()}")
    assert found["valid_until"] == time_to_json(world.now_ms + LIFETIME_MS)


async def test_large_bodies_share_a_bounded_room(api: Api, world: World) -> None:
    room = api.server.app[SHARED].body_room = BodyRoom(100_000)
    options = {"headers": BATCH, "data": bytes(80_000)}
    with room.share() as take:
        take(30_000)
        assert await api.code("POST", "/v1/transactions", 503, **options) == "OVERLOADED"
        assert room.held == 30_000
        await api.send(noop(world).raw, 202)
    # With room enough it is read, refused for what it says, and leaves nothing behind.
    assert await api.code("POST", "/v1/transactions", 400, **options) == "BAD_SHAPE"
    assert room.held == 0


async def test_a_node_without_room_takes_nothing_and_says_so(api: Api, world: World) -> None:
    api.service.full = True
    raw = noop(world).raw
    for query in ("", "?wait=none", "?wait=commit"):
        assert (await api.send(raw, 503, query))["code"] == "DISK_FULL"
        assert api.headers["Retry-After"]
    assert (await send_batch(api, [raw], 503))["code"] == "DISK_FULL"
    assert api.service.submissions == 0
    api.service.full = False
    await api.send(raw, 202)
