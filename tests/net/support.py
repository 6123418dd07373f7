"""What the tests of the peer network share: keys, certificates, recording handlers, real sockets."""

from __future__ import annotations

import asyncio
import datetime
import random
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

from node.net.limits import NetLimits
from node.net.peers import PeerAddress
from node.net.tls import (
    Credential,
    TlsFiles,
    make_authority,
    make_node_certificate,
    pem_fingerprint,
)
from node.net.transport import Transport
from node.protocol.domain import Chain
from node.protocol.encoding import sha256
from node.protocol.keys import PrivateKey
from node.protocol.messages import Message

NOW = datetime.datetime.now(datetime.UTC)
CHAIN = Chain("test", sha256(b"genesis"))
NETWORK = "net"
LOOPBACK = "127.0.0.1"
QUICK = NetLimits(
    handshake_s=1.0,
    ping_interval_s=0.05,
    silence_max_s=5.0,
    redial_min_s=0.01,
    redial_max_s=0.05,
    fault_delay_s=0.4,
    fault_delay_max_s=0.8,
)

KEYS = sorted(
    (PrivateKey.derive(bytes(32), f"node {i}") for i in range(4)), key=lambda k: k.public_key
)


@cache
def authority(name: str) -> Credential:
    return make_authority(name, NOW)


@cache
def _credential(name: str, issuer: str) -> Credential:
    return make_node_certificate(authority(issuer), name, (), NOW)


def credential(name: str, issuer: str = NETWORK) -> Credential:
    return _credential(name, issuer)


def files(folder: Path, shown: Credential, trusted: Credential | None = None) -> TlsFiles:
    """`shown` on disk, trusting `trusted` (the network's authority)."""
    folder.mkdir(parents=True, exist_ok=True)
    result = TlsFiles.in_folder(folder)
    result.certificate.write_bytes(shown.certificate)
    result.key.write_bytes(shown.key)
    result.authority.write_bytes((trusted or authority(NETWORK)).certificate)
    return result


@dataclass
class Recorder:
    """A handler that remembers, and on demand blocks or raises."""

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


@dataclass
class Node:
    """One transport with its recorder."""

    key: PrivateKey
    shown: Credential
    transport: Transport
    recorder: Recorder

    @property
    def address(self) -> PeerAddress:
        return PeerAddress(LOOPBACK, self.transport.port, pem_fingerprint(self.shown.certificate))


class Network:
    """Makes nodes in `folder` and stops them all at the end."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.nodes: list[Node] = []

    def node(
        self,
        index: int,
        *,
        port: int = 0,
        chain: Chain = CHAIN,
        shown: Credential | None = None,
        trusted: Credential | None = None,
        key: PrivateKey | None = None,
        limits: NetLimits = QUICK,
    ) -> Node:
        shown = shown or credential(f"node{index}")
        recorder = Recorder()
        key = key or KEYS[index]
        transport = Transport(
            chain,
            key,
            files(self.folder / f"{index}-{len(self.nodes)}", shown, trusted),
            (LOOPBACK, port),
            {},
            recorder,
            limits=limits,
            chance=random.Random(index),
        )
        node = Node(key, shown, transport, recorder)
        self.nodes.append(node)
        return node

    async def started(self, *indexes: int, limits: NetLimits = QUICK) -> list[Node]:
        """Nodes that listen and know nobody yet."""
        nodes = [self.node(index, limits=limits) for index in indexes]
        for node in nodes:
            await node.transport.start()
        return nodes

    async def __aenter__(self) -> Network:
        return self

    async def __aexit__(self, *_: object) -> None:
        for node in self.nodes:
            await node.transport.stop()


def introduce(*nodes: Node) -> None:
    """Everybody allows everybody."""
    peers = {node.key.public_key: node.address for node in nodes}
    for node in nodes:
        node.transport.set_peers(peers)


async def until(condition: Callable[[], object], seconds: float = 5.0) -> None:
    """Wait for a condition; TimeoutError if it does not come true."""
    async with asyncio.timeout(seconds):
        while not condition():  # noqa: ASYNC110 (conditions of the outside have no event)
            await asyncio.sleep(0.005)


async def all_connected(*nodes: Node) -> None:
    await until(lambda: all(len(n.transport.connected) == len(nodes) - 1 for n in nodes))


Scenario = Callable[[Network], Awaitable[None]]
