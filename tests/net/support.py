"""What the tests of the peer network share: keys, certificates, recorders, nodes, intruders."""

from __future__ import annotations

import asyncio
import dataclasses
import datetime
import random
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

from node.net import streams, tls
from node.net.handshake import WIRE_VERSION, Introduction
from node.net.limits import NetLimits
from node.net.peers import PeerAddress, PeerStats
from node.net.tls import Credential, TlsFiles
from node.net.transport import Transport
from node.protocol.domain import Chain
from node.protocol.encoding import sha256
from node.protocol.keys import PrivateKey
from node.protocol.messages import Message

NOW = datetime.datetime.now(datetime.UTC)
CHAIN = Chain("test", sha256(b"genesis"))
NETWORK = "net"
LOOPBACK = "127.0.0.1"
NOBODY_LISTENS = 1
QUICK = NetLimits(
    handshake_s=1.0,
    ping_interval_s=0.05,
    silence_max_s=5.0,
    redial_min_s=0.01,
    redial_max_s=0.05,
    fault_delay_s=0.4,
    fault_delay_max_s=0.8,
)
PATIENT = dataclasses.replace(QUICK, redial_min_s=60.0, redial_max_s=60.0)

KEYS = sorted(
    (PrivateKey.derive(bytes(32), f"node {i}") for i in range(4)), key=lambda k: k.public_key
)
STRANGER = PrivateKey.derive(bytes(32), "stranger")


@cache
def authority(name: str) -> Credential:
    return tls.make_authority(name, NOW)


@cache
def _credential(name: str, issuer: str) -> Credential:
    return tls.make_node_certificate(authority(issuer), name, (), NOW)


def credential(name: str, issuer: str = NETWORK) -> Credential:
    """One and the same for the same arguments."""
    return _credential(name, issuer)


def tls_files(folder: Path, shown: Credential, trusted: str = NETWORK) -> TlsFiles:
    """`shown` on disk, trusting the authority named `trusted`."""
    folder.mkdir(parents=True, exist_ok=True)
    result = TlsFiles.in_folder(folder)
    result.certificate.write_bytes(shown.certificate)
    result.key.write_bytes(shown.key)
    result.authority.write_bytes(authority(trusted).certificate)
    return result


@dataclass
class Recorder:
    """A handler that remembers; it waits at a closed `gate` and does `on_each` with a message."""

    events: list[tuple[str, bytes]] = field(default_factory=list)
    messages: list[tuple[bytes, Message]] = field(default_factory=list)
    gate: asyncio.Event | None = None
    on_each: Callable[[bytes, Message], None] | None = None

    def on_connected(self, peer: bytes) -> None:
        self.events.append(("up", peer))

    def on_disconnected(self, peer: bytes) -> None:
        self.events.append(("down", peer))

    async def on_message(self, peer: bytes, message: Message) -> None:
        if self.gate is not None:
            await self.gate.wait()
        self.messages.append((peer, message))
        if self.on_each is not None:
            self.on_each(peer, message)

    def received(self) -> list[Message]:
        return [message for _, message in self.messages]


@dataclass
class Node:
    """One transport with its recorder."""

    key: PrivateKey
    shown: Credential
    transport: Transport
    recorder: Recorder

    @property
    def public_key(self) -> bytes:
        return self.key.public_key

    @property
    def address(self) -> PeerAddress:
        return address_of(self.shown, self.transport.port)

    def about(self, other: Node) -> PeerStats:
        """This node's statistics of another."""
        return next(s for s in self.transport.stats() if s.public_key == other.public_key)


def address_of(shown: Credential, port: int) -> PeerAddress:
    return PeerAddress(LOOPBACK, port, tls.pem_fingerprint(shown.certificate))


class Network:
    """Makes nodes in `folder` and stops them all at the end."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.nodes: list[Node] = []
        self._watches: list[asyncio.Task[BaseException]] = []
        self._intruders: list[Intruder] = []

    async def node(
        self,
        index: int,
        *,
        port: int = 0,
        chain: Chain = CHAIN,
        shown: Credential | None = None,
        limits: NetLimits = QUICK,
    ) -> Node:
        """A node that listens and knows nobody yet."""
        shown = shown or credential(f"node{index}")
        recorder = Recorder()
        transport = Transport(
            chain,
            KEYS[index],
            tls_files(self.folder / str(len(self.nodes)), shown),
            (LOOPBACK, port),
            {},
            recorder,
            limits=limits,
            chance=random.Random(index),
        )
        node = Node(KEYS[index], shown, transport, recorder)
        self.nodes.append(node)
        await transport.start()
        self._watches.append(asyncio.create_task(transport.failure()))
        return node

    async def pair(self, limits: NetLimits = QUICK) -> tuple[Node, Node]:
        """Two connected nodes; the first has the smaller key and is the dialer."""
        first, second = await self.mesh(2, limits)
        return first, second

    async def mesh(self, size: int, limits: NetLimits = QUICK) -> list[Node]:
        """Connected nodes, ascending by key; of each pair only the smaller one dials."""
        nodes = [await self.node(index, limits=limits) for index in range(size)]
        introduce_one_way(*nodes)
        await all_connected(*nodes)
        return nodes

    async def intrude(self, target: Node, shown: Credential, trusted: str = NETWORK) -> Intruder:
        """A raw TLS connection to a node, showing a certificate."""
        files = tls_files(self.folder / "intruder", shown, trusted)
        context = tls.client_context(files)
        reader, writer = await streams.dial(LOOPBACK, target.transport.port, context, 2.0)
        self._intruders.append(Intruder(reader, writer))
        return self._intruders[-1]

    def failures(self) -> list[BaseException]:
        """Exceptions that transports reported as their own bugs."""
        return [watch.result() for watch in self._watches if watch.done()]

    def forgive(self) -> None:
        """The failures so far were provoked."""
        self._watches = [watch for watch in self._watches if not watch.done()]

    async def __aenter__(self) -> Network:
        return self

    async def __aexit__(self, *_: object) -> None:
        for intruder in self._intruders:
            intruder.writer.transport.abort()
        for node in self.nodes:
            await node.transport.stop()
        for watch in self._watches:
            watch.cancel()


@dataclass
class Intruder:
    """The dialer's end of a connection that does not follow the rules."""

    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter

    async def is_cut_off(self) -> bool:
        """Wait for the node to hang up."""
        try:
            async with asyncio.timeout(3):
                while await self.reader.read(65_536):
                    pass
        except TimeoutError:
            return False
        except OSError:
            pass
        self.writer.transport.abort()
        return True


def introduction(public_key: bytes, nonce: bytes = bytes(32), chain: Chain = CHAIN) -> Introduction:
    return Introduction(WIRE_VERSION, chain.network, public_key, nonce)


def introduce(*nodes: Node) -> None:
    """Everybody allows and dials everybody, from now on."""
    peers = {node.public_key: node.address for node in nodes}
    for node in nodes:
        node.transport.set_peers(peers)


def introduce_one_way(*nodes: Node) -> None:
    """The same, but of each pair only the node with the smaller key finds the other."""
    for node in nodes:
        node.transport.set_peers(
            {
                other.public_key: other.address
                if node.public_key < other.public_key
                else address_of(other.shown, NOBODY_LISTENS)
                for other in nodes
            }
        )


async def until(condition: Callable[[], object], seconds: float = 5.0) -> None:
    """Wait for a condition; TimeoutError if it does not come true."""
    async with asyncio.timeout(seconds):
        while not condition():  # noqa: ASYNC110 (what is outside sets no event)
            await asyncio.sleep(0.002)


async def all_connected(*nodes: Node) -> None:
    await until(lambda: all(len(n.transport.connected) == len(nodes) - 1 for n in nodes))
