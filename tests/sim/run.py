"""One run: a seed, a network, faults, clients; then peace, in which everything must settle.

`run_seed(seed)` is a pure function: equal seeds give equal digests, in any process. Up to f members
are byzantine, from the first moment to the last. The faulty phase asks for safety only. Then all
routes are open and nodes come up (in some runs all but as many as may be dead), and within bounded
virtual time all that is valid must be settled, a probe sent to one honest node must be booked by
all of them, and the latecomers must catch up.
"""

from __future__ import annotations

import traceback
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from random import Random
from types import SimpleNamespace
from unittest.mock import patch

from contracts.kernel.registry import nodes_of, validators_at
from node import outputs as io
from node.admission import Verdict
from node.protocol import keys, sealing
from node.protocol.errors import Refused, StoreFailure
from node.protocol.messages import Message
from tests.sim.byzantine import Betrayed, Mind
from tests.sim.cast import draw_cast
from tests.sim.checkers import Checkers, Violation
from tests.sim.disk import SimDisk
from tests.sim.governors import Governors
from tests.sim.machine import Machine
from tests.sim.nemesis import Nemesis
from tests.sim.network import Network
from tests.sim.node import SimNode
from tests.sim.scheduler import Scheduler, Storm
from tests.sim.story import Story
from tests.sim.trace import Trace
from tests.sim.workload import Workload

BYZANTINE_RESTART_MS = 500
FAULTY_MS = (4_000, 18_000)
BURST_PAUSE_MS = (700, 1_500, 3_000)
SKEW_MS_MAX = 500
FIRST_START_FAILS = 0.1
SETTLE_MS_MAX = 40_000
DECEIVED_MS_MAX = 40_000
"""How much longer it may take for each byzantine member: silence must be waited out."""
PROBE_MS_MAX = 15_000
CHANGES_MS_MAX = 120_000
STAY_ALL = 0.6
FOR_EVER = 1 << 62
LEAD_MS = 60_000


@dataclass
class Result:
    """What a run came to. `violation` is empty where all promises held."""

    seed: int
    size: int
    byzantine: int = 0
    newcomers: int = 0
    violation: str = ""
    kind: str = ""
    digest: str = ""
    virtual_ms: int = 0
    settle_ms: int = 0
    views_max: int = 0
    counts: Counter[str] = field(default_factory=Counter)


def run_seed(seed: int, sink: Callable[[str], None] | None = None) -> Result:
    """Run one seed; `sink` gets the story line by line."""
    # The only chance that the node draws for itself is in sealing, which only clients do here.
    drawn = SimpleNamespace(token_bytes=Random(f"{seed}/seals").randbytes)
    with (
        patch.object(sealing, "secrets", drawn),
        patch.object(keys, "verify", _Verify(keys.verify)),
    ):
        return Simulation(seed, sink).run()


class _Verify:
    """Signature checks are pure and half of a run's time: each is done once, not once a node."""

    def __init__(self, verify: Callable[[bytes, bytes, bytes], None]) -> None:
        self._verify = verify
        self._refusals: dict[tuple[bytes, bytes, bytes], Refused | None] = {}

    def __call__(self, public_key: bytes, digest: bytes, signature: bytes) -> None:
        question = (public_key, digest, signature)
        if question not in self._refusals:
            try:
                self._verify(public_key, digest, signature)
                self._refusals[question] = None
            except Refused as refusal:
                self._refusals[question] = refusal
        known = self._refusals[question]
        if known is not None:
            raise Refused(known.code, known.message)


class Simulation:
    """Everything of one run, wired together."""

    def __init__(self, seed: int, sink: Callable[[str], None] | None = None) -> None:
        chance = Random(f"{seed}/shape")
        cast = draw_cast(seed, chance)
        self.result = Result(seed, cast.founders, cast.byzantine, newcomers=len(cast.newcomers))
        counts = self.result.counts
        self._cast = cast
        self._chance = chance
        self._start_ms = cast.genesis.created_ms + LEAD_MS
        self._scheduler = Scheduler(self._start_ms)
        self._trace = Trace(self._start_ms, sink)
        self._network = Network(
            cast.owners,
            self._scheduler,
            Random(f"{seed}/network"),
            counts,
            self._deliver,
            self._notify,
            lambda number: self._nodes[number].up,
            lambda number, peer: self._nodes[number].accepts(self._nodes[peer].public_key),
        )
        self.checkers = Checkers(cast.genesis, counts, cast.traitors)
        self._mind = Mind(
            cast,
            self._network,
            self._scheduler,
            Random(f"{seed}/byzantine"),
            counts,
            self._note,
        )
        self._nodes = self._make_nodes(seed)
        self._workload = Workload(
            Story(cast.genesis, Random(f"{seed}/story")),
            self._nodes,
            self._scheduler,
            Random(f"{seed}/clients"),
            counts,
        )
        self._governors = Governors(
            cast,
            self._nodes,
            self._workload,
            self.checkers,
            self._scheduler,
            Random(f"{seed}/governors"),
            counts,
            self._note,
        )
        self._nemesis = Nemesis(
            self._nodes,
            self._network,
            self._scheduler,
            Random(f"{seed}/faults"),
            counts,
            self._note,
            self._mind.ambush,
        )

    def _make_nodes(self, seed: int) -> list[SimNode]:
        cast = self._cast
        keys = [cast.keys[owner].public_key for owner in cast.owners]
        verdicts: dict[bytes, Verdict] = {}
        nodes = []
        for number, owner in enumerate(cast.owners):
            style = cast.styles.get(owner)
            lies = style in ("liar", "both")
            node = SimNode(
                self._make_machine(seed, number, owner),
                cast.genesis,
                keys,
                self._scheduler,
                Betrayed(self._network, self._mind) if lies else self._network,
                self,
                self._trace,
                verdicts,
            )
            if number != owner:
                self._note(f"node{number} is a twin of node{owner}")
            if style is not None:
                self._note(f"node{number} is byzantine: {style}")
            if lies:
                self._mind.own(node)
            nodes.append(node)
        return nodes

    def _make_machine(self, seed: int, number: int, owner: int) -> Machine:
        disk_chance = Random(f"{seed}/disk{number}")
        disks = SimDisk(disk_chance), SimDisk(disk_chance)
        if self._chance.random() < FIRST_START_FAILS:
            self._chance.choice(disks).cut_power_after(0)
        return Machine(
            number,
            self._cast.keys[owner],
            *disks,
            Random(f"{seed}/node{number}"),
            self._chance.randint(-SKEW_MS_MAX, SKEW_MS_MAX),
            honest=owner not in self._cast.styles,
            admitted=owner < self._cast.founders,
        )

    def run(self) -> Result:
        """All phases; never raises."""
        result = self.result
        try:
            self._go_through()
        except Violation as violation:
            result.kind, result.violation = violation.kind, str(violation)
        except Storm as storm:
            result.kind, result.violation = "storm", str(storm)
        except Exception as error:  # noqa: BLE001 - whatever a node raises is a finding
            result.kind = "crash"
            result.violation = f"{type(error).__name__}: {error}\n{traceback.format_exc()}"
        for node in self._nodes:
            for disk in node.machine.disks:
                result.counts["unsynced writes lost"] += disk.lost
                result.counts["synced writes torn"] += disk.torn
                result.counts["writes refused by a full disk"] += disk.failed
        result.views_max = self.checkers.progress.most
        result.digest = self._trace.digest
        result.virtual_ms = self._scheduler.now_ms - self._start_ms
        result.counts["events"] = self._scheduler.events
        return result

    # ---- phases

    def _go_through(self) -> None:
        chance = self._chance
        faulty_ms = chance.randint(*FAULTY_MS)
        for node in self._nodes:
            self._scheduler.after(chance.randint(0, 300), node.start)
        until_ms = self._start_ms + faulty_ms
        self._scheduler.after(400, lambda: self._nemesis.start(until_ms))
        self._scheduler.after(400, self._mind.start)
        self._scheduler.after(400, self._governors.start)
        self._workload.start(until_ms, chance.choice(BURST_PAUSE_MS))
        self._scheduler.run_until(until_ms)
        self._note("peace")
        self._nemesis.heal()
        self._governors.stop()
        self._workload.be_patient()
        self._mind.make_peace(silent=self._nemesis.left_behind is not None)
        absent = self._send_some_away()
        self.checkers.progress.on_healed(self.result.byzantine + len(absent))
        healed_ms = self._scheduler.now_ms
        settle_ms_max = SETTLE_MS_MAX + DECEIVED_MS_MAX * self.result.byzantine
        self._await("settled", settle_ms_max, self._is_settled)
        self.result.settle_ms = self._scheduler.now_ms - healed_ms
        probe = self._workload.probe()
        probe_ms_max = PROBE_MS_MAX + DECEIVED_MS_MAX * self.result.byzantine
        self._await("probed", probe_ms_max, lambda: self._is_booked_by_all(probe))
        for node in absent:
            node.start()
        if absent:
            self._await("caught up", settle_ms_max, self._is_settled)
        if not self._governors.done:
            self._governors.go_on()
            self._await("changed", CHANGES_MS_MAX, lambda: self._governors.done)
            self._await("settled again", settle_ms_max, self._is_settled)
        self.checkers.finish(
            self._concerned,
            list(self._workload.acknowledged),
            self._workload.hopeless,
            self._workload.made,
        )

    def _send_some_away(self) -> Sequence[SimNode]:
        """In some runs as many nodes as may be dead stay down until everything has settled."""
        behind = self._nemesis.left_behind
        if self._governors.busy or (behind is None and self._chance.random() < STAY_ALL):
            return ()
        store = self._best.running.store
        sets = [
            validators_at(store, height).members for height in (store.head.height + 1, FOR_EVER)
        ]
        absent: list[SimNode] = []
        candidates = [node for node in self._concerned if node is not behind]
        for node in self._chance.sample(candidates, len(candidates)):
            away = [other.public_key for other in (*absent, node)]
            if all(self._cast.bears(members, away) for members in sets):
                absent.append(node)
        if not absent:
            return ()
        for node in absent:
            node.crash()
        self.result.counts["settled with nodes down"] += 1
        return absent

    @property
    def _concerned(self) -> list[SimNode]:
        """The honest nodes that are up and that the chain lists: promises are made to them."""
        listed = {node.public_key for node in nodes_of(self._best.running.store)}
        up = [node for node in self._nodes if node.up and node.honest]
        return [node for node in up if node.public_key in listed]

    @property
    def _best(self) -> SimNode:
        """An honest node that knows most."""
        up = [node for node in self._nodes if node.up and node.honest]
        return max(up, key=lambda node: node.height)

    def _await(self, what: str, within_ms: int, holds: Callable[[], bool]) -> None:
        deadline_ms = self._scheduler.now_ms + within_ms
        if not self._scheduler.run_until(deadline_ms, holds):
            raise Violation("liveness", f"not {what} after {within_ms} ms: {self._state()}")
        self._note(what)

    def _is_settled(self) -> bool:
        nodes = self._concerned
        head = nodes[0].running.store.head.block_id
        return (
            all(node.running.store.head.block_id == head for node in nodes)
            and not any(len(node.running.engine.mempool) for node in nodes)
            and self._workload.settled
        )

    def _is_booked_by_all(self, identity: bytes) -> bool:
        booked = self.checkers.booked.get(identity)
        nodes = self._concerned
        return booked is not None and all(node.height >= booked.height for node in nodes)

    def _state(self) -> str:
        """Where everybody stands, for the report of a run that does not settle."""
        heads = ", ".join(
            f"{node.name} {node.height} ({len(node.running.engine.mempool)} pooled)"
            for node in self._concerned
        )
        return f"{heads}; {len(self._workload.waiting)} clients wait"

    def _notify(self, number: int, peer: int, connected: bool) -> None:
        event = io.PeerConnected if connected else io.PeerDisconnected
        node = self._nodes[number]
        self._trace.note(
            self._scheduler.now_ms, node.name, f"{event.__name__[4:].lower()} node{peer}"
        )
        node.feed(event(self._nodes[peer].public_key))

    def _deliver(self, to: int, source: int, message: Message) -> None:
        node = self._nodes[to]
        if not node.honest:
            self._mind.see(message)
        node.receive(source, message)

    def _note(self, what: str) -> None:
        self._trace.note(self._scheduler.now_ms, "*", what)

    # ---- as the nodes' observer

    def on_started(self, node: SimNode) -> None:
        """See `Observer`."""
        self.checkers.on_started(node)

    def on_start_refused(self, node: SimNode, failure: StoreFailure) -> None:
        """See `Observer`."""
        self.checkers.on_start_refused(node, failure)

    def on_crashed(self, node: SimNode, writing: bool) -> None:
        """See `Observer`."""
        counts = self.result.counts
        counts["crashes"] += 1
        counts["crashes in a write"] += writing
        counts["starts cut short"] += not node.up

    def on_input(self, node: SimNode, event: io.Input) -> None:
        """See `Observer`."""
        self.checkers.on_input(node, event)

    def on_handled(self, node: SimNode) -> None:
        """See `Observer`."""
        self.checkers.on_handled(node)

    def on_sending(self, node: SimNode, message: Message) -> None:
        """See `Observer`."""
        self.checkers.on_sending(node, message)

    def on_committed(self, node: SimNode, committed: io.Committed) -> None:
        """See `Observer`."""
        self.checkers.on_committed(node, committed)
        self._workload.on_committed(node, committed.receipts)
        if node.honest:
            self._nemesis.on_committed(node)

    def on_submitted(self, node: SimNode, submitted: io.Submitted) -> None:
        """See `Observer`."""
        self._workload.on_submitted(node, submitted)

    def on_trouble(self, node: SimNode, output: io.Alarm | io.Halt | io.PunishPeer) -> None:
        """See `Observer`."""
        self.checkers.on_trouble(node, output)
        if isinstance(output, io.Halt) and not node.honest:
            # It has met its twin, or a lie of its own; the traitor starts it again.
            node.crash()
            self._scheduler.after(BYZANTINE_RESTART_MS, node.start)
