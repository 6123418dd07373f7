"""Connections without end: counted by address, cut off where nothing comes or nothing is read."""

from __future__ import annotations

import asyncio
import socket
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import pytest
import uvloop

from node.http import server as server_module
from node.http.limits import HttpLimits
from node.http.server import HttpServer
from node.http.visitors import Visitors, is_loopback, origin_of
from tests.http.support import Service, World

FAR, OTHER = "203.0.113.9", "203.0.113.10"
REQUEST = b"HEAD /livez HTTP/1.1\r\nHost: x\r\n\r\n"
LOOPS = pytest.mark.parametrize("run", [asyncio.run, uvloop.run], ids=["asyncio", "uvloop"])
Run = Callable[[Any], Any]


def test_nobody_takes_all_the_room() -> None:
    visitors = Visitors(5, 2)
    assert [visitors.enter(FAR) for _ in range(3)] == [True, True, False]
    assert [visitors.enter(OTHER) for _ in range(3)] == [True, True, False]
    assert [visitors.enter("127.0.0.1") for _ in range(2)] == [True, False]
    assert visitors.total == 5
    visitors.leave(FAR)
    assert visitors.enter(FAR)
    for _ in range(2):
        visitors.leave(FAR)
        visitors.leave(OTHER)
    visitors.leave("127.0.0.1")
    assert visitors.total == len(visitors._from) == 0


def test_this_machine_is_bound_by_the_total_alone() -> None:
    visitors = Visitors(50, 2)
    for address in ("127.0.0.1", origin_of("::1"), origin_of("::ffff:127.0.0.1")):
        assert is_loopback(address)
        assert all(visitors.enter(address) for _ in range(10))


@pytest.mark.parametrize(
    ("address", "origin"),
    [
        (FAR, FAR),
        ("::ffff:203.0.113.9", FAR),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
        ("2001:db8:1:2:ffff::1", "2001:db8:1:2::/64"),
        ("fe80::1%eth0", "fe80::/64"),
        ("", ""),
        ("nonsense", "nonsense"),
    ],
)
def test_a_whole_ipv6_network_is_one_address(address: str, origin: str) -> None:
    assert origin_of(address) == origin


class Line:
    """A connection to the server, closed at the end."""

    def __init__(self, server: HttpServer) -> None:
        self._address = server.address

    async def __aenter__(self) -> Line:
        self.reader, self.writer = await asyncio.open_connection(*self._address)
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def close(self) -> None:
        self.writer.close()
        with suppress(OSError):
            await self.writer.wait_closed()

    async def ask(self) -> bytes:
        """Send a request; the first line of what comes."""
        self.writer.write(REQUEST)
        line = await self.reader.readline()
        await self.reader.readuntil(b"\r\n\r\n")
        return line


def served(run: Run, world: World, limits: HttpLimits, work: Callable[[HttpServer], Any]) -> Any:
    """What `work` returns, done with a running server."""

    async def main() -> Any:
        server = HttpServer(Service(world), "127.0.0.1", 0, limits)
        await server.start()
        try:
            async with asyncio.timeout(15):
                return await work(server)
        finally:
            await server.stop()

    return run(main())


@LOOPS
def test_one_address_has_its_share_of_connections(
    run: Run, world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("node.http.visitors.is_loopback", lambda _: False)

    async def work(server: HttpServer) -> None:
        async with Line(server) as first, Line(server), Line(server):
            await asyncio.sleep(0.05)
            async with Line(server) as refused:
                assert (await refused.reader.read()).startswith(b"HTTP/1.1 503 ")
            await first.close()
            await asyncio.sleep(0.05)
            async with Line(server) as admitted:
                assert (await admitted.ask()).startswith(b"HTTP/1.1 200 ")

    served(run, world, HttpLimits(connections_per_address=3), work)


@LOOPS
@pytest.mark.parametrize("sent", [b"", b"GET /livez HTTP/1.1\r\nHost: x\r\nA: "])
def test_who_sends_no_whole_request_is_cut_off(
    run: Run, world: World, monkeypatch: pytest.MonkeyPatch, sent: bytes
) -> None:
    monkeypatch.setattr(server_module, "FIRST_REQUEST_S", 0.3)

    async def work(server: HttpServer) -> None:
        async with Line(server) as patient, Line(server) as slow:
            await patient.ask()
            slow.writer.write(sent)
            started = time.monotonic()
            while not slow.reader.at_eof() and time.monotonic() - started < 5:
                if sent:
                    slow.writer.write(b"b")  # drop by drop
                with suppress(TimeoutError, OSError):
                    await asyncio.wait_for(slow.reader.read(100), 0.05)
            assert 0.2 < time.monotonic() - started < 2
            assert (await patient.ask()).startswith(b"HTTP/1.1 200 ")  # it may stay

    served(run, world, HttpLimits(), work)


@LOOPS
def test_who_does_not_read_the_answers_is_cut_off(
    run: Run, world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(server_module, "UNREAD_S", 0.3)

    async def work(server: HttpServer) -> None:
        deaf = socket.socket()
        deaf.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4_096)
        deaf.setblocking(False)
        loop = asyncio.get_running_loop()
        await loop.sock_connect(deaf, server.address)
        ask = b"GET /v1/openapi.json HTTP/1.1\r\nHost: x\r\n\r\n"

        async def go_on_asking() -> None:
            while True:
                await loop.sock_sendall(deaf, ask)
                await asyncio.sleep(0.01)

        with deaf, pytest.raises(ConnectionError):
            await go_on_asking()
        assert server._visitors.total == 0

    served(run, world, HttpLimits(), work)
