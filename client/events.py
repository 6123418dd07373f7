"""The stream of what becomes final: server-sent events, resumed on any node after any break.

An event's id is its place in the chain, the same on every node, so that the id of the last event
handled is all that a program must remember to miss nothing and see nothing twice.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from typing import NamedTuple

import aiohttp

from client.connection import Connection, Json, NodeFault, problem
from client.errors import ClientError, Rejected

SILENCE_SECONDS_MAX = 45.0
LINE_BYTES_MAX = 1 << 20
PAUSE_SECONDS_MIN = 0.2
PAUSE_SECONDS_MAX = 5.0
LAGGED = "lagged"

Headers = Callable[[str], Awaitable[dict[str, str]]]


class StreamEvent(NamedTuple):
    """Something final: `id` is the cursor to resume behind, `kind` block, tx or event."""

    id: str
    kind: str
    data: Json


async def stream(
    connection: Connection, query: Mapping[str, str], after: str | None, headers: Headers
) -> AsyncIterator[StreamEvent]:
    """Endless; reconnects with growing pauses, to another node where one fails.

    Raises `Rejected` if a node refuses the request itself: asking again would not help.
    """
    cursor, pause = after, PAUSE_SECONDS_MIN
    while True:
        url = connection.order()[0]
        try:
            async for event in _read(connection, url, query, cursor, headers):
                pause = PAUSE_SECONDS_MIN
                cursor = event.id
                yield event
        except Rejected:
            raise
        except (ClientError, NodeFault, aiohttp.ClientError, OSError, ValueError):
            connection.distrust(url)
            await asyncio.sleep(pause)
            pause = min(2 * pause, PAUSE_SECONDS_MAX)


async def _read(
    connection: Connection,
    url: str,
    query: Mapping[str, str],
    cursor: str | None,
    headers: Headers,
) -> AsyncIterator[StreamEvent]:
    """The events of one connection, until it ends or the node says that we lag behind."""
    sent = {"Accept": "text/event-stream", **await headers(url)}
    if cursor is not None:
        sent["Last-Event-ID"] = cursor
    timeout = aiohttp.ClientTimeout(total=None, sock_read=SILENCE_SECONDS_MAX)
    async with connection.session.get(
        f"{url}/v1/events", params=query, headers=sent, timeout=timeout, allow_redirects=False
    ) as response:
        if response.status != 200:
            raise problem(response.status, await _body(response))
        fields: dict[str, str] = {}
        async for raw in response.content:
            if len(raw) > LINE_BYTES_MAX:
                raise ValueError("a line of the stream is too long")
            line = raw.decode().rstrip("\r\n")
            if line and not line.startswith(":"):
                name, _, value = line.partition(":")
                fields[name] = value.removeprefix(" ")
            elif not line and fields:
                if fields.get("event") == LAGGED:
                    return
                if "id" in fields and "data" in fields:
                    data = json.loads(fields["data"])
                    yield StreamEvent(fields["id"], fields.get("event", "message"), data)
                fields = {}


async def _body(response: aiohttp.ClientResponse) -> Json:
    try:
        body = json.loads(await response.content.read(LINE_BYTES_MAX))
    except ValueError:
        body = None
    return body if isinstance(body, dict) else {}
