"""Errors over HTTP: RFC 9457 problem documents, one shape for every failure.

`code` is a stable word; the status follows from it by one table. What contracts reject, what the
protocol refuses and what aiohttp itself raises all pass here, so that no error leaves the node as
plain text, as a traceback or in a library's words.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec
from aiohttp import web

from contracts.kernel.types import Rejected
from node.protocol.errors import Refused
from node.protocol.json_view import to_json

PROBLEM_TYPE = "application/problem+json"
RETRY_AFTER_S = 1
STATUS_DEFAULT = 422

_CODES_BY_STATUS = {
    400: (
        "BAD_JSON DUPLICATE_KEY FLOAT BAD_NUMBER TOO_DEEP BAD_UTF8 BAD_MSGPACK BAD_SHAPE BAD_BODY"
        " TOO_MANY_VALUES TRAILING_BYTES NON_MINIMAL UNSORTED_KEYS BAD_HEIGHT BAD_PARAMETER"
        " BAD_ARG BAD_HTTP"
    ),
    401: "SESSION_REQUIRED BAD_TOKEN SESSION_EXPIRED BAD_CHALLENGE",
    403: "FORBIDDEN KEY_NOT_IN_USE",
    404: "NOT_FOUND",
    405: "METHOD_NOT_ALLOWED",
    408: "BODY_TIMEOUT",
    409: "NO_BLOCK_YET",
    410: "PRUNED",
    413: "TOO_LARGE",
    415: "BAD_CONTENT_TYPE",
    429: "MEMPOOL_FULL SENDER_LIMIT RATE_LIMITED TOO_MANY_STREAMS",
    500: "INTERNAL",
    503: "NOT_READY TOO_MANY_CONNECTIONS STOPPING OVERLOADED DISK_FULL DISK_FAILED READ_LOG_FAILED",
}
STATUS_OF = {code: status for status, codes in _CODES_BY_STATUS.items() for code in codes.split()}
_CODE_OF_STATUS = {404: "NOT_FOUND", 405: "METHOD_NOT_ALLOWED", 413: "TOO_LARGE"}
_DETAIL_OF_STATUS = {
    404: "no such resource; / lists the entry points",
    405: "this resource does not answer that method",
    413: "the body is larger than this resource accepts",
}


def problem(
    code: str, detail: str, instance: str, *, status: int | None = None, **more: Any
) -> web.Response:
    """The problem document for `code`; `more` become extension members."""
    if status is None:
        status = STATUS_OF.get(code, STATUS_DEFAULT)
    headers = {"Cache-Control": "no-store"}
    if status in (429, 503):
        headers["Retry-After"] = str(RETRY_AFTER_S)
    if status == 401:
        headers["WWW-Authenticate"] = "Bearer"
    words = code.replace("_", " ").lower()
    document = {
        "type": f"/problems/{code.replace('_', '-').lower()}",
        "title": words.capitalize(),
        "status": status,
        "detail": detail,
        "code": code,
        "instance": instance,
        **more,
    }
    body = msgspec.json.encode(document)
    return web.Response(status=status, body=body, content_type=PROBLEM_TYPE, headers=headers)


def refusal(error: Refused, instance: str) -> web.Response:
    """The problem for what the caller did wrong."""
    return problem(error.code, error.message, instance, **_details(error.details))


def rejection(error: Rejected, instance: str) -> web.Response:
    """The problem for what a contract's query rejects."""
    return problem(
        error.code, f"the contract says {error.code}", instance, **_details(error.details)
    )


def library_error(error: web.HTTPException, instance: str) -> web.Response:
    """The problem for what aiohttp raises by itself, in our words; keeps its `Allow` header."""
    status = error.status
    code = _CODE_OF_STATUS.get(status, "BAD_HTTP" if status < 500 else "INTERNAL")
    detail = _DETAIL_OF_STATUS.get(status, "the request cannot be served as it is")
    response = problem(code, detail, instance, status=status)
    if "Allow" in error.headers:
        response.headers["Allow"] = error.headers["Allow"]
    return response


def internal(instance: str) -> web.Response:
    """A fault of the node itself; what happened stands in its log, not here."""
    return problem("INTERNAL", "the node failed to answer; its log has the cause", instance)


def _details(details: Mapping[str, object]) -> dict[str, Any]:
    return {"details": to_json(dict(details))} if details else {}
