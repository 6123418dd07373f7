"""What a node refuses: to start on wrong or damaged files.

Each refusal is one line that names a code and says what to do, and a non-zero exit.
"""

from __future__ import annotations

import json
import shutil
import signal
import subprocess
import time

import pytest

from client.local import LocalNetwork, LocalNode, node_environment, python_node
from client.node_api import NodeApi
from tests.network.shop import Shop

RUN_SECONDS_MAX = 30.0


def refusal(network: LocalNetwork, node: LocalNode) -> str:
    """Run a node that must refuse to start: its one line."""
    password = network.folder.path / "keys" / ".password"
    done = subprocess.run(
        [*python_node(), "run", "--folder", str(node.folder)],
        capture_output=True,
        text=True,
        timeout=RUN_SECONDS_MAX,
        env=node_environment(password),
        check=False,
    )
    assert done.returncode in (1, 2), done.stderr
    lines = done.stderr.strip().splitlines()
    assert len(lines) == 1, done.stderr
    return lines[0]


def stop_after_first_block(network: LocalNetwork) -> LocalNode:
    """Run the network for a moment, so that there are databases, and return a stopped node."""
    network.start()
    network.stop()
    return network.nodes[0]


def test_a_wrong_genesis_is_refused(founded: LocalNetwork) -> None:
    node = stop_after_first_block(founded)
    path = founded.folder.path / "genesis.json"
    genesis = json.loads(path.read_text())
    genesis["created_at"] = "2020-01-01T00:00:00.000Z"
    path.chmod(0o600)
    path.write_text(json.dumps(genesis))
    assert "WRONG_GENESIS" in refusal(founded, node)


def test_an_unknown_contract_hash_is_refused(founded: LocalNetwork) -> None:
    path = founded.folder.path / "genesis.json"
    genesis = json.loads(path.read_text())
    genesis["contracts"]["prepaid"] = "00" * 32
    path.chmod(0o600)
    path.write_text(json.dumps(genesis))
    assert "UNKNOWN_CONTRACT_HASH" in refusal(founded, founded.nodes[0])


def test_damaged_votes_are_refused_and_not_replaced(founded: LocalNetwork) -> None:
    node = stop_after_first_block(founded)
    votes = node.folder / "votes"
    (votes / "CURRENT").write_bytes(b"garbage\n")
    assert "VOTES" in refusal(founded, node)


async def test_lost_votes_are_refused(founded: LocalNetwork) -> None:
    founded.start()
    wallet = founded.folder.wallet
    async with NodeApi(founded.folder.genesis, [n.http_url for n in founded.nodes]) as api:
        shop = Shop(api, wallet.open("bank"), wallet.open("gym"), wallet.open("regulator"))
        await shop.open()
    founded.stop()
    node = founded.nodes[0]
    shutil.rmtree(node.folder / "votes")
    assert "VOTES_MISSING" in refusal(founded, node)


def test_a_database_in_use_is_refused(founded: LocalNetwork) -> None:
    founded.start()
    node = founded.nodes[0]
    copy = node.folder.with_name("twin")
    shutil.copytree(node.folder, copy, ignore=shutil.ignore_patterns("data", "votes", "*.log"))
    for name in ("data", "votes"):
        (copy / name).symlink_to(node.folder / name)
    assert "DATABASE_IN_USE" in refusal(founded, LocalNode("twin", copy, node.http_url))


@pytest.mark.parametrize(
    ("name", "content", "code"),
    [
        ("node.toml", b"listen = 5", "BAD_CONFIG"),
        ("node.toml", b"\xff\xfe", "BAD_CONFIG"),
        ("node.key.json", b"{}", "BAD_KEYSTORE"),
        ("node.key.json", b"\x00" * 100, "BAD_KEYSTORE"),
        ("tls.crt", b"no certificate", "BAD_TLS_FILES"),
        ("../../genesis.json", b"{", "BAD_CONFIG"),
        ("../../interface.json", b"{}", "WRONG_INTERFACE"),
    ],
)
def test_bad_files_are_refused(founded: LocalNetwork, name: str, content: bytes, code: str) -> None:
    node = founded.nodes[0]
    path = node.folder / name
    path.chmod(0o600)
    path.write_bytes(content)
    assert code in refusal(founded, node)


def test_a_missing_folder_is_refused(founded: LocalNetwork) -> None:
    node = LocalNode("none", founded.folder.path / "nodes" / "none", "http://127.0.0.1:1")
    assert "NO_FILE" in refusal(founded, node)


def test_sigterm_ends_a_node_cleanly(founded: LocalNetwork) -> None:
    founded.start()
    node = founded.nodes[0]
    assert node.signal(signal.SIGTERM)
    assert node.wait_ended(time.monotonic() + 10)
    assert '"node_stopped"' in node.last_words()
