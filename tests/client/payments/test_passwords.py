"""The pay service: right passwords vouch for one charge, wrong ones count on chain (R4.15)."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from client.payments import terms
from client.payments.passwords import Attempt, PayService, sign_attempt
from client.payments.vault import Vault
from client.payments.web import serving
from tests.client.payments.support import INTERFACE, KEYS, MANDATE, MINUTE_MS, USER, Scene

RIGHT, WRONG = "271828", "000000"


class Headset:
    """Asks the service over HTTP."""

    def __init__(self, stage: Scene, url: str) -> None:
        self.stage, self.url = stage, url

    def body(self, who: str = "vera", **fields: Any) -> dict[str, str]:
        given: dict[str, Any] = {
            "user": USER,
            "intent": b"",
            "password": RIGHT,
            "new_password": "",
            "attempt": secrets.token_bytes(16),
            "at_ms": self.stage.world.now_ms,
            **fields,
        }
        return sign_attempt(self.stage.world.chain, KEYS[who], Attempt(**given))

    async def post(self, path: str, body: Any) -> tuple[int, dict[str, Any]]:
        async with (
            aiohttp.ClientSession() as session,
            session.post(f"{self.url}{path}", json=body) as answer,
        ):
            return answer.status, {} if answer.status == 204 else await answer.json(
                content_type=None
            )

    async def vouch(self, order: terms.Order, **fields: Any) -> tuple[int, dict[str, Any]]:
        return await self.post("/assertions", self.body(intent=order.intent, **fields))


@pytest.fixture
async def headset(stage: Scene, tmp_path: Path) -> AsyncIterator[Headset]:
    with Vault(tmp_path / "passwords", b"p" * 32) as vault:
        service = PayService(
            stage.api, INTERFACE, KEYS["passwords"], vault, lambda: stage.world.now_ms
        )
        async with serving(service.app(), "127.0.0.1", 0) as url:
            one = Headset(stage, url)
            status, _ = await one.post("/passwords", one.body(new_password=RIGHT))
            assert status == 204
            yield one


async def test_r4_15_the_right_password_vouches_for_one_charge(headset: Headset) -> None:
    stage = headset.stage
    order = stage.order(600, page=False)
    stage.good("vera", "grant_mandate", mandate=MANDATE, channel="channel-a", per_cap=5_000,
               day_cap=20_000, ttl_ms=60 * MINUTE_MS)  # fmt: skip
    status, word = await headset.vouch(order)
    assert status == 200
    given: dict[str, Any] = {
        "mandate": MANDATE,
        "service": bytes.fromhex(word["service"]),
        "expiry": int(word["expiry"]),
        "assertion": bytes.fromhex(word["assertion"]),
    }
    other = stage.order(600, page=False)
    assert stage.act("vera", "proxy_charge", intent=other.intent, **given) == "AUTH_FAILED"
    assert stage.act("vera", "proxy_charge", intent=order.intent, **given) == "OK"


async def test_five_wrong_ones_lock_and_the_sixth_is_too_late(headset: Headset) -> None:
    stage = headset.stage
    orders = [stage.order(600, page=False) for _ in range(2)]
    for number in range(5):
        status, answer = await headset.vouch(orders[number % 2], password=WRONG)
        assert (status, answer["code"]) == (409, "AUTH_FAILED"), number
    status, answer = await headset.vouch(orders[0])
    assert (status, answer["code"]) == (409, "AUTH_LOCKED")
    stage.good("verifier", "verify", user=USER, ok=True)
    assert (await headset.vouch(orders[0]))[0] == 200


async def test_guesses_at_once_are_counted_each(headset: Headset) -> None:
    order = headset.stage.order(600, page=False)
    guesses = [headset.vouch(order, password=f"00000{number}") for number in range(8)]
    answers = await asyncio.gather(*guesses)
    codes = sorted(answer["code"] for _, answer in answers)
    assert codes == ["AUTH_FAILED"] * 5 + ["AUTH_LOCKED"] * 3


async def test_nobody_else_can_lock_a_user_out(headset: Headset) -> None:
    order = headset.stage.order(600, page=False)
    body = headset.body("walt", intent=order.intent, password=WRONG)
    status, answer = await headset.post("/assertions", body)
    assert (status, answer["code"]) == (401, "UNAUTHORIZED")
    me = await headset.stage.api.query(terms.CONTRACT, "me", {}, KEYS["vera"])
    assert me["result"]["failures"] == "0"


async def test_an_attempt_is_not_replayed_altered_or_late(headset: Headset) -> None:
    order = headset.stage.order(600, page=False)
    body = headset.body(intent=order.intent)
    assert (await headset.post("/assertions", body))[0] == 200
    status, answer = await headset.post("/assertions", body)
    assert (status, answer["code"]) == (400, "REPLAYED")
    for field, value in (("password", WRONG), ("attempt", "ab" * 16), ("user", "cd" * 16)):
        status, answer = await headset.post("/assertions", {**body, field: value})
        assert answer["code"] in ("UNAUTHORIZED", "NOT_FILED"), field
    late = headset.body(intent=order.intent, at_ms=headset.stage.world.now_ms - 3 * MINUTE_MS)
    assert (await headset.post("/assertions", late))[1]["code"] == "EXPIRED"
    bodies: list[Any] = [{}, [], {**body, "user": 5}, {**body, "password": "1" * 1_000}]
    for bad in bodies:
        assert (await headset.post("/assertions", bad))[1]["code"] == "BAD_ARG"


async def test_another_password_takes_the_old_one(headset: Headset) -> None:
    body = headset.body(password=WRONG, new_password="314159")
    assert (await headset.post("/passwords", body))[1]["code"] == "AUTH_FAILED"
    body = headset.body(password=RIGHT, new_password="abc")
    assert (await headset.post("/passwords", body))[1]["code"] == "BAD_ARG"
    body = headset.body(password=RIGHT, new_password="314159")
    assert (await headset.post("/passwords", body))[0] == 204
    order = headset.stage.order(600, page=False)
    assert (await headset.vouch(order))[1]["code"] == "AUTH_FAILED"
    assert (await headset.vouch(order, password="314159"))[0] == 200
