"""The commands of a network over several hosts, and nodes that the world sees elsewhere."""

from __future__ import annotations

import tomllib
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from threading import Thread

import pytest

from client.folder import NetworkFolder
from client.local import LocalNetwork, LocalNode, NodeFailure
from client.wallet import Wallet
from node.protocol.errors import Misconfigured
from node.protocol.password import PASSWORD_VARIABLE
from tests.client.command import Groat, free_port, genesis_with_interface, write_network
from tests.protocol.support import key

ROOT = Path(__file__).parents[2]


@pytest.fixture
def net(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of a network whose nodes are behind proxies; the first one is on this host."""
    monkeypatch.delenv(PASSWORD_VARIABLE, raising=False)
    path = tmp_path / "net"
    urls = [f"https://node{number}.invalid" for number in range(1, 5)]
    write_network(path, genesis_with_interface(), urls)
    (path / "nodes/node1").mkdir(parents=True)
    return path


def describe(net: Path, text: str) -> LocalNode:
    """The node of this host, by these settings."""
    (net / "nodes/node1/node.toml").write_text(text)
    return LocalNetwork(NetworkFolder(net)).nodes[0]


@contextmanager
def somebody_else() -> Iterator[str]:
    """Another program that answers every request with 200; its address."""

    class Answer(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            return

    server = HTTPServer(("127.0.0.1", 0), Answer)
    thread = Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


# ---- public keys


def test_the_public_half_is_a_line_of_toml(net: Path, groat: Groat) -> None:
    Wallet(net / "keys").store("till.1", key(5))
    for name in ("bank", "till.1"):
        printed = groat("key", "export", name, "--public").out
        expected = Wallet(net / "keys").entry(name).public_key
        assert tomllib.loads(printed) == {name: expected}
    assert groat("key", "export", "bank", "--public", "-o", "json").json["name"] == "bank"


def test_an_export_is_of_one_half(net: Path, groat: Groat) -> None:
    Wallet(net / "keys").store_seed("replay", bytes(32))
    assert groat("key", "export", "replay", "--public").err.startswith("BAD_KEYSTORE: ")
    for options in ([], ["--public", "--pem", str(net / "out.pem")]):
        result = groat("key", "export", "bank", *options)
        assert result.code == 2
        assert result.err.startswith("USAGE: ")
    assert not (net / "out.pem").exists()


# ---- founding


@pytest.mark.parametrize(
    ("words", "code"),
    [
        (["init", "a", "--address", "host", "--http", "127.0.0.1:1"], "BAD_CONFIG"),
        (["init", "a", "--address", "host:1", "--http", "127.0.0.1:1"], "NO_PASSWORD"),
        (["join", "none.json"], "NO_FILE"),
        (["create", "--network", str(ROOT / "network.toml"), "--member", "none"], "NO_FILE"),
    ],
)
def test_a_fault_is_one_line(
    words: list[str], code: str, groat: Groat, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv(PASSWORD_VARIABLE, raising=False)
    result = groat("net", *words)
    assert result.code == 2
    assert result.err.startswith(f"{code}: ")
    assert result.err.count("\n") == 1
    assert not (tmp_path / "net").exists()


# ---- nodes of this host


def test_a_node_is_reached_where_it_listens_itself(net: Path) -> None:
    assert describe(net, 'http = "127.0.0.1:5"').http_url == "http://127.0.0.1:5"
    assert describe(net, "no settings").http_url == "https://node1.invalid"


def test_another_program_is_not_taken_for_the_node(net: Path) -> None:
    with somebody_else() as address:
        node = describe(net, f'http = "{address}"\npassword_file = "x"')
        with pytest.raises(NodeFailure) as error:
            node.start()
    assert error.value.code == "ADDRESS_IN_USE"
    assert address in error.value.message
    assert not node.log.exists()


def test_a_password_is_asked_for_only_where_no_file_holds_it(
    net: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    http = f'http = "127.0.0.1:{free_port()}"\n'
    typed = [b"typed once"]
    monkeypatch.setattr("client.local.find_password", typed.pop)
    given: list[bytes | None] = []
    monkeypatch.setattr(LocalNode, "start", lambda _, password: given.append(password))
    for text, variable, expected in (
        (http, "", b"typed once"),
        (http + 'password_file = "x"', "", None),
        (http, "/a/file", None),
        ("no settings", "", None),
    ):
        describe(net, text)
        monkeypatch.setenv(PASSWORD_VARIABLE, variable)
        with pytest.raises(NodeFailure, match="NODE_ENDED"):
            LocalNetwork(NetworkFolder(net)).start()
        assert given.pop() == expected
    assert not typed


def test_no_terminal_to_ask_at(net: Path) -> None:
    describe(net, f'http = "127.0.0.1:{free_port()}"')
    with pytest.raises(Misconfigured) as error:
        LocalNetwork(NetworkFolder(net)).start()
    assert error.value.code == "NO_PASSWORD"


def test_the_doctor_looks_at_the_addresses_of_this_host(net: Path, groat: Groat) -> None:
    (net / "network.json").write_text(
        (net / "network.json").read_text().replace("127.0.0.1:", "192.0.2.1:")
    )
    describe(net, f'http = "127.0.0.1:{free_port()}"\nlisten = "127.0.0.1:{free_port()}"')
    findings = {row["check"]: row for row in groat("doctor", "-o", "json").json}
    assert findings["node1"]["result"] == "warning"
    assert findings["node1"]["detail"].startswith("stopped")
    with somebody_else() as address:
        describe(net, f'http = "{address}"\nlisten = "nonsense"')
        findings = {row["check"]: row for row in groat("doctor", "-o", "json").json}
    assert findings["node1"]["result"] == "FAILED"
    assert address in findings["node1"]["detail"]
