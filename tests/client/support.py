"""Nodes for the client's tests: a real API over a hand-driven chain, and bad ones beside it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from aiohttp import web

from client.node_api import NodeApi
from node.http.server import HttpServer
from tests.http.support import Service, World

ATTEMPT_SECONDS = 0.6


class Node:
    """A served node."""

    def __init__(self, service: Service, server: HttpServer) -> None:
        self.service, self.server, self.world = service, server, service.world
        self.url = server.url


@asynccontextmanager
async def serve(world: World, port: int = 0) -> AsyncIterator[Node]:
    """A real HTTP server over `world`."""
    service = Service(world)
    server = HttpServer(service, "127.0.0.1", port)
    await server.start()
    try:
        yield Node(service, server)
    finally:
        await server.stop()


@asynccontextmanager
async def serve_handler(handler: Any) -> AsyncIterator[str]:
    """A node that answers every request with `handler`; its url."""
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", handler)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    try:
        yield f"http://127.0.0.1:{runner.addresses[0][1]}"
    finally:
        await runner.cleanup()


@asynccontextmanager
async def serve_silence() -> AsyncIterator[str]:
    """A node that accepts connections and never answers, as a paused process does."""
    writers: list[asyncio.StreamWriter] = []

    async def ignore(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writers.append(writer)

    server = await asyncio.start_server(ignore, "127.0.0.1", 0)
    try:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    finally:
        server.close()
        for writer in writers:
            writer.close()
        await server.wait_closed()


def connect(world: World, urls: Sequence[str], trust: Path | None = None) -> NodeApi:
    """The SDK by the clock of `world`, quick to lose patience."""
    return NodeApi(
        world.genesis,
        urls,
        trust=trust,
        attempt_seconds=ATTEMPT_SECONDS,
        now_ms=lambda: world.now_ms,
    )
