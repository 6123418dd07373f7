"""Server-sent events: what became final, as it happens or from any earlier point on.

An id is `height.index`; a client that reconnects with `Last-Event-ID` misses nothing, since events
are read from stored blocks. Comments every 15 s keep connections alive. A live client that falls
too far behind is told `lagged` and cut off; it may come back and replay. Every event passes
the role predicate with the roles of its moment.
"""

from __future__ import annotations

import asyncio
import re
from dataclasses import dataclass
from typing import Any

import msgspec
from aiohttp import web

from contracts.kernel.access import Viewer
from node.http.requests import choices, word
from node.http.routing import Ask, Route
from node.protocol.errors import Refused

HEARTBEAT_S = 15.0
LAG_BLOCKS_MAX = 256
WRITE_TIMEOUT_S = 30.0
NOTED_BLOCKS = 100
STREAM_TYPE = "text/event-stream"
_CURSOR = re.compile(r"([0-9]{1,18})\.([0-9]{1,9})")


@dataclass(slots=True)
class _Stream:
    """One client: its position, what it wants, and whether it has reached the head once."""

    ask: Ask
    response: web.StreamResponse
    height: int
    index: int
    live: bool = False
    noted_until: int = -1

    async def run(self) -> None:
        """Send what is new until the client leaves, lags, loses its session or we stop."""
        feed = self.ask.shared.feed
        while not feed.closing:
            head = self.ask.service.query.head.height
            if self.live and head - self.height > LAG_BLOCKS_MAX:
                await self.send("lagged", {"height": str(head)})
                return
            if self.height < head:
                await self._send_block(self.height + 1)
                continue
            self.live = True
            if not await feed.wait_beyond(self.height, HEARTBEAT_S):
                await self.write(b": still here\n\n")

    async def _send_block(self, height: int) -> None:
        """Every wanted happening of one block with an index not yet sent, then move on."""
        params = self.ask.params
        chunks = []
        async with self.ask.shared.turn:
            for index, kind, data in self._told(height):
                if index < self.index:
                    continue
                if kind == "event" and (
                    params["contract"] not in (None, data["contract"])
                    or params["name"] not in (None, data["name"])
                ):
                    continue
                chunks.append(_frame(kind, data, f"{height}.{index}"))
        self.height, self.index = height, 0
        if chunks:
            await self.write(b"".join(chunks))
        await asyncio.sleep(0)  # a long replay must not hold the loop

    def _told(self, height: int) -> list[tuple[int, str, Any]]:
        """What happened in a block, as the client may see it; for a regulator it is noted.

        A note covers some blocks beforehand: a stream must not fill the log.
        """
        query, kinds = self.ask.service.query, self.ask.params["type"]

        def answer(viewer: Viewer) -> list[tuple[int, str, Any]]:
            return list(query.feed(height, kinds, viewer))

        viewer = self.ask.viewer()
        if height <= self.noted_until:
            return answer(viewer)
        told, regulator = self.ask.weigh(answer, viewer)
        if regulator is not None:
            last = height + NOTED_BLOCKS - 1
            self.ask.service.note_read(regulator, f"events of blocks {height} to {last}")
            self.noted_until = last
        return told

    async def send(self, kind: str, data: object) -> None:
        """A message about the stream itself; it has no id, so that resuming ignores it."""
        await self.write(_frame(kind, data, None))

    async def write(self, data: bytes) -> None:
        """Write and wait until the socket takes it; raises `TimeoutError` if it does not."""
        async with asyncio.timeout(WRITE_TIMEOUT_S):
            await self.response.write(data)


async def _stream_events(ask: Ask) -> web.StreamResponse:
    position = _position(ask)
    with ask.shared.feed.listening(ask.viewer()):
        response = web.StreamResponse(
            headers={
                "Content-Type": STREAM_TYPE,
                "Cache-Control": "no-store",
                "X-Accel-Buffering": "no",
            }
        )
        await response.prepare(ask.request)
        stream = _Stream(ask, response, *position)
        await stream.write(b"retry: 1000\n\n")
        await _run(stream)
        response.force_close()
        return response


async def _run(stream: _Stream) -> None:
    """Run to the end; a refusal after the headers can only be told inside the stream."""
    try:
        await stream.run()
    except Refused as refusal:
        await stream.send("refused", {"code": refusal.code, "message": refusal.message})
    except (TimeoutError, ConnectionError):
        pass  # the client does not read, or is gone


def _position(ask: Ask) -> tuple[int, int]:
    """(last height sent whole, index in the next one to begin with)."""
    last = ask.request.headers.get("Last-Event-ID") or ask.params["after"]
    if last is None:
        return ask.service.query.head.height, 0
    match = _CURSOR.fullmatch(last)
    if match is None:
        raise Refused("BAD_PARAMETER", "Last-Event-ID is height.index, such as 812.3")
    height, index = int(match[1]), int(match[2])
    if height > ask.service.query.head.height:
        raise Refused("BAD_PARAMETER", "Last-Event-ID is beyond the last final block")
    if height < (oldest := ask.service.query.oldest_height) and oldest > 1:
        raise Refused(
            "PRUNED", f"the first block here is {oldest}; another node may have kept more"
        )
    return max(height - 1, 0), index + 1 if height else 0


def _frame(kind: str, data: object, identity: str | None) -> bytes:
    head = f"event: {kind}\n" if identity is None else f"id: {identity}\nevent: {kind}\n"
    return head.encode() + b"data: " + msgspec.json.encode(data) + b"\n\n"


ROUTES = (
    Route(
        "GET",
        "/v1/events",
        _stream_events,
        "streamEvents",
        "A stream of final blocks, transactions and contract events",
        (
            choices("type", "which kinds, comma-separated", ("block", "tx", "event")),
            word("contract", "only events of this contract"),
            word("name", "only events of this name"),
            word("after", "as Last-Event-ID, for clients that cannot set headers"),
        ),
        answer_type=STREAM_TYPE,
        in_turn=False,
    ),
)
