"""The clients: they send the story's transactions to nodes, wait, repeat themselves, and remember.

A transaction is acknowledged when an honest node that the client spoke to reports it as final. A
client without an answer sends the same bytes again, to any node, unless it is a careless one; once
the faults are over it does so only if no honest node that promised to settle its transaction has
kept running. Some clients send everything to everybody, over and over.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from random import Random

from node import outputs as io
from node.protocol.block import Receipt
from tests.sim.node import SimNode
from tests.sim.scheduler import Scheduler
from tests.sim.story import Made, Story

LATENCY_MS_MAX = 10
RETRY_MS = (600, 4_000)
INSISTENT = 0.15
INSIST_MS = (1_000, 4_000)
INSISTED_MAX = 60
BURST_MAX = 4
FOUNDATION_MS = 400
CARELESS = 0.3
UNHEEDED_REQUEST = 1 << 40
EXPIRED_FOR_SURE_MS = 3_000
PROMISES = ("PENDING", "KNOWN")
TRANSIENT = ("MEMPOOL_FULL", "SENDER_LIMIT")


@dataclass
class Order:
    """One transaction on its way: whom its client spoke to, and who promised what.

    A careless client sends once: if the nodes lose the bytes, nobody has them any more.
    """

    made: Made
    careless: bool
    contacted: set[int] = field(default_factory=set)
    promised: dict[int, int] = field(default_factory=dict)
    refused: str = ""


class Workload:
    """All clients of a run."""

    def __init__(
        self,
        story: Story,
        nodes: Sequence[SimNode],
        scheduler: Scheduler,
        chance: Random,
        counts: Counter[str],
    ) -> None:
        self.story = story
        self._nodes = nodes
        self._scheduler = scheduler
        self._chance = chance
        self._counts = counts
        self._requests: dict[int, bytes] = {}
        self._patient = False
        self._until_ms = 0
        self.waiting: dict[bytes, Order] = {}
        self.acknowledged: dict[bytes, Order] = {}
        self.hopeless: set[bytes] = set()
        self.made: dict[bytes, Made] = {}

    def start(self, until_ms: int, pause_ms_max: int) -> None:
        """Send bursts of transactions until `until_ms`."""
        self._until_ms = until_ms
        self._lay_foundation()
        self._burst(pause_ms_max)
        if self._chance.random() < INSISTENT:
            self._insist()

    def be_patient(self) -> None:
        """From now on leave transactions to the nodes that promised to settle them."""
        self._patient = True

    def probe(self) -> bytes:
        """One more good transaction, sent to one node that is up; its id."""
        made = self.story.probe(self._scheduler.now_ms)
        order = self._take(made, careless=False)
        honest = [n for n in self._nodes if n.up and n.honest and n.machine.admitted]
        self._submit(order, made, self._chance.choice(honest))
        return made.transaction.id

    def send(self, made: Made, *, careless: bool) -> None:
        """Send one transaction, now and then to several nodes at once."""
        order = self._take(made, careless=careless)
        if made.forgery:
            for node in self._nodes:
                node.examine((made.forgery,), None, UNHEEDED_REQUEST)
        copies = self._chance.choice((1, 1, 1, 1, 2, 3))
        for node in self._chance.sample(self._nodes, min(copies, len(self._nodes))):
            self._submit(order, made, node)
        self._retry_later(order)

    @property
    def settled(self) -> bool:
        """Whether nobody waits for anything that can still come."""
        now_ms = self._scheduler.now_ms
        return all(self._is_over(order, now_ms) for order in self.waiting.values())

    def is_given_up(self, identity: bytes) -> bool:
        """Whether the client of a transaction expects nothing of it any more."""
        order = self.waiting.get(identity)
        return order is not None and self._is_over(order, self._scheduler.now_ms)

    # ---- what nodes say

    def on_submitted(self, node: SimNode, submitted: io.Submitted) -> None:
        """A node answers a submission."""
        if submitted.request == UNHEEDED_REQUEST:
            return
        identity = self._requests.pop(submitted.request)
        order = self.waiting.get(identity)
        if order is None or not node.honest:
            return
        code = submitted.results[0].code
        self._counts[f"answers {code}"] += 1
        if code in PROMISES:
            order.promised[node.number] = node.incarnation
        elif code == "COMMITTED":
            store = node.running.store
            height, index = store.find(identity) or (0, 0)
            self._acknowledge(store.receipts(height)[index])
        elif code not in TRANSIENT:
            order.refused = code

    def on_committed(self, node: SimNode, receipts: Sequence[Receipt]) -> None:
        """A node reports a block as final to the clients that wait at it."""
        for receipt in receipts:
            order = self.waiting.get(receipt.transaction_id)
            if order is not None and node.honest and node.number in order.contacted:
                self._acknowledge(receipt)

    def _acknowledge(self, receipt: Receipt) -> None:
        self._counts["transactions acknowledged"] += 1
        order = self.waiting.pop(receipt.transaction_id)
        self.story.learn(order.made, receipt)
        self.acknowledged[receipt.transaction_id] = order

    # ---- sending

    def _lay_foundation(self) -> None:
        now_ms = self._scheduler.now_ms
        foundation = self.story.foundation(now_ms)
        for made in foundation:
            self._send(made)
        if foundation and now_ms < self._until_ms:
            self._scheduler.after(FOUNDATION_MS, self._lay_foundation)

    def _burst(self, pause_ms_max: int) -> None:
        now_ms = self._scheduler.now_ms
        if now_ms >= self._until_ms:
            return
        for _ in range(self._chance.randint(1, BURST_MAX)):
            for made in self.story.next(now_ms):
                self._send(made)
        self._scheduler.after(
            self._chance.randint(50, pause_ms_max), lambda: self._burst(pause_ms_max)
        )

    def _insist(self) -> None:
        """Somebody sends everything that was ever sent to everybody, again and again."""
        if self._scheduler.now_ms >= self._until_ms:
            return
        everything = list(self.made.values())[-INSISTED_MAX:]
        raws = tuple(made.transaction.raw for made in everything)
        self._counts["resent to everybody"] += len(raws) * len(self._nodes)
        for node in self._nodes:
            if raws:
                node.examine(raws, None, UNHEEDED_REQUEST)
        self._scheduler.after(self._chance.randint(*INSIST_MS), self._insist)

    def _send(self, made: Made) -> None:
        self.send(made, careless=self._chance.random() < CARELESS)

    def _take(self, made: Made, *, careless: bool) -> Order:
        identity = made.transaction.id
        self._counts["transactions sent"] += 1
        if made.hopeless:
            self.hopeless.add(identity)
        self.made.setdefault(identity, made)
        return self.waiting.setdefault(identity, Order(made, careless))

    def _submit(self, order: Order, made: Made, node: SimNode) -> None:
        order.contacted.add(node.number)
        request = len(self.made) * 1_000 + len(self._requests) + 1
        while request in self._requests:
            request += 1
        self._requests[request] = made.transaction.id
        delay_ms = self._chance.randint(1, LATENCY_MS_MAX)
        raws = (made.transaction.raw,)
        self._scheduler.after(delay_ms, lambda: node.examine(raws, None, request))

    def _retry_later(self, order: Order) -> None:
        self._scheduler.after(self._chance.randint(*RETRY_MS), lambda: self._retry(order))

    def _retry(self, order: Order) -> None:
        if order.made.transaction.id not in self.waiting or order.refused:
            return
        if not (order.careless or (self._patient and self._is_promised(order))):
            running = [node for node in self._nodes if node.up and node.machine.admitted]
            if running:
                self._counts["transactions sent again"] += 1
                self._submit(order, order.made, self._chance.choice(running))
        self._retry_later(order)

    def _is_promised(self, order: Order) -> bool:
        return any(
            node.up
            and node.machine.admitted
            and order.promised.get(node.number) == node.incarnation
            for node in self._nodes
        )

    def _is_over(self, order: Order, now_ms: int) -> bool:
        """Whether nobody can expect it: refused, lost with a crash, or too old for any block."""
        if (order.refused or order.careless) and not self._is_promised(order):
            return True
        return order.made.transaction.body.valid_until + EXPIRED_FOR_SURE_MS < now_ms
