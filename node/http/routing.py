"""The route table's vocabulary, and what a handler gets and gives.

A `Route` says everything about one operation: path, declared parameters, body, answer. Handlers
are called from it, and the OpenAPI document is made of it, so that the two cannot drift apart.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, TypeVar

import msgspec
from aiohttp import web

from contracts.kernel.access import REGULATOR, Viewer
from contracts.kernel.types import Rejected
from node.http.feed import Feed
from node.http.metrics import NodeMetrics
from node.http.requests import BodyRoom, Parameter, read_parameters
from node.http.service import NodeService
from node.http.sessions import Sessions
from node.protocol.errors import Refused

JSON_TYPE = "application/json"
SUBMITTED_MAX = 65_536
BACKGROUND_MAX = 64
REST = 2
REST_S_MAX = 0.25
REGULATOR_ROLE = REGULATOR.removeprefix("role:")
_IMMUTABLE = "public, max-age=31536000, immutable"

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Body:
    """What a request carries: schema by content type."""

    content: Mapping[str, Mapping[str, Any]]
    required: bool = True


@dataclass(frozen=True, slots=True)
class Route:
    """One operation. `answers` maps a status to what it means; errors are the same everywhere.

    `parameters` None leaves the URL's query to the handler. `in_turn`: the whole answer
    is made in one `Turn`; handlers that wait for something take theirs later, by themselves.
    """

    method: str
    path: str
    handler: Callable[[Ask], Awaitable[web.StreamResponse]]
    operation: str
    summary: str
    parameters: Sequence[Parameter] | None = ()
    body: Body | None = None
    answers: Mapping[int, str] = field(default_factory=lambda: {200: "the answer"})
    answer_type: str = JSON_TYPE
    in_turn: bool = True


class Turn:
    """Costly answers one at a time, with a rest behind each: an `async with` around its making.

    Consensus runs on the same loop and must not wait for a hundred readers. The rest is as long as
    the answer took, times `REST`, so that readers together never have more than a third of the
    loop. Nobody may wait inside for a client, a block or a disk.
    """

    def __init__(self) -> None:
        self._lock = asyncio.Lock()
        self._began = 0.0

    async def __aenter__(self) -> None:
        await self._lock.acquire()
        self._began = time.monotonic()

    async def __aexit__(self, *_: object) -> None:
        rest_s = REST * (time.monotonic() - self._began)
        # The process may have been stopped meanwhile, and for long.
        asyncio.get_running_loop().call_later(min(rest_s, REST_S_MAX), self._lock.release)


class Shared:
    """What all requests share: the node, the sessions, and what was submitted here lately."""

    def __init__(self, service: NodeService) -> None:
        self.service = service
        self.sessions = Sessions(service.query.chain, service.public_key, service.now_ms)
        self.feed = Feed(service)
        self.metrics = NodeMetrics(service)
        self.metrics.streams.set_function(lambda: self.feed.listeners)
        self.body_room = BodyRoom()
        self.turn = Turn()
        self.openapi: Mapping[str, Any] = {}
        self._submitted: dict[bytes, int] = {}
        self._background: set[asyncio.Task[Any]] = set()

    def submit_later(self, raws: Sequence[bytes]) -> bool:
        """Submit without waiting for the verdict; False when too many do that already."""
        if len(self._background) >= BACKGROUND_MAX:
            return False
        task = asyncio.create_task(self._submit_unheard(raws))
        self._background.add(task)
        task.add_done_callback(self._background.discard)
        return True

    async def _submit_unheard(self, raws: Sequence[bytes]) -> None:
        with suppress(Refused):  # whoever wanted to hear of it would have waited
            await self.service.submit(raws)

    def remember(self, transaction_id: bytes) -> None:
        """Keep the lifetime of a transaction that was accepted here, to tell when it expired."""
        until = self.service.pending_until(transaction_id)
        if until is not None:
            if len(self._submitted) >= SUBMITTED_MAX:
                self._submitted.pop(next(iter(self._submitted)))
            self._submitted[transaction_id] = until

    def valid_until(self, transaction_id: bytes) -> int | None:
        """`valid_until` (ms) of a transaction that was accepted here, while remembered."""
        return self._submitted.get(transaction_id)


@dataclass(frozen=True, slots=True)
class Ask:
    """One request being answered."""

    request: web.Request
    shared: Shared
    params: Mapping[str, Any]

    @property
    def service(self) -> NodeService:
        """The node."""
        return self.shared.service

    def segment(self, name: str) -> str:
        """A segment of the path by its name in the route."""
        return self.request.match_info[name]

    def reader(self) -> bytes | None:
        """The key of the session's holder; None for strangers.

        Raises `Refused` `BAD_TOKEN` or `SESSION_EXPIRED`: a bad token is never a mere stranger.
        """
        header = self.request.headers.get("Authorization")
        if header is None:
            return None
        scheme, _, token = header.partition(" ")
        if scheme.lower() != "bearer":
            raise Refused("BAD_TOKEN", "send Authorization: Bearer with a token of /v1/sessions")
        return self.shared.sessions.key_of(token.strip())

    def viewer(self) -> Viewer:
        """Who is asking, with the roles of this very moment."""
        return self.service.query.viewer(self.reader())

    def show(
        self, answer: Callable[[Viewer], T], what: str = "", viewer: Viewer | None = None
    ) -> T:
        """What `answer` tells whoever is asking; a regulator's read is noted before it is told.

        `what` says what was asked for, by default the request itself. Raises `Refused`
        `READ_LOG_FAILED`.
        """
        told, regulator = self.weigh(answer, viewer or self.viewer())
        if regulator is not None:
            asked = what or f"{self.request.method} {self.request.path_qs}"
            self.service.note_read(regulator, asked)
        return told

    @staticmethod
    def weigh(answer: Callable[[Viewer], T], viewer: Viewer) -> tuple[T, bytes | None]:
        """What `answer` tells, and the regulator to whom it tells more than to anybody else.

        More is what would be another answer, or a refusal, without that role.
        """
        told = answer(viewer)
        if REGULATOR_ROLE not in viewer.roles:
            return told, None
        without = msgspec.structs.replace(viewer, roles=viewer.roles - {REGULATOR_ROLE})
        try:
            same = told == answer(without)
        except (Refused, Rejected):
            same = False
        return told, None if same else viewer.public_key


def ask(request: web.Request, shared: Shared, route: Route) -> Ask:
    """The request with its declared parameters read; raises `Refused` `BAD_PARAMETER`."""
    declared = route.parameters
    return Ask(request, shared, {} if declared is None else read_parameters(request, declared))


def reply(
    value: object, status: int = 200, headers: Mapping[str, str] | None = None
) -> web.Response:
    """A JSON answer that nobody may cache."""
    return web.Response(
        status=status,
        body=msgspec.json.encode(value),
        content_type=JSON_TYPE,
        headers={"Cache-Control": "no-store", **(headers or {})},
    )


def reply_final(request: web.Request, value: object, tag: str) -> web.Response:
    """A JSON answer that never changes; 304 to whoever has it already."""
    headers = {"Cache-Control": _IMMUTABLE, "ETag": f'"{tag}"'}
    if request.headers.get("If-None-Match") == headers["ETag"]:
        return web.Response(status=304, headers=headers)
    return web.Response(body=msgspec.json.encode(value), content_type=JSON_TYPE, headers=headers)
