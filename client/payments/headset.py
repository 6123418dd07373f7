"""A headset: orders, trusts a terminal, types a password, and is told results as they come.

Results are pushed by the node's event stream; nothing here asks again and again (R4.13). Amounts
are in minor units. How it looks is the caller's part.
"""

from __future__ import annotations

import secrets
import time
from collections.abc import AsyncIterator
from contextlib import aclosing
from typing import Any, NamedTuple

import aiohttp

from client.errors import Rejected, Unreachable
from client.node_api import NodeApi
from client.outcomes import Json
from client.payments import terms
from client.payments.pages import pairing_address
from client.payments.passwords import NO_INTENT, Attempt, sign_attempt
from client.payments.terms import CONTRACT, ID_BYTES
from node.protocol.encoding import Value
from node.protocol.json_view import bytes_from_json, integer_from_json
from node.protocol.keys import PrivateKey
from node.protocol.transaction import Call

EVENT_INDEX_MAX = 999_999_999
PAIRING_MS = 10 * 60_000
ASK_SECONDS = 60.0
SUBMIT_SECONDS = 20.0
# A payment in one of these does not change by itself.
OVER = ("SUCCEEDED", "REQUIRES_CAPTURE", "CANCELED", "LATE", "REQUIRES_METHOD")


class Ordered(NamedTuple):
    """An order that was made; its events come behind `cursor`."""

    intent: str
    channel: str
    expires_ms: int
    cursor: str


class Pairing(NamedTuple):
    """What the headset shows for a terminal to open."""

    address: str
    challenge: bytes
    until_ms: int


class Headset:
    """One user's headset; `key` is the user's."""

    def __init__(self, network: NodeApi, key: PrivateKey) -> None:
        self._network, self._key = network, key

    async def me(self) -> Json:
        """The user as the chain knows it."""
        answer = await self._network.query(CONTRACT, "me", {}, self._key)
        found: Json = answer["result"]
        return found

    async def order(
        self, title: str, amt: int, cur: str, payee: bytes, channel: str | None
    ) -> Ordered:
        """Upload an order, then choose its channel; raises `Rejected`."""
        head = (await self._network.verified.header("latest")).height
        intent = secrets.token_bytes(ID_BYTES)
        create: dict[str, Value] = {
            "intent": intent,
            "order": title,
            "order_hash": terms.order_hash({"title": title, "amt": amt, "cur": cur}),
            "payee": payee,
            "amt": amt,
            "cur": cur,
        }
        choose: dict[str, Value] = {"intent": intent}
        if channel is not None:
            choose["channel"] = channel
        await self._send([Call(CONTRACT, "create_intent", create)])
        await self._send([Call(CONTRACT, "choose_channel", choose)])
        asked = {"intent": intent.hex()}
        found = (await self._network.query(CONTRACT, "intent", asked, self._key))["result"]
        return Ordered(
            intent.hex(),
            str(found["channel"]),
            integer_from_json(found["expires_ms"], "expires_ms"),
            f"{head}.{EVENT_INDEX_MAX}",
        )

    async def events(self, ordered: Ordered) -> AsyncIterator[tuple[str, str]]:
        """What becomes of an order, as it is pushed: the event's name and the payment's state."""
        events = self._network.events(
            kinds=("event",), after=ordered.cursor, contract=CONTRACT, viewer=self._key
        )
        async with aclosing(events):
            async for event in events:
                data = event.data.get("data") or {}
                if data.get("intent") == ordered.intent:
                    state = str(data.get("state", ""))
                    yield str(event.data.get("name")), state
                    if state in OVER:
                        return

    async def acknowledge(self, intent: str) -> None:
        """Tell the chain that the result arrived."""
        await self._send([Call(CONTRACT, "ack", {"intent": bytes.fromhex(intent)})])

    # ---- a trusted terminal

    async def pairing(self, pages: str) -> Pairing:
        """An address with a fresh challenge, for ten minutes."""
        user = bytes_from_json((await self.me())["user"], "user", ID_BYTES)
        challenge = secrets.token_bytes(ID_BYTES)
        until_ms = time.time_ns() // 1_000_000 + PAIRING_MS
        address = pairing_address(pages, user, challenge, until_ms, self._network.chain)
        return Pairing(address, challenge, until_ms)

    async def consent(self, pages: str, pairing: Pairing) -> Json:
        """Wait until a terminal opened the address: its key, kind and ticket."""
        url = f"{pages.rstrip('/')}/api/pairing/{pairing.challenge.hex()}"
        while time.time_ns() // 1_000_000 < pairing.until_ms:
            found = await _ask("GET", url)
            if found:
                return found
        raise Rejected("EXPIRED", "no terminal opened the address in time")

    async def bind(self, pairing: Pairing, consent: Json) -> None:
        """Trust that terminal; the user has compared the numbers."""
        args: dict[str, Value] = {
            "terminal_pub": bytes_from_json(consent.get("terminal_pub"), "terminal_pub"),
            "kind": str(consent.get("kind")),
            "challenge": pairing.challenge,
            "ticket_until": pairing.until_ms,
            "ticket": bytes_from_json(consent.get("ticket"), "ticket"),
        }
        await self._send([Call(CONTRACT, "bind_terminal", args)])

    # ---- a password

    async def set_password(self, service: str, old: str, new: str) -> None:
        """At the pay service; `old` is empty for the first one. Raises `Rejected`."""
        await self._attempt(f"{service.rstrip('/')}/passwords", NO_INTENT, old, new)

    async def charge(self, service: str, intent: str, mandate: bytes, password: str) -> None:
        """Have an order charged under a mandate; raises `Rejected` with the service's code."""
        identity = bytes.fromhex(intent)
        word = await self._attempt(f"{service.rstrip('/')}/assertions", identity, password, "")
        args: dict[str, Value] = {
            "intent": identity,
            "mandate": mandate,
            "service": bytes_from_json(word.get("service"), "service"),
            "expiry": integer_from_json(word.get("expiry"), "expiry"),
            "assertion": bytes_from_json(word.get("assertion"), "assertion"),
        }
        await self._send([Call(CONTRACT, "proxy_charge", args)])

    async def _attempt(self, url: str, intent: bytes, password: str, new: str) -> Json:
        user = bytes_from_json((await self.me())["user"], "user", ID_BYTES)
        at_ms = time.time_ns() // 1_000_000
        asked = Attempt(user, intent, password, new, secrets.token_bytes(ID_BYTES), at_ms)
        return await _ask("POST", url, sign_attempt(self._network.chain, self._key, asked))

    async def _send(self, calls: list[Call]) -> None:
        outcome = await self._network.transact(self._key, calls, timeout_seconds=SUBMIT_SECONDS)
        outcome.require()


async def _ask(method: str, url: str, body: Any = None) -> Json:
    """The JSON answer, {} for none; raises `Rejected` with the code, or `Unreachable`."""
    timeout = aiohttp.ClientTimeout(total=ASK_SECONDS)
    try:
        async with (
            aiohttp.ClientSession(timeout=timeout, trust_env=False) as session,
            session.request(method, url, json=body, allow_redirects=False) as response,
        ):
            found = {} if response.status == 204 else await response.json(content_type=None)
    except (TimeoutError, aiohttp.ClientError, OSError, ValueError) as error:
        raise Unreachable("UNREACHABLE", f"{url}: {str(error) or type(error).__name__}") from None
    if not isinstance(found, dict):
        raise Unreachable("BAD_ANSWER", f"{url} did not answer with an object")
    if response.status >= 300:
        raise Rejected(str(found.get("code", "HTTP")), str(found.get("detail", "")))
    return found
