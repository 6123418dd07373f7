"""The API's application: the route table, and what surrounds every request.

From the outside in: counting, one shape for all errors, the rate limit, then the handler of the
route. Which handlers there are is in `routes_*` and `events`; how bytes arrive is `server`'s part.
"""

from __future__ import annotations

import logging
import time
from collections.abc import AsyncIterator, Awaitable, Callable

from aiohttp import web
from aiohttp.typedefs import Middleware

from contracts.kernel.types import Rejected
from node.http import (
    errors,
    events,
    routes_chain,
    routes_health,
    routes_state,
    routes_transactions,
)
from node.http.openapi import build_document
from node.http.rate_limit import RateLimit
from node.http.routing import Route, Shared, ask
from node.http.service import NodeService
from node.protocol.errors import Refused, StoreFailure

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]

SHARED = web.AppKey("shared", Shared)
ROUTES: tuple[Route, ...] = (
    *routes_health.ROUTES,
    *routes_chain.ROUTES,
    *routes_transactions.ROUTES,
    *routes_state.ROUTES,
    *events.ROUTES,
)
SECURITY_HEADERS = {
    "Server": "groat",
    "X-Content-Type-Options": "nosniff",
    "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
}

log = logging.getLogger("groat.http")


def create_app(service: NodeService, rate_limit: RateLimit | None = None) -> web.Application:
    """The application for one node. `rate_limit` None means that nobody is limited."""
    shared = Shared(service)
    records = service.query.records
    version = routes_health.package_version()
    shared.openapi = build_document(ROUTES, records.interface, version)
    # The handlers bound their bodies themselves, each by its own limit.
    app = web.Application(middlewares=[_counted(shared), _explained, _limited(rate_limit)])
    app[SHARED] = shared
    for route in ROUTES:
        handler = _handler(route, shared)
        app.router.add_route(route.method, route.path, handler)
        if route.method == "GET" and route.answer_type != events.STREAM_TYPE:
            app.router.add_route("HEAD", route.path, handler)
    app.on_response_prepare.append(_secure)
    app.cleanup_ctx.append(_feeding)
    app.on_shutdown.append(_close_streams)
    return app


def _handler(route: Route, shared: Shared) -> Handler:
    async def handle(request: web.Request) -> web.StreamResponse:
        asked = ask(request, shared, route)
        if not route.in_turn:
            return await route.handler(asked)
        async with shared.turn:
            return await route.handler(asked)

    handle.__name__ = route.operation
    return handle


def _counted(shared: Shared) -> Middleware:
    @web.middleware
    async def middleware(request: web.Request, handler: Handler) -> web.StreamResponse:
        started = time.perf_counter()
        response = await handler(request)
        operation = getattr(request.match_info.handler, "__name__", "unknown")
        shared.metrics.requests.labels(operation, str(response.status)).inc()
        shared.metrics.duration.labels(operation).observe(time.perf_counter() - started)
        return response

    return middleware


@web.middleware
async def _explained(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Every failure becomes a problem document; only our own faults are logged."""
    try:
        return await handler(request)
    except Refused as refusal:
        return errors.refusal(refusal, request.path)
    except Rejected as rejected:
        return errors.rejection(rejected, request.path)
    except web.HTTPException as error:
        return errors.library_error(error, request.path)
    except StoreFailure as failure:
        if failure.code == "DISK_FAILED":  # it may pass; reading goes on when there is room
            return errors.problem(failure.code, "the node's disk fails for now", request.path)
        request.app[SHARED].service.on_store_failure(failure)
        return errors.internal(request.path)
    except ConnectionError:
        raise  # the client is gone; there is nobody to tell
    # The root of a request: whatever else went wrong is ours, and must not end the connection.
    except Exception:
        log.exception("request failed: %s %s", request.method, request.path)
        return errors.internal(request.path)


def _limited(limit: RateLimit | None) -> Middleware:
    @web.middleware
    async def middleware(request: web.Request, handler: Handler) -> web.StreamResponse:
        if limit is not None and not limit.admits(request.remote or "", time.monotonic()):
            raise Refused("RATE_LIMITED", "too many requests from this address")
        return await handler(request)

    return middleware


async def _secure(request: web.Request, response: web.StreamResponse) -> None:
    response.headers.update(SECURITY_HEADERS)


async def _feeding(app: web.Application) -> AsyncIterator[None]:
    app[SHARED].feed.start()
    yield
    await app[SHARED].feed.stop()


async def _close_streams(app: web.Application) -> None:
    await app[SHARED].feed.stop()
