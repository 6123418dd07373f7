"""Local processes: started, harmed, told from strangers, and never left half-started unseen."""

from __future__ import annotations

import os
import signal
import socket
import sys
from collections.abc import Iterator
from pathlib import Path
from threading import Timer

import pytest

from client.folder import NetworkFolder
from client.local import (
    LocalNetwork,
    NodeFailure,
    State,
    create_network,
    network_file,
    remove_network,
)
from client.logs import follow, tail
from node.protocol.errors import Misconfigured
from tests.http.support import genesis
from tests.protocol.support import MEMBERS

# A node as far as its process is concerned: answers /livez, ends on SIGTERM.
STAND_IN = """
import http.server, json, pathlib, signal, sys
folder = pathlib.Path(sys.argv[sys.argv.index("--folder") + 1])
if (folder / "broken").exists():
    sys.exit("groat node: WRONG_GENESIS: get the genuine file")
port = int((folder / "port").read_text())
signal.signal(signal.SIGTERM, lambda *_: sys.exit("ended in good order"))
class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200)
        self.end_headers()
http.server.HTTPServer(("127.0.0.1", port), Handler).serve_forever()
"""


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _write_folder(path: Path, names: tuple[str, ...]) -> NetworkFolder:
    (path / "genesis.json").write_text(genesis().to_text())
    endpoints = []
    for member, name in zip(MEMBERS, names, strict=False):
        port = _free_port()
        folder = path / "nodes" / name
        folder.mkdir(parents=True)
        (folder / "port").write_text(str(port))
        endpoints.append(
            f'{{"name": "{name}", "http_url": "http://127.0.0.1:{port}",'
            f' "peer_address": "127.0.0.1:1", "public_key": "{member.public_key.hex()}"}}'
        )
    (path / "network.json").write_text(f'{{"endpoints": [{", ".join(endpoints)}]}}')
    return NetworkFolder(path)


@pytest.fixture
def network(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[LocalNetwork]:
    """Two stand-in nodes, ended for certain afterwards."""
    script = tmp_path / "stand_in.py"
    script.write_text(STAND_IN)
    monkeypatch.setattr("client.local.python_node", lambda: [sys.executable, str(script)])
    local = LocalNetwork(_write_folder(tmp_path, ("node1", "node2")))
    yield local
    local.kill(())


def _states(network: LocalNetwork) -> list[str]:
    return [str(one.state) for one in network.nodes]


def test_nodes_start_and_stop_in_good_order(network: LocalNetwork) -> None:
    network.start()
    assert _states(network) == ["running", "running"]
    assert all(one.serves() for one in network.nodes)
    first = network.nodes[0].process
    network.start()  # starting again changes nothing
    assert network.nodes[0].process == first
    network.stop()
    assert _states(network) == ["stopped", "stopped"]
    assert network.nodes[0].last_words() == "ended in good order"


def test_a_node_is_killed_and_brought_back(network: LocalNetwork) -> None:
    network.start()
    network.kill(["node2"])
    assert _states(network) == ["running", "stopped"]
    network.start(["2"])
    assert network.nodes[1].state is State.RUNNING


def test_a_paused_node_is_alive_but_silent_and_can_be_stopped(network: LocalNetwork) -> None:
    network.start()
    network.pause(["node1"])
    assert _states(network) == ["paused", "running"]
    assert not network.nodes[0].serves()
    network.resume(["node1"])
    assert _states(network) == ["running", "running"]
    network.pause(["node1"])
    network.stop(["node1"])
    assert _states(network) == ["stopped", "running"]


def test_a_node_that_ends_at_once_leaves_its_last_words(network: LocalNetwork) -> None:
    (network.nodes[1].folder / "broken").touch()
    with pytest.raises(NodeFailure, match="WRONG_GENESIS: get the genuine file") as error:
        network.start()
    assert error.value.code == "NODE_ENDED"


def test_a_stranger_with_the_same_process_id_is_left_alone(network: LocalNetwork) -> None:
    """Ids are given again; the start time tells."""
    pid_file = network.nodes[0].folder / "node.pid"
    pid_file.write_text(f"{os.getpid()} 1\n")
    assert network.nodes[0].process is None
    assert not network.nodes[0].signal(signal.SIGTERM)
    network.stop()


@pytest.mark.parametrize("content", ["", "x y", "1", "-1 0", "99999999 5", "1 2 3"])
def test_a_damaged_pid_file_means_stopped(network: LocalNetwork, content: str) -> None:
    (network.nodes[0].folder / "node.pid").write_text(content)
    assert network.nodes[0].state is State.STOPPED


def test_harming_a_node_that_does_not_run_is_said(network: LocalNetwork) -> None:
    with pytest.raises(NodeFailure) as error:
        network.pause(["node1"])
    assert error.value.code == "NOT_RUNNING"


def test_an_unknown_node_is_answered_with_the_known_ones(network: LocalNetwork) -> None:
    for name in ("node9", "0", "3", ""):
        with pytest.raises(Misconfigured, match="there are node1, node2"):
            network.select([name])


def test_what_runs_elsewhere_is_not_ours(network: LocalNetwork) -> None:
    for path in network.nodes[1].folder.iterdir():
        path.unlink()
    network.nodes[1].folder.rmdir()
    rest = LocalNetwork(network.folder)
    assert [one.name for one in rest.nodes] == ["node1"]
    with pytest.raises(Misconfigured, match="does not run on this machine"):
        rest.select(["node2"])


def test_only_a_dev_network_is_deleted(tmp_path: Path) -> None:
    stranger = tmp_path / "precious"
    stranger.mkdir()
    (stranger / "photo").touch()
    with pytest.raises(Misconfigured) as error:
        remove_network(NetworkFolder(stranger))
    assert error.value.code == "NO_NETWORK"

    real = tmp_path / "real"
    real.mkdir()
    folder = _write_folder(real, ("node1",))
    text = (real / "genesis.json").read_text()
    (real / "genesis.json").write_text(text.replace('"dev": true', '"dev": false'))
    with pytest.raises(Misconfigured) as error:
        remove_network(folder)
    assert error.value.code == "NOT_DEV"

    (real / "genesis.json").write_text(text)
    remove_network(NetworkFolder(real))
    assert not real.exists()
    assert stranger.exists()


def test_a_faulty_description_is_refused_in_one_line(tmp_path: Path) -> None:
    description = tmp_path / "network.toml"
    description.write_text("chain_id = 5\n")
    with pytest.raises(Misconfigured) as error:
        create_network(tmp_path / "net", ["--network", str(description)])
    assert error.value.code == "BAD_CONFIG"
    assert "chain_id" in error.value.message
    assert "\n" not in error.value.message


def test_the_description_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert network_file(None).name == "network.toml"  # the one that comes with the sources
    (tmp_path / "network.toml").touch()
    assert network_file(None) == Path("network.toml")
    assert network_file(Path("other.toml")) == Path("other.toml")


def test_the_end_of_a_log(tmp_path: Path) -> None:
    log = tmp_path / "node.log"
    assert tail(log, 3) == []
    log.write_bytes(b"".join(b"line %d\n" % number for number in range(1_000)) + b"\xff\n")
    assert tail(log, 2) == ["line 999", "\ufffd"]


def test_a_log_is_followed_by_whole_lines(tmp_path: Path) -> None:
    log = tmp_path / "node.log"
    log.write_text("old\n")

    def write(text: str) -> None:
        with log.open("a") as file:
            file.write(text)

    # Whoever follows notes the end of the file first, in the moment that it is first asked.
    writers = [Timer(0.3, write, ["half"]), Timer(0.6, write, [" and half\n"])]
    for writer in writers:
        writer.start()
    lines = follow({"node1": log, "absent": tmp_path / "absent"})
    assert next(lines) == ("node1", "half and half")
    for writer in writers:
        writer.join()
