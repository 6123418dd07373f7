"""`groat net code`: versions on chain and in the program; a new interface only if it is proved."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from client import local
from client.folder import NetworkFolder
from contracts.catalog import CONTRACTS
from contracts.kernel.registry import interface
from node.code_hashes import describe
from node.protocol.genesis import interface_hash
from node.protocol.transaction import Call
from tests.client.command import Groat
from tests.client.live import LiveNode
from tests.http.support import ADMIN, BANK, DEPUTY, World

NEXT = b"n" * 32


def upgrade(world: World, described: bytes) -> int:
    """Two administrators let prepaid change soon; the height."""
    proposal = b"u" * 16
    first = world.store.head.height + 15
    args: dict[str, Any] = {
        "proposal": proposal,
        "reason": "limits",
        "contract": "prepaid",
        "source_hash": NEXT,
        "interface_hash": described,
        "activation_height": first,
    }
    world.commit(world.transaction(ADMIN, Call("kernel", "upgrade", args)))
    world.commit(world.transaction(DEPUTY, Call("kernel", "approve", {"proposal": proposal})))
    return first


def pass_blocks(world: World, height: int) -> None:
    while world.store.head.height < height:
        world.commit(world.transaction(BANK, Call("kernel", "expire_pending", {})))


def rows(result: Any) -> list[tuple[str, str, str]]:
    """Contract, state and whether it is here, of what is on chain."""
    shown = [json.loads(line) for line in result.out.splitlines()]
    return [
        (row["contract"], row["state"], row["here"])
        for row in shown
        if row["state"] != "not on chain"
    ]


def test_versions_and_a_proved_interface(live: LiveNode, groat: Groat, tmp_path: Path) -> None:
    world = live.service.world
    described = interface({"prepaid": CONTRACTS["prepaid"]})
    first = upgrade(world, interface_hash(described))
    listed = groat("net", "code", "-o", "jsonl")
    assert listed.code == 0, listed
    assert rows(listed) == [
        ("kernel", "runs", "NO"),
        ("prepaid", "runs", "NO"),
        ("prepaid", "to come", "NO"),
    ]
    folder = NetworkFolder(tmp_path / "net")
    assert groat("net", "code", "--fetch").code == 0
    assert json.loads(folder.upgraded_path.read_text()) == {}
    pass_blocks(world, first - 1)
    fetched = groat("net", "code", "--fetch", "-o", "jsonl")
    assert rows(fetched)[1:] == [("prepaid", "ran", "NO"), ("prepaid", "runs", "NO")]
    assert json.loads(folder.upgraded_path.read_text()) == described
    assert folder.interface["prepaid"] == described["prepaid"]
    assert groat("call", "prepaid", "consume", "--help").code == 0
    folder.upgraded_path.write_text("[]")
    assert groat("call", "prepaid", "consume", "--help").code == 2


def test_an_interface_that_the_chain_does_not_name_is_refused(
    live: LiveNode, groat: Groat, tmp_path: Path
) -> None:
    world = live.service.world
    pass_blocks(world, upgrade(world, b"x" * 32))
    refused = groat("net", "code", "--fetch", "-o", "json")
    assert refused.code != 0
    assert json.loads(refused.err.splitlines()[-1])["error"]["code"] == "WRONG_INTERFACE"
    assert not NetworkFolder(tmp_path / "net").upgraded_path.exists()


def test_the_program_says_what_it_holds() -> None:
    assert local.bundled_code() == describe()
    assert {one["contract"] for one in describe()} == set(CONTRACTS)
