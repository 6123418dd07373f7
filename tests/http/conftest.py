"""A served API and a client of it, as fixtures."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import pytest

from node.http.server import HttpServer
from node.protocol.keys import PrivateKey
from node.protocol.session import session_digest
from tests.http.support import Service, World


class Api:
    """A client of one served node, which checks what every answer must have."""

    def __init__(self, service: Service, server: HttpServer, http: aiohttp.ClientSession) -> None:
        self.service, self.server, self.http = service, server, http
        self.world = service.world
        self.tokens: dict[bytes, str] = {}
        self.headers: Any = {}
        self.streams: list[aiohttp.ClientResponse] = []

    async def ask(
        self, method: str, path: str, status: int, reader: PrivateKey | None = None, **options: Any
    ) -> Any:
        """The JSON of an answer that must have this status and the right content type."""
        headers = dict(options.pop("headers", {}))
        if reader is not None:
            headers["Authorization"] = f"Bearer {await self.token(reader)}"
        async with self.http.request(
            method, self.server.url + path, headers=headers, **options
        ) as response:
            body = await response.json(content_type=None)
            assert response.status == status, body
            kind = "application/problem+json" if status >= 400 else "application/json"
            assert response.content_type == kind
            assert response.headers["X-Content-Type-Options"] == "nosniff"
            assert response.headers["Server"] == "groat"
            if status >= 400:
                assert body["status"] == status
                assert {"type", "title", "detail", "code", "instance"} <= set(body)
            self.headers = response.headers
            return body

    async def get(self, path: str, reader: PrivateKey | None = None) -> Any:
        """A GET that must succeed."""
        return await self.ask("GET", path, 200, reader)

    async def code(self, method: str, path: str, status: int, **options: Any) -> str:
        """The code of a request that must fail with this status."""
        return str((await self.ask(method, path, status, **options))["code"])

    async def send(self, raw: bytes, status: int, query: str = "", **options: Any) -> Any:
        """Submit one transaction."""
        headers = {"Content-Type": "application/octet-stream"}
        path = "/v1/transactions" + query
        return await self.ask("POST", path, status, data=raw, headers=headers, **options)

    async def token(self, reader: PrivateKey) -> str:
        """A session token, opened once for each key."""
        known = self.tokens.get(reader.public_key)
        if known is not None:
            return known
        identity = {"public_key": reader.public_key.hex()}
        asked = await self.ask("POST", "/v1/challenges", 201, json=identity)
        answer = {
            **identity,
            "challenge": asked["challenge"],
            "signature": self.sign(reader, asked).hex(),
        }
        opened = await self.ask("POST", "/v1/sessions", 201, json=answer)
        self.tokens[reader.public_key] = opened["token"]
        return str(opened["token"])

    def sign(self, reader: PrivateKey, asked: Any) -> bytes:
        """The signature that answers a challenge."""
        digest = session_digest(
            self.world.chain,
            bytes.fromhex(asked["node_key"]),
            reader.public_key,
            bytes.fromhex(asked["challenge"]),
            int(asked["expires_at_ms"]),
        )
        return reader.sign(digest)


@pytest.fixture
def world() -> World:
    """A chain at height 0."""
    return World()


@pytest.fixture
async def api(world: World) -> AsyncIterator[Api]:
    """A served node over that chain."""
    service = Service(world)
    server = HttpServer(service, "127.0.0.1", 0)
    await server.start()
    async with aiohttp.ClientSession() as http:
        api = Api(service, server, http)
        yield api
        for stream in api.streams:
            stream.close()
    await server.stop()
