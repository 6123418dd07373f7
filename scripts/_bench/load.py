"""The load: purchases signed beforehand, sent on a schedule or as fast as they may be.

A card's purchases always travel the same lane (one connection to one node, one batch at a time), so
that they arrive in order. What is measured is what the blocks and the event stream say, not what
the sender hopes. Sending is open loop: nothing waits for an answer before the next is due, but for
the bound on what is under way in a saturation run.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Sequence

from _bench.figures import SettledBlock
from _bench.stage import Stage
from _load.batches import BATCH_MAX, send_batch
from _load.signing import Signed
from client.connection import Connection
from client.errors import Overloaded, Rejected
from client.node_api import NodeApi
from node.protocol.json_view import time_from_json

LANES_PER_NODE = 2
IN_FLIGHT_MAX = 8_000
SIGN_BATCH = 1_000
BUSY_SECONDS = 0.1
TICK_SECONDS = 0.005
# At half load whatever is due within this time goes out as one request; it counts as latency.
GATHER_SECONDS = 0.02
ROOM_SECONDS = 0.002
TAKEN = frozenset({"PENDING", "KNOWN", "COMMITTED", "RECEIVED"})


class Load:
    """Signed purchases in the order of sending, each with the lane that it takes."""

    def __init__(self, lanes: int) -> None:
        self.items: list[tuple[int, Signed]] = []
        self.lanes = lanes

    @classmethod
    async def sign(cls, stage: Stage, count: int, lanes: int) -> Load:
        """The next `count` purchases of the stage's cards."""
        load = cls(lanes)
        planned = stage.visits(count)
        for start in range(0, count, SIGN_BATCH):
            part = planned[start : start + SIGN_BATCH]
            signed = await stage.signing.visits([visit for _, visit in part])
            load.items += [
                (place % lanes, one) for (place, _), one in zip(part, signed, strict=True)
            ]
        return load


class Observer:
    """Reads final blocks from one node's event stream; with `ids`, each transaction's too."""

    def __init__(self, network: NodeApi, with_ids: bool) -> None:
        self.blocks: list[SettledBlock] = []
        self.settled = 0
        self.seen_at: dict[bytes, float] = {}
        self._network = network
        self._kinds = ("block", "tx") if with_ids else ("block",)

    async def start(self) -> asyncio.Task[None]:
        """Listen from the present height on."""
        height = int((await self._network.status())["height"])
        return asyncio.create_task(self._listen(f"{height}.0"))

    async def wait_settled(self, count: int, deadline: float) -> bool:
        """Whether `count` transactions are final before the deadline (monotonic)."""
        while self.settled < count:
            if time.monotonic() > deadline:
                return False
            await asyncio.sleep(TICK_SECONDS)
        return True

    async def _listen(self, cursor: str) -> None:
        async for event in self._network.events(kinds=self._kinds, after=cursor):
            if event.kind == "tx":
                self.seen_at[bytes.fromhex(event.data["id"])] = time.monotonic()
                continue
            data = event.data
            count = int(data["transactions"])
            height, time_ms = int(data["height"]), time_from_json(data["time"])
            self.blocks.append(SettledBlock(height, time_ms, count))
            self.settled += count


class Sender:
    """The lanes of one run, to the nodes at `urls`."""

    def __init__(self, connection: Connection, urls: Sequence[str]) -> None:
        self.sent = 0
        self._connection = connection
        self._urls = urls

    @property
    def lanes(self) -> int:
        """How many there are."""
        return len(self._urls) * LANES_PER_NODE

    async def saturate(self, load: Load, observer: Observer) -> None:
        """Send all as fast as they are taken, with at most `IN_FLIGHT_MAX` under way."""

        async def lane(place: int, queue: deque[bytes]) -> None:
            while queue:
                # Cheaper than an event for each block and lane.
                while self.sent - observer.settled > IN_FLIGHT_MAX - BATCH_MAX:  # noqa: ASYNC110
                    await asyncio.sleep(ROOM_SECONDS)
                count = min(BATCH_MAX, len(queue))
                self.sent += count
                await self._post(place, [queue.popleft() for _ in range(count)], "check")

        queues: list[deque[bytes]] = [deque() for _ in range(load.lanes)]
        for place, signed in load.items:
            queues[place].append(signed.raw)
        async with asyncio.TaskGroup() as tasks:
            for place, queue in enumerate(queues):
                tasks.create_task(lane(place, queue))

    async def pace(self, load: Load, per_second: float) -> dict[bytes, float]:
        """Send each when it is due; returns when that was, by id (monotonic seconds)."""
        started = time.monotonic()
        due_at = {
            signed.id: started + number / per_second
            for number, (_, signed) in enumerate(load.items)
        }
        queues: list[deque[bytes]] = [deque() for _ in range(load.lanes)]
        ended = False

        async def lane(place: int, queue: deque[bytes]) -> None:
            while queue or not ended:
                if not queue:
                    await asyncio.sleep(TICK_SECONDS)
                    continue
                count = min(BATCH_MAX, len(queue))
                # No verdict is waited for: it would hold up what is due next in this lane.
                await self._post(place, [queue.popleft() for _ in range(count)], "none")
                self.sent += count

        async with asyncio.TaskGroup() as tasks:
            for place, queue in enumerate(queues):
                tasks.create_task(lane(place, queue))
            waiting = deque(load.items)
            while waiting:
                now = time.monotonic()
                while waiting and due_at[waiting[0][1].id] <= now:
                    place, signed = waiting.popleft()
                    queues[place].append(signed.raw)
                await asyncio.sleep(GATHER_SECONDS)
            ended = True
        return due_at

    async def _post(self, lane: int, raws: Sequence[bytes], wait: str) -> None:
        """Send a batch, again and again while the node is too busy for (a part of) it."""
        url = self._urls[lane % len(self._urls)]
        left = list(raws)
        while left:
            try:
                items = await send_batch(self._connection, url, left, wait)
            except Overloaded:
                await asyncio.sleep(BUSY_SECONDS)
                continue
            busy = []
            for raw, item in zip(left, items, strict=True):
                if item.code in ("MEMPOOL_FULL", "SENDER_LIMIT"):
                    busy.append(raw)
                elif item.code not in TAKEN:
                    raise Rejected(item.code, f"a node refuses a purchase: {item.message}")
            left = busy
            if left:
                await asyncio.sleep(BUSY_SECONDS)
