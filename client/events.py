"""The stream of what becomes final: server-sent events, resumed on any node after any break.

An event's id is its place in the chain, the same on every node, so that the id of the last event
handled is all that a program must remember to miss nothing and see nothing twice.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping
from contextlib import aclosing
from typing import NamedTuple

import aiohttp

from client.connection import Connection, NodeFault, problem
from client.errors import ClientError, Rejected
from client.outcomes import Json

SILENCE_SECONDS_MAX = 45.0
LINE_BYTES_MAX = 1 << 20
PAUSE_SECONDS_MIN = 0.2
PAUSE_SECONDS_MAX = 5.0

Headers = Callable[[str], Awaitable[dict[str, str]]]


class StreamEvent(NamedTuple):
    """Something final, as the node at `url` says.

    `id` is the cursor to resume behind, `kind` block, tx or event.
    """

    id: str
    kind: str
    data: Json
    url: str


async def stream(
    connection: Connection, query: Mapping[str, str], after: str | None, headers: Headers
) -> AsyncGenerator[StreamEvent]:
    """Endless; goes on with another node whenever one fails, ends the stream or talks nonsense.

    Raises `Rejected` when all nodes refuse the request itself, one after the other: asking again
    would not help. A single one may refuse because it is behind the cursor.
    """
    cursor, pause, refused = after, PAUSE_SECONDS_MIN, 0
    while True:
        url = connection.order()[0]
        try:
            async with aclosing(_read(connection, url, query, cursor, headers)) as events:
                async for event in events:
                    pause, refused, cursor = PAUSE_SECONDS_MIN, 0, event.id
                    yield event
        except Rejected:
            refused += 1
            if refused >= len(connection.urls):
                raise
        except (ClientError, NodeFault, aiohttp.ClientError, OSError, ValueError):
            refused = 0
        connection.distrust(url)
        await asyncio.sleep(pause)
        pause = min(2 * pause, PAUSE_SECONDS_MAX)


async def _read(
    connection: Connection,
    url: str,
    query: Mapping[str, str],
    cursor: str | None,
    headers: Headers,
) -> AsyncGenerator[StreamEvent]:
    """The events of one connection, until it ends. Raises `ValueError` for nonsense."""
    sent = {"Accept": "text/event-stream", **await headers(url)}
    if cursor is not None:
        sent["Last-Event-ID"] = cursor
    last = (-1, -1)
    timeout = aiohttp.ClientTimeout(total=None, sock_read=SILENCE_SECONDS_MAX)
    async with connection.session.get(
        f"{url}/v1/events", params=query, headers=sent, timeout=timeout, allow_redirects=False
    ) as response:
        if response.status != 200:
            raise problem(response.status, await _body(response))
        if cursor is not None:
            last = _position(cursor)
        fields: dict[str, str] = {}
        async for raw in response.content:
            line = raw.decode().rstrip("\r\n")
            if line and not line.startswith(":"):
                name, _, value = line.partition(":")
                fields[name] = value.removeprefix(" ")
            elif not line and "id" in fields and "data" in fields:
                event = _event(fields, url)
                if _position(event.id) <= last:
                    raise ValueError("the stream goes backwards")
                last, fields = _position(event.id), {}
                yield event
            elif not line:
                fields = {}  # about the stream itself, as `lagged`: it ends now


def _event(fields: Mapping[str, str], url: str) -> StreamEvent:
    data = json.loads(fields["data"])
    if not isinstance(data, dict):
        raise ValueError("an event is a JSON object")
    return StreamEvent(fields["id"], fields.get("event", "message"), data, url)


def _position(cursor: str) -> tuple[int, int]:
    """The place in the chain that an event's id names."""
    height, _, index = cursor.partition(".")
    return int(height), int(index)


async def _body(response: aiohttp.ClientResponse) -> Json:
    try:
        body = json.loads(await response.content.read(LINE_BYTES_MAX))
    except ValueError:
        body = None
    return body if isinstance(body, dict) else {}
