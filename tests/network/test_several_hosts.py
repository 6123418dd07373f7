"""A network over several hosts, as its operators make it: every step is a command of theirs.

Four folders stand for four hosts, each with an address and a password of its own; the founder has
a fifth, and the people's keys are in a sixth.
"""

from __future__ import annotations

import io
from collections.abc import Iterator
from pathlib import Path

import pytest

from client.cli.main import main
from client.folder import NetworkFolder
from client.local import LocalNetwork
from client.node_api import NodeApi
from client.wallet import Wallet
from node.protocol.password import PASSWORD_VARIABLE
from tests.network.ports import free_ports
from tests.network.shop import BONUS, PAID, VISIT, Shop, agreed

NAMES = ("bank-a", "bank-b", "regulator", "operator")
PEOPLE = ("bank", "gym", "regulator")
DESCRIPTION = """
chain_id = "several-hosts"
confirmations_more_than = 2
[limits]
block_transactions = 1000
block_bytes = 4194304
block_calls = 2000
block_writes = 10000
[timeouts]
base_ms = 2000
cap_ms = 60000
[[assets]]
code = "CNY"
scale = 2
[roles]
regulator = ["regulator"]
bank = ["bank"]
merchant = ["gym"]
[[contracts.prepaid.classes]]
name = "cny-named"
asset = "CNY"
named = true
face_max = 500000
[identities]
"""


class Host:
    """One organisation's host: its folder, and a password that no other has."""

    def __init__(self, base: Path, name: str, patch: pytest.MonkeyPatch) -> None:
        self.folder = base / name
        self._password = base / f"{name}.password"
        self._password.write_text(f"the password of {name}\n")
        self._patch = patch

    def groat(self, *words: object, typed: bool = False) -> None:
        """Run a command on this host; the password comes from a file, or is typed when asked."""
        if typed:
            self._patch.delenv(PASSWORD_VARIABLE)
            self._patch.setattr("sys.stdin", _Terminal())
            self._patch.setattr("getpass.getpass", lambda _: self._password.read_text().strip())
        else:
            self._patch.setenv(PASSWORD_VARIABLE, str(self._password))
        assert main([*map(str, words), "--dir", str(self.folder)]) == 0

    @property
    def network(self) -> LocalNetwork:
        """The nodes of this host: one."""
        return LocalNetwork(NetworkFolder(self.folder))

    def wallet(self) -> Wallet:
        """The keys of this host."""
        return Wallet(self.folder / "keys", lambda _: self._password.read_bytes().strip())


class _Terminal(io.StringIO):
    """Somebody sits at it."""

    def isatty(self) -> bool:
        return True


@pytest.fixture
def people(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Host:
    """Where those who have roles keep their keys."""
    return Host(tmp_path, "people", monkeypatch)


@pytest.fixture
def hosts(
    tmp_path: Path,
    people: Host,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> Iterator[dict[str, Host]]:
    """Keys on every host, the founding, the joining; only public files pass from one to another."""
    founder = Host(tmp_path, "founder", monkeypatch)
    hosts = {name: Host(tmp_path, name, monkeypatch) for name in NAMES}
    papers: list[object] = []
    for (name, host), where in zip(hosts.items(), addresses(), strict=True):
        host.groat("net", "init", name, *where)
        papers += ["--member", host.folder / f"{name}.member.json"]
    for name in PEOPLE:
        people.groat("key", "new", name)
    capsys.readouterr()
    for name in PEOPLE:
        people.groat("key", "export", name, "--public")
    description = tmp_path / "network.toml"
    description.write_text(DESCRIPTION + capsys.readouterr().out)
    founder.groat("net", "create", "--network", description, *papers)
    for name, host in hosts.items():
        host.groat("net", "join", founder.folder / f"{name}.admission.json")
    try:
        yield hosts
    finally:
        for host in hosts.values():
            host.network.kill([])


def addresses() -> Iterator[list[str]]:
    """The options of `net init` for each host: an address of its own, and the same ports.

    The last one serves people on all interfaces, and they find it under another address.
    """
    first = free_ports(3)
    for number in range(1, len(NAMES)):
        host = f"127.0.0.{number}"
        yield ["--address", f"{host}:{first}", "--http", f"{host}:{first + 1}"]
    open_, url = f"0.0.0.0:{first + 2}", f"http://127.0.0.{len(NAMES)}:{first + 2}"
    yield ["--address", f"127.0.0.4:{first}", "--http", open_, "--url", url]


async def test_a_sealed_purchase_settles_between_hosts(
    hosts: dict[str, Host], people: Host
) -> None:
    for name, host in hosts.items():
        host.groat("net", "start", name, typed=name == "operator")
    folder = hosts["operator"].network.folder
    urls = [endpoint.http_url for endpoint in folder.endpoints]
    assert len(set(urls)) == len(NAMES)
    wallet = people.wallet()
    async with NodeApi(folder.genesis, urls) as api:
        shop = Shop(api, wallet.open("bank"), wallet.open("gym"), wallet.open("regulator"))
        await shop.open()
        customer = await shop.customer()
        await shop.visit(customer)
        await agreed(api, nodes=len(NAMES))
        for url in urls:
            assert await shop.remaining(customer, url) == PAID + BONUS - VISIT
    for name, host in hosts.items():
        log = host.network.nodes[0].log.read_text()
        assert ("http_without_tls" in log) == (name == "operator"), log
        host.groat("net", "stop")
