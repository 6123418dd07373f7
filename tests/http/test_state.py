"""Records with their proofs, balances by height, interfaces and queries."""

from __future__ import annotations

import pytest

from contracts.kernel.ledger import account_key
from contracts.prepaid.money import ESCROW
from node.protocol.block import BlockHeader
from node.protocol.encoding import Codec
from node.protocol.genesis import interface_hash
from node.protocol.proofs import state_proof_codec, verify_state_proof
from tests.http.conftest import Api
from tests.http.support import BANK, CARD, HOLDER, OTHER, REGULATOR, SHOP, STRANGER, World

header_codec: Codec[BlockHeader] = Codec(BlockHeader, 4096)
CARD_PATH = f"/v1/state/prepaid/cards/{CARD.hex()}"
ESCROW_ACCOUNT = account_key(SHOP, "CNY", ESCROW)


async def test_a_private_record_is_proved_to_its_reader(api: Api, world: World) -> None:
    world.open_shop()
    found = await api.get(f"{CARD_PATH}?prove=true", HOLDER)
    assert found["record"]["initial"] == "10000"
    value, proof = bytes.fromhex(found["value"]), found["proof"]
    header = header_codec.decode(bytes.fromhex(proof["header"]))
    path = state_proof_codec.decode(bytes.fromhex(proof["path"]))
    salt = bytes.fromhex(proof["salt"])
    assert len(salt) == 32
    verify_state_proof(header.state_root, "prepaid/cards", CARD, value, path, salt)
    assert header.height == int(found["height"]) == 3


async def test_a_public_record_is_proved_to_anybody(api: Api, world: World) -> None:
    world.commit()
    found = await api.get(f"/v1/state/kernel/assets/{b'CNY'.hex()}?prove=true")
    assert found["record"] == {"code": "CNY", "scale": "2"}
    proof = found["proof"]
    assert proof["salt"] == ""
    header = header_codec.decode(bytes.fromhex(proof["header"]))
    path = state_proof_codec.decode(bytes.fromhex(proof["path"]))
    verify_state_proof(
        header.state_root, "kernel/assets", b"CNY", bytes.fromhex(found["value"]), path
    )


async def test_absence_is_proved(api: Api, world: World) -> None:
    world.open_shop()
    for table, key, reader in (
        ("kernel/assets", b"EUR", None),
        ("prepaid/cards", b"x" * 16, OTHER),
    ):
        found = await api.get(f"/v1/state/{table}/{key.hex()}?prove=true", reader)
        assert found["value"] is None
        header = header_codec.decode(bytes.fromhex(found["proof"]["header"]))
        path = state_proof_codec.decode(bytes.fromhex(found["proof"]["path"]))
        verify_state_proof(header.state_root, table, key, None, path)


async def test_hidden_looks_like_absent(api: Api, world: World) -> None:
    world.open_shop()
    absent_path = f"/v1/state/prepaid/cards/{'00' * 16}"
    for reader, status in ((None, 401), (STRANGER, 404), (OTHER, 404)):
        hidden = await api.ask("GET", CARD_PATH, status, reader)
        absent = await api.ask("GET", absent_path, status, reader)
        assert {**hidden, "instance": ""} == {**absent, "instance": ""}
    assert await api.code("GET", f"{CARD_PATH}?prove=true", 401) == "SESSION_REQUIRED"
    assert await api.code("GET", f"{CARD_PATH}?prove=true", 404, reader=OTHER) == "NOT_FOUND"
    assert await api.code("GET", f"{absent_path}?prove=true", 401) == "SESSION_REQUIRED"
    code = await api.code("GET", f"{absent_path}?prove=true", 404, reader=STRANGER)
    assert code == "NOT_FOUND", "only members may probe for what is absent"


async def test_public_records_of_a_private_table_need_no_session(api: Api, world: World) -> None:
    found = await api.get(f"/v1/state/kernel/identities/{BANK.public_key.hex()}")
    assert found["record"]["roles"] == ["bank"]
    path = f"/v1/state/kernel/identities/{HOLDER.public_key.hex()}"
    assert await api.code("GET", path, 401) == "SESSION_REQUIRED"


async def test_known_keys_cannot_be_probed(api: Api, world: World) -> None:
    world.open_shop()
    account = account_key(HOLDER.public_key, "CNY", "cash").hex()
    for path in (
        f"/v1/state/kernel/identities/{HOLDER.public_key.hex()}",
        f"/v1/state/kernel/identities/{STRANGER.public_key.hex()}",
        f"/v1/state/kernel/later_keys/{STRANGER.public_key.hex()}",
        f"/v1/state/kernel/accounts/{account}",
    ):
        for proved in ("", "?prove=true"):
            assert await api.code("GET", path + proved, 404, reader=OTHER) == "NOT_FOUND"
    found = await api.get(
        f"/v1/state/kernel/identities/{STRANGER.public_key.hex()}?prove=true", REGULATOR
    )
    assert found["value"] is None


async def test_nothing_is_proved_before_the_first_block(api: Api) -> None:
    path = f"/v1/state/kernel/assets/{b'CNY'.hex()}?prove=true"
    assert await api.code("GET", path, 409) == "NO_BLOCK_YET"


@pytest.mark.parametrize(
    ("path", "status", "code"),
    [
        ("/v1/state/nope/cards/00", 404, "NOT_FOUND"),
        ("/v1/state/prepaid/nope/00", 404, "NOT_FOUND"),
        ("/v1/state/kernel/assets/00", 404, "NOT_FOUND"),
        ("/v1/state/kernel/assets/0", 400, "BAD_PARAMETER"),
        ("/v1/state/kernel/assets/AB", 400, "BAD_PARAMETER"),
        ("/v1/state/kernel/assets/" + "00" * 257, 400, "BAD_PARAMETER"),
        ("/v1/state/kernel/assets/00?prove=yes", 400, "BAD_PARAMETER"),
        ("/v1/balances/xyz", 400, "BAD_PARAMETER"),
        ("/v1/contracts/nope", 404, "NOT_FOUND"),
    ],
)
async def test_bad_places(api: Api, path: str, status: int, code: str) -> None:
    assert await api.code("GET", path, status) == code


async def test_balances_by_height(api: Api, world: World) -> None:
    world.open_shop()
    world.commit(world.consume(1))
    path = f"/v1/balances/{ESCROW_ACCOUNT.hex()}"
    opened = await api.get(f"{path}?height=3", REGULATOR)
    now = await api.get(path, REGULATOR)
    assert (opened["balance"], now["balance"]) == ("10000", "9000")
    assert (opened["height"], now["height"], now["asset"]) == ("3", "4", "CNY")
    assert await api.code("GET", f"{path}?height=1", 404, reader=REGULATOR) == "NOT_FOUND"
    assert await api.code("GET", f"{path}?height=5", 400, reader=REGULATOR) == "BAD_HEIGHT"
    assert await api.code("GET", path, 404, reader=OTHER) == "NOT_FOUND"
    assert await api.code("GET", path, 401) == "SESSION_REQUIRED"
    assert await api.code("GET", f"/v1/balances/{'00' * 16}", 401) == "SESSION_REQUIRED"


async def test_the_interface_is_the_file(api: Api) -> None:
    interface = await api.get("/v1/contracts")
    assert set(interface) >= {"kernel", "prepaid", "exchange"}
    assert api.headers["ETag"].strip('"') == interface_hash(interface).hex()
    one = await api.get("/v1/contracts/prepaid")
    assert one["actions"] == interface["prepaid"]["actions"]
    assert len(one["source_hash"]) == 64


async def test_queries_by_body_and_by_url(api: Api) -> None:
    path = "/v1/contracts/prepaid/queries/classes"
    by_body = await api.ask("POST", path, 200, json={"limit": "1"})
    assert by_body["result"]["items"][0]["name"] == "gym"
    assert by_body == await api.ask("POST", path, 200, json={"limit": 1})
    assert by_body == await api.get(f"{path}?limit=1")
    assert (await api.ask("POST", path, 200))["result"]["next"] is None


@pytest.mark.parametrize(
    ("body", "code"),
    [
        ('{"limit": 1.0}', "FLOAT"),
        ('{"limit": NaN}', "FLOAT"),
        ('{"limit": 1, "limit": 2}', "DUPLICATE_KEY"),
        ('{"limit": 1} x', "BAD_JSON"),
        ('{"limit": ' + "9" * 400 + "}", "BAD_NUMBER"),
        ('{"limit": ' + "[" * 20 + "]" * 20 + "}", "TOO_DEEP"),
        ("[" * 30_000, "TOO_DEEP"),
        ("[]", "BAD_SHAPE"),
        ('{"limit": "\\ud800"}', "BAD_UTF8"),
        ('{"cursor": true}', "BAD_ARG"),
        ('{"limit": 0}', "BAD_ARG"),
        ('{"limit": -5}', "BAD_ARG"),
        ('{"limit": "x"}', "BAD_ARG"),
        ('{"limit": null}', "BAD_ARG"),
        ('{"limit": 18446744073709551616}', "BAD_ARG"),
        ('{"colour": "red"}', "BAD_ARG"),
        ("\x00", "BAD_JSON"),
        ("", "OK"),
    ],
)
async def test_query_bodies(api: Api, body: str, code: str) -> None:
    path = "/v1/contracts/prepaid/queries/classes"
    headers = {"Content-Type": "application/json"}
    if code == "OK":
        await api.ask("POST", path, 200, data=body, headers=headers)
    else:
        assert await api.code("POST", path, 400, data=body.encode(), headers=headers) == code


async def test_missing_and_unknown_queries(api: Api) -> None:
    answer = await api.ask("POST", "/v1/contracts/prepaid/queries/card", 400, json={})
    assert (answer["code"], answer["details"]) == ("BAD_ARG", {"field": "card"})
    for path in ("/v1/contracts/prepaid/queries/nope", "/v1/contracts/nope/queries/card"):
        assert await api.code("POST", path, 404, json={}) == "NOT_FOUND"
    path = "/v1/contracts/prepaid/queries/classes?limit=1&limit=2"
    assert await api.code("GET", path, 400) == "BAD_PARAMETER"
