"""The driver: the asyncio shell around the engine.

It turns sockets, timers and finished checks into inputs, feeds them one at a time, and performs the
outputs in order, waiting for the disk where an output says so. Disk writes run in a thread of their
own and signature checks in a process of their own, so that the loop serves everybody meanwhile. It
decides nothing about transactions, blocks or votes.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Coroutine, Sequence
from typing import Any, Final, Protocol, assert_never

import structlog

from node import outputs as io
from node.admission import Verdict
from node.clock import now_ms
from node.core import Core
from node.disk import Disk
from node.examination import ExaminationQueue, Unexamined
from node.net.gossip import TransactionGossip
from node.net.transport import Transport
from node.progress import ProgressLog
from node.protocol.block import Receipt
from node.protocol.encoding import sha256
from node.protocol.errors import Refused, StoreFailure
from node.protocol.messages import Message, Transactions
from node.verifier import EXAMINE_BATCH_MAX, Verifier

TICK_S = 1.0
INBOX_MAX = 10_000
PEER_INBOX_MAX = 64
SUBMIT_TIMEOUT_S = 30.0
ACCEPTED_CODES = frozenset({"PENDING", "KNOWN", "COMMITTED"})
ROOM_CODES = frozenset({"MEMPOOL_FULL", "SENDER_LIMIT"})

log = structlog.get_logger("node")


class Observer(Protocol):
    """Who is told of final blocks and alarms: roster, housekeeping, the service behind HTTP."""

    def on_committed(self, height: int, receipts: Sequence[Receipt]) -> None:
        """A block is final and stored."""

    def on_alarm(self, code: str, message: str) -> None:
        """The engine wants an operator to look."""


class Driver:
    """Runs one engine. `run` returns when `stop` is called, the engine halts, or the core is to be
    opened anew on a snapshot that it `adopts`."""

    _transport: Transport
    _gossip: TransactionGossip

    def __init__(
        self,
        core: Core,
        verifier: Verifier,
        free_bytes: Callable[[], int],
        on_stored: Callable[[int], None] = lambda height: None,
    ) -> None:
        """`free_bytes` says how much room is left where the node writes.

        `on_stored` is told of each block right after it is stored.
        """
        self._engine = core.engine
        self._store = core.store
        self._votes = core.votes
        self._staging = core.staging
        self._progress = ProgressLog(core.engine.sync)
        self._verifier = verifier
        self._on_stored = on_stored
        self._observers: list[Observer] = []
        self.on_dropped: Callable[[Sequence[bytes]], None] = lambda transaction_ids: None
        self._inbox: asyncio.Queue[io.Input | None] = asyncio.Queue(INBOX_MAX)
        self._rooms: dict[bytes, asyncio.Semaphore] = {}
        self.examination: Final = ExaminationQueue()
        self._examine_ready = asyncio.Event()
        self._examining: dict[bytes, bool] = {}
        self._requests: dict[int, asyncio.Future[tuple[io.SubmitResult, ...]]] = {}
        self._partial: dict[int, tuple[int, list[io.SubmitResult]]] = {}
        self._last_request = 0
        self._timers: dict[int, asyncio.TimerHandle] = {}
        self.disk: Final = Disk(free_bytes, self._on_disk_failure)
        self._failure: StoreFailure | None = None
        self._ended = asyncio.Event()
        self.halt: io.Halt | None = None
        self.adopts = False
        self.refused_content = 0
        self.refused_room = 0

    @property
    def inbox_size(self) -> int:
        """How many inputs wait for the engine."""
        return self._inbox.qsize()

    def attach(self, transport: Transport, gossip: TransactionGossip) -> None:
        """Send by these; the transport in turn has this driver as its handler."""
        self._transport = transport
        self._gossip = gossip

    def observe(self, observer: Observer) -> None:
        """Tell `observer` of final blocks and alarms from now on."""
        self._observers.append(observer)

    async def run(self, *companions: Coroutine[Any, Any, None]) -> None:
        """Feed the engine until stopped; re-raises what broke in any of the tasks.

        `companions` run beside it and end with it.
        """
        await self._perform_all(self._engine.start(now_ms()))
        feeding = asyncio.create_task(self._feed_loop())
        helpers = [
            asyncio.create_task(self._examine_loop()),
            asyncio.create_task(self._tick()),
            asyncio.create_task(self._transport.failure()),
            asyncio.create_task(self._ended.wait()),
            *map(asyncio.create_task, companions),
        ]
        done, _ = await asyncio.wait([feeding, *helpers], return_when=asyncio.FIRST_COMPLETED)
        for task in (feeding, *helpers):
            task.cancel()
        self.disk.close()
        if self._failure is not None:
            raise self._failure
        for task in done:
            failure = task.result()
            if isinstance(failure, BaseException):
                raise failure

    async def _feed_loop(self) -> None:
        while not self._ends:
            event = await self._inbox.get()
            if event is None:
                return
            await self._perform_all(self._engine.handle(event, now_ms()))
            if isinstance(event, io.PeerMessage):
                self._rooms[event.peer].release()

    def stop(self) -> None:
        """End `run` after the inputs that wait already, or now if those wait for the disk."""
        if self.disk.failing:
            self._ended.set()
        self._feed(None)

    def alarm(self, code: str, message: str) -> None:
        """Tell the operator that something needs a look."""
        log.warning("alarm", code=code, message=message)
        for observer in self._observers:
            observer.on_alarm(code, message)

    def fail(self, failure: StoreFailure) -> None:
        """End `run` by raising `failure`: somebody met damage while reading."""
        self._failure = failure
        self._ended.set()

    # ---- inputs

    def on_connected(self, peer: bytes) -> None:
        """The transport authenticated a peer."""
        self._feed(io.PeerConnected(peer))

    def on_disconnected(self, peer: bytes) -> None:
        """The transport lost a peer."""
        self._gossip.forget(peer)
        self._feed(io.PeerDisconnected(peer))

    async def on_message(self, peer: bytes, message: Message) -> None:
        """A decoded message; waiting here slows that one peer down, and nobody else.

        A proposal may cost dozens of signature checks: only a few messages of each peer wait.
        """
        if isinstance(message, Transactions):
            self._queue_examination(message.raws, peer, 0)
        else:
            await self._rooms.setdefault(peer, asyncio.Semaphore(PEER_INBOX_MAX)).acquire()
            await self._inbox.put(io.PeerMessage(peer, message))

    async def submit(self, raws: Sequence[bytes]) -> tuple[io.SubmitResult, ...]:
        """Check and pool what a client sent; one verdict each, in order.

        Raises `Refused` `OVERLOADED` or `DISK_FULL` where there is none in time.
        """
        if self.disk.failing:
            raise Refused("DISK_FULL", "nothing can be stored; ask another node")
        if not self.examination.clients.has_room(raws):
            full = io.SubmitResult(None, "MEMPOOL_FULL", "overloaded; send it again in a while")
            return (full,) * len(raws)
        self._last_request += 1
        request = self._last_request
        future: asyncio.Future[tuple[io.SubmitResult, ...]] = (
            asyncio.get_running_loop().create_future()
        )
        self._requests[request] = future
        self._partial[request] = (len(raws), [])
        try:
            self._queue_examination(raws, None, request)
            return await asyncio.wait_for(future, SUBMIT_TIMEOUT_S)
        except TimeoutError:
            raise Refused("OVERLOADED", "the node did not get to it; ask for its id") from None
        finally:
            self._requests.pop(request, None)
            self._partial.pop(request, None)

    def _feed(self, event: io.Input | None) -> None:
        """Queue without waiting: for timers and ticks, which are few."""
        try:
            self._inbox.put_nowait(event)
        except asyncio.QueueFull:
            asyncio.get_running_loop().call_later(0.01, self._feed, event)

    # ---- examination

    def _queue_examination(self, raws: Sequence[bytes], origin: bytes | None, request: int) -> None:
        lane, wanted = self.examination.clients, self._engine.wanted
        for raw in raws:
            if request == 0:
                # Gossip brings most transactions several times. The hash covers the signature
                # too, so a forged twin of a known body is not taken for the known one.
                content_hash = sha256(b"\x00" + raw)
                urgent = content_hash in wanted
                known = self._examining.get(content_hash)
                if content_hash in self._engine.mempool or known or known is urgent:
                    continue
                lane = self.examination.wanted if urgent else self.examination.peers.of(origin)
                if not lane.has_room((raw,)):
                    continue
                self._examining[content_hash] = urgent
            lane.add(Unexamined(raw, origin, request))
        self._examine_ready.set()

    async def _examine_loop(self) -> None:
        while True:
            await self._examine_ready.wait()
            self._examine_ready.clear()
            while batch := self.examination.take(EXAMINE_BATCH_MAX):
                verdicts = await self._verifier.examine([raw for raw, _, _ in batch])
                groups: dict[tuple[bytes | None, int], list[tuple[bytes, Verdict]]] = {}
                for (raw, origin, request), verdict in zip(batch, verdicts, strict=True):
                    groups.setdefault((origin, request), []).append((raw, verdict))
                    if request == 0:
                        self._examining.pop(sha256(b"\x00" + raw), None)
                for (origin, request), items in groups.items():
                    await self._inbox.put(io.Examined(tuple(items), origin, request))

    async def _tick(self) -> None:
        while True:
            await asyncio.sleep(TICK_S)
            await self._inbox.put(io.Tick())
            self._progress.note(self._engine.sync.elapsed_ms)

    # ---- outputs

    async def _perform_all(self, outputs: Sequence[io.Output]) -> None:
        pending = deque(outputs)
        while pending and not self._ends:
            output = pending.popleft()
            written = await self._perform(output)
            if written is not None:
                pending.extend(self._engine.handle(written, now_ms()))

    async def _perform(self, output: io.Output) -> io.BlockWritten | None:
        match output:
            case io.WriteVote(height, record):
                await self._write_vote(lambda: self._votes.append(record, height))
            case io.WriteBlock(height, batch):
                await self.disk.write(lambda: self._store.write(batch), self._store.reopen)
                self._store.adopt(batch)
                self._on_stored(height)
                return io.BlockWritten(height)
            case io.TrimVotes(below_height):
                await self._write_vote(lambda: self._votes.trim(below_height))
            case io.StageSnapshot():
                await self._stage(output)
            case io.AdoptSnapshot(height):
                log.info("snapshot_fetched", height=height)
                self.adopts = True
                self._feed(None)
            case io.SendTo(peer, message):
                self._transport.send(peer, message)
            case io.SendToAll(message):
                self._transport.broadcast(message)
            case io.Gossip(transactions):
                self._gossip.offer(transactions)
            case io.Verify(raws, origin):
                self._queue_examination(raws, origin, 0)
            case io.SetTimer(token, delay_ms):
                self._set_timer(token, delay_ms)
            case io.CancelTimer(token):
                self._cancel_timer(token)
            case io.PunishPeer(peer, fault):
                self._transport.disconnect(peer, fault)
            case io.Submitted(request, results):
                self._answer(request, results)
            case io.Committed(height, receipts):
                for observer in self._observers:
                    observer.on_committed(height, receipts)
            case io.Dropped(transaction_ids):
                self.on_dropped(transaction_ids)
            case io.Alarm(code, message):
                self.alarm(code, message)
            case io.Halt():
                log.error("halt", code=output.code, message=output.message)
                self.halt = output
                self._feed(None)
            case _:
                assert_never(output)
        return None

    @property
    def _ends(self) -> bool:
        return self.halt is not None or self.adopts

    async def _stage(self, output: io.StageSnapshot) -> None:
        staging, puts = self._staging, output.puts
        if staging is None:
            raise AssertionError("a snapshot came to a node that takes none")
        if output.is_first:
            await self.disk.write(lambda: staging.begin(puts), staging.reopen)
        else:
            await self.disk.write(lambda: staging.write(puts, output.is_last), staging.reopen)

    async def _write_vote(self, write: Callable[[], None]) -> None:
        await self.disk.write(write, self._votes.reopen)

    def _on_disk_failure(self) -> None:
        """Nothing moves until there is room: whoever waits for an answer is told so."""
        for observer in self._observers:
            observer.on_alarm("DISK_FAILED", self.disk.shortage)
        for future in self._requests.values():
            if not future.done():
                future.set_exception(
                    Refused("DISK_FULL", "the node may still take this when there is room")
                )

    def _answer(self, request: int, results: tuple[io.SubmitResult, ...]) -> None:
        """Collect a request's verdicts, which may come in several batches."""
        for result in results:
            if result.code not in ACCEPTED_CODES:
                full = result.code in ROOM_CODES
                self.refused_room += full
                self.refused_content += not full
        partial = self._partial.get(request)
        if partial is None:
            return
        expected, collected = partial
        collected.extend(results)
        future = self._requests[request]
        if len(collected) == expected and not future.done():
            future.set_result(tuple(collected))

    def _set_timer(self, token: int, delay_ms: int) -> None:
        self._cancel_timer(token)
        loop = asyncio.get_running_loop()
        self._timers[token] = loop.call_later(delay_ms / 1000, self._on_timer, token)

    def _on_timer(self, token: int) -> None:
        self._timers.pop(token, None)
        self._feed(io.TimerElapsed(token))

    def _cancel_timer(self, token: int) -> None:
        handle = self._timers.pop(token, None)
        if handle is not None:
            handle.cancel()
