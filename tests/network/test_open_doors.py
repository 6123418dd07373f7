"""Open doors: whatever strangers send to a node's ports, honest peers and customers do not notice.

One node is attacked while another is dead, so that nothing can be decided without the attacked one.
"""

from __future__ import annotations

import asyncio
import random
import resource
import socket
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from pathlib import Path
from types import SimpleNamespace
from typing import cast

import pytest

from client.errors import ClientError, Overloaded
from client.local import LocalNetwork
from client.node_api import NodeApi
from client.outcomes import Json
from node.net import frames, streams, tls
from node.net.handshake import Identity, Role, shake_hands
from node.net.tls import TlsFiles
from node.protocol.errors import PeerFault
from node.protocol.keys import PrivateKey
from tests.net.support import credential, tls_files
from tests.network.shop import Customer, Shop, agreed

IDLE_CONNECTIONS = 1_500
FILES_NEEDED = 4_096
VISIT_SECONDS_MAX = 15.0
GROWTH_KIB_MAX = 120_000
CUT_OFF_SECONDS_MAX = 8.0
READER_LIMIT = 1 << 16

Line = tuple[asyncio.StreamReader, asyncio.StreamWriter]


@pytest.fixture(scope="module", autouse=True)
def _files() -> None:
    """This test holds more sockets than most programs."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft < FILES_NEEDED:
        resource.setrlimit(resource.RLIMIT_NOFILE, (min(FILES_NEEDED, hard), hard))


class Siege:
    """The attacked node's doors, and what it has to do meanwhile."""

    def __init__(self, network: LocalNetwork, shop: Shop, one: Customer) -> None:
        self.node = network.nodes[0]
        self.peer = network.nodes[1]
        self.shop, self.one = shop, one
        self.peer_port = _port(network.folder.endpoint(self.node.name).peer_address)
        self.http_port = _port(self.node.http_url)
        self.lines = AsyncExitStack()

    async def line(self, port: int, context: ssl.SSLContext | None = None) -> Line:
        """A connection to one of its ports, closed at the end."""
        reader, writer = await asyncio.open_connection(
            "127.0.0.1", port, ssl=context, limit=READER_LIMIT
        )
        self.lines.push_async_callback(hang_up, writer)
        return reader, writer

    def hold(self, port: int, count: int) -> None:
        """Connect so often, and say nothing."""
        for _ in range(count):
            with suppress(OSError):
                self.lines.enter_context(socket.create_connection(("127.0.0.1", port), timeout=5))

    async def work_goes_on(self) -> None:
        """A payment is settled, for which the attacked node's vote is needed."""
        async with asyncio.timeout(VISIT_SECONDS_MAX):
            await self.shop.visit(self.one)

    def resident_kib(self) -> int:
        assert self.node.process is not None
        fields = Path(f"/proc/{self.node.process.pid}/statm").read_text().split()
        return int(fields[1]) * resource.getpagesize() >> 10


async def hang_up(writer: asyncio.StreamWriter) -> None:
    """End a connection, whatever has become of it."""
    writer.transport.abort()
    with suppress(OSError):
        await writer.wait_closed()


@pytest.fixture(scope="module")
def weakened(network: LocalNetwork) -> LocalNetwork:
    """One node is dead."""
    network.kill(["node4"])
    return network


@pytest.fixture
async def siege(weakened: LocalNetwork, shop: Shop, api: NodeApi) -> AsyncIterator[Siege]:
    """Afterwards the attacked node is as well as before, and its log is clean."""
    attack = Siege(weakened, shop, await shop.customer())
    before = attack.resident_kib()
    async with attack.lines:
        yield attack
    await agreed(api, nodes=3)
    assert attack.resident_kib() - before < GROWTH_KIB_MAX
    text = attack.node.log.read_text()
    assert not [line for line in text.splitlines() if "Traceback" in line or "Error:" in line]
    assert "peer_faulted" not in text


async def test_thousands_of_idle_connections(siege: Siege, api: NodeApi) -> None:
    for port in (siege.http_port, siege.peer_port):
        await asyncio.to_thread(siege.hold, port, IDLE_CONNECTIONS)
    for _ in range(3):
        await siege.work_goes_on()
    async with NodeApi(api.genesis, [siege.node.http_url]) as newcomer:
        with pytest.raises(Overloaded, match="TOO_MANY_CONNECTIONS"):
            await newcomer.status()
        # Who asks nothing is cut off; then there is room again.
        status: Json = {}
        async with asyncio.timeout(30):
            while not status:
                with suppress(ClientError):
                    status = await newcomer.status()
                await asyncio.sleep(0.2)
    assert status["peers_connected"] == 2


async def test_drop_by_drop_on_both_ports(siege: Siege) -> None:
    http = [await siege.line(siege.http_port) for _ in range(40)]
    peers = [await siege.line(siege.peer_port) for _ in range(20)]
    head = b"POST /v1/transactions HTTP/1.1\r\nHost: x\r\nContent-Length: 60000\r\nX: "
    hello = b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(60)
    for at in range(30):
        for lines, sent in ((http, head), (peers, hello)):
            for _, writer in lines:
                writer.write(sent[at : at + 1])
        if at % 10 == 0:
            await siege.work_goes_on()
        await asyncio.sleep(0.05)


async def test_endless_and_oversized_bodies(siege: Siege) -> None:
    kinds = (b"application/octet-stream", b"application/x-groat-batch", b"application/json")
    for kind in kinds:
        for head in (b"Transfer-Encoding: chunked", b"Content-Length: 99999999999"):
            reader, writer = await siege.line(siege.http_port)
            writer.write(b"POST /v1/transactions HTTP/1.1\r\nHost: x\r\nContent-Type: " + kind)
            writer.write(b"\r\n" + head + b"\r\n\r\n")
            await pour(writer)
            with suppress(OSError):
                answer = await asyncio.wait_for(reader.read(100), 5)
                assert not answer or answer.split()[1] in (b"413", b"415", b"400")
    await siege.work_goes_on()


async def pour(writer: asyncio.StreamWriter) -> None:
    """Send chunks without end until the far side hangs up, which it must soon."""
    chunk = b"10000\r\n" + bytes(0x10000) + b"\r\n"
    async with asyncio.timeout(CUT_OFF_SECONDS_MAX):
        with suppress(OSError):
            while not writer.transport.is_closing():
                writer.write(chunk)
                await writer.drain()


async def test_garbage_in_every_shape(siege: Siege) -> None:
    chance = random.Random(7)
    shapes = [
        chance.randbytes(300),
        bytes(70_000),
        b"GET / HTTP/1.1\r\nHost: a\x00b\r\n\r\n",
        b"GET /v1/status HTTP/9.9\r\n\r\n",
        b"POST /v1/transactions HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + chance.randbytes(100),
        b"\x16\x03\x01" + chance.randbytes(200),
        b"\xff\xff\xff\xff\x14" + chance.randbytes(1_000),
    ]
    for data in shapes:
        for port in (siege.peer_port, siege.http_port):
            reader, writer = await siege.line(port)
            with suppress(OSError, TimeoutError):
                writer.write(data)
                while await asyncio.wait_for(reader.read(65_536), 0.3):
                    pass
    await siege.work_goes_on()


# ---- the peer port, by those who know its protocol


@asynccontextmanager
async def dialed(siege: Siege, files: TlsFiles) -> AsyncIterator[Line]:
    """A TLS connection that shows these files."""
    context = tls.client_context(files)
    line = await streams.dial("127.0.0.1", siege.peer_port, context, 5.0)
    try:
        yield line
    finally:
        await hang_up(line[1])


async def refused(greet: Callable[[], Awaitable[object]]) -> None:
    """Whatever is tried, it gets nobody in."""
    with pytest.raises((OSError, asyncio.IncompleteReadError, PeerFault)):
        async with asyncio.timeout(5):
            await greet()


async def test_a_certificate_of_a_foreign_authority(siege: Siege, tmp_path: Path) -> None:
    files = tls_files(tmp_path / "foreign", credential("node2", "evil"))
    files.authority.write_bytes((siege.node.folder / "ca.crt").read_bytes())

    async def greet() -> None:
        async with dialed(siege, files) as (reader, _):
            assert await reader.read(1) == b""
            raise ConnectionError("refused without a word")

    for _ in range(30):
        await refused(greet)
    await siege.work_goes_on()


async def test_a_stolen_certificate_even_with_its_key_speaks_for_nobody(siege: Siege) -> None:
    """Without the ledger key the HELLO cannot be signed; and its owner is not harmed."""
    genesis = siege.shop.api.genesis
    files = TlsFiles.in_folder(siege.peer.folder)
    fingerprint = tls.pem_fingerprint(files.certificate.read_bytes())
    owner = next(one for one in genesis.validators if one.name == siege.peer.name)
    node = next(one for one in genesis.validators if one.name == siege.node.name)
    pins = {bytes.fromhex(node.public_key): bytes.fromhex(node.tls_fingerprint)}

    # It names the owner's ledger key, and signs with another.
    key = SimpleNamespace(
        public_key=bytes.fromhex(owner.public_key), sign=PrivateKey.generate().sign
    )
    identity = Identity(genesis.chain, cast(PrivateKey, key), fingerprint)

    async def greet() -> None:
        async with dialed(siege, files) as (reader, writer):
            await shake_hands(reader, writer, identity, Role.DIALER, pins)
            assert await reader.read(1) == b""
            raise ConnectionError("refused")

    for _ in range(10):
        await refused(greet)
    status = await siege.shop.api.status(siege.node.http_url)
    assert status["peers_connected"] == 2
    await siege.work_goes_on()


async def test_frames_before_the_hello_are_no_way_in(siege: Siege) -> None:
    chance = random.Random(9)
    files = TlsFiles.in_folder(siege.peer.folder)
    for _ in range(20):
        async with dialed(siege, files) as (reader, writer):
            kind = chance.choice([frames.PROOF, frames.PING, 4, 19, 255])
            writer.write(frames.frame(kind, chance.randbytes(chance.randrange(200))))
            with suppress(OSError):
                async with asyncio.timeout(5):
                    while await reader.read(4_096):
                        pass
    await siege.work_goes_on()


def _port(address: str) -> int:
    return int(address.rpartition(":")[2])
