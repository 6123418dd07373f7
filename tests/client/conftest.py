"""The command; a chain, a served node over it, and the SDK on that node, as fixtures."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from client.cli.main import main
from client.node_api import NodeApi
from tests.client.command import Groat, Result, free_port, genesis_with_interface, write_network
from tests.client.live import LiveNode
from tests.client.support import Node, connect, serve
from tests.http.support import World


@pytest.fixture
def groat(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> Groat:
    """Runs a command line on the network folder of this test."""

    def run(*words: str) -> Result:
        code = main([*words, "--dir", str(tmp_path / "net")])
        printed = capsys.readouterr()
        assert "Traceback" not in printed.err + printed.out
        return Result(code, printed.out, printed.err)

    return run


@pytest.fixture
def world() -> World:
    """A chain at height 0."""
    return World()


@pytest.fixture
async def node(world: World) -> AsyncIterator[Node]:
    """A served node over that chain."""
    async with serve(world) as served:
        yield served


@pytest.fixture
async def api(world: World, node: Node) -> AsyncIterator[NodeApi]:
    """The SDK on that node."""
    async with connect(world, [node.url]) as connected:
        yield connected


@pytest.fixture
def live(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[LiveNode]:
    """Four nodes by name: the first one serves a chain with a card on it, the others are dead."""
    monkeypatch.setattr("tests.http.support.genesis", genesis_with_interface)
    world = World()
    world.now_ms = time.time_ns() // 1_000_000 - 10_000
    world.open_shop()
    node = LiveNode(world)
    dead = [f"http://127.0.0.1:{free_port()}" for _ in range(3)]
    write_network(tmp_path / "net", world.genesis, [node.url, *dead])
    yield node
    node.stop()
