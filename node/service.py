"""The live node as the HTTP API sees it: submission, waiting, subscriptions, and live facts.

It stands between `http` and the driver, so that neither knows the other. Whatever can be read
from final blocks is `query`'s part, not ours.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any

from contracts.kernel.registry import KERNEL, READY
from node.admission import admit
from node.clock import now_ms
from node.core import Core
from node.driver import Driver
from node.folder import NodeSettings
from node.http.service import FailedCheck
from node.intake import STRANGER, is_stranger
from node.mempool import SENDER_LIMIT
from node.net.transport import Transport
from node.outputs import SubmitResult
from node.protocol.block import Receipt
from node.protocol.encoding import Value
from node.protocol.errors import Refused, StoreFailure
from node.protocol.json_view import to_json
from node.protocol.ticket import sign_ticket
from node.protocol.transaction import sender_of
from node.query import Query
from node.read_log import ReadEntry, ReadLog
from node.verifier import Verifier
from node.views import epoch_view
from node.vitals import Vitals

SUBSCRIBERS_MAX = 256
SUBSCRIPTION_HEIGHTS_MAX = 1_024
DROPPED_MAX = 20_000


class LiveService:
    """Implements `node.http.service.NodeService`."""

    def __init__(
        self,
        settings: NodeSettings,
        query: Query,
        core: Core,
        driver: Driver,
        verifier: Verifier,
        transport: Transport,
        reads: ReadLog,
    ) -> None:
        self.query = query
        self._reads = reads
        self._name = settings.name
        self._key = settings.key
        self._public_key = settings.key.public_key
        self._engine = core.engine
        self._store = core.store
        self._executor = core.executor
        self._driver = driver
        self._verifier = verifier
        self._waiters: dict[bytes, list[asyncio.Future[None]]] = {}
        self._subscribers: list[asyncio.Queue[int]] = []
        self._vitals = Vitals(self._public_key, query, core.engine, driver, transport)
        self._dropped: dict[bytes, None] = {}
        driver.observe(self)
        driver.on_dropped = self._note_dropped

    @property
    def name(self) -> str:
        """The node's name."""
        return self._name

    @property
    def public_key(self) -> bytes:
        """The node's ledger key."""
        return self._public_key

    def now_ms(self) -> int:
        """The node's clock, ms since 1970."""
        return now_ms()

    # ---- submission and waiting

    def check_accepting(self) -> None:
        """Raise `Refused` `DISK_FULL` while nothing new can be stored."""
        shortage = self._driver.disk.shortage
        if shortage:
            raise Refused("DISK_FULL", f"this node's disk: {shortage}; ask another node")

    def on_store_failure(self, failure: StoreFailure) -> None:
        """Stop the node: what it has stored is damaged."""
        self._driver.fail(failure)

    async def submit(self, raws: Sequence[bytes]) -> Sequence[SubmitResult]:
        """One verdict each, in order. Who is unknown or sends too much costs no cryptography."""
        early = [self._refused_early(raw) for raw in raws]
        left = [raw for raw, refusal in zip(raws, early, strict=True) if refusal is None]
        verdicts = iter(await self._driver.submit(left) if left else ())
        return [refusal or next(verdicts) for refusal in early]

    def _refused_early(self, raw: bytes) -> SubmitResult | None:
        sender = sender_of(raw)
        if is_stranger(self._store, raw):
            self._driver.refused_content += 1
            return SubmitResult(None, *STRANGER)
        if sender is not None and self._engine.mempool.is_at_limit(sender):
            self._driver.refused_room += 1
            return SubmitResult(None, *SENDER_LIMIT)
        return None

    def pending_until(self, transaction_id: bytes) -> int | None:
        """`valid_until` of a transaction that waits here."""
        candidate = self._engine.mempool.find(transaction_id)
        return None if candidate is None else candidate.transaction.body.valid_until

    def was_dropped(self, transaction_id: bytes) -> bool:
        """Whether it waited here until its epoch ended."""
        return transaction_id in self._dropped

    async def wait_committed(self, transaction_id: bytes, timeout_s: float) -> bool:
        """Whether the transaction is final, waiting up to `timeout_s` for it or its end."""
        if self.query.is_final(transaction_id):
            return True
        if self.was_dropped(transaction_id):
            return False
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiters.setdefault(transaction_id, []).append(future)
        try:
            await asyncio.wait_for(future, timeout_s)
        except TimeoutError:
            return False
        finally:
            waiting = self._waiters.get(transaction_id)
            if waiting is not None and future in waiting:
                waiting.remove(future)
                if not waiting:
                    del self._waiters[transaction_id]
        return not self.was_dropped(transaction_id)

    async def simulate(self, raw: bytes) -> Receipt:
        """What would become of the transaction now."""
        if is_stranger(self._store, raw):
            raise Refused(*STRANGER)
        verdict = (await self._verifier.examine([raw]))[0]
        candidate = admit(self.query.chain, self.query.contracts, raw, verdict)
        if not candidate.poolable and not candidate.locked:
            raise Refused(candidate.rejection, "a sealed call does not open")
        head = self.query.head
        return self._executor.simulate(head.height + 1, max(now_ms(), head.time_ms + 1), candidate)

    def note_read(self, reader: bytes, what: str) -> None:
        """Note what a regulator is about to be told; raises `Refused` `READ_LOG_FAILED`."""
        self._reads.note(ReadEntry(now_ms(), self.query.head.height, reader, what))

    def subscribe(self) -> asyncio.Queue[int]:
        """A bounded queue of final heights."""
        if len(self._subscribers) >= SUBSCRIBERS_MAX:
            raise Refused("TOO_MANY_STREAMS", f"at most {SUBSCRIBERS_MAX} streams a node")
        queue: asyncio.Queue[int] = asyncio.Queue(SUBSCRIPTION_HEIGHTS_MAX)
        self._subscribers.append(queue)
        return queue

    def unsubscribe(self, queue: asyncio.Queue[int]) -> None:
        """End a subscription."""
        if queue in self._subscribers:
            self._subscribers.remove(queue)

    # ---- what the driver tells

    def on_committed(self, height: int, receipts: Sequence[Receipt]) -> None:
        """Wake whoever waits for one of these transactions, or for any block."""
        if self._waiters:
            for receipt in receipts:
                self._wake(receipt.transaction_id)
        for queue in self._subscribers:
            if queue.full():
                queue.get_nowait()
            queue.put_nowait(height)

    def on_alarm(self, code: str, message: str) -> None:
        """For the status and the metrics."""
        self._vitals.note_alarm(code)

    # ---- live facts

    @property
    def caught_up(self) -> bool:
        """Whether the node is known to lack nothing."""
        return self._vitals.standing.caught_up

    def status(self) -> Mapping[str, Any]:
        """Live facts for /v1/status."""
        role = "validator" if self._validates else "observer"
        ready = None if self._validates else self._ready()
        epoch = epoch_view(self._store)
        return {"role": role, "ready": ready, "epoch": epoch, **self._vitals.status()}

    def peers(self) -> Sequence[Mapping[str, Any]]:
        """One entry for each known peer."""
        return self._vitals.peers()

    def mempool(self) -> Mapping[str, Any]:
        """Size and bytes of the mempool."""
        return self._vitals.mempool()

    def evidence(self) -> Sequence[Mapping[str, Any]]:
        """Pairs of contradicting signed messages."""
        return [
            {"first": item.first.hex(), "second": item.second.hex()}
            for item in self._engine.evidence.items
        ]

    def confirmations(self, height: int) -> Mapping[str, Any]:
        """Who dissented at a final height; who confirmed is in its certificate."""
        dissents = self._engine.evidence.dissents(height)
        return {"dissented": [to_json(dissent) for dissent in dissents]}

    def health(self) -> Sequence[FailedCheck]:
        """Why the node is not ready."""
        return self._vitals.health()

    def measurements(self) -> Mapping[str, float]:
        """Current figures by metric name."""
        return self._vitals.measurements()

    # ---- inside

    def _note_dropped(self, transaction_ids: Sequence[bytes]) -> None:
        """Tell whoever waits for one of these, or asks for it later."""
        for transaction_id in transaction_ids:
            self._dropped[transaction_id] = None
            self._wake(transaction_id)
        while len(self._dropped) > DROPPED_MAX:
            del self._dropped[next(iter(self._dropped))]

    def _wake(self, transaction_id: bytes) -> None:
        for future in self._waiters.pop(transaction_id, ()):
            if not future.done():
                future.set_result(None)

    @property
    def _validates(self) -> bool:
        return self._public_key in self.query.validators.members

    def _ready(self) -> Mapping[str, str] | None:
        """What an observer shows to become a validator: that it has the state of its head."""
        if not self.caught_up:
            return None
        head = self.query.state_head
        terms: dict[str, Value] = {"height": head.height, "root": head.state_root}
        signature = sign_ticket(self.query.chain, self._key, KERNEL.name, READY, terms)
        return {
            "height": str(head.height),
            "root": head.state_root.hex(),
            "signature": signature.hex(),
        }
