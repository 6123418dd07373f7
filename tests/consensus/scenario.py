"""The language of the scenario files: commands above `----`, what they cause below it.

One line of output is one effect; nodes that show the same effect within one block share a line, at
the place of the first. `GROAT_REWRITE_SCENARIOS=1` writes the outcome into the files, so that the
reviewer reads the diff. The commands are the `do_` methods below; nodes are numbers from 0.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterable
from pathlib import Path

from node.consensus import events as e
from node.consensus.recovery import record_codec
from node.protocol.messages import (
    CertifiedHeader,
    Commit,
    ConsensusMessage,
    Prepare,
    PrePrepare,
    ViewChange,
)
from node.protocol.validators import ValidatorSet
from tests.consensus.cluster import CHAIN, INDEX, KEYS, Cluster, Forwarded, Node
from tests.consensus.forge import Forger

TYPES = {
    "pre_prepare": PrePrepare,
    "prepare": Prepare,
    "commit": Commit,
    "view_change": ViewChange,
    "final": CertifiedHeader,
    "transactions": Forwarded,
}


def run_scenario(path: Path, rewrite: bool) -> tuple[str, str]:
    """Run one file; its text, and what its text should be. With `rewrite` the file is replaced."""
    text = path.read_text()
    scenario = Scenario()
    parts = []
    for part in re.split(r"\n\n+", text.strip()):
        if "\n----" not in part:
            parts.append(part)
            continue
        commands = part.split("\n----")[0]
        outcome = scenario.run(commands.splitlines())
        parts.append("\n".join([commands, "----", *outcome]))
    actual = "\n\n".join(parts) + "\n"
    if rewrite:
        path.write_text(actual)
    return text, actual


class Scenario:
    """One cluster and the trace of what its nodes do."""

    def __init__(self) -> None:
        self.cluster = Cluster(4, trace=self._trace)
        self._lines: dict[str, list[int]] = {}
        self._quiet = False

    def run(self, commands: Iterable[str]) -> list[str]:
        """Carry out the commands of one block; the lines that they caused."""
        self._lines = {}
        for line in commands:
            words = shlex.split(line, comments=True)
            if not words:
                continue
            self._quiet = words[0] == "quiet"
            command, *rest = words[1:] if self._quiet else words
            options = dict(word.split("=", 1) for word in rest if "=" in word)
            arguments = [word for word in rest if "=" not in word]
            getattr(self, f"do_{command}")(arguments, options)
        lines = []
        for text, nodes in self._lines.items():
            shown = sorted(set(nodes))
            lines.append(" ".join([*map(str, shown), text]))
        return lines

    def say(self, index: int | None, text: str) -> None:
        """Add one line of outcome."""
        if not self._quiet:
            self._lines.setdefault(text, []).extend([] if index is None else [index])

    # ---- commands: the world

    def do_cluster(self, _: list[str], options: dict[str, str]) -> None:
        """`cluster n=4 [more_than=2] [observers=1]`: start anew."""
        self.cluster = Cluster(
            int(options.get("n", 4)),
            more_than=int(options.get("more_than", 0)),
            observers=int(options.get("observers", 0)),
            trace=self._trace,
        )

    def do_validators(self, arguments: list[str], options: dict[str, str]) -> None:
        """`validators 0 1 2 3 4 from=3 [more_than=..]`: the set from a height on."""
        members = tuple(KEYS[int(word)].public_key for word in arguments)
        more_than = int(options.get("more_than", 0))
        self.cluster.sets[int(options["from"])] = ValidatorSet(members, more_than)

    def do_submit(self, arguments: list[str], options: dict[str, str]) -> None:
        """`submit a b [to=0,1]`: nodes, all by default, learn of transactions."""
        for index in self._nodes(options.get("to")):
            self.cluster.submit(index, arguments)

    def do_pending(self, arguments: list[str], options: dict[str, str]) -> None:
        """`pending 0`: node 0 believes that something waits, though nothing can be ordered."""
        for index in map(int, arguments):
            self.cluster.feed(index, e.PendingChanged(True))

    def do_deliver(self, _: list[str], options: dict[str, str]) -> None:
        """`deliver [only=TYPES] [drop=TYPES] [from=..] [to=..]`: until nothing is under way.

        Packets that the filters do not name stay under way; dropped ones are lost.
        """
        dropped = [TYPES[word] for word in _list(options.get("drop"))]
        only = [TYPES[word] for word in _list(options.get("only"))]
        sources, targets = self._nodes(options.get("from")), self._nodes(options.get("to"))
        while True:
            for packet in self.cluster.packets:
                if packet.source not in sources or packet.target not in targets:
                    continue
                if type(packet.message) in dropped or not only or type(packet.message) in only:
                    break
            else:
                return
            self.cluster.packets.remove(packet)
            if type(packet.message) not in dropped:
                self.cluster.arrive(packet)

    def do_drop(self, _: list[str], options: dict[str, str]) -> None:
        """`drop`: lose everything under way."""
        self.cluster.packets.clear()

    def do_timeout(self, arguments: list[str], options: dict[str, str]) -> None:
        """`timeout 1 2 3`: their timers run out."""
        for index in map(int, arguments):
            if not self.cluster.fire(index):
                self.say(index, "no timer runs")

    def do_tick(self, arguments: list[str], options: dict[str, str]) -> None:
        """`tick [0 1]`: a second passes for these nodes, all by default."""
        for index in map(int, arguments) if arguments else self._nodes(None):
            self.cluster.feed(index, e.Tick())

    def do_advance(self, arguments: list[str], options: dict[str, str]) -> None:
        """`advance 3000`: the clocks go on; timers run out only by `timeout`."""
        self.cluster.now_ms += int(arguments[0])

    def do_clock(self, arguments: list[str], options: dict[str, str]) -> None:
        """`clock 1 5000`: node 1's clock is 5 s ahead."""
        self.cluster.nodes[int(arguments[0])].skew_ms = int(arguments[1])

    def do_crash(self, arguments: list[str], options: dict[str, str]) -> None:
        """`crash 0 [after=persist]`: at once, or right after its next record is on disk."""
        for index in map(int, arguments):
            if options.get("after") == "persist":
                self.cluster.nodes[index].crash_after = e.Persist
            else:
                self.cluster.crash(index)

    def do_restart(self, arguments: list[str], options: dict[str, str]) -> None:
        """`restart 0`: from its disk; like an engine, it begins with a tick."""
        for index in map(int, arguments):
            self.cluster.start(index)
            self.cluster.feed(index, e.Tick())

    def do_lose_votes(self, arguments: list[str], options: dict[str, str]) -> None:
        """`lose_votes 0`: someone emptied its vote log."""
        self.cluster.nodes[int(arguments[0])].records.clear()

    def do_partition(self, arguments: list[str], options: dict[str, str]) -> None:
        """`partition 0,1 2,3`: only nodes of one group reach each other."""
        self.cluster.groups = [set(self._nodes(word)) for word in arguments]

    def do_heal(self, arguments: list[str], options: dict[str, str]) -> None:
        """`heal`: everybody reaches everybody again."""
        self.cluster.groups = None

    def do_connect(self, arguments: list[str], options: dict[str, str]) -> None:
        """`connect 0 3`: node 0 sees peer 3 come."""
        first, second = map(int, arguments)
        self.cluster.feed(first, e.PeerConnected(KEYS[second].public_key))

    def do_execution(self, arguments: list[str], options: dict[str, str]) -> None:
        """`execution 2 differs|invalid|poison|hold|matches`: what executing shows there."""
        self.cluster.nodes[int(arguments[0])].execution = arguments[1]

    def do_release(self, arguments: list[str], options: dict[str, str]) -> None:
        """`release 2`: the held execution ends."""
        self.cluster.release(int(arguments[0]))

    def do_catch_up(self, arguments: list[str], options: dict[str, str]) -> None:
        """`catch_up 3 from=0`: fetch and store the missing blocks."""
        self.cluster.catch_up(int(arguments[0]), int(options["from"]))

    def do_status(self, arguments: list[str], options: dict[str, str]) -> None:
        """`status`: height, view and leader of each node."""
        for node in self.cluster.nodes:
            self.say(node.index, self._status(node))

    def _status(self, node: Node) -> str:
        if node.halted:
            return "halted"
        if node.replica is None:
            return "down"
        replica = node.replica
        leader = INDEX[replica.leader]
        timer = "timer" if node.timer else "no timer"
        return f"at h{replica.height} v{replica.view} leader={leader} {timer}"

    def do_forge(self, arguments: list[str], options: dict[str, str]) -> None:
        """`forge KIND by=3 to=0,1 ...`: any message signed by member 3, sent by it (or `via`)."""
        message = Forger(self.cluster, options).make(arguments[0])
        source = int(options.get("via", options.get("by", "0")))
        for index in self._nodes(options.get("to")):
            self.cluster.feed(index, e.MessageReceived(KEYS[source].public_key, message))

    # ---- trace

    def _nodes(self, words: str | None) -> list[int]:
        return [int(w) for w in words.split(",")] if words else list(range(len(self.cluster.nodes)))

    def _trace(self, index: int, effect: e.Effect) -> None:
        text = self._describe(effect)
        if text:
            self.say(index, text)

    def _describe(self, effect: e.Effect) -> str:
        match effect:
            case e.Persist(record):
                return f"persist {self._message(record_codec.decode(record).vote)}"
            case e.Broadcast(message):
                return f"broadcast {self._message(message)}"
            case e.Send(to, message):
                return f"send to {INDEX[to]}: {self._message(message)}"
            case e.BuildProposal(height, view, _, allow_empty):
                return f"build h{height} v{view}{' even if empty' if allow_empty else ''}"
            case e.ExecuteProposal(header, _, peer):
                return f"execute {self._block(header.id(CHAIN))} bodies from {INDEX[peer]}"
            case e.CommitBlock(header, _, certificate):
                seals = ",".join(str(i) for i in sorted(INDEX[s.signer] for s in certificate.seals))
                block = self._block(header.id(CHAIN))
                return f"COMMIT h{header.height} v{certificate.view} {block} sealed by {seals}"
            case e.SetTimer(_, delay_ms):
                return f"set timer {delay_ms}"
            case e.CancelTimer():
                return "cancel timer"
            case e.ForwardPending():
                return "forward pending"
            case e.RequestCatchUp(peer, height):
                return f"catch up to h{height} from {INDEX[peer]}"
            case e.ReportEvidence(first, second):
                return f"EVIDENCE {self._message(first)} / {self._message(second)}"
            case e.ReportDissent(dissent):
                return f"dissent of {INDEX[dissent.signer]} in v{dissent.view}"
            case e.ReportPeer(peer, code, message):
                return f"blame {INDEX[peer]} {code}: {message}"
            case e.Alarm(code, message):
                return f"ALARM {code}: {message}"
            case e.Halt(code):
                return f"HALT {code}"
            case e.TrimVotes():
                return ""

    def _message(self, message: ConsensusMessage) -> str:
        match message:
            case PrePrepare(view, header):
                return f"pre_prepare h{header.height} v{view} {self._block(header.id(CHAIN))}"
            case Prepare(height, view, block_id):
                return f"prepare h{height} v{view} {self._block(block_id)}"
            case Commit(height, view, block_id):
                return f"commit h{height} v{view} {self._block(block_id)}"
            case ViewChange(height, view, prepared, block_id):
                claim = f" prepared v{prepared} {self._block(block_id)}" if block_id else ""
                return f"view_change h{height} v{view}{claim}"
            case CertifiedHeader(header):
                return f"final h{header.height} {self._block(header.id(CHAIN))}"
            case _:
                return f"dissent h{message.height} v{message.view} {self._block(message.block_id)}"

    def _block(self, block_id: bytes) -> str:
        names = self.cluster.bodies.get(block_id)
        return "[?]" if names is None else f"[{''.join(names)}]"


def _list(words: str | None) -> list[str]:
    return words.split(",") if words else []
