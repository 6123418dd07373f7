"""The page server: an order page on a trusted terminal, pushed as soon as it is made (R4.11).

It serves the page's files, whose hash each issued page is bound to, brings a terminal's consent to
the headset and its refusals to the chain, and streams orders to terminals that proved their key.
Approvals never pass here: the page hands them to the channel itself. The server's word on an order
is checked by proof here, not in the browser. It listens on this machine alone: put TLS in front.
"""

from __future__ import annotations

import asyncio
import json
import secrets
import time
from collections import OrderedDict
from collections.abc import Callable
from importlib import resources
from typing import Any, NamedTuple
from urllib.parse import quote, urlsplit

from aiohttp import web

from client.errors import NotFound, Pending, Rejected
from client.interface import Schema, find
from client.node_api import NodeApi
from client.outcomes import Json
from client.payments.orders import Orders
from client.payments.terms import CONTRACT, ID_BYTES
from client.payments.web import HEADERS, application, body_of
from node.protocol.domain import Chain
from node.protocol.encoding import Value, encode, sha256
from node.protocol.errors import Refused
from node.protocol.json_view import arguments_from_json, bytes_from_json
from node.protocol.keys import PUBLIC_KEY_BYTES, PrivateKey
from node.protocol.ticket import browser_ticket_valid
from node.protocol.transaction import Call

SESSION = "session"
COOKIE = "terminal"
TOKEN_BYTES = 32
SIGNATURE_BYTES = 64
CHALLENGE_SECONDS = 60.0
PAIRING_SECONDS = 600.0
HOLD_SECONDS = 50.0
SESSION_SECONDS = 86_400.0
BEAT_SECONDS = 10.0
KEPT_MAX = 10_000
STREAMS_MAX = 1_000
SUBMIT_SECONDS = 20.0
TYPES = {"html": "text/html", "js": "text/javascript", "css": "text/css"}


class Session(NamedTuple):
    """A terminal that proved its key, and whose it is."""

    user: str
    terminal_pub: str


class Kept:
    """Values under random names, forgotten after their time and beyond a number."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._values: OrderedDict[str, tuple[float, Any]] = OrderedDict()

    def put(self, name: str, value: Any) -> None:
        """Keep it; the oldest goes where there are too many."""
        self._values[name] = (time.monotonic() + self._seconds, value)
        while len(self._values) > KEPT_MAX:
            self._values.popitem(last=False)

    def get(self, name: str) -> Any:
        """The value, None if there is none (any more)."""
        until, value = self._values.get(name, (0.0, None))
        return value if time.monotonic() < until else None

    def take(self, name: str) -> Any:
        """The same, once."""
        value = self.get(name)
        self._values.pop(name, None)
        return value


def page_files() -> dict[str, bytes]:
    """The page, file by file."""
    folder = resources.files("client.payments").joinpath("static")
    names = sorted(one.name for one in folder.iterdir() if one.name.rpartition(".")[2] in TYPES)
    return {name: folder.joinpath(name).read_bytes() for name in names}


def page_hash(files: dict[str, bytes]) -> bytes:
    """What an issued page is bound to: every byte of it."""
    return sha256(
        encode(["groat/page/1", {name: sha256(content) for name, content in files.items()}])
    )


class Pages:
    """See the module. `key` has the role page_server."""

    def __init__(
        self,
        network: NodeApi,
        interface: Schema,
        key: PrivateKey,
        now_ms: Callable[[], int] = lambda: time.time_ns() // 1_000_000,
    ) -> None:
        self._network, self._interface, self._key = network, interface, key
        self._now_ms = now_ms
        self._files = page_files()
        self.orders = Orders(network, interface, key, page_hash(self._files), self._changed)
        self._challenges, self._sessions = Kept(CHALLENGE_SECONDS), Kept(SESSION_SECONDS)
        self._pairings = Kept(PAIRING_SECONDS)
        self._streams: dict[asyncio.Event, str] = {}
        self._paired = asyncio.Condition()

    def app(self, *origins: str) -> web.Application:
        """What is served; `origins` are the addresses under which the page itself is reached."""
        app = application(*origins)
        app.router.add_get("/", self._get_file)
        app.router.add_get("/{name}", self._get_file)
        app.router.add_post("/api/hello", self._post_hello)
        app.router.add_post("/api/session", self._post_session)
        app.router.add_get("/api/events", self._get_events)
        app.router.add_post("/api/reject", self._post_reject)
        app.router.add_post("/api/pairing", self._post_pairing)
        app.router.add_get("/api/pairing/{challenge}", self._get_pairing)
        return app

    # ---- the page itself

    async def _get_file(self, request: web.Request) -> web.Response:
        name = request.match_info.get("name", "index.html")
        content = self._files.get(name)
        if content is None:
            raise web.HTTPNotFound
        response = web.Response(body=content, content_type=TYPES[name.rpartition(".")[2]])
        response.charset = "utf-8"
        if name == "index.html":
            response.headers["Content-Security-Policy"] = await self._policy()
        return response

    async def _policy(self) -> str:
        """No inline script, no eval, and connections to enabled channels alone (R4.12)."""
        endpoints = (await self.orders.endpoints()).values()
        allowed = " ".join(["'self'", *sorted({_origin(url) for url in endpoints})])
        return "; ".join(
            (
                "default-src 'none'",
                "script-src 'self'",
                "style-src 'self'",
                f"connect-src {allowed}",
                "base-uri 'none'",
                "form-action 'none'",
                "frame-ancestors 'none'",
            )
        )

    # ---- sessions of terminals

    async def _post_hello(self, _: web.Request) -> web.Response:
        challenge = secrets.token_hex(ID_BYTES)
        self._challenges.put(challenge, True)
        return web.json_response({"challenge": challenge})

    async def _post_session(self, request: web.Request) -> web.Response:
        """A terminal signs a fresh challenge and gets a cookie, if the chain trusts it."""
        given = await body_of(request)
        terminal_pub = bytes_from_json(given.get("terminal_pub"), "terminal_pub", PUBLIC_KEY_BYTES)
        challenge = bytes_from_json(given.get("challenge"), "challenge", ID_BYTES)
        signature = bytes_from_json(given.get("signature"), "signature", SIGNATURE_BYTES)
        if not self._challenges.take(challenge.hex()):
            raise Refused("UNAUTHORIZED", "the challenge is used or too old")
        signed: dict[str, Value] = {"terminal_pub": terminal_pub, "challenge": challenge}
        chain = self._network.chain
        if not browser_ticket_valid(chain, terminal_pub, CONTRACT, SESSION, signed, signature):
            raise Refused("UNAUTHORIZED", "the signature does not match")
        user = await self._user_of(terminal_pub)
        token = secrets.token_urlsafe(TOKEN_BYTES)
        self._sessions.put(token, Session(user, terminal_pub.hex()))
        response = web.json_response({"user": user})
        secure = request.headers.get("X-Forwarded-Proto") == "https"
        response.set_cookie(COOKIE, token, httponly=True, samesite="Strict", secure=secure)
        return response

    async def _user_of(self, terminal_pub: bytes) -> str:
        asked = {"terminal_pub": terminal_pub.hex()}
        try:
            answer = await self._network.query(CONTRACT, "terminal", asked, self._key)
        except NotFound:
            raise Rejected("TERMINAL_UNKNOWN", "the headset has not confirmed yet") from None
        if not answer["result"]["usable"]:
            raise Rejected("TERMINAL_UNKNOWN", "this terminal is not trusted now")
        return str(answer["result"]["user"])

    async def _get_events(self, request: web.Request) -> web.StreamResponse:
        """The newest order of the terminal's user, now and whenever it changes."""
        session = self._sessions.get(request.cookies.get(COOKIE, ""))
        if session is None:
            raise Refused("UNAUTHORIZED", "open a session first")
        if len(self._streams) >= STREAMS_MAX:
            raise Pending("TRY_LATER", "too many terminals")
        response = web.StreamResponse(headers={**HEADERS, "Content-Type": "text/event-stream"})
        await response.prepare(request)
        moved = asyncio.Event()
        self._streams[moved] = session.user
        try:
            while True:
                moved.clear()
                await response.write(f"data: {json.dumps(self._message(session))}\n\n".encode())
                while not moved.is_set():
                    try:
                        await asyncio.wait_for(moved.wait(), BEAT_SECONDS)
                    except TimeoutError:
                        await response.write(b": beat\n\n")
        except ConnectionError:
            return response
        finally:
            del self._streams[moved]

    def _message(self, session: Session) -> Json:
        return {
            "time_ms": str(self._now_ms()),
            "genesis": self._network.chain.genesis_hash.hex(),
            "order": self.orders.of(session.user),
        }

    def _changed(self, user: str, _: str) -> None:
        for moved, whose in self._streams.items():
            if whose == user:
                moved.set()

    # ---- a terminal's no

    async def _post_reject(self, request: web.Request) -> web.Response:
        """Bring it to the chain; for a terminal with a session alone."""
        session = self._sessions.get(request.cookies.get(COOKIE, ""))
        if session is None:
            raise Refused("UNAUTHORIZED", "open a session first")
        schema = find(self._interface, "actions", CONTRACT, "reject").schema
        args = arguments_from_json(schema, await body_of(request))
        outcome = await self._network.transact(
            self._key, [Call(CONTRACT, "reject", args)], timeout_seconds=SUBMIT_SECONDS
        )
        return web.json_response({"state": outcome.require().details.get("state")})

    # ---- pairing: a terminal's consent on its way to the headset

    async def _post_pairing(self, request: web.Request) -> web.Response:
        given = await body_of(request)
        challenge = bytes_from_json(given.get("challenge"), "challenge", ID_BYTES).hex()
        consent = {
            "terminal_pub": bytes_from_json(
                given.get("terminal_pub"), "terminal_pub", PUBLIC_KEY_BYTES
            ).hex(),
            "kind": str(given.get("kind"))[:16],
            "ticket": bytes_from_json(given.get("ticket"), "ticket", SIGNATURE_BYTES).hex(),
        }
        if self._pairings.get(challenge) not in (None, consent):
            raise Rejected("IDEM_CONFLICT", "another terminal took this code; make a new one")
        self._pairings.put(challenge, consent)
        async with self._paired:
            self._paired.notify_all()
        return web.Response(status=204)

    async def _get_pairing(self, request: web.Request) -> web.Response:
        """The headset waits here for the terminal's consent."""
        challenge = request.match_info["challenge"]
        try:
            async with asyncio.timeout(HOLD_SECONDS), self._paired:
                await self._paired.wait_for(lambda: self._pairings.get(challenge) is not None)
        except TimeoutError:
            return web.Response(status=204)
        return web.json_response(self._pairings.get(challenge))


def pairing_code(terminal_pub: str, challenge: str) -> str:
    """Six digits that headset and terminal both show (as the page computes them)."""
    content = sha256(encode(["groat/pairing/1", terminal_pub, challenge]))
    return f"{int.from_bytes(content[:4], 'big') % 1_000_000:06}"


def pairing_address(base: str, user: bytes, challenge: bytes, until_ms: int, chain: Chain) -> str:
    """What the headset shows for the terminal to open; the fragment never reaches a server."""
    name = quote(chain.chain_id, safe="").replace(".", "%2E")
    parts = (user.hex(), challenge.hex(), str(until_ms), name, chain.genesis_hash.hex())
    return f"{base.rstrip('/')}/#bind.{'.'.join(parts)}"


def _origin(url: str) -> str:
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc}"
