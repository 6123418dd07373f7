"""A node that joins later: its folder, its certificate, and the committee's secret sealed to it."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from node.folder import load_node
from node.genesis import create_network
from node.joining import prepare_node
from node.net.tls import check_certificate, pem_fingerprint
from node.protocol.errors import Misconfigured
from node.protocol.genesis import Genesis
from node.protocol.password import PASSWORD_VARIABLE
from tests.test_genesis import NOW_MS, config

ADDRESS, HTTP = "127.0.0.1:27105", "127.0.0.1:28105"


@pytest.fixture
def network(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A founded network."""
    monkeypatch.delenv(PASSWORD_VARIABLE, raising=False)
    directory = tmp_path / "network"
    create_network(config(), directory, None, NOW_MS)
    return directory


def prepare(network: Path) -> dict[str, Any]:
    """Prepare a fifth node."""
    return prepare_node(network, "node5", ADDRESS, HTTP, NOW_MS)


def welcome(network: Path, *wraps: dict[str, Any]) -> Path:
    """Leave the node what it needs besides genesis; its folder."""
    founder = Genesis.load(network / "genesis.json").validators[0]
    peer = founder.model_dump(include={"public_key", "address", "tls_fingerprint"})
    folder = network / "nodes" / "node5"
    content = {"version": 1, "wraps": wraps, "peers": [peer]}
    (folder / "joining.json").write_text(json.dumps(content))
    return folder


def refusal(folder: Path) -> str:
    """The code with which the node refuses to start."""
    with pytest.raises(Misconfigured) as error:
        load_node(folder)
    return error.value.code


def test_it_starts_with_the_committee_s_secret_and_peers(network: Path) -> None:
    plan = prepare(network)
    settings = load_node(welcome(network, *plan["wraps"]))
    assert settings.secret == load_node(network / "nodes" / "node1").secret
    assert settings.key.public_key.hex() == plan["public_key"]
    assert (settings.name, settings.listen, settings.http) == (
        "node5",
        ("127.0.0.1", 27105),
        ("127.0.0.1", 28105),
    )
    assert settings.joining is not None
    assert len(settings.joining.peers) == 1
    certificate, authority, key = (
        (settings.folder / name).read_bytes() for name in ("tls.crt", "ca.crt", "tls.key")
    )
    check_certificate(certificate, authority, key)
    assert authority == (network / "nodes" / "node1" / "ca.crt").read_bytes()
    assert plan["tls_fingerprint"] == pem_fingerprint(certificate).hex()


def test_preparing_again_keeps_the_keys(network: Path) -> None:
    first, second = prepare(network), prepare(network)
    assert first.pop("wraps") != second.pop("wraps")  # sealed afresh, to the same key
    assert first == second


def test_a_node_that_joined_can_let_the_next_one_in(network: Path) -> None:
    welcome(network, *prepare(network)["wraps"])
    for index in range(1, 5):
        shutil.rmtree(network / "nodes" / f"node{index}")
    plan = prepare_node(network, "node6", "127.0.0.1:27106", "127.0.0.1:28106", NOW_MS)
    joined = load_node(network / "nodes" / "node5")
    shutil.copy(joined.folder / "joining.json", network / "nodes" / "node6" / "joining.json")
    assert refusal(network / "nodes" / "node6") == "BAD_EPOCH_WRAP"  # another node's
    content = json.loads((joined.folder / "joining.json").read_text())
    text = json.dumps({**content, "wraps": plan["wraps"]})
    (network / "nodes" / "node6" / "joining.json").write_text(text)
    assert load_node(network / "nodes" / "node6").secret == joined.secret


def test_what_is_missing_is_said(network: Path) -> None:
    plan = prepare(network)
    folder = network / "nodes" / "node5"
    assert refusal(folder) == "NOT_A_VALIDATOR"
    assert refusal(welcome(network, {"epoch": 1, "wrap": "00" * 40})) == "BAD_EPOCH_WRAP"
    (folder / "joining.json").write_text("{}")
    assert refusal(folder) == "BAD_CONFIG"
    welcome(network, *plan["wraps"])
    shutil.rmtree(folder)
    shutil.rmtree(network / "ca")
    with pytest.raises(Misconfigured) as error:
        prepare(network)
    assert error.value.code == "NO_FILE"
    assert not folder.exists()


def test_without_another_node_there_is_no_secret(network: Path) -> None:
    for index in range(1, 5):
        shutil.rmtree(network / "nodes" / f"node{index}")
    with pytest.raises(Misconfigured) as error:
        prepare(network)
    assert error.value.code == "NO_NODE"
