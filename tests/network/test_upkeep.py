"""A node whose database is damaged: it says so in one line, and the tools find and mend it."""

from __future__ import annotations

import asyncio
import json
import shutil
from pathlib import Path

import pytest

from client.cli.main import main
from client.local import LocalNetwork, NodeFailure
from client.node_api import NodeApi
from tests.network.shop import BONUS, PAID, VISIT, Shop, agreed

DAMAGED_BYTES = 64
DAMAGED_EVERY = 2_048


def damage(folder: Path) -> None:
    """Flip bytes all over every file that holds records, so that the next start meets some."""
    for path in [*folder.glob("*.log"), *folder.glob("*.ldb")]:
        content = bytearray(path.read_bytes())
        for start in range(DAMAGED_EVERY // 2, len(content), DAMAGED_EVERY):
            for at in range(start, min(start + DAMAGED_BYTES, len(content))):
                content[at] ^= 0xFF
        path.write_bytes(bytes(content))


async def groat(network: LocalNetwork, *words: str) -> int:
    """The exit code of a command on this network; it may take long."""
    directory = str(network.folder.path)
    return await asyncio.to_thread(main, [*words, "--dir", directory, "-o", "json"])


def open_to_others(folder: Path) -> list[Path]:
    """What a folder holds that is not its owner's alone, itself included."""
    return [path for path in (folder, *folder.rglob("*")) if path.lstat().st_mode & 0o077]


async def test_a_damaged_node_is_checked_repaired_and_votes_again(
    network: LocalNetwork, shop: Shop, api: NodeApi, capsys: pytest.CaptureFixture[str]
) -> None:
    one = await shop.customer()
    for _ in range(3):
        await shop.visit(one)
    await agreed(api, nodes=4)
    victim = network.nodes[3]
    assert await groat(network, "node", "check", victim.name) == 1
    assert "STILL_RUNNING" in capsys.readouterr().err
    network.stop([victim.name])

    assert await groat(network, "node", "check", victim.name) == 0
    rows = json.loads(capsys.readouterr().out)
    assert {row["check"]: row["result"] for row in rows}["votes"] == "ok"
    assert {row["result"] for row in rows} == {"ok"}

    damage(victim.folder / "data")
    assert await groat(network, "node", "check", victim.name) == 1
    shown = capsys.readouterr()
    assert "DATABASE_DAMAGED" in shown.err
    assert "DAMAGED" in {row["result"] for row in json.loads(shown.out)}
    with pytest.raises(NodeFailure, match=r"DATABASE_DAMAGED.*groat node repair"):
        await asyncio.to_thread(network.start, [victim.name])

    assert await groat(network, "node", "repair", victim.name) == 0
    assert open_to_others(victim.folder) == []
    repaired = json.loads(capsys.readouterr().out)
    assert await asyncio.to_thread(Path(repaired["set_aside"]).exists)
    await asyncio.to_thread(network.start, [victim.name])
    await agreed(api, nodes=4)
    # With another one dead, only the repaired node's votes make a quorum.
    network.kill([network.nodes[0].name])
    await shop.visit(one)
    await asyncio.to_thread(network.start, [network.nodes[0].name])
    await agreed(api, nodes=4)
    assert await shop.remaining(one, victim.http_url) == PAID + BONUS - VISIT * one.acknowledged


async def test_a_running_node_is_backed_up_and_restored_without_its_votes(
    network: LocalNetwork,
    shop: Shop,
    api: NodeApi,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
) -> None:
    one = await shop.customer()
    await shop.visit(one)
    height, _ = await agreed(api, nodes=4)
    victim, backup = network.nodes[2], tmp_path / "backup"
    assert await groat(network, "node", "backup", victim.name, "--to", str(backup)) == 0
    assert open_to_others(backup) == []
    made = json.loads(capsys.readouterr().out)
    assert int(made["height"]) >= height
    assert await groat(network, "node", "backup", victim.name, "--to", str(backup)) == 1
    for _ in range(3):
        await shop.visit(one)
    network.stop([victim.name])
    for name in ("data", "votes"):
        await asyncio.to_thread(shutil.rmtree, victim.folder / name)

    source = ("--from", str(backup))
    capsys.readouterr()
    assert await groat(network, "node", "restore", victim.name, *source) == 1
    assert "VOTES_MISSING" in capsys.readouterr().err
    assert await groat(network, "node", "restore", victim.name, *source, "--votes-lost") == 0
    restored = json.loads(capsys.readouterr().out)
    top, _ = await agreed(api, nodes=3)
    assert int(restored["vote_from"]) == top + 3
    await asyncio.to_thread(network.start, [victim.name])
    await agreed(api, nodes=4)
    # It is silent for two heights and votes from then on: with another one dead it must.
    for _ in range(3):
        await shop.visit(one)
    network.kill([network.nodes[0].name])
    await shop.visit(one)
    await asyncio.to_thread(network.start, [network.nodes[0].name])
    await agreed(api, nodes=4)
    assert await shop.remaining(one, victim.http_url) == PAID + BONUS - VISIT * one.acknowledged
    network.stop([victim.name])
    assert await groat(network, "node", "check", victim.name) == 0
    await asyncio.to_thread(network.start, [victim.name])


async def test_the_day_when_all_were_restored(
    network: LocalNetwork,
    shop: Shop,
    api: NodeApi,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
) -> None:
    """Nobody has anything newer than one backup: by a named override all go on from it."""
    one = await shop.customer()
    await shop.visit(one)
    await agreed(api, nodes=4)
    names, backup = [node.name for node in network.nodes], tmp_path / "backup"
    assert await groat(network, "node", "backup", names[0], "--to", str(backup)) == 0
    booked = one.acknowledged
    await shop.visit(one)  # which will never have been
    network.stop(names)
    for node in network.nodes:
        for name in ("data", "votes"):
            await asyncio.to_thread(shutil.rmtree, node.folder / name)
    restore = ["node", "restore", names[0], "--from", str(backup)]
    capsys.readouterr()
    assert await groat(network, *restore, "--votes-lost") == 6
    assert "--all-restored" in capsys.readouterr().err  # nobody is there to be asked
    for name in names:
        restore = ["node", "restore", name, "--from", str(backup), "--all-restored"]
        assert await groat(network, *restore) == 0
    await asyncio.to_thread(network.start, names)
    # Whoever has seen the lost blocks must be told to forget them, as this client is.
    async with NodeApi(network.folder.genesis, [node.http_url for node in network.nodes]) as anew:
        shop.api, one.acknowledged = anew, booked
        await shop.visit(one)
        await agreed(anew, nodes=4)
        for node in network.nodes:
            left = await shop.remaining(one, node.http_url)
            assert left == PAID + BONUS - VISIT * (booked + 1)
