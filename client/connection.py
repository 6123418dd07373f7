"""HTTP to a network of equals: ask one node, and another if it is silent or talks nonsense.

Every request here may be sent twice without harm (a transaction's id is its content), so fail-over
is always safe. A node that failed is asked last for a while. What the answers mean is `node_api`.
"""

from __future__ import annotations

import asyncio
import json
import os
import time
from collections.abc import Mapping, Sequence
from types import TracebackType
from typing import NamedTuple, Self

import aiohttp

from client.errors import (
    ClientError,
    NoQuorum,
    NotAllowed,
    NotFound,
    Overloaded,
    Rejected,
    Unreachable,
)
from client.outcomes import Json

ANSWER_BYTES_MAX = 64 << 20
CONNECT_SECONDS = 2.0
ATTEMPT_SECONDS = 3.0
ATTEMPT_SECONDS_MIN = 0.5
DISTRUST_SECONDS = 5.0
RETRY_AFTER_SECONDS = 1.0
RETRY_AFTER_SECONDS_MAX = 5.0
CONNECTIONS_MAX = 512


class NodeFault(Exception):
    """This node did not give a usable answer; another one may."""


class Request(NamedTuple):
    """What to ask. A body of bytes is canonical bytes, a dictionary is JSON.

    `wait_seconds` is how long the node itself may hold the request; `deadline` (monotonic) ends
    the whole search for an answer.
    """

    method: str
    path: str
    query: Mapping[str, str] | None = None
    body: bytes | Json | None = None
    content_type: str = "application/octet-stream"
    wait_seconds: float = 0.0
    deadline: float | None = None


class Answer(NamedTuple):
    """A usable answer: the node that gave it, its status, and the JSON object in its body."""

    url: str
    status: int
    body: Json


class Connection:
    """The HTTP side of a client; `urls` are the nodes in order of preference."""

    def __init__(self, urls: Sequence[str], attempt_seconds: float = ATTEMPT_SECONDS) -> None:
        if not urls:
            raise ValueError("a client needs the address of at least one node")
        self.urls = tuple(url.rstrip("/") for url in urls)
        self._attempt_seconds = attempt_seconds
        self._distrusted: dict[str, float] = {}
        self._session: aiohttp.ClientSession | None = None

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self.close()

    async def close(self) -> None:
        """Close all sockets."""
        if self._session is not None:
            await self._session.close()
            self._session = None

    @property
    def session(self) -> aiohttp.ClientSession:
        """The pool of sockets, opened on first use inside the running loop."""
        if self._session is None:
            self._session = aiohttp.ClientSession(
                connector=aiohttp.TCPConnector(limit=CONNECTIONS_MAX),
                timeout=aiohttp.ClientTimeout(total=None, sock_connect=CONNECT_SECONDS),
                trust_env=False,
            )
        return self._session

    def order(self) -> list[str]:
        """The nodes to try, those that failed lately last."""
        now = time.monotonic()
        return sorted(self.urls, key=lambda url: self._distrusted.get(url, 0.0) > now)

    def distrust(self, url: str) -> None:
        """Ask this node last for a while."""
        self._distrusted[url] = time.monotonic() + DISTRUST_SECONDS

    async def ask(
        self, request: Request, url: str | None = None, headers: Mapping[str, str] | None = None
    ) -> Answer:
        """The first usable answer of any node, or of `url` alone.

        Raises `Rejected` and its kin for a refusal, `Overloaded`, `NoQuorum`, or `Unreachable`
        with each node's reason.
        """
        faults: dict[str, list[str]] = {}
        busy: ClientError | None = None
        for node in [url] if url else self.order():
            try:
                return await self._ask_one(node, request, headers or {})
            except NodeFault as fault:
                self.distrust(node)
                faults.setdefault(str(fault), []).append(node)
            except (Overloaded, NoQuorum) as error:
                busy = error
        if busy is not None:
            raise busy
        raise Unreachable("UNREACHABLE", _no_answer(faults))

    async def _ask_one(self, url: str, request: Request, headers: Mapping[str, str]) -> Answer:
        sent, content = dict(headers), request.body
        if isinstance(content, dict):
            sent["Content-Type"], content = "application/json", json.dumps(content).encode()
        elif content is not None:
            sent["Content-Type"] = request.content_type
        try:
            async with (
                asyncio.timeout(self._patience(request)),
                self.session.request(
                    request.method,
                    url + request.path,
                    params=request.query,
                    data=content,
                    headers=sent,
                    allow_redirects=False,
                ) as response,
            ):
                raw = await _read_bounded(response)
        except TimeoutError:
            raise NodeFault("no answer in time") from None
        except (aiohttp.ClientError, OSError) as error:
            raise NodeFault(_reason(error)) from None
        answer = _parse(raw)
        if response.status >= 400:
            raise problem(response.status, answer, response.headers.get("Retry-After"))
        return Answer(url, response.status, answer)

    def _patience(self, request: Request) -> float:
        patience = self._attempt_seconds + request.wait_seconds
        if request.deadline is None:
            return patience
        return min(patience, max(request.deadline - time.monotonic(), ATTEMPT_SECONDS_MIN))


def problem(status: int, body: Json, retry_after: str | None = None) -> Exception:
    """The typed error that an RFC 9457 body stands for."""
    code, detail = str(body.get("code") or f"HTTP_{status}"), str(body.get("detail") or "")
    message = detail or str(body.get("title") or "no reason given")
    more = {name: body[name] for name in ("errors", "details", "id") if name in body}
    if code == "NO_QUORUM":
        return NoQuorum(code, message, **more)
    if status in (429, 503):
        return Overloaded(code, message, retry_after=_retry_seconds(retry_after), **more)
    if status >= 500:
        return NodeFault(f"{code}: {message}")
    kinds: dict[int, type[Rejected]] = {401: NotAllowed, 403: NotAllowed, 404: NotFound}
    return kinds.get(status, Rejected)(code, message, **more)


async def _read_bounded(response: aiohttp.ClientResponse) -> bytes:
    chunks, size = [], 0
    async for chunk in response.content.iter_any():
        size += len(chunk)
        if size > ANSWER_BYTES_MAX:
            raise NodeFault(f"its answer is larger than {ANSWER_BYTES_MAX} bytes")
        chunks.append(chunk)
    return b"".join(chunks)


def _parse(raw: bytes) -> Json:
    try:
        answer = json.loads(raw)
    except (ValueError, RecursionError):
        raise NodeFault("its answer is not JSON") from None
    if not isinstance(answer, dict):
        raise NodeFault("its answer is not a JSON object")
    return answer


def _retry_seconds(text: str | None) -> float:
    if text is None or not text.isascii() or not text.isdecimal() or len(text) > 6:
        return RETRY_AFTER_SECONDS
    return min(float(text), RETRY_AFTER_SECONDS_MAX)


def _no_answer(faults: Mapping[str, Sequence[str]]) -> str:
    reasons = [f"{reason} ({', '.join(nodes)})" for reason, nodes in faults.items()]
    return "no node answers: " + "; ".join(reasons)


def _reason(error: Exception) -> str:
    if isinstance(error, aiohttp.ClientConnectorError):
        number = error.os_error.errno
        return os.strerror(number) if number else "cannot connect"
    return str(error) or type(error).__name__
