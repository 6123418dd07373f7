"""The lines between the nodes, in our hands: a relay before each node's door.

Each node is dialed at its relay's port. The relay knows by the system's tables which process dialed
it, so every pair of nodes has a line of its own, that may be slow, narrow, dead in one direction or
in both while it stays open, or broken. What travels is TLS: nothing is read or changed.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Coroutine, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

LOOPBACK = "127.0.0.1"
CHUNK_BYTES = 16_384
PENDING_BYTES_MAX = 1 << 20

Pair = tuple[str, str]


class Line:
    """One direction between two nodes; `seconds` of delay, `rate` in bytes a second (0: any)."""

    def __init__(self) -> None:
        self.seconds = 0.0
        self.rate = 0.0
        self.flows = asyncio.Event()
        self.flows.set()

    def clear(self) -> None:
        """Make it as good as new."""
        self.seconds = self.rate = 0.0
        self.flows.set()


class Links:
    """All relays of a network. `pid_of` tells the process of a running node by its name."""

    def __init__(self, pid_of: Callable[[str], int | None]) -> None:
        self._pid_of = pid_of
        self._names: list[str] = []
        self._lines: dict[Pair, Line] = {}
        self._servers: list[asyncio.Server] = []
        self._open: dict[frozenset[str], set[asyncio.StreamWriter]] = {}
        self._tasks: set[asyncio.Task[None]] = set()

    async def start(self, doors: Mapping[str, tuple[int, int]]) -> None:
        """Listen before the nodes: `doors` has (relay's port, node's own port) by name."""
        self._names = list(doors)
        for name, (front, back) in doors.items():

            def serve(
                reader: asyncio.StreamReader,
                writer: asyncio.StreamWriter,
                name: str = name,
                back: int = back,
            ) -> None:
                self._spawn(self._relay(reader, writer, name, back))

            self._servers.append(await asyncio.start_server(serve, LOOPBACK, front))

    async def stop(self) -> None:
        """Close every door and every line."""
        for server in self._servers:
            server.close()
        for writers in self._open.values():
            for writer in writers:
                writer.transport.abort()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def line(self, source: str, target: str) -> Line:
        """The direction from one node to another."""
        return self._lines.setdefault((source, target), Line())

    def break_off(self, one: str, other: str) -> None:
        """End every connection between two nodes; they may dial anew."""
        for writer in self._open.get(frozenset((one, other)), ()):
            writer.transport.abort()

    def clear(self) -> None:
        """Make every line as good as new."""
        for line in self._lines.values():
            line.clear()

    def _spawn(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _relay(
        self,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        target: str,
        back: int,
    ) -> None:
        """Serve one connection until either end leaves."""
        port = writer.get_extra_info("peername")[1]
        front = writer.get_extra_info("sockname")[1]
        source = self._who(port, front)
        try:
            far_reader, far_writer = await asyncio.open_connection(LOOPBACK, back)
        except OSError:
            writer.transport.abort()
            return
        pair = self._open.setdefault(frozenset((source, target)), set())
        pair |= {writer, far_writer}
        pumps = [
            asyncio.ensure_future(pump(reader, far_writer, self.line(source, target))),
            asyncio.ensure_future(pump(far_reader, writer, self.line(target, source))),
        ]
        try:
            await asyncio.wait(pumps, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for one in pumps:
                one.cancel()
            for end in (writer, far_writer):
                pair.discard(end)
                end.transport.abort()

    def _who(self, port: int, front: int) -> str:
        """The node that dialed from `port`; "" where it is gone already."""
        inode = socket_inode(port, front)
        for name in self._names:
            pid = self._pid_of(name)
            if inode and pid is not None and holds(pid, inode):
                return name
        return ""


async def pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, line: Line) -> None:
    """Carry bytes as fast as the line allows, each chunk as late as it says; in order."""
    loop = asyncio.get_running_loop()
    waiting: asyncio.Queue[tuple[float, bytes]] = asyncio.Queue(PENDING_BYTES_MAX // CHUNK_BYTES)

    async def deliver() -> None:
        while True:
            due, data = await waiting.get()
            await asyncio.sleep(due - loop.time())
            await line.flows.wait()
            if line.rate:
                await asyncio.sleep(len(data) / line.rate)
            writer.write(data)
            await writer.drain()

    delivering = asyncio.ensure_future(deliver())
    try:
        with suppress(OSError):
            while data := await reader.read(CHUNK_BYTES):
                await waiting.put((loop.time() + line.seconds, data))
    finally:
        delivering.cancel()
        with suppress(asyncio.CancelledError, OSError):
            await delivering


def socket_inode(local: int, remote: int) -> str:
    """The inode of the TCP socket on this machine that joins these two ports; "" for none."""
    ends = f":{local:04X}", f":{remote:04X}"
    for row in Path("/proc/net/tcp").read_text().splitlines()[1:]:
        fields = row.split()
        if fields[1].endswith(ends[0]) and fields[2].endswith(ends[1]):
            return fields[9]
    return ""


def holds(pid: int, inode: str) -> bool:
    """Whether a process has this socket open."""
    wanted = f"socket:[{inode}]"
    try:
        with os.scandir(f"/proc/{pid}/fd") as entries:
            for entry in entries:
                with suppress(OSError):
                    if os.readlink(entry.path) == wanted:
                        return True
    except OSError:
        pass
    return False
