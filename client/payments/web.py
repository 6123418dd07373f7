"""What the small servers of payments share: bounded JSON in, problem documents out, one origin.

A browser may call a server from the origins that it names and from no other. Nothing here knows
what is served.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

from aiohttp import web

from client.errors import ClientError, Rejected
from node.protocol.errors import GroatError, Misconfigured, Refused

BODY_BYTES_MAX = 16 << 10
REQUEST_SECONDS = 60.0
PREFLIGHT_SECONDS = "600"
SHUTDOWN_SECONDS = 2.0
HEADERS = {
    "Cache-Control": "no-store",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
}
UNAUTHORIZED = 401

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


def application(*origins: str) -> web.Application:
    """An application whose failures are problem documents; browsers call it from `origins`."""

    @web.middleware
    async def guard(request: web.Request, handler: Handler) -> web.StreamResponse:
        origin = request.headers.get("Origin")
        if origin is not None and origin not in origins:
            return problem(403, "WRONG_ORIGIN", "this page may not call here")
        try:
            response = await handler(request)
        except GroatError as error:
            response = problem(_status_of(error), error.code, error.message)
        except web.HTTPException as error:
            response = problem(error.status, "HTTP", error.reason)
        except TimeoutError:
            response = problem(503, "TRY_LATER", "it took too long; ask again")
        if not response.prepared:
            response.headers.update(HEADERS)
            if origin is not None:
                response.headers["Access-Control-Allow-Origin"] = origin
                response.headers["Vary"] = "Origin"
        return response

    return web.Application(middlewares=[guard], client_max_size=BODY_BYTES_MAX)


def allow_preflight(app: web.Application, path: str) -> None:
    """Let browsers ask whether they may post JSON there."""

    async def answer(_: web.Request) -> web.Response:
        allowed = {
            "Access-Control-Allow-Methods": "POST",
            "Access-Control-Allow-Headers": "content-type",
            "Access-Control-Max-Age": PREFLIGHT_SECONDS,
        }
        return web.Response(status=204, headers=allowed)

    app.router.add_options(path, answer)


async def body_of(request: web.Request) -> dict[str, Any]:
    """The JSON object in a request; raises `Refused` `BAD_ARG`."""
    async with asyncio.timeout(REQUEST_SECONDS):
        raw = await request.read()
    try:
        given = json.loads(raw)
    except (ValueError, RecursionError):
        given = None
    if not isinstance(given, dict):
        raise Refused("BAD_ARG", "the body is one JSON object")
    return given


def problem(status: int, code: str, message: str) -> web.Response:
    """A problem document (RFC 9457) with the stable code."""
    content = {"type": "about:blank", "status": status, "code": code, "detail": message}
    return web.json_response(content, status=status, content_type="application/problem+json")


@asynccontextmanager
async def serving(app: web.Application, host: str, port: int) -> AsyncIterator[str]:
    """Serve until the context ends; gives the base URL. Raises `Misconfigured`."""
    runner = web.AppRunner(
        app, handle_signals=False, access_log=None, shutdown_timeout=SHUTDOWN_SECONDS
    )
    await runner.setup()
    try:
        try:
            await web.TCPSite(runner, host, port).start()
        except OSError as error:
            raise Misconfigured("ADDRESS_IN_USE", f"{host}:{port}: {error.strerror}") from None
        yield f"http://{host}:{runner.addresses[0][1]}"
    finally:
        await runner.cleanup()


def _status_of(error: GroatError) -> int:
    if error.code == "UNAUTHORIZED":
        return UNAUTHORIZED
    if isinstance(error, Refused):
        return 400
    if isinstance(error, Rejected):
        return 409
    return 503 if isinstance(error, ClientError) else 500
