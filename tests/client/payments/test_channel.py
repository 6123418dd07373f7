"""Channels: an approval becomes one charge, whatever the provider does (R4.6, R4.7, R4.12)."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from aiohttp import web

from client.journal import Journal
from client.payments import terms
from client.payments.channel import Channel
from client.payments.charges import Charges
from client.payments.providers import ADAPTERS, FormProvider, JsonProvider
from client.payments.sandbox import Sandbox, fen_of, yuan_of
from client.payments.web import serving
from client.webhook import format_secret
from node.protocol.errors import Refused
from node.protocol.ticket import sign_ticket
from tests.client.payments.support import (
    FILM,
    INTERFACE,
    KEYS,
    MANDATE,
    MINUTE_MS,
    SECRET,
    USER,
    Scene,
    eventually,
)

PAGE = "http://phone.test"
TOKEN = {"Authorization": f"Bearer {format_secret(SECRET)}"}
ANSWER_SECONDS = 0.5


class Shop:
    """A running channel and its sandbox."""

    def __init__(self, url: str, sandbox: Sandbox, charges: Charges, control: str) -> None:
        self.url, self.sandbox, self.charges, self._control = url, sandbox, charges, control

    async def approve(self, body: Any, origin: str | None = PAGE) -> tuple[int, dict[str, Any]]:
        """What the page does."""
        headers = {} if origin is None else {"Origin": origin}
        async with (
            aiohttp.ClientSession() as session,
            session.post(f"{self.url}/approvals", json=body, headers=headers) as answer,
        ):
            return answer.status, await answer.json(content_type=None)

    async def misbehave(self, **how: Any) -> None:
        """Through the control endpoint, as a person would."""
        async with (
            aiohttp.ClientSession() as session,
            session.post(f"{self._control}/control", json=how, headers=TOKEN) as answer,
        ):
            assert answer.status == 200, await answer.text()


@asynccontextmanager
async def channel(
    stage: Scene, folder: Path, adapter: str = "json", name: str = "channel-a"
) -> AsyncIterator[Shop]:
    charges = Charges(folder / "charges.sqlite")
    notices = web.Application()
    late: list[Channel] = []

    async def forward(request: web.Request) -> web.StreamResponse:
        return await late[0]._take_notice(request)

    notices.router.add_post("/notices", forward)
    async with serving(notices, "127.0.0.1", 0) as notify:
        sandbox = Sandbox(":memory:", SECRET, f"{notify}/notices")
        async with (
            serving(sandbox.app(), "127.0.0.1", 0) as provider_url,
            ADAPTERS[adapter](provider_url, format_secret(SECRET), ANSWER_SECONDS) as provider,
        ):
            one = Channel(
                stage.api, INTERFACE, name, KEYS[name], charges, provider, SECRET,
                reconcile_seconds=0.5,
            )  # fmt: skip
            late.append(one)
            with Journal(folder / "journal", name) as journal:
                running = asyncio.create_task(one.run(journal))
                async with serving(one.app(PAGE), "127.0.0.1", 0) as url:
                    yield Shop(url, sandbox, charges, provider_url)
                running.cancel()
                await asyncio.gather(running, return_exceptions=True)
    charges.close()


@pytest.mark.parametrize("adapter", ["json", "form"])
async def test_r4_06_r4_12_an_approval_becomes_one_charge(
    stage: Scene, tmp_path: Path, adapter: str
) -> None:
    order = stage.order()
    async with channel(stage, tmp_path, adapter) as shop:
        status, answer = await shop.approve(stage.approval(order))
        assert (status, answer) == (202, {"state": "PROCESSING"})
        found = await stage.until(order, "SUCCEEDED")
        assert found["captured"] == str(FILM)
        assert [(amt, what) for _, amt, what in shop.sandbox.charged()] == [(FILM, "succeeded")]
        again, _ = await shop.approve(stage.approval(order))
        assert again == 409
        assert len(shop.sandbox.charged()) == 1


async def test_r4_11_a_tampered_approval_charges_nothing(stage: Scene, tmp_path: Path) -> None:
    order = stage.order()
    async with channel(stage, tmp_path) as shop:
        for bad in (
            stage.approval(order, order._replace(amt=25_000)),
            {**stage.approval(order), "intent": order.intent.hex()},
        ):
            bad["approval"]["amt"] = "25000"
            status, answer = await shop.approve(bad)
            assert (status, answer["code"]) == (409, "LINK_MISMATCH")
        assert shop.sandbox.charged() == []


async def test_the_endpoint_takes_no_nonsense(stage: Scene, tmp_path: Path) -> None:
    order = stage.order()
    async with channel(stage, tmp_path) as shop:
        bodies: list[Any] = [[], {}, {"intent": order.intent.hex()}, {"intent": 5, "approval": {}}]
        for body in bodies:
            status, answer = await shop.approve(body)
            assert (status, answer["code"]) == (400, "BAD_ARG"), body
        unknown = {**stage.approval(order), "intent": "ff" * 16}
        assert (await shop.approve(unknown))[0] == 409
        status, answer = await shop.approve(stage.approval(order), "http://evil.test")
        assert (status, answer["code"]) == (403, "WRONG_ORIGIN")
        headers = {"Origin": PAGE, "Access-Control-Request-Method": "POST"}
        async with (
            aiohttp.ClientSession() as session,
            session.options(f"{shop.url}/approvals", headers=headers) as answer_,
        ):
            assert answer_.headers["Access-Control-Allow-Origin"] == PAGE
            assert answer_.headers["Access-Control-Allow-Headers"] == "content-type"
        async with (
            aiohttp.ClientSession() as session,
            session.post(f"{shop.url}/notices", json={"status": "succeeded"}) as answer_,
        ):
            assert answer_.status == 401


async def test_b4_06_repeated_and_disordered_notices_have_one_effect(
    stage: Scene, tmp_path: Path
) -> None:
    order = stage.order()
    async with channel(stage, tmp_path) as shop:
        await shop.misbehave(repeat=2, reorder=True, delay_ms=50)
        assert (await shop.approve(stage.approval(order)))[0] == 202
        await stage.until(order, "SUCCEEDED")
        await eventually(lambda: len(shop.charges.notices(10)) >= 3)
        await eventually(lambda: not shop.charges.untold(10))
        assert {one.outcome for one in shop.charges.notices(10)} == {"OK"}
        assert (await stage.intent(order))["captured"] == str(FILM)
        assert len(shop.sandbox.charged()) == 1


@pytest.mark.parametrize("silent", [False, True])
async def test_b4_05_a_time_out_is_unknown_until_reconciled(
    stage: Scene, tmp_path: Path, silent: bool
) -> None:
    order = stage.order()
    async with channel(stage, tmp_path) as shop:
        await shop.misbehave(time_out=True, silent=True)
        assert (await shop.approve(stage.approval(order)))[0] == 202
        await stage.until(order, "UNKNOWN", "SUCCEEDED")
        await shop.misbehave(time_out=False, silent=silent)
        found = await stage.until(order, "SUCCEEDED")
        assert found["captured"] == str(FILM)
        assert len(shop.sandbox.charged()) == 1


async def test_a_lie_about_the_amount_is_refused_and_the_books_are_asked(
    stage: Scene, tmp_path: Path
) -> None:
    order = stage.order()
    async with channel(stage, tmp_path) as shop:
        await shop.misbehave(lie_amt=1)
        assert (await shop.approve(stage.approval(order)))[0] == 202
        await stage.until(order, "SUCCEEDED")
        outcomes = [one.outcome for one in shop.charges.notices(10)]
        assert "AMOUNT_MISMATCH" in outcomes or len(outcomes) == 1


async def test_a_declined_charge_fails_and_may_be_tried_again(stage: Scene, tmp_path: Path) -> None:
    order = stage.order()
    async with channel(stage, tmp_path) as shop:
        await shop.misbehave(decline=True)
        assert (await shop.approve(stage.approval(order)))[0] == 202
        found = await stage.until(order, "REQUIRES_METHOD")
        assert (found["attempts"], found["captured"]) == ("1", "0")


async def test_r4_14_what_a_mandate_authorised_is_charged_unasked(
    stage: Scene, tmp_path: Path
) -> None:
    order = stage.order(600, page=False)
    stage.good("vera", "grant_mandate", mandate=MANDATE, channel="channel-a", per_cap=5_000,
               day_cap=20_000, ttl_ms=60 * MINUTE_MS)  # fmt: skip
    expiry = stage.world.now_ms + MINUTE_MS
    signed = terms.assertion(USER, order, expiry)
    word = sign_ticket(stage.world.chain, KEYS["passwords"], terms.CONTRACT, terms.ASSERT, signed)
    async with channel(stage, tmp_path) as shop:
        stage.good("vera", "proxy_charge", intent=order.intent, mandate=MANDATE,
                   service=KEYS["passwords"].public_key, expiry=expiry, assertion=word)  # fmt: skip
        await stage.until(order, "SUCCEEDED")
        assert [amt for _, amt, _ in shop.sandbox.charged()] == [600]
        stage.good("cinema", "refund", refund=b"r" * 16, intent=order.intent, amt=200)
        reference = shop.sandbox.charged()[0][0]
        await eventually(lambda: shop.sandbox._entry(reference)["refunded"] == 200)


async def test_the_sandbox_keeps_strangers_out(stage: Scene, tmp_path: Path) -> None:
    sandbox = Sandbox(":memory:", SECRET, "http://127.0.0.1:1/notices")
    async with serving(sandbox.app(), "127.0.0.1", 0) as url, aiohttp.ClientSession() as session:
        async with session.post(f"{url}/control", json={"repeat": 2}) as answer:
            assert answer.status == 401
        for bad in ({"repeat": 1_000}, {"unheard": 1}, {"decline": 1}):
            async with session.post(f"{url}/control", json=bad, headers=TOKEN) as answer:
                assert answer.status == 400
        for adapter in (JsonProvider, FormProvider):
            async with adapter(url, format_secret(SECRET)) as provider:
                assert (await provider.look("nothing")).status == "none"


def test_amounts_in_yuan() -> None:
    assert [fen_of(yuan_of(fen)) for fen in (1, 99, 2_500, 1_000_000)] == [1, 99, 2_500, 1_000_000]
    for bad in ("25", "25.0", "2,5.00", "-1.00", "²5.00", "nan"):
        with pytest.raises(Refused):
            fen_of(bad)
