"""A machine that runs the real core of a node: it outlives its crashes, with what its disks kept.

It does the driver's work under virtual time: one input at a time, outputs one by one in order,
waiting for the disk where an output says so. So a crash can come between any two outputs, or inside
one: a message that reached some peers only, a synced write that turns out to be whole or absent.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from typing import assert_never

from node import outputs as io
from node.admission import Verdict, examine
from node.core import Core
from node.protocol.encoding import sha256
from node.protocol.errors import StoreFailure
from node.protocol.genesis import Genesis
from node.protocol.messages import Message, Transactions
from node.roster import Peers, Roster
from tests.sim.disk import PowerCut
from tests.sim.machine import Machine
from tests.sim.ports import Network, Observer
from tests.sim.scheduler import Scheduler
from tests.sim.trace import Trace, describe
from tests.sim.writer import WRITES, Write, Writer

TICK_MS = 1_000
EXAMINE_MS_MAX = 6
INBOX_MAX = 10_000
RESTART_AFTER_FAILED_START_MS = 200


class SimNode:
    """One node: down, or up with a core."""

    def __init__(
        self,
        machine: Machine,
        genesis: Genesis,
        keys: Sequence[bytes],
        scheduler: Scheduler,
        network: Network,
        observer: Observer,
        trace: Trace,
        verdicts: dict[bytes, Verdict],
    ) -> None:
        """`keys` by number of node; twins have the same.

        `verdicts` is shared: examining is pure, so one node may spare the others the work.
        """
        self.machine = machine
        self.number = machine.number
        self.name = f"node{machine.number}"
        self.public_key = machine.key.public_key
        self.honest = machine.honest
        self.core: Core | None = None
        self.incarnation = 0
        self.paused = False
        self._genesis = genesis
        self._keys = keys
        self._scheduler = scheduler
        self._network = network
        self._observer = observer
        self._trace = trace
        self._verdicts = verdicts
        self._inbox: deque[io.Input] = deque()
        self._outputs: deque[io.Output] = deque()
        self._writer: Writer | None = None
        self._roster: Roster | None = None
        self._timers: dict[int, int] = {}
        self._last_timer = 0
        self._fuse: int | None = None
        self._fuse_in_writes = False

    @property
    def up(self) -> bool:
        """Whether a core is running, paused or not."""
        return self.core is not None

    @property
    def running(self) -> Core:
        """The core of a node that is up."""
        if self.core is None:
            raise AssertionError(f"{self.name} is down")
        return self.core

    @property
    def height(self) -> int:
        """The height of the head; for nodes that are up."""
        return self.running.store.head.height

    @property
    def now_ms(self) -> int:
        """This machine's clock."""
        return self._scheduler.now_ms + self.machine.clock_offset_ms

    @property
    def known_peers(self) -> Peers:
        """Who may connect, as far as this node, which is up, knows it."""
        return self._roster.peers if self._roster is not None else {}

    def accepts(self, peer: bytes) -> bool:
        """Whether the chain, as far as this node knows it, lets `peer` connect."""
        return self._roster is not None and peer in self._roster.peers

    # ---- life

    def start(self) -> None:
        """Open a core on what the disks hold, and join the network."""
        machine = self.machine
        if self.up or not machine.admitted:
            return
        self.incarnation += 1
        try:
            core = machine.open(self._genesis)
        except StoreFailure as failure:
            self._observer.on_start_refused(self, failure)
            self._start_again("cannot write")
            return
        except PowerCut:
            self._observer.on_crashed(self, writing=True)
            self._start_again("loses power")
            return
        self.core = core
        self._writer = Writer(
            core, machine.disks, machine.chance, self._later, self._note, self.crash
        )
        self._roster = Roster(core.store, self.public_key, machine.given)
        self._roster.attach(lambda _: self._network.relist(self.number))
        self._note(f"starts at height {self.height}")
        self._observer.on_started(self)
        self._outputs.extend(core.engine.start(self.now_ms))
        self._network.dial(self.number)
        self._later(machine.chance.randint(1, TICK_MS), self._tick)
        self._pump()

    def crash(self) -> None:
        """Stop at once. An interrupted write turns out to be whole or absent."""
        if not self.up:
            return
        writing = self._writing
        if self._writer is not None:
            self._writer.interrupt()
        self._note("crashes" + (f" in {type(writing).__name__}" if writing else ""))
        self._observer.on_crashed(self, writing is not None)
        self._forget()
        self._network.went_down(self.number)

    def crash_during_output(self, number: int, of_writes: bool) -> None:
        """Crash in the `number`-th output (or write) from now on, 0 being the next."""
        self._fuse = number
        self._fuse_in_writes = of_writes

    @property
    def armed(self) -> bool:
        """Whether a crash is due in one of the next outputs."""
        return self._fuse is not None

    def defuse(self) -> None:
        """Take back `crash_during_output`."""
        self._fuse = None

    def pause(self) -> None:
        """Do nothing until `resume`, like a process that was stopped; inputs wait."""
        self._note("pauses")
        self.paused = True

    def resume(self) -> None:
        """Go on after `pause`."""
        if self.paused:
            self._note("goes on")
        self.paused = False
        self._pump()

    def _start_again(self, why: str) -> None:
        self._note(f"{why} while starting")
        self._forget()
        self._scheduler.after(RESTART_AFTER_FAILED_START_MS, self.start)

    @property
    def _writing(self) -> Write | None:
        return self._writer.writing if self._writer is not None else None

    def _forget(self) -> None:
        self.core = None
        self._writer = None
        self._roster = None
        self._inbox.clear()
        self._outputs.clear()
        self._timers.clear()
        self._fuse = None
        self.paused = False
        for disk in self.machine.disks:
            disk.lose_power()

    # ---- inputs

    def feed(self, event: io.Input) -> None:
        """Hand an input to the engine, after all that waits already."""
        if self.up and len(self._inbox) < INBOX_MAX:
            self._inbox.append(event)
            self._pump()

    def receive(self, source: int, message: Message) -> None:
        """A message arrived; transactions are examined before the engine sees them."""
        self._note(f"← node{source}: {describe(self._genesis.chain, message)}")
        peer = self._keys[source]
        if isinstance(message, Transactions):
            self.examine(message.raws, peer, 0)
        else:
            self.feed(io.PeerMessage(peer, message))

    def examine(self, raws: Sequence[bytes], origin: bytes | None, request: int) -> None:
        """Check raw transactions as the verifier process does, in a little while.

        While nothing can be stored, clients are turned away.
        """
        if self._writer is None or (origin is None and self._writer.failing):
            return
        if request == 0:
            mempool = self.running.engine.mempool
            raws = [raw for raw in raws if sha256(b"\x00" + raw) not in mempool]
        if raws:
            items = tuple((raw, self._verdict(raw)) for raw in raws)
            delay_ms = self.machine.chance.randint(1, EXAMINE_MS_MAX) * self.machine.slowness
            self._later(delay_ms, lambda: self.feed(io.Examined(items, origin, request)))

    def _verdict(self, raw: bytes) -> Verdict:
        if (verdict := self._verdicts.get(raw)) is None:
            verdict = examine(self._genesis.chain, self.running.opener, raw)
            self._verdicts[raw] = verdict
        return verdict

    def _tick(self) -> None:
        self.feed(io.Tick())
        self._later(TICK_MS, self._tick)

    def _later(self, delay_ms: int, action: Callable[[], None]) -> None:
        """Perform `action`, unless this incarnation is over by then."""
        incarnation = self.incarnation

        def perform() -> None:
            if self.up and self.incarnation == incarnation:
                action()

        self._scheduler.after(delay_ms, perform)

    # ---- outputs

    def _pump(self) -> None:
        """Perform what is due, then take the next input, until there is something to wait for."""
        while self.core is not None and self._writing is None and not self.paused:
            if self._outputs:
                self._perform_next()
            elif self._inbox:
                event = self._inbox.popleft()
                self._observer.on_input(self, event)
                self._outputs.extend(self.core.engine.handle(event, self.now_ms))
                self._observer.on_handled(self)
            else:
                return

    def _perform_next(self) -> None:
        output = self._outputs.popleft()
        is_write = isinstance(output, WRITES)
        if self._fuse is not None and (is_write or not self._fuse_in_writes):
            self._fuse -= 1
            if self._fuse < 0:
                self._perform_in_part(output)
                self.crash()
                return
        self._perform(output)

    def _perform_in_part(self, output: io.Output) -> None:
        """Do as much of an output as a crash in the middle of it leaves done."""
        match output:
            case io.WriteVote() | io.WriteBlock() | io.TrimVotes() | io.StageSnapshot():
                self._begin(output)
            case io.AdoptSnapshot(height):
                self._adopt(height)
            case io.SendToAll(message):
                peers = self._network.peers_of(self.number)
                self._send([peer for peer in peers if self.machine.chance.random() < 0.5], message)
            case _ if self.machine.chance.random() < 0.5:
                self._perform(output)
            case _:
                pass

    def _perform(self, output: io.Output) -> None:
        match output:
            case io.WriteVote() | io.WriteBlock() | io.TrimVotes() | io.StageSnapshot():
                self._begin(output)
            case io.AdoptSnapshot(height):
                self._adopt(height)
            case io.SendTo(peer, message):
                if reached := self._reached(peer):
                    self._send(reached, message)
            case io.SendToAll(message):
                self._send(self._network.peers_of(self.number), message)
            case io.Gossip(transactions):
                message = Transactions(tuple(raw for _, raw in transactions))
                self._send(self._network.peers_of(self.number), message)
            case io.Verify(raws, origin):
                self.examine(raws, origin, 0)
            case io.SetTimer(token, delay_ms):
                self._set_timer(token, delay_ms)
            case io.CancelTimer(token):
                self._timers.pop(token, None)
            case io.PunishPeer(peer, _):
                self._note(f"punishes {self._name_of(peer)}: {output.fault}")
                for number in self._reached(peer):
                    self._network.break_off(self.number, number)
                self._observer.on_trouble(self, output)
            case io.Submitted():
                self._observer.on_submitted(self, output)
            case io.Committed(height, receipts):
                self._note(f"committed {height}: {[receipt.code for receipt in receipts]}")
                self._observer.on_committed(self, output)
                if self._roster is not None:
                    self._roster.on_committed(height, receipts)
            case io.Dropped():
                self._note("drops what is sealed to an epoch that has ended")
            case io.Alarm(code, text) | io.Halt(code, text):
                self._note(f"{type(output).__name__} {code}: {text}")
                self._observer.on_trouble(self, output)
            case _:
                assert_never(output)

    def _send(self, targets: Sequence[int], message: Message) -> None:
        self._observer.on_sending(self, message)
        names = " ".join(f"node{target}" for target in targets) or "nobody"
        self._note(f"→ {names}: {describe(self._genesis.chain, message)}")
        self._network.send(self.number, targets, message)

    def _begin(self, write: Write) -> None:
        if self._writer is not None:
            self._writer.begin(write, self.machine.slowness, lambda: self._end(write))

    def _end(self, write: Write) -> None:
        """A write is on the disk."""
        if isinstance(write, io.WriteBlock):
            core = self.running
            core.store.adopt(write.batch)
            if self.machine.snapshots is not None:
                self.machine.snapshots.on_block(write.height, core.store.snapshot_source)
            written = io.BlockWritten(write.height)
            self._outputs.extend(core.engine.handle(written, self.now_ms))
        if isinstance(write, (io.WriteVote, io.WriteBlock)):
            self._note(f"wrote {type(write).__name__} {write.height}")
        self._pump()

    def _adopt(self, height: int) -> None:
        """Start anew on the snapshot that was put together."""
        self._note(f"adopts the snapshot of {height}")
        self.crash()
        if self.machine.snapshots is not None:
            self.machine.state_disk.take_over(self.machine.snapshots.disk)
        self.start()

    def _set_timer(self, token: int, delay_ms: int) -> None:
        self._last_timer += 1
        self._timers[token] = armed = self._last_timer

        def elapse() -> None:
            if self._timers.get(token) == armed:
                del self._timers[token]
                self.feed(io.TimerElapsed(token))

        self._later(delay_ms, elapse)

    def _reached(self, peer: bytes) -> list[int]:
        """The node with this key that we are connected with, if any."""
        peers = self._network.peers_of(self.number)
        return [number for number in peers if self._keys[number] == peer]

    def _name_of(self, peer: bytes) -> str:
        return f"node{self._keys.index(peer)}"

    def _note(self, what: str) -> None:
        self._trace.note(self._scheduler.now_ms, self.name, what)
