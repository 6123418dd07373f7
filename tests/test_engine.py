"""The engine among its peers: four real cores in memory, delivered message by message.

The faults that a cluster of honest nodes never shows: a contract with a bug, a node that computes
something else, a proposal whose transactions are missing, a peer that lies during catch-up.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping
from typing import Any

import msgspec
import pytest

from contracts.catalog import CONTRACTS
from contracts.kernel.context import Context
from contracts.kernel.contract import Action, Contract
from contracts.kernel.types import Args
from node import outputs as io
from node.admission import examine
from node.code import Library
from node.core import Core, open_core
from node.heads import Standing
from node.protocol.committee import CommitteeSecret
from node.protocol.domain import Chain
from node.protocol.errors import PeerFault
from node.protocol.genesis import Genesis
from node.protocol.messages import BlockRange, Head, Message, Transactions
from node.protocol.transaction import Call, Transaction, sign_transaction
from node.state.keyvalue import MemoryKeyValue
from tests.sim.world import SECRET, Shape, found, key_of, vault_of

GENESIS = found(Shape(size=4, more_than=2, base_ms=1_000, cap_ms=8_000))
START_MS = GENESIS.created_ms + 60_000
STEPS_MAX = 20_000
GYM = bytes(16)


class Node:
    """One core, with the outputs that its driver would perform."""

    def __init__(
        self,
        name: str,
        contracts: Library | Mapping[str, Contract],
        genesis: Genesis,
        secret: CommitteeSecret,
    ) -> None:
        self.key, self.vault = key_of(name), vault_of(name)
        self.genesis = genesis
        self.contracts = contracts
        self.secret = secret
        self.state_disk, self.vote_disk = MemoryKeyValue(), MemoryKeyValue()
        self.core = self.open()
        self.alarms: list[str] = []
        self.alarm_details: list[str] = []
        self.punished: list[PeerFault] = []
        self.halted = ""
        self.dropped: list[bytes] = []
        self.timers: dict[int, int] = {}

    def reopened(self) -> Core:
        """Started anew, with an empty database and the votes that were kept."""
        self.state_disk = MemoryKeyValue()
        return self.open()

    def open(self) -> Core:
        """What starts on the disks as they are."""
        disks = self.state_disk, self.vote_disk
        return open_core(self.genesis, self.contracts, self.key, self.secret, self.vault, *disks)

    @property
    def height(self) -> int:
        return self.core.store.head.height


class Cluster:
    """Four nodes, a queue of messages, and a clock that moves when told to."""

    def __init__(
        self,
        contracts: Mapping[str, Library | Mapping[str, Contract]] | None = None,
        genesis: Genesis = GENESIS,
        secret: CommitteeSecret = SECRET,
    ) -> None:
        """`contracts` by node, where they are not the usual; `secret` is what each starts with."""
        self.genesis = genesis
        self.nodes = {
            name: Node(name, (contracts or {}).get(name, CONTRACTS), genesis, secret)
            for name in [entry.name for entry in genesis.validators]
        }
        self.by_key = {node.key.public_key: node for node in self.nodes.values()}
        self.down: set[str] = set()
        self.drop: Callable[[Node, Node, Message], bool] = lambda source, target, message: False
        self.now_ms = START_MS
        self._queue: deque[tuple[Node, io.Input]] = deque()
        for node in self.nodes.values():
            self.perform(node, node.core.engine.start(self.now_ms))
        for node in self.nodes.values():
            for peer in self.nodes.values():
                if peer is not node:
                    self._queue.append((node, io.PeerConnected(peer.key.public_key)))
        self.run()

    def restart(self, name: str) -> None:
        """A new core on the node's disks, connected with everybody."""
        node = self.nodes[name]
        node.core, node.timers = node.open(), {}
        self.perform(node, node.core.engine.start(self.now_ms))
        for peer in self.nodes.values():
            if peer is not node:
                self._queue.append((node, io.PeerConnected(peer.key.public_key)))
                self._queue.append((peer, io.PeerDisconnected(node.key.public_key)))
                self._queue.append((peer, io.PeerConnected(node.key.public_key)))
        self.run()

    def standing(self, name: str) -> Standing:
        node = self.nodes[name]
        heads, key = node.core.engine.heads, node.key.public_key
        return heads.standing(key, node.height, GENESIS.validator_set, self.now_ms)

    def feed(self, name: str, event: io.Input) -> None:
        self._queue.append((self.nodes[name], event))
        self.run()

    def run(self) -> None:
        for _ in range(STEPS_MAX):
            if not self._queue:
                return
            node, event = self._queue.popleft()
            if not self._is_down(node) and not node.halted:
                self.perform(node, node.core.engine.handle(event, self.now_ms))
        raise AssertionError("the cluster does not come to rest")

    def perform(self, node: Node, outputs: list[io.Output]) -> None:
        for output in outputs:
            match output:
                case io.WriteVote(height, record):
                    node.core.votes.append(record, height)
                case io.TrimVotes(below_height):
                    node.core.votes.trim(below_height)
                case io.WriteBlock(height, batch):
                    node.core.store.commit(batch)
                    self._queue.append((node, io.BlockWritten(height)))
                case io.SendTo(peer, message):
                    self._deliver(node, self.by_key[peer], message)
                case io.SendToAll(message):
                    for target in self.nodes.values():
                        self._deliver(node, target, message)
                case io.Gossip(transactions):
                    raws = tuple(raw for _, raw in transactions)
                    for target in self.nodes.values():
                        self._deliver(node, target, Transactions(raws))
                case io.Verify(raws, origin):
                    self._queue.append((node, self.examined(node, raws, origin)))
                case io.SetTimer(token, delay_ms):
                    node.timers = {token: self.now_ms + delay_ms}
                case io.CancelTimer(token):
                    node.timers.pop(token, None)
                case io.PunishPeer(_, fault):
                    node.punished.append(fault)
                case io.Alarm(code, detail):
                    node.alarms.append(code)
                    node.alarm_details.append(detail)
                case io.Dropped(transaction_ids):
                    node.dropped += transaction_ids
                case io.Halt(code):
                    node.halted = code

    def examined(
        self, node: Node, raws: tuple[bytes, ...], origin: bytes | None, request: int = 0
    ) -> io.Examined:
        items = tuple((raw, examine(self.genesis.chain, node.core.opener, raw)) for raw in raws)
        return io.Examined(items, origin, request)

    def submit(self, name: str, *transactions: Transaction) -> None:
        raws = tuple(t.raw for t in transactions)
        self.feed(name, self.examined(self.nodes[name], raws, None, 1))

    def pass_time(self, milliseconds: int) -> None:
        """Move the clock in steps, firing timers and ticking, as a driver would."""
        for _ in range(milliseconds // 500):
            self.now_ms += 500
            for node in self.nodes.values():
                if self._is_down(node):
                    continue
                for token, at in list(node.timers.items()):
                    if at <= self.now_ms:
                        del node.timers[token]
                        self._queue.append((node, io.TimerElapsed(token)))
                self._queue.append((node, io.Tick()))
            self.run()

    def _deliver(self, source: Node, target: Node, message: Message) -> None:
        if target is source or self._is_down(target) or self.drop(source, target, message):
            return
        self._queue.append((target, io.PeerMessage(source.key.public_key, message)))

    def _is_down(self, node: Node) -> bool:
        return any(self.nodes[name] is node for name in self.down)

    @property
    def heights(self) -> list[int]:
        return [node.height for node in self.nodes.values()]

    def code_of(self, transaction: Transaction) -> str:
        store = next(iter(self.nodes.values())).core.store
        place = store.find(transaction.id)
        assert place is not None
        return store.receipts(place[0])[place[1]].code


_nonces = iter(range(1_000_000))


def transaction(
    sender: str,
    call: Call,
    valid_until: int = START_MS + 300_000,
    chain: Chain = GENESIS.chain,
) -> Transaction:
    nonce = next(_nonces).to_bytes(16, "big")
    return sign_transaction(chain, key_of(sender), nonce, valid_until, (call,))


def filing(identity: bytes = GYM) -> Transaction:
    bank = key_of("bank").public_key
    return transaction(
        "gym",
        Call("prepaid", "file_merchant", {"merchant": identity, "name": "Gym", "custodian": bank}),
    )


class Nothing(Args):
    """No arguments."""


def with_action(name: str, run: Callable[[Context, Any], dict[str, Any]]) -> dict[str, Contract]:
    """The real contracts, and one action more of the kernel."""
    kernel = CONTRACTS["kernel"]
    changed = {**kernel.actions, name: Action(Nothing, run)}
    fields = {f: getattr(kernel, f) for f in kernel.__dataclass_fields__}
    return {**CONTRACTS, "kernel": Contract(**{**fields, "actions": changed})}


def say(text: str) -> Callable[[Context, Any], dict[str, Any]]:
    def run(ctx: Context, _: Any) -> dict[str, Any]:
        ctx.emit("Said", {"text": text}, (ctx.sender.hex(),))
        return {"text": text}

    return run


def test_a_transaction_becomes_a_block_everywhere() -> None:
    cluster = Cluster()
    sent = filing()
    cluster.submit("node2", sent)
    assert cluster.heights == [1, 1, 1, 1]
    assert cluster.code_of(sent) == "OK"
    roots = {node.core.store.head.state_root for node in cluster.nodes.values()}
    assert len(roots) == 1


def test_the_same_transaction_again_is_answered_and_never_ordered_twice() -> None:
    cluster = Cluster()
    sent = filing()
    cluster.submit("node0", sent)
    cluster.submit("node1", sent)
    cluster.pass_time(5_000)
    assert cluster.heights == [1, 1, 1, 1]


def test_a_stranger_is_refused_at_the_door() -> None:
    cluster = Cluster()
    bank = key_of("bank").public_key
    call = Call("prepaid", "file_merchant", {"merchant": GYM, "name": "x", "custodian": bank})
    cluster.submit("node0", transaction("stranger", call))
    cluster.pass_time(3_000)
    assert cluster.heights == [0, 0, 0, 0]


def test_a_follower_fetches_what_it_never_heard_of() -> None:
    cluster = Cluster()
    deaf = cluster.nodes["node3"]
    cluster.drop = lambda source, target, message: (
        target is deaf and isinstance(message, Transactions) and source.height == 0 and lossy[0]
    )
    lossy = [True]
    cluster.submit("node0", filing())
    assert cluster.heights == [1, 1, 1, 0]
    lossy[0] = False
    cluster.pass_time(3_000)
    assert cluster.heights == [1, 1, 1, 1]


def test_one_wrong_node_is_outvoted_and_its_dissent_is_listed() -> None:
    right, wrong = with_action("say", say("right")), with_action("say", say("wrong"))
    # The kernel's state is the same; what differs is the receipt, on which the vote is as well.
    contracts = dict.fromkeys(("node0", "node1", "node2"), right) | {"node3": wrong}
    cluster = Cluster(contracts)
    cluster.submit("node0", transaction("gym", Call("kernel", "say", {})))
    assert cluster.heights[:3] == [1, 1, 1]
    for name in ("node0", "node1", "node2"):
        dissents = cluster.nodes[name].core.engine.evidence.dissents(1)
        assert [dissent.signer for dissent in dissents] == [key_of("node3").public_key]
    cluster.pass_time(3_000)
    assert cluster.nodes["node3"].halted == "DIVERGED"
    assert cluster.nodes["node3"].height == 0


def test_a_wrong_leader_gets_no_vote_and_is_replaced() -> None:
    right, wrong = with_action("say", say("right")), with_action("say", say("wrong"))
    contracts = dict.fromkeys(("node1", "node2", "node3"), right) | {"node0": wrong}
    cluster = Cluster(contracts)
    sent = transaction("gym", Call("kernel", "say", {}))
    cluster.submit("node0", sent)
    assert cluster.heights == [0, 0, 0, 0]
    cluster.pass_time(6_000)
    assert cluster.heights[1:] == [1, 1, 1]
    store = cluster.nodes["node1"].core.store
    block = store.block(1)
    assert block is not None
    assert block.header.proposer != key_of("node0").public_key
    assert store.receipts(1)[0].details == {"text": "right"}


def test_a_node_that_was_down_catches_up_by_executing() -> None:
    cluster = Cluster()
    cluster.down = {"node3"}
    for number in range(5):
        cluster.submit("node0", filing(number.to_bytes(16, "big")))
    assert cluster.heights == [5, 5, 5, 0]
    cluster.down = set()
    cluster.pass_time(5_000)
    assert cluster.heights == [5, 5, 5, 5]
    assert cluster.standing("node3").caught_up


@pytest.mark.parametrize("lie", ["body", "certificate", "header"])
def test_a_lying_peer_costs_itself_and_nothing_else(lie: str) -> None:
    cluster = Cluster()
    cluster.down = {"node3"}
    for number in range(3):
        cluster.submit("node0", filing(number.to_bytes(16, "big")))
    store = cluster.nodes["node0"].core.store
    blocks = [store.block(height) for height in (1, 2, 3)]
    forged = []
    for block in blocks:
        assert block is not None
        match lie:
            case "body":
                forged.append(msgspec.structs.replace(block, transactions=(filing().raw,)))
            case "certificate":
                seals = block.certificate.seals[:2]
                certificate = msgspec.structs.replace(block.certificate, seals=seals)
                forged.append(msgspec.structs.replace(block, certificate=certificate))
            case _:
                header = msgspec.structs.replace(block.header, state_root=bytes(32))
                forged.append(msgspec.structs.replace(block, header=header))
    liar = cluster.nodes["node1"]
    cluster.down = set()
    honest = cluster.drop
    cluster.drop = lambda source, target, message: (
        target is cluster.nodes["node3"] and (source is not liar or isinstance(message, BlockRange))
    )
    cluster.feed("node3", io.PeerMessage(liar.key.public_key, Head(3)))
    cluster.pass_time(1_000)
    cluster.feed("node3", io.PeerMessage(liar.key.public_key, BlockRange(tuple(forged), 3)))
    assert [fault.code for fault in cluster.nodes["node3"].punished] == ["BAD_BLOCK"]
    assert cluster.nodes["node3"].height == 0
    cluster.drop = honest
    cluster.pass_time(90_000)
    assert cluster.heights == [3, 3, 3, 3]
    assert not cluster.nodes["node3"].halted


def test_a_certified_block_with_another_result_here_halts_the_node() -> None:
    right, wrong = with_action("say", say("right")), with_action("say", say("wrong"))
    contracts = dict.fromkeys(("node0", "node1", "node2"), right) | {"node3": wrong}
    cluster = Cluster(contracts)
    cluster.down = {"node3"}
    cluster.submit("node0", transaction("gym", Call("kernel", "say", {})))
    cluster.down = set()
    cluster.pass_time(5_000)
    assert cluster.nodes["node3"].halted == "DIVERGED"
    assert cluster.nodes["node3"].height == 0


def test_an_expired_transaction_leaves_the_pool_and_is_never_ordered() -> None:
    cluster = Cluster()
    cluster.down = {"node2", "node3"}
    late = transaction("gym", Call("kernel", "enrol", {}), valid_until=START_MS + 2_000)
    cluster.submit("node0", late)
    assert len(cluster.nodes["node0"].core.engine.mempool) == 1
    cluster.pass_time(4_000)
    assert len(cluster.nodes["node0"].core.engine.mempool) == 0
    cluster.down = set()
    cluster.pass_time(20_000)
    assert all(node.core.store.find(late.id) is None for node in cluster.nodes.values())
