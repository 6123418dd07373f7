"""A chain on which a headset can pay, served by a node that orders what it gets at once."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from typing import Any

from client.node_api import NodeApi
from client.payments import terms
from client.payments.terminal import Terminal
from contracts.catalog import CONTRACTS
from contracts.kernel.registry import interface
from node.protocol.encoding import Value
from node.protocol.json_view import to_json
from node.protocol.keys import PrivateKey
from node.protocol.transaction import Call
from tests.client.support import Node, connect, serve
from tests.http.support import World
from tests.protocol.support import key

ROLES = {
    "boss": "operator",
    "verifier": "verifier",
    "channel-a": "channel",
    "channel-b": "channel",
    "pages": "page_server",
    "passwords": "pay_service",
    "cinema": "payee",
    "vera": "holder",
    "walt": "holder",
}
KEYS: dict[str, PrivateKey] = {name: key(60 + place) for place, name in enumerate(ROLES)}
USER, INTENT, NONCE, MANDATE = b"u" * 16, b"i" * 16, b"n" * 16, b"m" * 16
PAGE_HASH = b"p" * 32
FILM = 2_500
MINUTE_MS = 60_000
SECRET = b"s" * 32
SECONDS = 20.0
INTERFACE = interface(CONTRACTS)


class Scene:
    """The chain, the SDK on its node, and a phone that is trusted."""

    def __init__(self, node: Node, api: NodeApi) -> None:
        self.world: World = node.world
        self.node, self.api, self.phone = node, api, Terminal()
        self.intents = 0

    def act(self, who: str, action: str, **args: Any) -> str:
        """A call in a block of its own; the receipt's code."""
        call = Call(terms.CONTRACT, action, args)
        transaction = self.world.transaction(KEYS[who], call, sealed=True)
        self.world.commit(transaction)
        self.node.service.announce()
        (receipt,) = self.world.store.receipts(self.world.store.head.height)
        return receipt.code

    def set_up(self, endpoints: Mapping[str, str]) -> None:
        """Two channels, and vera with both of them."""
        for name in ("channel-a", "channel-b"):
            endpoint = endpoints.get(name, f"http://127.0.0.1:1/{name}")
            owner = KEYS[name].public_key
            self.good("boss", "register_channel", channel=name, owner=owner, endpoint=endpoint,
                      asset="CNY")  # fmt: skip
        self.good("vera", "file_user", user=USER, phone_commit=b"c" * 32, sealed_info=b"sealed")
        self.good("verifier", "verify", user=USER, ok=True)
        for name in ("channel-a", "channel-b"):
            self.good("vera", "link_channel", channel=name)

    def trust_phone(self) -> None:
        """Bind the phone without a browser."""
        until = self.world.now_ms + 10 * MINUTE_MS
        signed = terms.binding(USER, self.phone.public_key, "phone", b"q" * 16, until)
        ticket = self.phone.sign(self.world.chain, terms.BIND, signed)
        self.good("vera", "bind_terminal", terminal_pub=self.phone.public_key, kind="phone",
                  challenge=b"q" * 16, ticket_until=until, ticket=ticket)  # fmt: skip

    def good(self, who: str, action: str, **args: Any) -> None:
        """The same where it must succeed."""
        assert self.act(who, action, **args) == "OK", action

    def order(self, amt: int = FILM, channel: str = "channel-a", page: bool = True) -> terms.Order:
        """A film that waits for an approval."""
        self.intents += 1
        intent = bytes([self.intents]) * 16
        order = terms.Order(intent, b"o" * 32, KEYS["cinema"].public_key, amt, "CNY", channel)
        self.good("vera", "create_intent", intent=intent, order="film", order_hash=b"o" * 32,
                  payee=order.payee, amt=amt, cur="CNY")  # fmt: skip
        self.good("vera", "choose_channel", intent=intent, channel=channel)
        if page:
            self.good("pages", "issue_page", intent=intent, page_hash=PAGE_HASH, nonce=NONCE)
        return order

    def approval(self, order: terms.Order, signed_as: terms.Order | None = None) -> dict[str, Any]:
        """The JSON body that the page posts."""
        expiry = self.world.now_ms + 5 * MINUTE_MS
        signed = terms.approval(signed_as or order, PAGE_HASH, NONCE, expiry)
        signature = self.phone.sign(self.world.chain, terms.APPROVE, signed)
        shown: dict[str, Value] = {name: one for name, one in signed.items() if name != "intent"}
        shown |= {"terminal_pub": self.phone.public_key, "signature": signature}
        return {"intent": order.intent.hex(), "approval": to_json(shown)}

    async def intent(self, order: terms.Order) -> dict[str, Any]:
        """As its user sees it."""
        args = {"intent": order.intent.hex()}
        found: dict[str, Any] = await self.api.query(terms.CONTRACT, "intent", args, KEYS["vera"])
        answer: dict[str, Any] = found["result"]
        return answer

    async def until(self, order: terms.Order, *states: str) -> dict[str, Any]:
        """Wait until the payment is in one of these states."""
        async with asyncio.timeout(SECONDS):
            while True:
                found = await self.intent(order)
                if found["state"] in states:
                    return found
                await asyncio.sleep(0.05)


async def eventually(done: Callable[[], bool]) -> None:
    """Wait for it."""
    async with asyncio.timeout(SECONDS):
        while not done():  # noqa: ASYNC110
            await asyncio.sleep(0.02)


@asynccontextmanager
async def scene(endpoints: Mapping[str, str] | None = None) -> AsyncIterator[Scene]:
    """All of it, running; no terminal is trusted yet."""
    world = World(others={name: (KEYS[name], [role]) for name, role in ROLES.items()})
    async with serve(world) as node, connect(world, [node.url]) as api:

        async def order_at_once() -> None:
            while True:
                await asyncio.sleep(0.01)
                if node.service.pool:
                    node.service.settle()

        found = Scene(node, api)
        found.set_up(endpoints or {})
        task = asyncio.create_task(order_at_once())
        try:
            yield found
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
