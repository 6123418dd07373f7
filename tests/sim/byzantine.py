"""Byzantine members: real nodes whose every message passes through a mind that lies.

All traitors of a run share one mind, their keys and what they hear. It twists what their engines
send (each peer may get something else), and now and then sends something of its own: forged,
replayed, moved to another height or view. What is well signed is signed with traitors' keys only;
so nothing but the protocol's rules stops it. The lies themselves are made in `lies`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from random import Random

from node.protocol.messages import (
    BlockRange,
    CertifiedHeader,
    Commit,
    Head,
    Message,
    Prepare,
    PrePrepare,
    Transactions,
    ViewChange,
)
from tests.sim import ports
from tests.sim.cast import Cast
from tests.sim.lies import Lies
from tests.sim.node import SimNode
from tests.sim.scheduler import Scheduler

SEEN_MAX = 300
VICES = (0.1, 0.4, 0.9)
RARE_CHANCE = 0.8
SILENT = 0.15
INTERVALS_MS = (300, 1_000, 3_000)
SECOND_VOTE_MS = (5, 60)
THIRD_VOTE_MS = (60, 300)
DAWDLE = (0.3, 0.95)

DEEDS: dict[type[Message], tuple[str, ...]] = {
    PrePrepare: (
        "equivocate",
        "equivocate",
        "wrong_result",
        "missing_body",
        "mask",
        "unjustified",
        "dawdle",
        "withhold",
    ),
    Prepare: ("wrong_block", "withhold", "other_view", "double"),
    Commit: ("wrong_block", "withhold", "other_view", "double"),
    ViewChange: ("huge_view", "unproved", "false_proof", "deny", "withhold"),
    Transactions: ("withhold", "spoil"),
    BlockRange: ("alter_block", "unseal", "wrong_range", "withhold"),
    Head: ("false_head", "withhold"),
    CertifiedHeader: ("false_certificate", "withhold"),
}
"""What may be done to a message of each kind, instead of sending it to everybody as it is."""

ACTS = (
    "replay",
    "cross_height",
    "cross_view",
    "forge",
    "slander",
    "flood",
    "false_certificate",
    "mixed_certificate",
    "huge_view",
    "usurp",
    "stuff",
    "pester",
)
"""What a traitor does out of the blue."""


class Mind:
    """What the traitors of one run know together, and what they do with it."""

    def __init__(
        self,
        cast: Cast,
        network: ports.Network,
        scheduler: Scheduler,
        chance: Random,
        counts: Counter[str],
        note: Callable[[str], None],
    ) -> None:
        """All that the byzantine of `cast` have is theirs together."""
        self._chain = cast.genesis.chain
        self._owners = cast.owners
        self._network = network
        self._scheduler = scheduler
        self._chance = chance
        self._counts = counts
        self._note = note
        self._nodes: dict[int, SimNode] = {}
        self._vice = chance.choice(VICES)
        self._interval_ms = chance.choice(INTERVALS_MS)
        self._sides: dict[tuple[int, int], tuple[bytes, bytes, frozenset[int]]] = {}
        self._seen: list[Message] = []
        self._peaceful = False
        self._silent = False
        self._base_ms = cast.genesis.timeouts.base_ms
        self._lies = Lies(cast, chance)

    def own(self, node: SimNode) -> None:
        """Take possession of a node."""
        self._nodes[node.number] = node

    def start(self) -> None:
        """Begin to act."""
        if self._nodes:
            self._act_later()

    def make_peace(self, *, silent: bool) -> None:
        """Clients are to be served now: no more rubbish to be booked. All else goes on.

        Unless they fall `silent`, which they may at any time and now and then do now.
        """
        self._peaceful = True
        self._silent = silent or self._chance.random() < SILENT
        if self._silent and self._nodes:
            self._note("the byzantine fall silent")

    def see(self, message: Message) -> None:
        """Learn from a message that some traitor received."""
        if isinstance(message, Prepare | Commit | ViewChange | PrePrepare | BlockRange):
            self._seen.append(message)
            del self._seen[:-SEEN_MAX]

    # ---- twisting what the engines send

    def send(self, source: int, targets: Sequence[int], message: Message) -> None:
        """What becomes of a message that a traitor's engine wants to send."""
        if self._silent:
            return
        deeds = DEEDS.get(type(message), ())
        if isinstance(message, Prepare | Commit) and self._vote_both_ways(source, targets, message):
            return
        vice = self._vice
        if isinstance(message, PrePrepare) and message.prepares:
            # Somebody may have committed this block: no better moment to replace it.
            deeds, vice = ("mask", "mask", "unjustified"), RARE_CHANCE
        if not deeds or self._chance.random() >= vice:
            self._network.send(source, targets, message)
            return
        deed = self._chance.choice(deeds)
        node = self._nodes[source]
        if deed == "equivocate" and isinstance(message, PrePrepare):
            self._equivocate(node, targets, message)
            return
        if deed in ("withhold", "dawdle"):
            self._did(node, deed)
            self._hold_back(node, targets, message, deed)
            return
        lie: Message | None = getattr(self._lies, deed)(node, message, self._seen)
        if lie is None:
            self._network.send(source, targets, message)
            return
        self._did(node, deed)
        share = self._chance.choice((0.5, 1.0))
        deceived = [target for target in targets if self._chance.random() < share]
        rest = [target for target in targets if target not in deceived]
        self._network.send(source, deceived, lie)
        both = deed == "double" or self._chance.random() < 0.2
        self._network.send(source, targets if both else rest, message)
        if isinstance(message, PrePrepare) and isinstance(lie, PrePrepare):
            self._support(message, lie, frozenset(deceived))

    def _hold_back(
        self, node: SimNode, targets: Sequence[int], message: Message, deed: str
    ) -> None:
        """Send it to some only, or to all just before they would have given up."""
        if deed == "dawdle":
            delay_ms = int(self._base_ms * self._chance.uniform(*DAWDLE))
            self._scheduler.after(
                delay_ms, lambda: self._network.send(node.number, targets, message)
            )
        elif not isinstance(message, BlockRange):
            some = [target for target in targets if self._chance.random() < 0.5]
            self._network.send(node.number, some, message)

    def _equivocate(self, node: SimNode, targets: Sequence[int], message: PrePrepare) -> None:
        """Two good proposals, one for each half; then all traitors vote for both of them."""
        rival = self._lies.rival(node, message)
        place = (message.height, message.view)
        if rival is None or place in self._sides:
            self._network.send(node.number, targets, message)
            return
        self._did(node, "equivocate")
        others = [n for n in range(len(self._owners)) if n not in self._nodes]
        half = frozenset(self._chance.sample(others, len(others) // 2))
        self._network.send(node.number, [t for t in targets if t not in half], message)
        self._network.send(node.number, [t for t in targets if t in half], rival)
        if self._chance.random() < 0.3:
            self._network.send(node.number, targets, rival)
        self._support(message, rival, half)

    def _support(self, first: PrePrepare, second: PrePrepare, half: frozenset[int]) -> None:
        """All traitors vote for both proposals: to those in `half` for the second one."""
        place = (first.height, first.view)
        ids = (first.header.id(self._chain), second.header.id(self._chain))
        if self._sides.setdefault(place, (*ids, half))[:2] != ids:
            return
        for kind, span_ms in ((Prepare, SECOND_VOTE_MS), (Commit, THIRD_VOTE_MS)):
            for traitor in self._nodes.values():
                vote = kind(*place, ids[0], traitor.public_key, b"")
                self._vote_later(traitor, vote, span_ms)

    def _vote_later(self, node: SimNode, vote: Prepare | Commit, span_ms: tuple[int, int]) -> None:
        def perform() -> None:
            if node.up and not self._silent:
                targets = self._network.peers_of(node.number)
                self._vote_both_ways(node.number, targets, vote)

        self._scheduler.after(self._chance.randint(*span_ms), perform)

    def _vote_both_ways(self, source: int, targets: Sequence[int], vote: Prepare | Commit) -> bool:
        """Where rivals are about, tell each half what it likes to hear; whether they are."""
        sides = self._sides.get((vote.height, vote.view))
        if sides is None:
            return False
        first, second, half = sides
        for block_id, group in (
            (first, [target for target in targets if target not in half]),
            (second, [target for target in targets if target in half]),
        ):
            self._network.send(source, group, self._lies.voted(vote, block_id))
        self._did(self._nodes[source], "two_faced_vote")
        return True

    # ---- acts out of the blue

    def _act_later(self) -> None:
        delay_ms = int(self._chance.expovariate(1 / self._interval_ms)) + 1
        self._scheduler.after(delay_ms, self._act)

    def _act(self) -> None:
        node = self._chance.choice(list(self._nodes.values()))
        act = self._chance.choice(ACTS)
        if node.up and not self._silent and not (self._peaceful and act == "flood"):
            self._perform(node, act, share=0.6)
        self._act_later()

    def ambush(self) -> None:
        """Somebody is alone in holding a final block: no better moment for another one."""
        for node in self._nodes.values():
            if node.up:
                self._perform(node, "usurp", share=1.0)

    def _perform(self, node: SimNode, act: str, share: float) -> None:
        """Tell a lie to a share of the peers."""
        told = getattr(self._lies, act)(node, None, self._seen)
        peers = self._network.peers_of(node.number)
        targets = [peer for peer in peers if self._chance.random() < share]
        if told is None or not targets:
            return
        self._did(node, act)
        for lie in told if isinstance(told, list) else [told]:
            self._network.send(node.number, targets, lie)
            if isinstance(lie, PrePrepare) and act == "usurp":
                self._support(lie, lie, frozenset())

    def _did(self, node: SimNode, deed: str) -> None:
        self._counts[f"deeds {deed}"] += 1
        self._note(f"{node.name} betrays: {deed}")


class Betrayed:
    """The network as a traitor's node sees it: what it sends goes through the mind."""

    def __init__(self, network: ports.Network, mind: Mind) -> None:
        self.send = mind.send
        self.peers_of = network.peers_of
        self.dial = network.dial
        self.relist = network.relist
        self.break_off = network.break_off
        self.went_down = network.went_down
