"""The story of prepaid cards on one served node whose days pass when the story waits for them.

That it plays on four real nodes, `tests/network` shows.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from client.demo import prepaid
from client.demo.stage import Stage, StoryFailed
from client.folder import NetworkFolder
from client.node_api import NodeApi
from node.protocol.errors import Misconfigured
from node.protocol.genesis import Genesis
from node.protocol.keystore import SCRYPT_N_DEV, encrypt_key, write_private_file
from tests.client.command import PASSWORD, genesis_with_interface, write_network
from tests.client.live import LiveNode
from tests.http.support import World
from tests.protocol.support import key

KEYS = {name: key(60 + place) for place, name in enumerate(prepaid.CAST)}


def genesis() -> Genesis:
    """Everybody whom the story needs, on a dev network on which a day takes six seconds."""
    content = genesis_with_interface().model_dump(mode="json")
    content["identities"] = [
        {"name": name, "public_key": KEYS[name].public_key.hex(), "roles": [role]}
        for name, role in prepaid.CAST.items()
    ]
    named = {"name": prepaid.CLASS, "asset": "CNY", "named": True, "face_max": 500_000}
    content["parameters"] = {"prepaid": {"allow_clear": True, "classes": [named]}}
    return Genesis.parse(json.dumps({**content, "dev": True, "time_scale": prepaid.SCALE}))


class Waiting(Stage):
    """A stage on which time comes at once: the node's clock is set."""

    world: World

    async def wait_until(self, time_ms: int, what: str) -> None:
        self.world.now_ms = max(self.world.now_ms, time_ms)


@pytest.fixture
def live(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[LiveNode]:
    """A node on this network, and the folder with all keys."""
    monkeypatch.setattr("tests.http.support.genesis", genesis)
    world = World()
    world.now_ms = time.time_ns() // 1_000_000 - 10_000
    node = LiveNode(world)
    write_network(tmp_path / "net", world.genesis, [node.url])
    for name, secret in KEYS.items():
        path = tmp_path / "net" / "keys" / f"{name}.json"
        path.unlink(missing_ok=True)
        write_private_file(path, encrypt_key(secret, name, PASSWORD, SCRYPT_N_DEV))
    yield node
    node.stop()


async def play(live: LiveNode, folder: NetworkFolder) -> list[str]:
    lines: list[str] = []
    async with NodeApi(folder.genesis, [live.url]) as network:
        stage = Waiting(folder, network, lines.append)
        stage.world = live.service.world
        await prepaid.play(stage)
    return lines


async def test_the_whole_story_with_its_days(live: LiveNode, tmp_path: Path) -> None:
    lines = await play(live, NetworkFolder(tmp_path / "net"))
    for figure in (
        "left on the card: 280000",
        "the gym has received: 90000",
        "still Alice's, in escrow: 210000",
        "earned in thirteen visits: 97500",
        "of that paid out: 90000",
        "and held: 7500",
        "back to Alice: 300,000 − 97,500: 202500",
        "held earnings, to the gym: 7500",
        "back to Bob, all of it: 300000",
        "refund is refused: COOLING_OFF_PASSED",
    ):
        assert f"    ✓ {figure}" in lines


async def test_a_wrong_figure_ends_the_story(
    live: LiveNode, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(prepaid, "VISIT", 10_001)
    with pytest.raises(StoryFailed, match="left on the card: 279988, and it should be 280000"):
        await play(live, NetworkFolder(tmp_path / "net"))


async def test_a_network_without_its_people_is_refused(live: LiveNode, tmp_path: Path) -> None:
    (tmp_path / "net" / "keys" / "carol.json").unlink()
    with pytest.raises(Misconfigured, match=r"carol \(holder\)"):
        await play(live, NetworkFolder(tmp_path / "net"))
