"""Status, blocks and the rest of the public chain, checked as a light client would."""

from __future__ import annotations

import pytest

from node.protocol.block import (
    BlockHeader,
    CommitCertificate,
    check_certificate,
)
from node.protocol.encoding import Codec
from tests.http.conftest import Api
from tests.http.support import World

header_codec: Codec[BlockHeader] = Codec(BlockHeader, 4096)
certificate_codec: Codec[CommitCertificate] = Codec(CommitCertificate, 65536)


async def test_status_before_and_after_the_first_block(api: Api, world: World) -> None:
    before = await api.get("/v1/status")
    assert before["height"] == "0"
    assert before["block_id"] == world.genesis.hash.hex() == before["genesis_hash"]
    assert (before["validators"], before["quorum"], before["dead_max"]) == (4, 3, 1)
    block = world.commit()
    after = await api.get("/v1/status")
    assert after["height"] == "1"
    assert after["state_root"] == block.header.state_root.hex()
    assert after["time"] == "2026-01-31T08:00:01.000Z"
    assert after["caught_up"] is True


async def test_genesis_is_the_file(api: Api, world: World) -> None:
    assert await api.get("/v1/genesis") == world.genesis.model_dump(mode="json")


async def test_a_block_by_height_id_and_latest(api: Api, world: World) -> None:
    block = world.commit()
    world.commit()
    identity = block.certificate.block_id.hex()
    by_height = await api.get("/v1/blocks/1")
    assert by_height == await api.get(f"/v1/blocks/{identity}")
    assert by_height["header"]["id"] == identity
    assert by_height["header"]["height"] == "1"
    assert (await api.get("/v1/blocks/latest"))["header"]["height"] == "2"
    canonical = by_height["canonical"]
    header = header_codec.decode(bytes.fromhex(canonical["header"]))
    certificate = certificate_codec.decode(bytes.fromhex(canonical["certificate"]))
    assert header == block.header
    check_certificate(world.chain, header, certificate, world.genesis.validator_set)


async def test_final_blocks_are_cached_by_their_id(api: Api, world: World) -> None:
    world.commit()
    await api.get("/v1/blocks/1")
    tag = api.headers["ETag"]
    assert "immutable" in api.headers["Cache-Control"]
    url = f"{api.server.url}/v1/blocks/1"
    async with api.http.get(url, headers={"If-None-Match": tag}) as response:
        assert response.status == 304
        assert await response.read() == b""
    await api.get("/v1/blocks/latest")
    assert api.headers["Cache-Control"] == "no-store"


@pytest.mark.parametrize("reference", ["0", "2", "999999999999999999", "ab" * 32])
async def test_no_such_block(api: Api, world: World, reference: str) -> None:
    world.commit()
    assert await api.code("GET", f"/v1/blocks/{reference}", 404) == "NOT_FOUND"


@pytest.mark.parametrize(
    "reference", ["-1", "1.0", "0x1", "AB" * 32, "ab" * 31, "%00", "%FF", "٣", "9" * 19, "1e3"]
)
async def test_no_block_reference(api: Api, reference: str) -> None:
    assert await api.code("GET", f"/v1/blocks/{reference}", 400) == "BAD_HEIGHT"


async def test_latest_before_the_first_block(api: Api) -> None:
    assert await api.code("GET", "/v1/blocks/latest", 404) == "NOT_FOUND"
    assert await api.get("/v1/blocks") == {"items": [], "next": None}


async def test_blocks_are_paged_by_height(api: Api, world: World) -> None:
    for _ in range(5):
        world.commit()
    heights = []
    path: str | None = "/v1/blocks?limit=2"
    while path is not None:
        page = await api.get(path)
        heights += [item["height"] for item in page["items"]]
        path = f"/v1/blocks?limit=2&before={page['next']}" if page["next"] else None
    assert heights == ["5", "4", "3", "2", "1"]


@pytest.mark.parametrize(
    "query",
    [
        "limit=0",
        "limit=101",
        "limit=1.5",
        "limit=",
        "limit=1&limit=2",
        "before=0",
        "before=x",
        "x=1",
    ],
)
async def test_bad_page_parameters(api: Api, query: str) -> None:
    assert await api.code("GET", f"/v1/blocks?{query}", 400) == "BAD_PARAMETER"


async def test_confirmations_name_the_sealers(api: Api, world: World) -> None:
    block = world.commit()
    found = await api.get("/v1/blocks/1/confirmations")
    assert [seal["signer"] for seal in found["confirmed"]] == [
        seal.signer.hex() for seal in block.certificate.seals
    ]
    assert found["needed"] == 3
    assert found["dissented"] == []


async def test_validators_hash_to_what_the_header_commits_to(api: Api, world: World) -> None:
    block = world.commit()
    found = await api.get("/v1/validators")
    assert found["hash"] == block.header.next_validators_hash.hex()
    assert [one["name"] for one in found["items"]] == ["node1", "node2", "node3", "node4"]


async def test_live_facts(api: Api) -> None:
    assert (await api.get("/v1/peers"))["items"][0]["name"] == "node2"
    assert await api.get("/v1/mempool") == {"transactions": "0"}
    assert await api.get("/v1/evidence") == {"items": []}
