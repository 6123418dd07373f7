"""Nothing private stands in a node's folder: sealed calls, and all that they did, rest encrypted.

The folders are read as whoever steals the disk reads them, byte by byte, with everything in them:
state, votes, snapshots, backups, logs, key files.
"""

from __future__ import annotations

import asyncio
import shutil
import time
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

from client.local import LocalNetwork, NodeFailure
from client.node_api import NodeApi
from node.protocol.ticket import sign_ticket
from tests.network.conftest import REPOSITORY, found
from tests.network.shop import TICKET_MS, Customer, Shop, agreed
from tests.network.test_membership import connect, groat

EVERY = 6
# Beyond 2^32, so that not even their binary forms come about by chance.
PAID, BONUS = 612_345_678_901, 102_345_678_917
BY_HOLDER, BY_MERCHANT = 212_345_678_923, 182_345_678_929


@pytest.fixture
def founded(tmp_path: Path) -> Iterator[LocalNetwork]:
    """A network that makes snapshots often; whatever the test starts of it is killed."""
    path = tmp_path / "network.toml"
    path.write_text(f"snapshot_every = {EVERY}\n{(REPOSITORY / 'network.toml').read_text()}")
    network = found(tmp_path / "net", path)
    try:
        yield network
    finally:
        network.kill([])


async def booked_by_the_merchant(shop: Shop, one: Customer) -> None:
    """A visit of a holder who signs a ticket and sends nothing."""
    until = time.time_ns() // 1_000_000 + TICKET_MS
    args: dict[str, object] = {"card": one.card, "amt": BY_MERCHANT, "seq": 1}
    args["ticket_until"] = until
    args["ticket"] = sign_ticket(shop.api.chain, one.key, "prepaid", "consume", dict(args))  # type: ignore[arg-type]
    (await shop.call(shop.merchant, "consume", args)).require()


def forms(names: list[bytes], amounts: list[int]) -> list[bytes]:
    """What somebody would search for: raw bytes, hex, decimals, msgpack."""
    texts = [form for name in names for form in (name, name.hex().encode())]
    for amount in amounts:
        raw = amount.to_bytes(8, "big")
        texts += [str(amount).encode(), raw, raw[::-1], f"{amount:x}".encode()]
        texts.append(msgspec.msgpack.encode(amount))
        texts.append(f"{amount:,}".encode())
    return texts


def holding(folder: Path, needle: bytes) -> list[Path]:
    """The files that hold these bytes, in their content or their name."""
    files = [path for path in folder.rglob("*") if path.is_file()]
    return [path for path in files if needle in path.read_bytes() or needle in str(path).encode()]


async def snapshots_of_all(network: LocalNetwork, shop: Shop) -> None:
    """Let the chain go on until every node has made one."""
    deadline = time.monotonic() + 90
    while not all(list(node.folder.glob("snapshots/*/manifest")) for node in network.nodes):
        assert time.monotonic() < deadline, "no snapshots"
        await shop.customer()


async def remaining(api: NodeApi, one: Customer, network: LocalNetwork) -> set[int]:
    """What is left on a card, as every node has it."""
    answers = set()
    for node in network.nodes:
        answer = await api.query(
            "prepaid", "card", {"card": one.card.hex()}, viewer=one.key, url=node.http_url
        )
        answers.add(int(answer["result"]["remaining"]))
    return answers


async def test_r3_01_a_stolen_disk_tells_nothing_of_sealed_calls(
    founded: LocalNetwork, tmp_path: Path
) -> None:
    network, backup = founded, tmp_path / "backup"
    await asyncio.to_thread(network.start)
    async with connect(network) as api:
        key = network.folder.wallet.open
        shop = Shop(api, key("bank"), key("gym"), key("regulator"), "usd-replay", PAID, BONUS)
        await shop.open()
        sender, silent = await shop.customer(), await shop.customer()
        visit = {"card": sender.card, "amt": BY_HOLDER, "seq": 1}
        paid = (await shop.call(sender.key, "consume", visit)).require()
        await booked_by_the_merchant(shop, silent)
        await snapshots_of_all(network, shop)
        await groat(network, "node", "backup", "node1", "--to", str(backup))
        await agreed(api, nodes=4)
        assert await remaining(api, sender, network) == {PAID + BONUS - BY_HOLDER}
        assert await remaining(api, silent, network) == {PAID + BONUS - BY_MERCHANT}
    await asyncio.to_thread(network.stop)

    earned = [PAID * used // (PAID + BONUS) for used in (BY_HOLDER, BY_MERCHANT)]
    left = [PAID + BONUS - used for used in (BY_HOLDER, BY_MERCHANT)]
    amounts = [PAID, BONUS, BY_HOLDER, BY_MERCHANT, PAID + BONUS, *earned, *left]
    names = [sender.card, silent.card, sender.key.public_key, silent.key.public_key, shop.identity]
    for node in network.nodes:
        folder = node.folder
        for needle in forms(names, amounts):
            assert holding(folder, needle) == [], needle
        # The same search finds what is public: the id of the very transaction that did it.
        assert any(
            path.parent.name == "data" for path in holding(folder, bytes.fromhex(paid.id)[:16])
        )
    for needle in forms(names, amounts):
        assert holding(backup, needle) == [], needle

    await keys_are_each_node_s_own(network)
    await restored_from_another_s_backup(network, backup)
    async with connect(network) as api:
        assert await remaining(api, silent, network) == {PAID + BONUS - BY_MERCHANT}


async def keys_are_each_node_s_own(network: LocalNetwork) -> None:
    """With another node's storage key, and without any, a node says so in one line."""
    victim, other = network.nodes[2], network.nodes[3]
    own = victim.folder / "storage.key.json"
    aside = own.with_name("aside")
    own.rename(aside)
    with pytest.raises(NodeFailure, match=r"NO_STORAGE_KEY: .*is missing.*--votes-lost"):
        await asyncio.to_thread(network.start, [victim.name])
    shutil.copy(other.folder / "storage.key.json", own)
    with pytest.raises(NodeFailure, match=r"WRONG_STORAGE_KEY: .*put back the storage\.key\.json"):
        await asyncio.to_thread(network.start, [victim.name])
    aside.replace(own)


async def restored_from_another_s_backup(network: LocalNetwork, backup: Path) -> None:
    """A node takes a backup that another one sealed, and seals it under its own storage key."""
    victim = network.nodes[3]
    await asyncio.to_thread(shutil.rmtree, victim.folder / "data")
    await groat(network, "node", "restore", victim.name, "--from", str(backup))
    for row in await groat(network, "node", "check", victim.name):
        assert row["result"] == "ok", row
    # One whose storage key is lost makes a new one and fetches everything again.
    lost = network.nodes[2]
    (lost.folder / "storage.key.json").unlink()
    started = [node.name for node in network.nodes if node is not lost]
    await asyncio.to_thread(network.start, started)
    await groat(network, "node", "repair", lost.name, "--votes-lost")
    await asyncio.to_thread(network.start, [lost.name])
    async with connect(network) as api:
        await agreed(api, nodes=4)
