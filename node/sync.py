"""Sync: a node that lacks what others have fetches it, as blocks or as a snapshot and then blocks.

Blocks are the way while they are few: each is executed. Where a snapshot stands at least one
interval of snapshots above the head, or no peer has the block needed next any more, the newest one
is fetched first, put together in the staging database, and adopted in place of the state. Then
blocks follow, however many there are by now: else a node whose peers make snapshots faster than it
fetches them would never arrive. All of it goes on beside consensus, as often as it comes to that.
What peers say decides only whom to ask: heights count as far as one more peer than may lie claims
them. The schedulers are in `net`; here their actions become outputs, and what a snapshot's files
are worth is judged.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from typing import Final, NamedTuple, assert_never

from node import outputs as io
from node.importer import Importer
from node.net import catch_up, sources, state_sync
from node.net.catch_up import CatchUp
from node.net.state_sync import StateSync
from node.pace import Pace
from node.protocol.block import CertifiedBlock
from node.protocol.errors import PeerFault, Refused
from node.protocol.messages import MANIFEST_FILE, BlockRange, Head, SnapshotPart
from node.protocol.validators import ValidatorSet
from node.state.keyvalue import Records
from node.state.restoring import Assembly
from node.state.snapshot import manifest_codec
from node.state.trust import Trust
from node.state.vault import Vault
from node.stopwatch import Stopwatch


class SnapshotSource(NamedTuple):
    """What fetching snapshots needs: whom to trust, how far apart they are, what is staged."""

    trust: Trust
    vault: Vault
    every: int
    staged: Records | None


class Sync:
    """See the module. Each method returns what is to be done, in order.

    It waits by a stopwatch, which `read_clock` advances: clocks are set now and then.
    """

    def __init__(
        self,
        importer: Importer,
        head: int,
        validators: ValidatorSet,
        snapshots: SnapshotSource | None,
        is_adopted: bool = False,
    ) -> None:
        """`validators` decide the height after `head`; without `snapshots` it takes none.

        `is_adopted`: the state of `head` is a snapshot's, and nothing has followed it yet.
        """
        self.importer: Final = importer
        self._follows_snapshot = is_adopted
        self._validators = validators
        self._snapshots = snapshots
        self._blocks = CatchUp(head + 1)
        self._assembly: Assembly | None = None
        self._manifest_giver = b""
        self._state = StateSync()
        if snapshots is not None and snapshots.staged is not None:
            self._resume(Assembly.resumed(snapshots.trust, snapshots.vault, snapshots.staged))
        self._time = Stopwatch()
        self.pace: Final = Pace()

    def read_clock(self, clock_ms: int) -> None:
        """The clock's time of whatever follows, ms since 1970."""
        self._time.read(clock_ms)

    @property
    def elapsed_ms(self) -> int:
        """The time by which it waits and measures its pace."""
        return self._time.elapsed_ms

    @property
    def head(self) -> int:
        """The height of the last block that is stored here."""
        return self._blocks.next_height - 1

    @property
    def fetched(self) -> Assembly | None:
        """The snapshot that is being put together, if any."""
        return self._assembly

    # ---- what happens

    def on_head(self, peer: bytes, message: Head) -> list[io.Output]:
        """A peer tells what it has."""
        self._blocks.note(peer, message.height, message.blocks_from)
        offered = self._state.on_offer(peer, message.snapshots, self.elapsed_ms)
        return self._follow([*offered, *self._aim()])

    def on_hint(self, peer: bytes, height: int) -> list[io.Output]:
        """Consensus believes that a peer has a final block of this height."""
        return self._follow(self._blocks.on_head_hint(peer, height, self.elapsed_ms, urgent=True))

    def on_range(self, peer: bytes, message: BlockRange) -> list[io.Output]:
        """Blocks came: those that follow on are in the importer's queue now."""
        return self._follow(self._blocks.on_range(peer, message, self.elapsed_ms))

    def on_part(self, peer: bytes, message: SnapshotPart) -> list[io.Output]:
        """Part of a snapshot came."""
        return self._follow(self._state.on_part(peer, message, self.elapsed_ms))

    def on_imported(self, block: CertifiedBlock) -> None:
        """A block of a peer was checked and executed."""
        self.pace.note(len(block.transactions), self.elapsed_ms)

    def on_stored(self, height: int, validators: ValidatorSet) -> list[io.Output]:
        """A block is stored; `validators` decide the next height."""
        self._validators = validators
        return self._follow(self._blocks.need(height + 1, self.elapsed_ms))

    def on_fault(self, peer: bytes) -> list[io.Output]:
        """A peer's blocks were bad."""
        return self._follow(self._blocks.on_fault(peer, self.elapsed_ms))

    def on_disconnected(self, peer: bytes) -> list[io.Output]:
        """A peer is gone."""
        actions = self._state.on_disconnected(peer, self.elapsed_ms)
        return self._follow([*actions, *self._blocks.on_disconnected(peer, self.elapsed_ms)])

    def tick(self) -> list[io.Output]:
        """A second has passed."""
        actions = [
            *self._aim(),
            *self._state.tick(self.elapsed_ms),
            *self._blocks.tick(self.elapsed_ms),
        ]
        return self._follow(actions)

    # ---- inside

    def _resume(self, staged: Assembly | None) -> None:
        """Go on with what an earlier run of this node has begun, if it is still of use."""
        if staged is not None and staged.following and staged.manifest.height > self.head:
            self._assembly = staged
            self._state = StateSync(staged.manifest.height, staged.following)

    def _aim(self) -> list[state_sync.Action | catch_up.Action]:
        """Decide between blocks and a snapshot."""
        if self._snapshots is None:
            return list(self._blocks.hold(False, self.elapsed_ms))
        if self._assembly is not None and self._assembly.manifest.height <= self.head:
            self._assembly = None
            self._state.drop()
        every = self._snapshots.every
        believed = self._blocks.believed_height(self._validators.faulty_max + 1)
        if self.head <= believed < self.head + every:
            self._follows_snapshot = False
        least = believed + 1 if self._follows_snapshot else self.head + every
        if self._blocks.is_cut_off(self.elapsed_ms):
            least = self.head + 1
        actions = self._state.aim(least, believed, self.elapsed_ms)
        return [*actions, *self._blocks.hold(self._state.holds(self.elapsed_ms), self.elapsed_ms)]

    def _follow(self, actions: Sequence[state_sync.Action | catch_up.Action]) -> list[io.Output]:
        outputs: list[io.Output] = []
        waiting = deque(actions)
        while waiting:
            action = waiting.popleft()
            match action:
                case catch_up.Ask(peer, request):
                    outputs.append(io.SendTo(peer, request))
                case state_sync.AskPart(peer, part):
                    outputs.append(io.SendTo(peer, part))
                case sources.Punish(peer, fault):
                    outputs.append(io.PunishPeer(peer, fault))
                case catch_up.Apply(peer, blocks):
                    self.importer.offer(peer, blocks)
                case state_sync.Judge():
                    waiting.extend(self._judge(action, outputs))
                case _:
                    assert_never(action)
        return outputs

    def _judge(self, given: state_sync.Judge, outputs: list[io.Output]) -> list[state_sync.Action]:
        """Check a snapshot's file and stage what it holds, or blame its giver."""
        is_first = given.file == MANIFEST_FILE
        try:
            if is_first:
                self._assembly = self._begun(given)
            if self._assembly is None:
                raise AssertionError("a file came before its manifest")
            puts = self._assembly.begin() if is_first else self._assembly.take(given.content)
        except Refused as refusal:
            fault = PeerFault(refusal.code, refusal.message)
            if refusal.code == "BAD_MANIFEST":
                return self._give_up(fault, outputs)
            outputs.append(io.PunishPeer(given.peer, fault))
            return self._state.on_fault(given.peer, self.elapsed_ms)
        if is_first:
            self._manifest_giver = given.peer
        following = self._assembly.following
        outputs.append(io.StageSnapshot(tuple(puts), is_first, following is None))
        if following is None:
            outputs.append(io.AdoptSnapshot(given.height))
        return self._state.accepted(following, self.elapsed_ms)

    def _give_up(self, fault: PeerFault, outputs: list[io.Output]) -> list[state_sync.Action]:
        """The snapshot's manifest is false, though its file of now is not: begin with another."""
        self._assembly = None
        self._state.drop()
        if not self._manifest_giver:  # it was before a restart, and nobody knows who
            return self._state.tick(self.elapsed_ms)
        outputs.append(io.PunishPeer(self._manifest_giver, fault))
        return self._state.on_fault(self._manifest_giver, self.elapsed_ms)

    def _begun(self, given: state_sync.Judge) -> Assembly:
        """What a manifest begins; raises `Refused` `BAD_SNAPSHOT`."""
        if self._snapshots is None:
            raise AssertionError("a manifest came that nobody asked for")
        try:
            manifest = manifest_codec.decode(given.content)
        except Refused as refusal:
            raise Refused("BAD_SNAPSHOT", f"a manifest cannot be read ({refusal.code})") from None
        if manifest.height != given.height:
            raise Refused("BAD_SNAPSHOT", "it is of another height")
        assembly = Assembly(self._snapshots.trust, self._snapshots.vault, manifest)
        if assembly.validators.at(self.head + 1) != self._validators:
            raise Refused("BAD_SNAPSHOT", "its validators are not those of our own blocks")
        return assembly
