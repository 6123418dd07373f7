"""The besieged network: node processes behind relays, founded as a topology says, and its disk.

Nodes are started, killed, frozen and starved here, and only here; which, when and why is decided by
`faults`. A node that ends without our doing is remembered: that is never right.
"""

from __future__ import annotations

import asyncio
import resource
import shutil
import signal
import time
from collections.abc import Iterable, Sequence
from contextlib import suppress
from pathlib import Path

from client import membership
from client.folder import NetworkFolder
from client.local import (
    START_SECONDS_MAX,
    STOP_SECONDS_MAX,
    LocalNetwork,
    LocalNode,
    NodeFailure,
    State,
    create_network,
)
from client.partition import heal, partition
from tests.network.ports import free_ports
from tests.siege.links import Links
from tests.siege.topology import Topology, described
from tests.siege.votes import VoteBook

DESCRIPTION = Path(__file__).parents[2] / "network.toml"
PORTS_PER_NODE = 3
# What a file may grow to while the disk is "full": nothing that was not there before.
FULL_FILE_BYTES = 1


class Field:
    """A running network. `votes` knows all that any node was found to have signed."""

    def __init__(self, folder: NetworkFolder) -> None:
        self.folder = folder
        self.network = LocalNetwork(folder)
        self.links = Links(self._pid_of)
        self.votes = VoteBook()
        self.deserters: list[str] = []
        self._meant_to_run: set[str] = set()

    @classmethod
    async def found(cls, topology: Topology, directory: Path) -> Field:
        """Make the network, its relays and its observers, and start all of them."""
        count = topology.validators
        first = free_ports(PORTS_PER_NODE * count)
        fronts, https, backs = (range(first + i * count, first + (i + 1) * count) for i in range(3))
        description = directory / "network.toml"
        ports = list(zip(fronts, https, strict=True))
        await asyncio.to_thread(_describe, topology, description, ports)
        place = directory / "net"
        await asyncio.to_thread(create_network, place, ["--network", str(description)])
        field, ready = cls(NetworkFolder(place)), False
        doors = {}
        for node, front, back in zip(field.network.nodes, fronts, backs, strict=True):
            _listen_at(node, front, back)
            doors[node.name] = (front, back)
        try:
            await field.links.start(doors)
            await field.start(field.names)
            for number in range(1, topology.observers + 1):
                await field._add_observer(f"watcher{number}")
            ready = True
        finally:
            if not ready:
                await field.close(keep=False)
        return field

    @property
    def names(self) -> list[str]:
        """All nodes, validators first."""
        return [node.name for node in self.network.nodes]

    @property
    def validators(self) -> list[str]:
        """The nodes that vote."""
        return [entry.name for entry in self.folder.genesis.validators]

    @property
    def urls(self) -> list[str]:
        """Where each node serves people, in the order of `names`."""
        return [node.http_url for node in self.network.nodes]

    def node(self, name: str) -> LocalNode:
        """A node by its name."""
        return self.network.select([name])[0]

    # ---- what is done to it

    async def begin(self, names: Sequence[str]) -> None:
        """Start what does not run, and do not wait for it."""
        for name in names:
            await asyncio.to_thread(self.node(name).start)

    async def start(self, names: Sequence[str]) -> None:
        """Start what does not run, and wait until it serves."""
        await self.begin(names)
        for name in names:
            deadline = time.monotonic() + START_SECONDS_MAX
            await asyncio.to_thread(self.node(name).wait_serving, deadline)
            self._meant_to_run.add(name)

    async def kill(self, names: Sequence[str]) -> None:
        """SIGKILL, all of them at once; then look at what they have signed."""
        await self._end(names, signal.SIGKILL)
        for name in names:
            await asyncio.to_thread(self.votes.read, name, self.node(name).folder)

    async def stop(self, names: Sequence[str]) -> None:
        """SIGTERM: they end in good order."""
        await self._end(names, signal.SIGTERM)

    def pause(self, names: Sequence[str]) -> None:
        """SIGSTOP those that run."""
        running = [name for name in names if self.node(name).state is State.RUNNING]
        if running:
            self.network.pause(running)

    def resume(self, names: Sequence[str]) -> None:
        """SIGCONT those that are frozen."""
        paused = [name for name in names if self.node(name).state is State.PAUSED]
        if paused:
            self.network.resume(paused)

    def split(self, sides: Sequence[Sequence[str]]) -> None:
        """Cut all lines between the sides, as `groat net partition` does."""
        partition(self.network, sides)

    def unite(self) -> None:
        """Mend them."""
        heal(self.network)

    def fill_disk(self, name: str, *, full: bool) -> None:
        """Let no file of a node's grow any more, or let them again."""
        process = self.node(name).process
        if process is not None:
            _, hard = resource.prlimit(process.pid, resource.RLIMIT_FSIZE)
            limit = FULL_FILE_BYTES if full else hard
            with suppress(ProcessLookupError):
                resource.prlimit(process.pid, resource.RLIMIT_FSIZE, (limit, hard))

    def note_deserters(self, names: Iterable[str]) -> None:
        """Remember which of these should run and do not."""
        for name in names:
            node = self.node(name)
            if name in self._meant_to_run and node.process is None:
                self._meant_to_run.discard(name)
                self.deserters.append(f"{name} ended by itself: {node.last_words()}")

    async def close(self, *, keep: bool) -> None:
        """End everything; the folder stays if it is to be looked at."""
        self.unite()
        await asyncio.to_thread(self.network.kill, [])
        await self.links.stop()
        if not keep:
            shutil.rmtree(self.folder.path.parent)

    # ---- inside

    async def _end(self, names: Sequence[str], number: signal.Signals) -> None:
        self.note_deserters(names)
        self._meant_to_run -= set(names)
        for name in names:
            self.node(name).signal(number)
        for name in names:
            deadline = time.monotonic() + STOP_SECONDS_MAX
            if not await asyncio.to_thread(self.node(name).wait_ended, deadline):
                raise NodeFailure("NODE_STUCK", f"{name} does not end by {number.name}")

    async def _add_observer(self, name: str) -> None:
        first = free_ports(2)
        addresses = (f"127.0.0.1:{first}", f"127.0.0.1:{first + 1}")
        await membership.add_node(
            self.folder, name, *addresses, "a watcher", lambda _: None, observe=True
        )
        self.folder = NetworkFolder(self.folder.path)
        self.network = LocalNetwork(self.folder)
        self._meant_to_run.add(name)

    def _pid_of(self, name: str) -> int | None:
        process = self.node(name).process
        return None if process is None else process.pid


def _describe(topology: Topology, path: Path, ports: Sequence[tuple[int, int]]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(described(topology, DESCRIPTION.read_text(), ports))


def _listen_at(node: LocalNode, front: int, back: int) -> None:
    """Move a node's own door behind its relay."""
    path = node.folder / "node.toml"
    text = path.read_text()
    moved = text.replace(f'listen = "127.0.0.1:{front}"', f'listen = "127.0.0.1:{back}"')
    if moved == text:
        raise AssertionError(f"{path} does not listen at {front}")
    path.write_text(moved)
