"""The faults of a run: what breaks, when, and for how long. Everything heals in the end.

A seed draws a temper first, so that some runs are calm, some crash all the time, and some mix
everything. Each fault ends by itself; `heal` ends all of them at once.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from random import Random

from node.protocol.messages import Commit, Message, Prepare, PrePrepare, Transactions, ViewChange
from tests.sim.disk import SimDisk
from tests.sim.machine import Machine
from tests.sim.network import CALM, Network, Weather
from tests.sim.node import SimNode
from tests.sim.scheduler import Scheduler

DOWN_MS = (30, 6_000)
CUT_MS = (300, 7_000)
STORM_MS = (300, 6_000)
PAUSE_MS = (50, 4_000)
OUTPUTS_TO_CRASH_MAX = 12
WRITES_TO_CRASH_MAX = 6
PATIENCE_MS = 1_500
SLOWNESS = (5, 40)
SLOW_MS = (500, 5_000)
JUMPS_MS = (-100_000, -20_000, -5_000, -1_500, 1_500, 5_000, 20_000, 100_000)
JUMP_MS = (500, 6_000)
FULL_MS = (200, 6_000)
LEFT_BEHIND = 0.2
LEFT_BEHIND_MS = 6_500
FAULT_KINDS = (
    "crash",
    "power_cut",
    "partition",
    "one_way",
    "bridge",
    "hush",
    "lone_commit",
    "blackout",
    "storm",
    "flap",
    "pause",
    "slow",
    "clock_jump",
    "disk_full",
)
HUSHED: tuple[type[Message], ...] = (PrePrepare, Prepare, Commit, ViewChange, Transactions)
INTERVALS_MS = (250, 700, 1_500, 4_000)


class Nemesis:
    """Breaks things at random times until told to stop."""

    def __init__(
        self,
        nodes: Sequence[SimNode],
        network: Network,
        scheduler: Scheduler,
        chance: Random,
        counts: Counter[str],
        note: Callable[[str], None],
        ambush: Callable[[], None] = lambda: None,
    ) -> None:
        """`note` takes down what breaks, for whoever reads the trace.

        `ambush` is called when one node alone holds a final block, cut off from all others.
        """
        self._nodes = nodes
        self._note = note
        self._ambush = ambush
        self._network = network
        self._scheduler = scheduler
        self._chance = chance
        self._counts = counts
        self._over = False
        self._lonely: int | None = None
        self.left_behind: SimNode | None = None
        self._jumps: dict[int, int] = {}
        self._weights = [chance.choice((0, 0, 1, 1, 3)) for _ in FAULT_KINDS]
        self._interval_ms = chance.choice(INTERVALS_MS)
        self._usual = self._weather(chance.choice((0.0, 0.0, 0.3, 1.0)))

    def start(self, until_ms: int) -> None:
        """Begin with the weather, then with the rest. At `until_ms` everything will be healed."""
        self._network.weather = self._usual
        if any(self._weights):
            self._next()
        lead_ms = until_ms - LEFT_BEHIND_MS - self._scheduler.now_ms
        if lead_ms > 0 and self._chance.random() < LEFT_BEHIND:
            self._scheduler.after(lead_ms, self._leave_behind)

    def heal(self) -> None:
        """No more faults: routes open, disks and power good, nobody paused, everybody up."""
        self._over = True
        self._network.heal()
        for node in self._nodes:
            node.defuse()
            for disk in node.machine.disks:
                disk.cut_power_after(None)
                disk.failing = False
            node.machine.slowness = 1
            self._put_right(node.machine)
            node.resume()
            node.start()

    def _next(self) -> None:
        delay_ms = int(self._chance.expovariate(1 / self._interval_ms)) + 1
        self._scheduler.after(delay_ms, self._strike)

    def _strike(self) -> None:
        if self._over:
            return
        kind = self._chance.choices(FAULT_KINDS, self._weights)[0]
        self._counts[f"faults {kind}"] += 1
        self._note(f"fault: {kind}")
        getattr(self, f"_{kind}")()
        self._next()

    def _later(self, span_ms: tuple[int, int], action: Callable[[], None]) -> None:
        """End a fault, unless everything is healed by then."""
        self._scheduler.after(
            self._chance.randint(*span_ms), lambda: None if self._over else action()
        )

    # ---- machines

    def _crash(self) -> None:
        self._fell(self._chance.choice(self._nodes))

    def _power_cut(self) -> None:
        """Several machines at the same moment, perhaps all."""
        for node in self._chance.sample(self._nodes, self._chance.randint(1, len(self._nodes))):
            self._fell(node)

    def _blackout(self) -> None:
        """Nobody hears COMMITs for a while; then the power fails everywhere."""
        self._network.hushed[Commit] = self._routes()
        self._later(CUT_MS, self._end_in_darkness)

    def _end_in_darkness(self) -> None:
        self._unhush(Commit)
        for node in self._nodes:
            node.crash()
            self._later(DOWN_MS, node.start)

    def _fell(self, node: SimNode) -> None:
        """Stop a node between two outputs, inside one, or wherever it is."""
        if self._chance.random() < 0.8:
            in_write = self._chance.random() < 0.5
            outputs_max = WRITES_TO_CRASH_MAX if in_write else OUTPUTS_TO_CRASH_MAX
            node.crash_during_output(self._chance.randrange(outputs_max), in_write)
            self._scheduler.after(PATIENCE_MS, lambda: self._notice(node))
        else:
            node.crash()
        self._later(DOWN_MS, node.start)

    def _notice(self, node: SimNode) -> None:
        """A node that had nothing to do when it was to crash in an output crashes now."""
        if not self._over and node.armed:
            node.crash()

    def _pause(self) -> None:
        node = self._chance.choice(self._nodes)
        node.pause()
        self._later(PAUSE_MS, node.resume)

    def _slow(self) -> None:
        """A machine whose disk and verifier take many times longer."""
        machine = self._chance.choice(self._nodes).machine
        machine.slowness = self._chance.randint(*SLOWNESS)
        self._later(SLOW_MS, lambda: setattr(machine, "slowness", 1))

    def _disk_full(self) -> None:
        """Some machines cannot write for a while, most of them neither blocks nor votes."""
        chance = self._chance
        for node in chance.sample(
            self._nodes, min(len(self._nodes), chance.choice((1, 1, 1, 2, 9)))
        ):
            state, votes = node.machine.disks
            disks = chance.choice(((state, votes), (state, votes), (state,), (votes,)))
            self._note(f"{node.name} has no room for {len(disks)} of its 2 databases")
            for disk in disks:
                disk.failing = True
            self._later(FULL_MS, lambda disks=disks: self._make_room(disks))  # type: ignore[misc]

    @staticmethod
    def _make_room(disks: Sequence[SimDisk]) -> None:
        for disk in disks:
            disk.failing = False

    def _clock_jump(self) -> None:
        """A clock goes wrong by seconds at once, and is put right some time later."""
        machine = self._chance.choice(self._nodes).machine
        jump_ms = self._chance.choice(JUMPS_MS)
        self._note(f"the clock of node{machine.number} jumps by {jump_ms} ms")
        self._jumps[machine.number] = self._jumps.get(machine.number, 0) + jump_ms
        machine.clock_offset_ms += jump_ms
        self._later(JUMP_MS, lambda: self._put_right(machine))

    def _put_right(self, machine: Machine) -> None:
        machine.clock_offset_ms -= self._jumps.pop(machine.number, 0)

    # ---- routes

    def _partition(self) -> None:
        """Two groups that cannot reach each other."""
        group = set(self._some_numbers())
        self._cut({(a, b) for a, b in self._routes() if (a in group) != (b in group)})

    def _one_way(self) -> None:
        """One group hears the other but is not heard."""
        group = set(self._some_numbers())
        self._cut({(a, b) for a, b in self._routes() if a in group and b not in group})

    def _bridge(self) -> None:
        """Two groups that only one node between them can reach."""
        numbers = [node.number for node in self._nodes]
        self._chance.shuffle(numbers)
        middle, *rest = numbers
        left = set(rest[: len(rest) // 2])
        self._cut(
            {
                (a, b)
                for a, b in self._routes()
                if middle not in (a, b) and (a in left) != (b in left)
            }
        )

    def _flap(self) -> None:
        """One connection breaks and is made again."""
        routes = sorted(self._routes())
        if routes:
            self._network.break_off(*self._chance.choice(routes))

    def _hush(self) -> None:
        """Messages of one kind get lost, on most routes or on all."""
        kind = self._chance.choice(HUSHED)
        share = self._chance.choice((0.6, 0.9, 1.0))
        routes = {route for route in sorted(self._routes()) if self._chance.random() < share}
        self._note(f"no {kind.__name__} on {len(routes)} routes")
        self._network.hushed[kind] = routes
        self._later(CUT_MS, lambda: self._unhush(kind))

    def _unhush(self, kind: type[Message]) -> None:
        self._network.hushed.pop(kind, None)

    def _lone_commit(self) -> None:
        """Only one node hears the COMMITs; when it has a final block, it alone is cut off."""
        fit = [node for node in self._nodes if node.up and node.honest]
        lonely = self._chance.choice(fit or self._nodes)
        self._lonely = lonely.number
        kind: type[Message] = Commit
        self._network.hushed[kind] = {(a, b) for a, b in self._routes() if b != lonely.number}
        self._later(CUT_MS, lambda: self._unhush(kind))

    def on_committed(self, node: SimNode) -> None:
        """A node has a final block: perhaps it is the one that was waited for."""
        if self._over or node.number != self._lonely:
            return
        self._lonely = None
        self._unhush(Commit)
        self._counts["lone commits"] += 1
        self._cut({(a, b) for a, b in self._routes() if node.number in (a, b)}, noticed=True)
        self._ambush()

    def _leave_behind(self) -> None:
        """One node hears nothing while no proposal reaches anybody: all others run ahead of it.

        This lasts until the end: how fast does it find the view in which the others are, if they
        cannot decide without it?
        """
        if self._over:
            return
        self._counts["nodes left behind"] += 1
        behind = self._chance.choice([node for node in self._nodes if node.honest])
        self._note(f"{behind.name} is left behind")
        self.left_behind = behind
        kind: type[Message] = PrePrepare
        self._network.hushed[kind] = self._routes()
        self._network.cut |= {(a, b) for a, b in self._routes() if behind.number in (a, b)}

    def _storm(self) -> None:
        self._network.weather = self._weather(1.0)
        self._later(STORM_MS, self._clear_up)

    def _clear_up(self) -> None:
        self._network.weather = self._usual

    def _cut(self, routes: set[tuple[int, int]], noticed: bool = False) -> None:
        """Cut routes for a while. Half the time, or if `noticed`, the connections break too."""
        self._note("cut: " + (" ".join(f"{a}→{b}" for a, b in sorted(routes)) or "nothing"))
        self._network.cut |= routes
        if noticed or self._chance.random() < 0.5:
            for first, second in sorted(routes):
                self._network.break_off(first, second)
        self._later(CUT_MS, lambda: self._join(routes))

    def _join(self, routes: set[tuple[int, int]]) -> None:
        self._note("joined: " + " ".join(f"{a}→{b}" for a, b in sorted(routes)))
        self._network.cut -= routes

    def _some_numbers(self) -> list[int]:
        size = self._chance.randint(1, max(1, len(self._nodes) - 1))
        return self._chance.sample([node.number for node in self._nodes], size)

    def _routes(self) -> set[tuple[int, int]]:
        numbers = [node.number for node in self._nodes]
        return {(a, b) for a in numbers for b in numbers if a != b}

    def _weather(self, badness: float) -> Weather:
        if not badness:
            return CALM
        chance = self._chance
        return Weather(
            loss=badness * chance.choice((0.0, 0.02, 0.1, 0.3)),
            duplication=badness * chance.choice((0.0, 0.05, 0.3)),
            delay_ms_max=chance.choice((5, 20, 80)),
            spike=badness * chance.choice((0.0, 0.05, 0.2)),
            spike_ms_max=chance.choice((100, 600, 2_500)),
            in_order=chance.random() < 0.3,
        )
