"""Wrong bytes anywhere in a node's databases: it stops with one line that names the tool, or is
right. What LevelDB itself lets pass is tried one by one in tests/state/test_log_tail.py."""

from __future__ import annotations

import asyncio
import random
import re
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator

import pytest

from client import upkeep
from client.local import LocalNetwork, LocalNode, node_environment, python_node
from client.node_api import NodeApi
from tests.network.shop import Shop, agreed

SEEDS = range(5)
BYTES_MAX = 64
TOOLS = re.compile(r"groat node (check|repair|restore)")
SECONDS_MAX = 30.0


@pytest.fixture(scope="module")
def made(network: LocalNetwork) -> LocalNetwork:
    """A network with some blocks, whose nodes were killed: their last records are in the logs."""
    asyncio.run(_make(network))
    return network


async def _make(network: LocalNetwork) -> None:
    wallet = network.folder.wallet
    async with NodeApi(network.folder.genesis, [n.http_url for n in network.nodes]) as api:
        shop = Shop(api, wallet.open("bank"), wallet.open("gym"), wallet.open("regulator"))
        await shop.open()
        one = await shop.customer()
        for _ in range(5):
            await shop.visit(one)
        await agreed(api, nodes=4)
        network.kill([])
        await asyncio.to_thread(network.start)
        for _ in range(5):
            await shop.visit(one)
        await agreed(api, nodes=4)
    network.kill([])


@pytest.fixture
def victim(made: LocalNetwork) -> Iterator[LocalNode]:
    """A node whose databases are as they were at the kill, before and after each test."""
    node = made.nodes[3]
    names = ("data", "votes")
    for name in names:
        shutil.copytree(node.folder / name, node.folder / f"{name}.kept")
    yield node
    for name in names:
        shutil.rmtree(node.folder / name, ignore_errors=True)
        (node.folder / f"{name}.kept").rename(node.folder / name)


def harm(node: LocalNode, database: str, chance: random.Random) -> str:
    """Change some bytes in one file of a database; what was done."""
    found = sorted((node.folder / database).iterdir())
    files = [path for path in found if path.stat().st_size and not path.name.startswith("LOG")]
    path = chance.choice(files)
    content = bytearray(path.read_bytes())
    count = chance.choice((1, 1, BYTES_MAX))
    at = chance.randrange(len(content))
    for place in range(at, min(at + count, len(content))):
        content[place] ^= chance.randrange(1, 256)
    path.write_bytes(bytes(content))
    return f"{count} bytes at {at} of {database}/{path.name}"


def run(made: LocalNetwork, node: LocalNode) -> tuple[int | None, list[str]]:
    """Run the node alone until it ends, or serves and is stopped: exit code and lines of stderr."""
    running = subprocess.Popen(
        [*python_node(), "run", "--folder", str(node.folder)],
        stderr=subprocess.PIPE,
        text=True,
        env=node_environment(made.folder.path / "keys" / ".password"),
    )
    deadline = time.monotonic() + SECONDS_MAX
    while running.poll() is None and not node.serves():
        assert time.monotonic() < deadline
        time.sleep(0.05)
    served = running.poll() is None
    running.send_signal(signal.SIGTERM)
    _, errors = running.communicate(timeout=SECONDS_MAX)
    return (0 if served and running.returncode == 0 else running.returncode), errors.splitlines()


@pytest.mark.parametrize("database", ["data", "votes"])
@pytest.mark.parametrize("seed", SEEDS)
def test_damage_stops_the_node_with_one_line_or_does_no_harm(
    made: LocalNetwork, victim: LocalNode, database: str, seed: int
) -> None:
    done = harm(victim, database, random.Random(f"{database} {seed}"))
    code, lines = run(made, victim)
    assert not [line for line in lines if "Traceback" in line or "Error:" in line], (done, lines)
    if code == 0:
        report = upkeep.check(victim, lambda name, done, total: None)
        assert report["ok"], (done, report)
    else:
        assert code == 1, (done, lines)
        said = [line for line in lines if line.startswith("groat node: ")]
        assert len(said) == 1, (done, lines)
        assert TOOLS.search(said[0]), (done, said)
