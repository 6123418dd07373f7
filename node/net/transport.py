"""The peer network: one authenticated connection with every allowed peer, kept up for ever.

Every node listens and dials; of two connections to the same peer one goes, by a rule that both
ends share. Sending never blocks: messages wait in bounded lanes. Receiving is as fast as the
handler. The errors of one peer end that peer's connection and nothing else, and an exception of
our own is reported by `failure`. What messages mean, and who is allowed, is decided elsewhere.
"""

from __future__ import annotations

import asyncio
import datetime
import random
import ssl
from collections.abc import Collection, Iterable, Mapping
from typing import Protocol

import structlog

from node.net import frames, streams, tls
from node.net.connection import Connection, Ending
from node.net.handshake import Identity, Role, shake_hands
from node.net.limits import NetLimits
from node.net.listener import Listener
from node.net.outbox import Lane, lane_of
from node.net.peers import Backoff, Peer, PeerAddress, PeerStats, supersedes
from node.net.tasks import Tasks
from node.protocol.domain import Chain
from node.protocol.errors import Misconfigured, PeerFault
from node.protocol.keys import PrivateKey
from node.protocol.messages import Message

STOP_PATIENCE_S = 5.0
EXPIRY_WARNING = datetime.timedelta(days=30)

_log = structlog.get_logger("net")


class PeerHandler(Protocol):
    """What the transport needs of its owner. `peer` is always an authenticated ledger key."""

    def on_connected(self, peer: bytes) -> None:
        """A connection is up. Whatever was sent to this peer before may have been lost."""

    def on_disconnected(self, peer: bytes) -> None:
        """The connection is gone; follows every `on_connected`."""

    async def on_message(self, peer: bytes, message: Message) -> None:
        """One message. The next of this peer is read when this returns; raise `PeerFault` to
        disconnect the peer. Never cancelled by the end of the connection."""


class Transport:
    """See the module. All methods belong to the event loop's thread."""

    def __init__(
        self,
        chain: Chain,
        key: PrivateKey,
        files: tls.TlsFiles,
        listen: tuple[str, int],
        peers: Mapping[bytes, PeerAddress],
        handler: PeerHandler,
        *,
        limits: NetLimits | None = None,
        chance: random.Random | None = None,
    ) -> None:
        """Raises `Misconfigured` `BAD_TLS_FILES`. An entry of `peers` for our own key is ignored.

        `chance` jitters the back-off, nothing else.
        """
        self._limits = limits or NetLimits()
        self._chance = chance or random.Random()  # noqa: S311 (jitter, not secrecy)
        self._key = key
        self._handler = handler
        self._listen = listen
        self._client_context = tls.client_context(files)
        try:
            certificate = files.certificate.read_bytes()
        except OSError as error:
            raise Misconfigured("BAD_TLS_FILES", f"{files.certificate}: {error}") from None
        self._identity = Identity(chain, key, tls.pem_fingerprint(certificate))
        self._certificate_expires = tls.expiry(certificate)
        self._tasks = Tasks()
        self._heart: asyncio.Task[None] | None = None
        self._listener = Listener(
            tls.server_context(files), self._limits, self._tasks, self._welcome, self._expects
        )
        self._peers: dict[bytes, Peer] = {}
        self._cut: frozenset[bytes] = frozenset()
        self._running = False
        self.set_peers(peers)

    async def start(self) -> None:
        """Listen and begin to dial; raises `Misconfigured` `CANNOT_LISTEN`."""
        self._listener.start(*self._listen)
        if self._certificate_expires - datetime.datetime.now(datetime.UTC) < EXPIRY_WARNING:
            _log.warning("certificate_expires", at=self._certificate_expires.isoformat())
        self._running = True
        self._heart = self._tasks.spawn(self._beat())
        for peer in self._peers.values():
            peer.dialing = self._tasks.spawn(self._keep_dialing(peer))

    async def stop(self) -> None:
        """Close everything and wait until handlers have returned."""
        self._running = False
        await self._listener.stop()
        if self._heart is not None:
            self._heart.cancel()
        for peer in list(self._peers.values()):
            self._forget(peer, Ending("STOPPED", "this node stops", False))
        await self._tasks.stop(STOP_PATIENCE_S)

    async def failure(self) -> BaseException:
        """Wait for an exception that is nobody's fault but ours; the node should stop on it."""
        return await self._tasks.failure()

    @property
    def port(self) -> int:
        """The port that this node listens on."""
        return self._listener.port

    @property
    def fingerprint(self) -> bytes:
        """The fingerprint of this node's own certificate."""
        return self._identity.fingerprint

    @property
    def connected(self) -> tuple[bytes, ...]:
        """The peers that can be sent to now, ascending by key."""
        return tuple(key for key in sorted(self._peers) if self._live(key) is not None)

    @property
    def refused_guests(self) -> Mapping[str, int]:
        """Refused incoming connections by code."""
        return self._listener.refused

    def stats(self) -> list[PeerStats]:
        """Every allowed peer, ascending by key."""
        return [self._peers[key].stats() for key in sorted(self._peers)]

    def set_peers(self, peers: Mapping[bytes, PeerAddress]) -> None:
        """Change who may speak. Connections of peers that stay unchanged are not touched."""
        wanted = {key: at for key, at in peers.items() if key != self._key.public_key}
        for key, peer in list(self._peers.items()):
            if wanted.get(key) != peer.address:
                del self._peers[key]
                self._forget(peer, Ending("REMOVED", "the set of peers changed", False))
        for key, address in wanted.items():
            if key not in self._peers:
                peer = Peer(key, address, Backoff(self._limits, self._chance))
                peer.vacant.set()
                peer.cut_off(key in self._cut)
                self._peers[key] = peer
                if self._running:
                    peer.dialing = self._tasks.spawn(self._keep_dialing(peer))

    def cut(self, peers: Collection[bytes]) -> None:
        """Treat the lines to these peers, and to no others, as broken from now on."""
        self._cut = frozenset(peers)
        for key, peer in self._peers.items():
            peer.cut_off(key in self._cut)
            if peer.cut and (link := self._live(key)) is not None:
                link.close(Ending("CUT", "the line is cut", False))

    def send(self, peer: bytes, message: Message, lane: Lane | None = None) -> bool:
        """Queue for one peer; False if it is not connected. Never blocks.

        Raises ValueError for a message beyond the size limit of its type.
        """
        return self.multicast((peer,), message, lane) == 1

    def multicast(self, peers: Iterable[bytes], message: Message, lane: Lane | None = None) -> int:
        """Queue for several peers, encoded once; returns how many of them are connected."""
        frame = frames.message_frame(message)
        live = [link for link in map(self._live, peers) if link is not None]
        for link in live:
            link.send(lane or lane_of(message), frame)
        return len(live)

    def broadcast(self, message: Message, lane: Lane | None = None) -> int:
        """Queue for every connected peer; returns how many there are."""
        return self.multicast(sorted(self._peers), message, lane)

    def disconnect(self, peer: bytes, fault: PeerFault) -> None:
        """End a peer's connection and neither dial nor admit it for a while."""
        if (link := self._live(peer)) is not None:
            link.close(Ending(fault.code, fault.message, True))

    def _expects(self, host: str) -> bool:
        return any(peer.address.host == host for peer in self._peers.values())

    def _live(self, key: bytes) -> Connection | None:
        peer = self._peers.get(key)
        link = peer.connection if peer else None
        return link if link is not None and link.ending is None else None

    async def _beat(self) -> None:
        while True:
            await asyncio.sleep(self._limits.ping_interval_s)
            for peer in self._peers.values():
                if peer.connection is not None:
                    peer.connection.heartbeat()

    async def _keep_dialing(self, peer: Peer) -> None:
        loop = asyncio.get_running_loop()
        while True:
            await peer.vacant.wait()
            await peer.whole.wait()
            await asyncio.sleep(peer.backoff.remaining(loop.time()))
            if peer.connection is not None or peer.cut or peer.backoff.remaining(loop.time()):
                continue
            try:
                await self._dial(peer)
            except PeerFault as fault:
                peer.last_ending = Ending(fault.code, fault.message, True)
                peer.backoff.mistrusted(loop.time())
                _log.warning("dial_mistrusted", **_labels(peer), **_why(peer.last_ending))
            except ssl.SSLCertVerificationError as error:
                peer.last_ending = Ending("WRONG_AUTHORITY", error.verify_message, True)
                peer.backoff.mistrusted(loop.time())
                _log.warning("dial_mistrusted", **_labels(peer), **_why(peer.last_ending))
            except (OSError, asyncio.IncompleteReadError) as error:
                reason = f"{type(error).__name__}: {error}"
                peer.last_ending = Ending("UNREACHABLE", reason, False)
                peer.backoff.failed(loop.time())
                _log.debug("dial_failed", **_labels(peer), **_why(peer.last_ending))

    async def _dial(self, peer: Peer) -> None:
        deadline_s = self._limits.handshake_s
        async with asyncio.timeout(deadline_s):
            reader, writer = await streams.dial(
                peer.address.host, peer.address.port, self._client_context, 2 * deadline_s
            )
            try:
                pins = {peer.key: peer.address.tls_fingerprint}
                await shake_hands(reader, writer, self._identity, Role.DIALER, pins)
            except BaseException:
                writer.transport.abort()
                raise
        self._adopt(peer, Role.DIALER, (reader, writer))

    async def _welcome(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        pins = {
            key: peer.address.tls_fingerprint for key, peer in self._peers.items() if not peer.cut
        }
        key = await shake_hands(reader, writer, self._identity, Role.LISTENER, pins)
        peer = self._peers.get(key)
        if peer is None or peer.address.tls_fingerprint != pins[key] or not self._running:
            raise PeerFault("STRANGER", "no longer an expected peer")
        if asyncio.get_running_loop().time() < peer.backoff.refused_until:
            raise PeerFault("BACKED_OFF", f"{key.hex()} broke the protocol a short while ago")
        self._adopt(peer, Role.LISTENER, (reader, writer))

    def _adopt(self, peer: Peer, role: Role, pair: streams.Streams) -> None:
        """Make authenticated streams the peer's connection, unless there is a better or no line."""
        link = Connection(peer.key, role, pair, self._limits, peer.traffic)
        old = peer.connection
        if peer.cut:  # since the hand-shake began
            link.close(Ending("CUT", "the line is cut", False))
            return
        if old is not None:
            if old.ending is None and not supersedes(self._key.public_key, link, old, self._limits):
                link.close(Ending("DUPLICATE", "the other connection stays", False))
                return
            old.close(Ending("SUPERSEDED", "a newer connection replaces it", False))
            self._detach(peer)
        peer.connection = link
        peer.connections += 1
        peer.vacant.clear()
        _log.info("peer_connected", role=role.value, **_labels(peer))
        self._handler.on_connected(peer.key)
        link.heartbeat()  # its round trip is known from the start
        self._tasks.spawn(self._serve(peer, link))

    async def _serve(self, peer: Peer, link: Connection) -> None:
        await link.run(self._handler.on_message)
        if peer.connection is link:
            self._detach(peer)

    def _detach(self, peer: Peer) -> None:
        """The peer's connection has ended: remember why, and say so."""
        link = peer.connection
        assert link is not None
        ending = link.ending
        assert ending is not None
        peer.connection = None
        peer.last_ending = ending
        now = asyncio.get_running_loop().time()
        if ending.fault:
            peer.backoff.faulted(now)
            _log.warning("peer_faulted", **_labels(peer), **_why(ending))
        else:
            stable = link.age_s >= self._limits.stable_after_s
            (peer.backoff.succeeded if stable else peer.backoff.failed)(now)
            _log.info("peer_disconnected", **_labels(peer), **_why(ending))
        peer.vacant.set()
        self._handler.on_disconnected(peer.key)

    def _forget(self, peer: Peer, ending: Ending) -> None:
        if peer.dialing is not None:
            peer.dialing.cancel()
        if peer.connection is not None:
            peer.connection.close(ending)
            self._detach(peer)


def _labels(peer: Peer) -> dict[str, object]:
    return {"peer": peer.key.hex()[:16], "address": f"{peer.address.host}:{peer.address.port}"}


def _why(ending: Ending) -> dict[str, object]:
    return {"code": ending.code, "reason": ending.message}
