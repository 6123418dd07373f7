"""The order page in a real browser: bound, pushed, signed there, handed to the channel (R4.10–12).

Screenshots of each state go to the folder that GROAT_SCREENSHOTS names, if any.
"""

from __future__ import annotations

import asyncio
import os
import secrets
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from aiohttp import web
from playwright.async_api import Page, async_playwright, expect

from client.payments import terms
from client.payments.pages import Pages, pairing_address, pairing_code
from client.payments.web import allow_preflight, application, body_of, serving
from node.protocol.json_view import arguments_from_json
from tests.client.payments.support import (
    INTERFACE,
    KEYS,
    MINUTE_MS,
    USER,
    Scene,
    scene,
)
from tests.network.ports import free_ports

CHROMIUM = "/usr/bin/chromium"
WIDTH = 360
START = INTERFACE["payments"]["actions"]["start_charge"]["args"]


class Endpoint:
    """Where channel A takes approvals: it starts the charge on chain at once."""

    def __init__(self) -> None:
        self.stage: Scene | None = None
        self.codes: list[str] = []

    def app(self, origin: str) -> web.Application:
        app = application(origin)
        app.router.add_post("/approvals", self._take)
        allow_preflight(app, "/approvals")
        return app

    async def _take(self, request: web.Request) -> web.Response:
        assert self.stage is not None
        args = arguments_from_json(START, await body_of(request))
        self.codes.append(self.stage.act("channel-a", "start_charge", **args))
        status = 202 if self.codes[-1] == "OK" else 409
        return web.json_response({"code": self.codes[-1], "detail": "told"}, status=status)


class Phone:
    """A page in a browser, on the chain of `stage`."""

    def __init__(self, stage: Scene, page: Page, url: str, endpoint: Endpoint) -> None:
        self.stage, self.page, self.url, self.endpoint = stage, page, url, endpoint

    async def is_in(self, state: str) -> None:
        await expect(self.page.locator("#card")).to_have_attribute(
            "data-state", state, timeout=15_000
        )
        folder = os.environ.get("GROAT_SCREENSHOTS")
        if folder:
            lang = await self.page.locator("html").get_attribute("lang")
            await self.page.screenshot(path=str(Path(folder) / f"{state}-{lang}.png"))

    async def bind(self) -> None:
        """The headset shows an address, the phone opens it, the headset confirms."""
        challenge, until = secrets.token_bytes(16), self.stage.world.now_ms + 10 * MINUTE_MS
        chain = self.stage.world.chain
        await self.page.goto(pairing_address(self.url, USER, challenge, until, chain))
        await self.is_in("pairing")
        async with (
            aiohttp.ClientSession() as session,
            session.get(f"{self.url}/api/pairing/{challenge.hex()}") as answer,
        ):
            consent = await answer.json()
        shown = await self.page.locator("#code").inner_text()
        assert shown == pairing_code(consent["terminal_pub"], challenge.hex())
        given = {"challenge": challenge, "ticket_until": until, "kind": consent["kind"]}
        self.stage.good("vera", "bind_terminal", **given,
                        terminal_pub=bytes.fromhex(consent["terminal_pub"]),
                        ticket=bytes.fromhex(consent["ticket"]))  # fmt: skip
        await self.is_in("idle")

    def order(self, title: str = "film", amt: int = 2_500) -> terms.Order:
        """An order as the headset makes it."""
        binding = terms.order_hash({"title": title, "amt": amt, "cur": "CNY"})
        order = terms.Order(
            secrets.token_bytes(16), binding, KEYS["cinema"].public_key, amt, "CNY", "channel-a"
        )
        self.stage.good("vera", "create_intent", intent=order.intent, order=title,
                        order_hash=binding, payee=order.payee, amt=amt, cur="CNY")  # fmt: skip
        self.stage.good("vera", "choose_channel", intent=order.intent, channel="channel-a")
        return order


@pytest.fixture
async def phone() -> AsyncIterator[Phone]:
    endpoint, port = Endpoint(), free_ports(1)
    origin = f"http://127.0.0.1:{port}"
    async with (
        serving(endpoint.app(origin), "127.0.0.1", 0) as channel,
        scene({"channel-a": channel}) as stage,
    ):
        endpoint.stage = stage
        pages = Pages(stage.api, INTERFACE, KEYS["pages"], lambda: stage.world.now_ms)
        following = asyncio.create_task(pages.orders.keep_running())
        async with (
            serving(pages.app(origin), "127.0.0.1", port) as url,
            async_playwright() as playwright,
        ):
            browser = await playwright.chromium.launch(
                executable_path=CHROMIUM, args=["--no-sandbox"]
            )
            page = await browser.new_page(viewport={"width": WIDTH, "height": 740}, locale="en-US")
            problems: list[str] = []
            page.on("pageerror", lambda error: problems.append(str(error)))
            yield Phone(stage, page, url, endpoint)
            assert problems == []
            await browser.close()
        following.cancel()
        await asyncio.gather(following, return_exceptions=True)


async def test_r4_10_r4_11_r4_12_an_order_is_pushed_approved_and_paid(phone: Phone) -> None:
    await phone.page.goto(phone.url)
    await phone.is_in("unbound")
    await phone.bind()
    order = phone.order()
    started = time.monotonic()
    await phone.is_in("order")
    pushed_s = time.monotonic() - started
    assert pushed_s < 10, pushed_s
    shown = await phone.page.locator("#card").inner_text()
    assert all(one in shown for one in ("¥25.00", "film", "cinema", "channel-a")), shown
    await phone.page.locator("#language").click()
    await expect(phone.page.locator("#approve")).to_have_text("同意并支付")
    await phone.is_in("order")
    await phone.page.locator("#approve").click()
    await phone.is_in("processing")
    assert phone.endpoint.codes == ["OK"]
    phone.stage.good("channel-a", "callback", channel="channel-a", event_id="e1",
                     intent=order.intent, status="SUCCEEDED", amt=2_500)  # fmt: skip
    await phone.is_in("succeeded")
    wide = await phone.page.evaluate("document.documentElement.scrollWidth")
    assert wide <= WIDTH


async def test_a_closed_page_shows_the_order_when_it_opens_and_may_reject(phone: Phone) -> None:
    await phone.bind()
    await phone.page.goto("about:blank")
    order = phone.order("A ticket to the moon", 1_234_567)
    await phone.page.goto(phone.url)
    await phone.is_in("order")
    assert "¥12,345.67" in await phone.page.locator("#amount").inner_text()
    await phone.page.locator("#reject").click()
    await phone.is_in("canceled")
    assert (await phone.stage.intent(order))["state"] == "CANCELED"


async def test_an_order_expires_before_the_eyes(phone: Phone) -> None:
    await phone.bind()
    phone.order()
    await phone.is_in("order")
    phone.stage.world.now_ms += 16 * MINUTE_MS
    phone.stage.act("cinema", "ack", intent=b"x" * 16)
    await phone.is_in("expired")


async def test_a_refusal_is_shown_with_its_code(phone: Phone) -> None:
    await phone.bind()
    phone.order()
    await phone.is_in("order")
    phone.stage.good("vera", "set_switch", on=False)
    await phone.page.locator("#approve").click()
    await phone.is_in("refused")
    assert "SWITCHED_OFF" in await phone.page.locator("#text").inner_text()


async def test_without_a_connection_the_page_says_so(phone: Phone) -> None:
    await phone.bind()
    await phone.page.context.set_offline(True)
    await phone.is_in("offline")
    await phone.page.context.set_offline(False)
    await phone.is_in("idle")


async def test_the_policy_allows_no_inline_script_and_named_channels_alone(phone: Phone) -> None:
    async with aiohttp.ClientSession() as session, session.get(phone.url) as answer:
        policy = answer.headers["Content-Security-Policy"]
        assert "script-src 'self';" in policy
        assert "unsafe" not in policy
        text = await answer.text()
    assert "<script>" not in text
    await phone.page.goto(phone.url)
    key: Any = await phone.page.evaluate(
        """async () => {
            const { load } = await import("./keep.js");
            for (let n = 0; n < 100 && !(await load("key")); n++)
                await new Promise((resolve) => setTimeout(resolve, 50));
            const key = await load("key");
            try { await crypto.subtle.exportKey("jwk", key.privateKey); return "given away"; }
            catch (error) { return error.name; }
        }"""
    )
    assert key == "InvalidAccessError"


async def test_strangers_get_no_orders_and_no_session(phone: Phone) -> None:
    async with aiohttp.ClientSession() as session:
        async with session.get(f"{phone.url}/api/events") as answer:
            assert answer.status == 401
        async with session.post(f"{phone.url}/api/session", json={}) as answer:
            assert answer.status == 400
        headers = {"Origin": "http://evil.test"}
        async with session.post(f"{phone.url}/api/hello", headers=headers) as answer:
            assert answer.status == 403
        async with session.get(f"{phone.url}/..%2Fpages.py") as answer:
            assert answer.status == 404
