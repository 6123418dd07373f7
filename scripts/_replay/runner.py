"""Carries the rows of a plan to their books: sign, send, watch what becomes final, try again.

Four kinds of tasks share one table of what is under way: one takes rows and has them signed, one
per node posts batches (a card always through the same node, so that its rows stay in order), one
listens to final transactions, one looks for what has been silent too long. Whatever is in doubt is
sent again, the same bytes to another node; the contract books each number of a card once.
"""

from __future__ import annotations

import asyncio
import time
from collections import Counter, deque
from collections.abc import Callable, Sequence

import msgspec

from _load.batches import BATCH_MAX, BatchItem, send_batch
from _load.signing import Signed, SigningProcess, Visit
from _replay.plan import Plan, Row
from client.errors import NoQuorum, Overloaded, Rejected, Unreachable
from client.node_api import NodeApi

IN_FLIGHT_MAX = 6_000
SIGN_MAX = 500
# Silence after which a row is sent again: this, or some times what rows take just now.
SILENT_SECONDS = 8.0
SILENT_TIMES_USUAL = 4.0
SMOOTHING = 0.01
BUSY_SECONDS = 1.0
SWEEP_SECONDS = 0.5
REST_SECONDS = 3.0
STREAM_PAUSE_SECONDS = 0.5
STALL_SECONDS_MAX = 180.0
FAULTS_MAX = 20
# After `valid_until` a block may still be on its way; sent again too early, it would be booked
# once all the same, but told twice.
EXPIRY_GRACE_MS = 5_000

TAKEN = frozenset({"PENDING", "KNOWN"})
# A node that is behind does not know the holder yet; another one does, or this one will soon.
BEHIND = "UNAUTHORIZED"
BEHIND_ATTEMPTS_MAX = 30
BUSY = frozenset({"MEMPOOL_FULL", "SENDER_LIMIT", "OVERLOADED", "STOPPING", "NOT_READY"})


class Sent(msgspec.Struct):
    """A row under way since `since`; `due`: when to try again, monotonic seconds."""

    row: Row
    signed: Signed
    since: float
    due: float
    attempts: int = 0


class Lane:
    """One node: the ids that wait to be posted to it, and until when it is left alone."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.waiting: deque[bytes] = deque()
        self.ready = asyncio.Event()
        self.rests_until = 0.0

    def put(self, transaction_id: bytes) -> None:
        """Post this one in its turn."""
        self.waiting.append(transaction_id)
        self.ready.set()


class Runner:
    """One run over a plan. `acknowledged` has the highest number seen final of each card."""

    def __init__(
        self, network: NodeApi, signing: SigningProcess, plan: Plan, progress: Callable[[], None]
    ) -> None:
        self.acknowledged: dict[str, int] = {}
        self.retries: Counter[str] = Counter()
        self._network = network
        self._signing = signing
        self._plan = plan
        self._progress = progress
        self._lanes = [Lane(url) for url in network.connection.urls]
        self._under_way: dict[bytes, Sent] = {}
        self._room = asyncio.Event()
        self._finished = asyncio.Event()
        self._last_news = time.monotonic()
        self._usual_seconds = 1.0

    async def run(self) -> None:
        """Return when every row is settled; raises `NoQuorum` after long silence, `Rejected`."""
        if self._plan.done:
            return
        cursor = f"{(await self._network.status())['height']}.0"
        async with asyncio.TaskGroup() as tasks:
            running = [
                tasks.create_task(self._listen(cursor)),
                tasks.create_task(self._sign()),
                tasks.create_task(self._sweep()),
                *(tasks.create_task(self._post(lane)) for lane in self._lanes),
            ]
            await self._finished.wait()
            for task in running:
                task.cancel()

    # ---- out

    async def _sign(self) -> None:
        while True:
            room = IN_FLIGHT_MAX - len(self._under_way)
            rows = self._plan.take(min(room, SIGN_MAX)) if room > 0 else []
            if not rows:
                self._room.clear()
                await self._room.wait()
                continue
            visits = [Visit(one.purchase.customer, one.purchase.cents, one.seq) for one in rows]
            batch = await self._signing.visits(visits)
            now = time.monotonic()
            for row, signed in zip(rows, batch, strict=True):
                self._under_way[signed.id] = Sent(row, signed, now, now + self._patience)
                self._lane_for(row, 0).put(signed.id)

    def _lane_for(self, row: Row, attempts: int) -> Lane:
        """A card's own lane, another one with each attempt; one that rests has a stand-in."""
        now = time.monotonic()
        lane = self._lanes[(row.card + attempts) % len(self._lanes)]
        awake = [one for one in self._lanes if one.rests_until <= now]
        return lane if lane.rests_until <= now or not awake else awake[row.card % len(awake)]

    async def _post(self, lane: Lane) -> None:
        while True:
            await lane.ready.wait()
            count = min(BATCH_MAX, len(lane.waiting))
            ids = [lane.waiting.popleft() for _ in range(count)]
            if not lane.waiting:
                lane.ready.clear()
            batch = [sent for one in ids if (sent := self._under_way.get(one)) is not None]
            if batch:
                await self._post_batch(lane, batch)

    async def _post_batch(self, lane: Lane, batch: Sequence[Sent]) -> None:
        raws = [sent.signed.raw for sent in batch]
        try:
            items = await send_batch(self._network.connection, lane.url, raws)
        except (Overloaded, NoQuorum) as error:
            self._try_later(batch, error.code)
            await asyncio.sleep(BUSY_SECONDS)
        except Unreachable:
            # The node may have taken some of them: the others in its lane move on as well.
            lane.rests_until = time.monotonic() + REST_SECONDS
            left = [sent for one in lane.waiting if (sent := self._under_way.get(one)) is not None]
            lane.waiting.clear()
            lane.ready.clear()
            self.retries["NODE_DOWN"] += len(batch)
            for sent in (*batch, *left):
                sent.due = 0.0
        else:
            for sent, item in zip(batch, items, strict=True):
                self._judge(sent, item)

    def _judge(self, sent: Sent, item: BatchItem) -> None:
        if sent.signed.id not in self._under_way:
            return  # it became final while the node answered
        if item.final is not None:
            self._settle(sent.signed.id, item.final)
        elif item.code in TAKEN:
            sent.due = time.monotonic() + self._patience
        elif item.code in BUSY or (item.code == BEHIND and sent.attempts < BEHIND_ATTEMPTS_MAX):
            self._try_later((sent,), item.code)
        elif item.code == "TX_EXPIRED":
            self._sign_again(sent)
        elif item.code != "COMMITTED":
            raise Rejected(item.code, f"a node refuses a purchase: {item.message}")

    def _try_later(self, batch: Sequence[Sent], code: str) -> None:
        self.retries[code] += len(batch)
        for sent in batch:
            sent.due = time.monotonic() + BUSY_SECONDS

    # ---- in

    async def _listen(self, cursor: str) -> None:
        while True:
            try:
                async for event in self._network.events(kinds=("tx",), after=cursor):
                    cursor = event.id
                    self._settle(bytes.fromhex(event.data["id"]), str(event.data["code"]))
            except Rejected:
                # After fail-over: this node is a block behind the one that we listened to.
                await asyncio.sleep(STREAM_PAUSE_SECONDS)

    def _settle(self, transaction_id: bytes, code: str) -> None:
        sent = self._under_way.pop(transaction_id, None)
        if sent is None:
            return
        self._last_news = time.monotonic()
        took = self._last_news - sent.since
        self._usual_seconds += SMOOTHING * (took - self._usual_seconds)
        row = sent.row
        self._plan.settle(row, code)
        if code == "OK":
            seen = self.acknowledged.get(row.purchase.customer, 0)
            self.acknowledged[row.purchase.customer] = max(seen, row.seq)
        elif code == "SEQ_GAP":
            self.retries[code] += 1
        if len(self._plan.faults) >= FAULTS_MAX:
            raise Rejected(code, f"the contract refuses purchase after purchase: {code}")
        self._after_landing()

    # ---- again

    @property
    def _patience(self) -> float:
        """Seconds of silence that are not yet suspicious; on a busy machine everything is slow."""
        return max(SILENT_SECONDS, SILENT_TIMES_USUAL * self._usual_seconds)

    async def _sweep(self) -> None:
        while True:
            await asyncio.sleep(SWEEP_SECONDS)
            now, now_ms = time.monotonic(), time.time_ns() // 1_000_000
            if now - self._last_news > STALL_SECONDS_MAX:
                raise NoQuorum(
                    "NO_QUORUM",
                    f"nothing became final for {STALL_SECONDS_MAX:.0f} s; see `groat doctor`, "
                    "then start the replay again: it goes on where it stopped",
                )
            due = [sent for sent in self._under_way.values() if sent.due <= now]
            for sent in sorted(due, key=_in_order):
                if now_ms > sent.signed.valid_until + EXPIRY_GRACE_MS:
                    self._sign_again(sent)
                    continue
                sent.attempts += 1
                sent.due = now + self._patience
                self.retries["SENT_AGAIN"] += 1
                self._lane_for(sent.row, sent.attempts).put(sent.signed.id)

    def _sign_again(self, sent: Sent) -> None:
        """It will never be final: give the row back, to be signed with a new lifetime."""
        del self._under_way[sent.signed.id]
        self.retries["TX_EXPIRED"] += 1
        self._plan.give_back(sent.row)
        self._after_landing()

    def _after_landing(self) -> None:
        self._room.set()
        self._progress()
        if self._plan.done:
            self._finished.set()


def _in_order(sent: Sent) -> int:
    return sent.row.place
