"""A cluster of real replicas in memory: a network, disks, clocks and a toy execution around them.

Transactions are names, their result is a hash over all names so far, so equal order gives equal
roots. Everything a replica asks for is carried out effect by effect, and a node can crash after any
of them. Checked on the way, always: one block a height, certificates valid, no member contradicts
itself. Time and chance are the caller's.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field

from node.consensus import events as e
from node.consensus.replica import Replica
from node.consensus.votes import SignedVote
from node.protocol.block import BlockHeader, CommitCertificate, check_certificate
from node.protocol.domain import Chain
from node.protocol.encoding import sha256
from node.protocol.keys import PrivateKey
from node.protocol.messages import CertifiedHeader, ConsensusMessage, message_digest
from node.protocol.proofs import merkle_root
from node.protocol.validators import ValidatorSet

CHAIN = Chain("scenario", sha256(b"genesis"))
TIMEOUTS = e.Timeouts(1_000, 8_000)
START_MS = 1_000_000
KEYS = [PrivateKey(sha256(b"member %d" % index)) for index in range(10)]
INDEX = {key.public_key: index for index, key in enumerate(KEYS)}


@dataclass(frozen=True)
class Forwarded:
    """Stands for a frame of transactions on the toy network."""

    names: tuple[str, ...]


@dataclass
class Packet:
    """A message under way."""

    source: int
    target: int
    message: ConsensusMessage | Forwarded


@dataclass
class Node:
    """One process: what survives a crash (`records`, `blocks`) and what does not."""

    index: int
    key: PrivateKey
    replica: Replica | None = None
    records: list[tuple[int, bytes]] = field(default_factory=list)
    blocks: list[tuple[BlockHeader, CommitCertificate]] = field(default_factory=list)
    mempool: list[str] = field(default_factory=list)
    timer: tuple[int, int] | None = None
    skew_ms: int = 0
    execution: str = "matches"
    held: list[e.ExecuteProposal] = field(default_factory=list)
    crash_after: type[e.Item] | None = None
    effects_left: int | None = None
    ready: bytes | None = None
    halted: bool = False

    @property
    def head(self) -> BlockHeader | None:
        """The last stored block's header."""
        return self.blocks[-1][0] if self.blocks else None


class Cluster:
    """`size` members, and `observers` more nodes that only listen until a set names them."""

    def __init__(
        self,
        size: int,
        *,
        more_than: int = 0,
        observers: int = 0,
        trace: Callable[[int, e.Effect], None] | None = None,
    ) -> None:
        self.sets = {1: ValidatorSet(tuple(k.public_key for k in KEYS[:size]), more_than)}
        self.nodes = [Node(index, KEYS[index]) for index in range(size + observers)]
        self.packets: list[Packet] = []
        self.now_ms = START_MS
        self.groups: list[set[int]] | None = None
        self.trace = trace
        self.bodies: dict[bytes, tuple[str, ...]] = {}
        self.headers: dict[bytes, BlockHeader] = {}
        self.final: dict[int, bytes] = {}
        self.signed: dict[tuple[bytes, type[SignedVote], int, int], bytes] = {}
        self.byzantine: set[int] = set()
        for node in self.nodes:
            self.start(node.index)

    # ---- the world around

    def validators(self, height: int) -> ValidatorSet:
        """The set of a height."""
        return self.sets[max(start for start in self.sets if start <= height)]

    def start(self, index: int) -> None:
        """Start, or start again from what the disk kept."""
        node = self.nodes[index]
        height = len(node.blocks) + 1
        records = [record for _, record in node.records]
        certificate = node.blocks[-1][1] if node.blocks else None
        node.replica = Replica(
            CHAIN, node.key, self.validators(height), node.head, TIMEOUTS, records, certificate
        )
        node.mempool, node.timer, node.held = [], None, []
        node.crash_after, node.effects_left, node.ready = None, None, None

    def crash(self, index: int) -> None:
        """Lose all that is not on disk, and whatever is under way to it."""
        self.nodes[index].replica = None
        self.nodes[index].timer = None
        self.packets = [packet for packet in self.packets if packet.target != index]

    def feed(self, index: int, *events: e.Event) -> None:
        """Give a running node events and carry out what follows, effect by effect."""
        node = self.nodes[index]
        todo = deque(events)
        while todo and node.replica is not None and not node.halted:
            for effect in node.replica.handle(todo.popleft(), self.now_ms + node.skew_ms):
                if node.effects_left == 0:
                    self.crash(index)
                    return
                if node.effects_left is not None:
                    node.effects_left -= 1
                if self.trace is not None:
                    self.trace(index, effect)
                todo.extend(self._perform(node, effect))
                if node.crash_after is type(effect):
                    self.crash(index)
                    return

    def _perform(self, node: Node, effect: e.Effect) -> list[e.Event]:
        """Carry out one effect; the events that answer it."""
        match effect:
            case e.Persist(record, block_id):
                assert block_id is None or block_id == node.ready
                node.records.append((len(node.blocks) + 1, record))
            case e.Broadcast(message):
                self._check_signed(node, message)
                for other in self.nodes:
                    self.send(node.index, other.index, message)
            case e.Send(to, message):
                self.send(node.index, INDEX[to], message)
            case e.BuildProposal():
                return [self._build(node, effect)]
            case e.ExecuteProposal():
                if node.execution != "hold":
                    return [self._execute(node, effect)]
                node.held = [effect]
            case e.CommitBlock(header, _, certificate):
                assert header.id(CHAIN) == node.ready
                return self._store(node, header, certificate)
            case e.SetTimer(token, delay_ms):
                assert node.timer is None, "two timers run"
                node.timer = (token, self.now_ms + delay_ms)
            case e.CancelTimer(token):
                assert node.timer is not None
                assert node.timer[0] == token
                node.timer = None
            case e.ForwardPending():
                for other in self.nodes:
                    self.send(node.index, other.index, Forwarded(tuple(node.mempool)))
            case e.TrimVotes(below_height):
                node.records = [r for r in node.records if r[0] >= below_height]
            case e.Halt():
                node.halted = True
        return []

    def send(self, source: int, target: int, message: ConsensusMessage | Forwarded) -> None:
        """Put a message on its way, unless the nodes are parted or the target is dead."""
        parted = self.groups is not None and not any({source, target} <= g for g in self.groups)
        if source != target and not parted and self.nodes[target].replica is not None:
            self.packets.append(Packet(source, target, message))

    def arrive(self, packet: Packet) -> None:
        """Hand a message, already taken from `packets`, to its target."""
        if isinstance(packet.message, Forwarded):
            self.submit(packet.target, packet.message.names)
        else:
            sender = KEYS[packet.source].public_key
            self.feed(packet.target, e.MessageReceived(sender, packet.message))

    def submit(self, index: int, names: Iterable[str]) -> None:
        """Let a node learn of transactions."""
        node = self.nodes[index]
        fresh = [
            name for name in names if name not in node.mempool and name not in self._done(node)
        ]
        if node.replica is None or not fresh:
            return
        node.mempool += fresh
        self.feed(index, e.PendingChanged(True))

    def fire(self, index: int) -> bool:
        """Let the running timer of a node expire; False if none runs."""
        node = self.nodes[index]
        if node.timer is None:
            return False
        token, node.timer = node.timer[0], None
        self.feed(index, e.TimerFired(token))
        return True

    def release(self, index: int) -> None:
        """Finish the execution that a holding node was asked for."""
        node = self.nodes[index]
        node.execution = "matches"
        held, node.held = node.held, []
        for request in held:
            self.feed(index, self._execute(node, request))

    def catch_up(self, index: int, source: int) -> None:
        """Give a node the blocks that another one has stored."""
        node = self.nodes[index]
        blocks = self.nodes[source].blocks
        while node.replica is not None and not node.halted and len(node.blocks) < len(blocks):
            self.feed(index, *self._store(node, *blocks[len(node.blocks)]))

    # ---- toy execution

    def _done(self, node: Node) -> set[str]:
        return {name for header, _ in node.blocks for name in self.bodies[header.id(CHAIN)]}

    def hashes(self, names: Sequence[str]) -> tuple[bytes, ...]:
        """Content hashes of toy transactions."""
        return tuple(sha256(name.encode()) for name in names)

    def header(
        self,
        proposer: int,
        height: int,
        parent: BlockHeader | None,
        names: Sequence[str],
        ms: int,
        salt: bytes = b"",
    ) -> BlockHeader:
        """The header of the block with these transactions on top of `parent`; a salt spoils it."""
        hashes = self.hashes(names)
        before = CHAIN.genesis_hash if parent is None else parent.state_root
        header = BlockHeader(
            version=1,
            height=height,
            time_ms=ms,
            parent=CHAIN.genesis_hash if parent is None else parent.id(CHAIN),
            transactions_root=merkle_root(hashes),
            receipts_root=sha256(b"receipts"),
            state_root=sha256(before + b"".join(hashes) + salt),
            next_validators_hash=self.validators(height + 1).hash,
            proposer=KEYS[proposer].public_key,
        )
        self.bodies[header.id(CHAIN)] = tuple(names)
        self.headers[header.id(CHAIN)] = header
        return header

    def _build(self, node: Node, request: e.BuildProposal) -> e.ProposalBuilt:
        if not node.mempool and not request.allow_empty:
            return e.ProposalBuilt(request.height, request.view, None, ())
        head_ms = 0 if node.head is None else node.head.time_ms
        ms = max(self.now_ms + node.skew_ms, head_ms + 1)
        salt = b"mine" if node.execution == "differs" else b""
        parent = request.parent
        header = self.header(node.index, request.height, parent, node.mempool, ms, salt)
        node.ready = header.id(CHAIN)
        return e.ProposalBuilt(request.height, request.view, header, self.hashes(node.mempool))

    def _execute(self, node: Node, request: e.ExecuteProposal) -> e.ProposalExecuted:
        block_id = request.header.id(CHAIN)
        assert merkle_root(request.transaction_hashes) == request.header.transactions_root
        if node.execution == "invalid":
            return e.ProposalExecuted(block_id, e.Outcome.INVALID)
        if node.execution == "poison":
            return e.ProposalExecuted(block_id, e.Outcome.UNAVAILABLE)
        before = CHAIN.genesis_hash if node.head is None else node.head.state_root
        salt = b"mine" if node.execution == "differs" else b""
        own_root = sha256(before + b"".join(request.transaction_hashes) + salt)
        if own_root != request.header.state_root:
            return e.ProposalExecuted(block_id, e.Outcome.DIFFERS, own_root)
        node.ready = block_id
        return e.ProposalExecuted(block_id, e.Outcome.MATCHES, own_root)

    def _store(
        self, node: Node, header: BlockHeader, certificate: CommitCertificate
    ) -> list[e.Event]:
        """Store a final block; what the replica is told of it, as the engine tells it."""
        block_id = header.id(CHAIN)
        assert header.height == len(node.blocks) + 1
        check_certificate(CHAIN, header, certificate, self.validators(header.height))
        assert self.final.setdefault(header.height, block_id) == block_id, "a fork"
        node.blocks.append((header, certificate))
        node.ready = None
        node.mempool = [name for name in node.mempool if name not in self._done(node)]
        following = self.validators(header.height + 1)
        return [
            e.PendingChanged(False),
            e.BlockCommitted(header, following, certificate),
            e.PendingChanged(bool(node.mempool)),
        ]

    def _check_signed(self, node: Node, message: ConsensusMessage) -> None:
        """No correct node signs two things for one (type, height, view), restarts or not."""
        if isinstance(message, CertifiedHeader) or node.index in self.byzantine:
            return
        key = (message.signer, type(message), message.height, message.view)
        digest = message_digest(CHAIN, message)
        assert self.signed.setdefault(key, digest) == digest, "a member contradicts itself"
