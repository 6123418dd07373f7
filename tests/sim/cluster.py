"""A simulated cluster that a test leads by hand: founders, spare nodes, and two administrators.

The same nodes, network, disks and checkers as in a seeded run, but what clients want is decided by
the test. Besides what `Checkers` knows: only those vote on a height whom the chain names for it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from random import Random
from typing import Any

from contracts.kernel.registry import validators_at
from node import outputs as io
from node.admission import Verdict
from node.protocol.block import Receipt
from node.protocol.errors import StoreFailure
from node.protocol.genesis import SNAPSHOT_EVERY
from node.protocol.messages import Commit, Message, Prepare, PrePrepare, ViewChange
from node.protocol.ticket import sign_ticket
from node.protocol.transaction import Call, sign_transaction
from tests.sim.checkers import Checkers, Violation
from tests.sim.disk import SimDisk
from tests.sim.machine import Machine
from tests.sim.nemesis import Nemesis
from tests.sim.network import Network
from tests.sim.node import SimNode
from tests.sim.scheduler import Scheduler
from tests.sim.snapshots import MachineSnapshots
from tests.sim.story import Made
from tests.sim.trace import Trace
from tests.sim.world import Shape, epoch_key_of, found, key_of

FOUNDERS = 4
LEAD_MS = 60_000
LIFETIME_MS = 550_000
PATIENCE_MS = 60_000
RESEND_MS = 1_000
STEP_MS = 50


class Cluster:
    """`size` machines of which the first four are the founders; all of them are observers at least.

    Method names of the observer's side are those of `tests.sim.ports.Observer`.
    """

    def __init__(
        self, seed: int, size: int, more_than: int = 2, snapshot_every: int | None = None
    ) -> None:
        """With `snapshot_every` all machines make, give and take snapshots."""
        every = snapshot_every or SNAPSHOT_EVERY
        self.genesis = found(Shape(FOUNDERS, more_than, 500, 2_000, every))
        self._with_snapshots = snapshot_every is not None
        self.epoch = 1
        self._holders = set(range(FOUNDERS))
        self.counts: Counter[str] = Counter()
        self.checkers = Checkers(self.genesis, self.counts)
        start_ms = self.genesis.created_ms + LEAD_MS
        self.scheduler = Scheduler(start_ms)
        self.network = Network(
            range(size),
            self.scheduler,
            Random(f"{seed}/network"),
            self.counts,
            lambda to, source, message: self.nodes[to].receive(source, message),
            self._notify,
            lambda number: self.nodes[number].up,
        )
        self._chance = Random(f"{seed}/cluster")
        self._requests = 0
        self._made: dict[bytes, Made] = {}
        self.nodes = self._make_nodes(seed, size, Trace(start_ms, None))
        self._faults = Random(f"{seed}/faults")
        self._nemesis: Nemesis | None = None

    def _make_nodes(self, seed: int, size: int, trace: Trace) -> list[SimNode]:
        keys = [key_of(f"node{number}").public_key for number in range(size)]
        verdicts: dict[bytes, Verdict] = {}
        nodes = []
        for number in range(size):
            disks = Random(f"{seed}/disk{number}")
            machine = Machine(
                number,
                key_of(f"node{number}"),
                SimDisk(disks),
                SimDisk(disks),
                Random(f"{seed}/node{number}"),
            )
            if self._with_snapshots:
                staging = SimDisk(Random(f"{seed}/staging{number}"))
                machine.snapshots = MachineSnapshots(staging, self.genesis.snapshot_every)
            place = (self.genesis, keys, self.scheduler, self.network, self, trace)
            nodes.append(SimNode(machine, *place, verdicts))
        return nodes

    # ---- what a test does

    def start(self, *numbers: int) -> None:
        """Start these machines and let them connect."""
        for number in numbers:
            self.nodes[number].start()
        self.run(1_000)

    def run(self, duration_ms: int) -> None:
        """Let time pass."""
        self.scheduler.run_until(self.scheduler.now_ms + duration_ms)

    def until(self, what: str, holds: Callable[[], bool], within_ms: int = PATIENCE_MS) -> None:
        """Let time pass until something holds; a violation of liveness if it never does."""
        deadline_ms = self.scheduler.now_ms + within_ms
        if not self.scheduler.run_until(deadline_ms, holds):
            heads = {node.name: node.height for node in self.nodes if node.up}
            raise Violation("liveness", f"not {what} after {within_ms} ms: {heads}")

    def trouble(self) -> None:
        """From now on things break at random."""
        self._nemesis = Nemesis(
            self.nodes, self.network, self.scheduler, self._faults, self.counts, lambda _: None
        )
        self._nemesis.start(self.scheduler.now_ms)

    def peace(self) -> None:
        """All faults end; machines that are off start."""
        if self._nemesis is not None:
            self._nemesis.heal()
            self._nemesis = None

    def call(self, sender: str, action: str, **args: Any) -> Receipt:
        """One kernel call, sent again and again until some node that is up has it booked."""
        key = key_of(sender)
        transaction = sign_transaction(
            self.genesis.chain,
            key,
            self._chance.randbytes(16),
            self.scheduler.now_ms + LIFETIME_MS,
            (Call("kernel", action, args),),
        )
        self._made[transaction.id] = Made(transaction, sender, (("kernel", action, args),))

        def send() -> None:
            if transaction.id in self.checkers.booked:
                return
            for node in self.nodes:
                self._requests += 1
                node.examine((transaction.raw,), None, self._requests)
            self.scheduler.after(RESEND_MS, send)

        send()
        self._await(f"booked {action}", lambda: transaction.id in self.checkers.booked)
        return self.checkers.booked[transaction.id].receipt

    def _await(self, what: str, holds: Callable[[], bool]) -> None:
        """As `until`; while things break, it may take a moment of peace."""
        if self._nemesis is not None:
            if self.scheduler.run_until(self.scheduler.now_ms + PATIENCE_MS, holds):
                return
            self.peace()
            self.until(what, holds)
            self.trouble()
        self.until(what, holds)

    def enrol(self) -> None:
        """A call that every healthy network books."""
        key = key_of(f"holder {self._chance.random()}").public_key
        assert self.call("bank", "enrol", public_key=key, roles=["holder"]).ok

    def decide(self, kind: str, **args: Any) -> Receipt:
        """The chair proposes and the deputy approves; the approval's receipt."""
        proposal = self._chance.randbytes(16)
        proposed = self.call("chair", kind, proposal=proposal, reason="test", **args)
        return self.call("deputy", "approve", proposal=proposal) if proposed.ok else proposed

    def admit(self, number: int) -> None:
        """List a machine as an observer."""
        name = f"node{number}"
        receipt = self.decide(
            "admit_observer",
            node_key=key_of(name).public_key,
            name=name,
            address=f"{name}:1",
            tls_fingerprint=bytes([number]) * 32,
            epoch=self.epoch,
            wrap=b"wrap",
        )
        assert receipt.ok, receipt
        self._holders.add(number)

    def dismiss(self, number: int) -> None:
        """Let an observer connect no more."""
        receipt = self.decide("dismiss_observer", node_key=key_of(f"node{number}").public_key)
        assert receipt.ok, receipt
        self._holders.discard(number)

    def next_epoch(self, without: int | None = None) -> dict[str, Any]:
        """The next epoch for who holds the newest, but one; the wraps stay closed: all know it."""
        self.epoch += 1
        self._holders.discard(-1 if without is None else without)
        nodes = [self.nodes[number] for number in sorted(self._holders)]
        return {
            "epoch": self.epoch,
            "epoch_key": epoch_key_of(self.epoch).public_key,
            "wraps": {node.public_key.hex(): b"wrap" for node in nodes},
        }

    def acknowledge(self, *numbers: int) -> None:
        """These machines say that they hold the secret of the newest epoch."""
        key = epoch_key_of(self.epoch).public_key
        for number in numbers:
            receipt = self.call(
                f"node{number}", "acknowledge_epoch", epoch=self.epoch, epoch_key=key
            )
            assert receipt.ok, receipt

    def ready(self, number: int) -> dict[str, Any]:
        """What a machine that is up signs to show that it has the state of its head."""
        node = self.nodes[number]
        self._await(f"node{number} up", lambda: node.up)
        head = node.running.store.head
        signature = sign_ticket(
            self.genesis.chain,
            node.machine.key,
            "kernel",
            "ready",
            {"height": head.height, "root": head.state_root},
        )
        return {
            "ready_height": head.height,
            "ready_root": head.state_root,
            "ready_signature": signature,
        }

    def add(self, number: int) -> int:
        """Make an observer a validator; the first height that it decides."""
        self.caught_up(number)
        self.acknowledge(number)
        node = key_of(f"node{number}").public_key
        receipt = self.decide("add_validator", node_key=node, **self.ready(number))
        assert receipt.ok, receipt
        return int(receipt.details["first_height"])

    def remove(self, number: int) -> int:
        """Remove a validator; the first height that it does not decide."""
        node = key_of(f"node{number}").public_key
        receipt = self.decide("remove_validator", node_key=node, **self.next_epoch(number))
        assert receipt.ok, receipt
        return int(receipt.details["first_height"])

    def reach(self, height: int) -> None:
        """Let blocks come until this one is final somewhere."""
        while max((node.height for node in self.nodes if node.up), default=0) < height:
            self.enrol()

    def caught_up(self, *numbers: int) -> None:
        """Wait until these machines, by default all that are up, have the highest head."""

        def holds() -> bool:
            up = [node for node in self.nodes if node.up]
            head = max((node.height for node in up), default=0)
            wanted = [self.nodes[number] for number in numbers] or up
            return all(node.up and node.height == head for node in wanted)

        self._await(f"caught up {numbers}", holds)

    def members(self) -> list[int]:
        """The numbers of those who decide the next height."""
        numbers = {node.public_key: node.number for node in self.nodes}
        best = max((node for node in self.nodes if node.up), key=lambda node: node.height)
        found_ = validators_at(best.running.store, best.height + 1)
        return [numbers[key] for key in found_.members]

    def leader(self) -> int:
        """Who leads the open height now, as the machines that are up see it."""
        best = max((node for node in self.nodes if node.up), key=lambda node: node.height)
        keys = [node.public_key for node in self.nodes]
        return keys.index(best.running.engine.leader)

    def finish(self) -> None:
        """All nodes that are up agree, and everything that was promised holds."""
        self.caught_up()
        up = [node for node in self.nodes if node.up]
        self.checkers.finish(up, list(self._made), set(), self._made)

    # ---- as the nodes' observer

    def on_started(self, node: SimNode) -> None:
        """See `Observer`."""
        self.checkers.on_started(node)

    def on_start_refused(self, node: SimNode, failure: StoreFailure) -> None:
        """See `Observer`."""
        self.checkers.on_start_refused(node, failure)

    def on_input(self, node: SimNode, event: io.Input) -> None:
        """See `Observer`."""
        self.checkers.on_input(node, event)

    def on_handled(self, node: SimNode) -> None:
        """See `Observer`."""
        self.checkers.on_handled(node)

    def on_sending(self, node: SimNode, message: Message) -> None:
        """Besides the checkers' rules: strangers to a height's set do not vote on it."""
        self.checkers.on_sending(node, message)
        if isinstance(message, Prepare | Commit | ViewChange | PrePrepare):
            decide = validators_at(node.running.store, message.height).members
            self.counts[f"votes of node{node.number}"] += 1
            if message.signer not in decide:
                raise Violation("stranger", f"{node.name} votes at {message.height}")

    def on_crashed(self, node: SimNode, writing: bool) -> None:
        """See `Observer`."""
        self.counts["crashes"] += 1

    def on_committed(self, node: SimNode, committed: io.Committed) -> None:
        """See `Observer`."""
        self.checkers.on_committed(node, committed)
        if self._nemesis is not None:
            self._nemesis.on_committed(node)

    def on_submitted(self, node: SimNode, submitted: io.Submitted) -> None:
        """Clients here look at final blocks only."""

    def on_trouble(self, node: SimNode, output: io.Alarm | io.Halt | io.PunishPeer) -> None:
        """See `Observer`."""
        self.checkers.on_trouble(node, output)

    def _notify(self, number: int, peer: int, connected: bool) -> None:
        event = io.PeerConnected if connected else io.PeerDisconnected
        self.nodes[number].feed(event(self.nodes[peer].public_key))
