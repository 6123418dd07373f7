"""The HTTP server: sockets, limits below the application, and a shutdown that keeps nobody waiting.

What is not HTTP never reaches the application; here it gets its problem document, is counted, and
is not logged, since anybody could fill the log with it. Connections are bounded in number, idle
time, header size and count.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from typing import Any, cast

from aiohttp import web
from aiohttp.web_protocol import RequestHandler

from node.http import errors
from node.http.api import SECURITY_HEADERS, SHARED, create_app
from node.http.limits import HttpLimits
from node.http.metrics import NodeMetrics
from node.http.rate_limit import RateLimit
from node.http.service import NodeService
from node.http.visitors import Visitors, origin_of
from node.protocol.errors import Misconfigured

HEADER_LINE_BYTES_MAX = 8_190
HEADERS_MAX = 64
FIRST_REQUEST_S = 10.0
IDLE_TIMEOUT_S = 75.0
UNREAD_S = 30.0
LINGER_S = 1.0
SHUTDOWN_TIMEOUT_S = 3.0
BACKLOG = 512

log = logging.getLogger("groat.http")


class HttpServer:
    """Serves one node's API on one address."""

    def __init__(
        self,
        service: NodeService,
        host: str,
        port: int,
        limits: HttpLimits | None = None,
    ) -> None:
        """`port` 0 lets the system choose; `address` tells which after `start`."""
        limits = limits or HttpLimits()
        self._host, self._port = host, port
        self._visitors = Visitors(limits.connections, limits.connections_per_address)
        limited = limits.requests_per_second > 0
        rate = RateLimit(limits.requests_per_second, limits.burst) if limited else None
        self.app = create_app(service, rate)
        self._runner = web.AppRunner(
            self.app, handle_signals=False, access_log=None, shutdown_timeout=SHUTDOWN_TIMEOUT_S
        )
        self._listener: asyncio.Server | None = None

    @property
    def address(self) -> tuple[str, int]:
        """Where it listens."""
        assert self._listener is not None, "the server is not started"
        host, port = self._listener.sockets[0].getsockname()[:2]
        return host, port

    @property
    def url(self) -> str:
        """The base of all its addresses."""
        host, port = self.address
        return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"

    async def start(self) -> None:
        """Listen; raises `Misconfigured` `ADDRESS_IN_USE` when the address cannot be had."""
        await self._runner.setup()
        loop = asyncio.get_running_loop()
        try:
            self._listener = await loop.create_server(
                self._protocol, self._host, self._port, backlog=BACKLOG
            )
        except OSError as error:
            await self._runner.cleanup()
            raise Misconfigured(
                "ADDRESS_IN_USE",
                f"cannot serve HTTP on {self._host}:{self._port} ({error.strerror}); "
                "choose another http address in node.toml",
            ) from None

    async def stop(self) -> None:
        """Stop listening, end the streams, give running requests a moment, close the rest."""
        if self._listener is not None:
            self._listener.close()
        await self._runner.cleanup()

    def _protocol(self) -> asyncio.Protocol:
        return _Door(self._admit)

    def _admit(self, host: str) -> asyncio.Protocol:
        """The protocol for a connection from `host`."""
        server = self._runner.server
        assert server is not None
        metrics = self.app[SHARED].metrics
        origin = origin_of(host)
        if not self._visitors.enter(origin):
            metrics.turned_away.inc()
            return _TurnedAway()
        return _Connection(
            metrics,
            lambda: self._visitors.leave(origin),
            server,
            loop=asyncio.get_running_loop(),
            access_log=None,
            keepalive_timeout=IDLE_TIMEOUT_S,
            lingering_time=LINGER_S,
            max_line_size=HEADER_LINE_BYTES_MAX,
            max_field_size=HEADER_LINE_BYTES_MAX,
            max_headers=HEADERS_MAX,
            auto_decompress=False,
        )


class _Door(asyncio.Protocol):
    """A new connection, until it is known where it comes from."""

    def __init__(self, admit: Callable[[str], asyncio.Protocol]) -> None:
        self._admit = admit

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        name = transport.get_extra_info("peername")
        protocol = self._admit(str(name[0]) if name else "")
        transport.set_protocol(protocol)
        protocol.connection_made(transport)


class _Connection(RequestHandler):
    """aiohttp's connection, with problem documents for what never reaches the application.

    Who sends no whole request soon, or does not read the answer, is cut off.
    """

    __slots__ = ("_leave", "_metrics", "_patience")

    def __init__(
        self, metrics: NodeMetrics, leave: Callable[[], None], *args: Any, **options: Any
    ) -> None:
        super().__init__(*args, **options)
        self._metrics = metrics
        self._leave = leave
        self._patience: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin, and wait for the first request."""
        super().connection_made(transport)
        self._watch(FIRST_REQUEST_S)

    def connection_lost(self, exc: BaseException | None) -> None:
        """The end."""
        self._unwatch()
        self._leave()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Bytes came; once they make a request, its own limits count."""
        super().data_received(data)
        if self._request_count and not self._paused:
            self._unwatch()

    def pause_writing(self) -> None:
        """The client does not read."""
        super().pause_writing()
        self._watch(UNREAD_S)

    def resume_writing(self) -> None:
        """It reads again."""
        super().resume_writing()
        self._unwatch()

    def _watch(self, seconds: float) -> None:
        self._unwatch()
        if self.transport is not None:
            self._patience = self._loop.call_later(seconds, self.transport.abort)

    def _unwatch(self) -> None:
        if self._patience is not None:
            self._patience.cancel()
            self._patience = None

    def handle_error(
        self,
        request: web.BaseRequest,
        status: int = 500,
        exc: BaseException | None = None,
        message: str | None = None,
    ) -> web.StreamResponse:
        """Answer what aiohttp could not parse, or what escaped the application."""
        if isinstance(exc, ConnectionError) or request.writer.output_size > 0:
            raise ConnectionError("the client is gone, or has the beginning of another answer")
        if status == 400:
            self._metrics.malformed.inc()
            response = errors.problem("BAD_HTTP", "this is not a well-formed HTTP request", "/")
        else:
            log.error("request escaped the application: %s", type(exc).__name__)
            response = errors.internal(request.path)
        response.headers.update(SECURITY_HEADERS)
        response.force_close()
        return response

    async def finish_response(
        self, request: web.BaseRequest, resp: web.StreamResponse, start_time: float | None
    ) -> tuple[web.StreamResponse, bool]:
        """Rewrite what aiohttp raises before the middlewares run, such as a bad `Expect`."""
        if isinstance(resp, web.HTTPException):
            resp = errors.library_error(resp, request.path)
        return await super().finish_response(request, resp, start_time)


class _TurnedAway(asyncio.Protocol):
    """One connection too many: says so and hangs up."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        writing = cast(asyncio.WriteTransport, transport)  # uvloop's has no such base class
        response = errors.problem("TOO_MANY_CONNECTIONS", "try again in a while", "/")
        body = response.body
        assert isinstance(body, bytes)
        writing.write(
            b"HTTP/1.1 503 Service Unavailable\r\nConnection: close\r\nRetry-After: 1\r\n"
            b"Content-Type: " + errors.PROBLEM_TYPE.encode() + b"\r\n"
            b"Content-Length: " + str(len(body)).encode() + b"\r\n\r\n" + body
        )
        writing.close()
