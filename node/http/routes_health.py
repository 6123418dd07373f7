"""Routes for operators: alive, ready, version, metrics, the API's own description, entry points."""

from __future__ import annotations

import platform
from importlib.metadata import PackageNotFoundError, version

from aiohttp import web

from node.http.errors import problem
from node.http.metrics import METRICS_TYPE
from node.http.routing import Ask, Route, reply
from node.protocol.json_view import time_to_json

API_VERSION = 1
ENTRY_POINTS = (
    "/v1/status",
    "/v1/blocks",
    "/v1/contracts",
    "/v1/validators",
    "/v1/peers",
    "/v1/events",
    "/v1/openapi.json",
    "/readyz",
    "/metrics",
)


def package_version() -> str:
    """The installed version; a source tree without installation has none."""
    try:
        return version("groat")
    except PackageNotFoundError:
        return "0"


async def _get_index(ask: Ask) -> web.Response:
    return reply({"node": ask.service.name, "links": list(ENTRY_POINTS)})


async def _get_livez(ask: Ask) -> web.Response:
    return reply({"status": "OK", "time": time_to_json(ask.service.now_ms())})


async def _get_readyz(ask: Ask) -> web.Response:
    failed = ask.service.health()
    if ask.shared.feed.closing or failed:
        checks = [{"component": check.component, "reason": check.reason} for check in failed]
        detail = "; ".join(check.reason for check in failed) or "the node is shutting down"
        return problem("NOT_READY", detail, ask.request.path, failed_checks=checks)
    return reply({"status": "OK", "time": time_to_json(ask.service.now_ms()), "failed_checks": []})


async def _get_version(ask: Ask) -> web.Response:
    return reply(
        {"version": package_version(), "api": API_VERSION, "python": platform.python_version()}
    )


async def _get_metrics(ask: Ask) -> web.Response:
    headers = {"Content-Type": METRICS_TYPE, "Cache-Control": "no-store"}
    return web.Response(body=ask.shared.metrics.text(), headers=headers)


async def _get_openapi(ask: Ask) -> web.Response:
    return reply(ask.shared.openapi)


ROUTES = (
    Route("GET", "/", _get_index, "getIndex", "Entry points of this API"),
    Route("GET", "/livez", _get_livez, "getLivez", "Whether the process answers", in_turn=False),
    Route(
        "GET", "/readyz", _get_readyz, "getReadyz", "Whether the node does its work", in_turn=False
    ),
    Route("GET", "/version", _get_version, "getVersion", "What runs here"),
    Route(
        "GET",
        "/metrics",
        _get_metrics,
        "getMetrics",
        "Metrics in the Prometheus text format",
        answer_type="text/plain",
    ),
    Route("GET", "/v1/openapi.json", _get_openapi, "getOpenapi", "This API as OpenAPI 3.1"),
)
