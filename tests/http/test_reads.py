"""What a regulator reads because it is one is noted before it is told; nothing else is."""

from __future__ import annotations

import json
from typing import Any

import pytest

from node.http import events
from tests.http.conftest import Api
from tests.http.support import BANK, CARD, HOLDER, MERCHANT, REGULATOR, World
from tests.http.test_events import listen

ME = REGULATOR.public_key
CARD_QUERY = "/v1/contracts/prepaid/queries/card"


@pytest.fixture
def visit(world: World) -> Any:
    """A visit to the gym, settled."""
    world.open_shop(sealed=True)
    transaction = world.consume(1, sealed=True)
    world.commit(transaction)
    return transaction


async def test_every_door_is_watched(api: Api, world: World, visit: Any) -> None:
    identity, reads = visit.id.hex(), api.service.reads
    record = f"/v1/state/prepaid/cards/{CARD.hex()}?prove=true"
    await api.get(record, REGULATOR)
    await api.ask("POST", CARD_QUERY, 200, REGULATOR, json={"card": CARD.hex()})
    await api.get(f"{CARD_QUERY}?card={CARD.hex()}", REGULATOR)
    await api.get(f"/v1/transactions/{identity}?prove=true", REGULATOR)
    await api.get("/v1/blocks/latest/transactions", REGULATOR)
    data = world.consume(2).raw
    headers = {"Content-Type": "application/octet-stream"}
    path = "/v1/transactions/simulate"
    await api.ask("POST", path, 200, REGULATOR, data=data, headers=headers)
    asked = json.dumps({"card": CARD.hex()}, separators=(",", ":"))
    assert reads == [
        (ME, f"GET {record}"),
        (ME, f"query prepaid card {asked}"),
        (ME, f"query prepaid card {asked}"),
        (ME, f"transaction {identity}"),
        (ME, "GET /v1/blocks/latest/transactions"),
        (ME, f"POST {path}"),
    ]


async def test_what_others_and_anybody_may_read_is_not_noted(
    api: Api, world: World, visit: Any
) -> None:
    for reader in (HOLDER, MERCHANT, BANK):
        await api.get(f"/v1/transactions/{visit.id.hex()}", reader)
        await api.ask("POST", CARD_QUERY, 200, reader, json={"card": CARD.hex()})
    await api.get("/v1/status", REGULATOR)
    await api.get("/v1/blocks/latest", REGULATOR)
    await api.ask("POST", "/v1/contracts/kernel/queries/nodes", 200, REGULATOR, json={})
    approval = world.store.block(2)  # its own transaction
    assert approval is not None
    own = world.query.block_transactions(2, -1, 1, world.query.viewer(ME))["items"][0]["id"]
    await api.get(f"/v1/transactions/{own}", REGULATOR)
    await api.ask("GET", "/v1/state/prepaid/cards/" + "00" * 16, 404, REGULATOR)
    assert api.service.reads == []


async def test_what_cannot_be_noted_is_not_told(api: Api, visit: Any) -> None:
    api.service.log_full = True
    answer = await api.ask("POST", CARD_QUERY, 503, REGULATOR, json={"card": CARD.hex()})
    assert answer["code"] == "READ_LOG_FAILED"
    assert "remaining" not in json.dumps(answer)
    stream = await listen(api, "?type=event&after=0.0", reader=REGULATOR)
    assert (await stream.next())["event"] in ("refused", "end")
    assert api.service.reads == []


async def test_a_stream_notes_some_blocks_at_once(
    api: Api, world: World, visit: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(events, "NOTED_BLOCKS", 2)
    for number in range(2, 5):
        world.commit(world.consume(number))
    stream = await listen(api, "?type=event&after=0.0", reader=REGULATOR)
    names = [(await stream.next())["data"]["name"] for _ in range(7)]
    assert names[2:] == ["CardOpened", *["Consumed"] * 4]
    noted = [what for _, what in api.service.reads]
    assert noted == [f"events of blocks {first} to {first + 1}" for first in (1, 3, 5, 7)]
