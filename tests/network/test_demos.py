"""The demos on four real nodes whose policy time runs ten times as fast."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from client.cli.main import main
from client.demo import deposits, exchange, licensing, payments, prepaid
from client.demo.stage import Stage
from client.local import LocalNetwork
from client.node_api import NodeApi
from tests.network.conftest import REPOSITORY, found

TIME_SCALE = 10


@pytest.fixture(scope="module")
def network(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalNetwork]:
    """Four running nodes on which a day has 2.4 hours."""
    directory = tmp_path_factory.mktemp("demos")
    description = directory / "network.toml"
    text = (REPOSITORY / "network.toml").read_text()
    description.write_text(text.replace("time_scale = 1\n", f"time_scale = {TIME_SCALE}\n"))
    fast = found(directory / "net", description)
    try:
        fast.start()
        yield fast
    finally:
        fast.kill([])


async def play_exchange(network: LocalNetwork, api: NodeApi) -> list[str]:
    """The story's lines."""
    lines: list[str] = []
    await exchange.play(Stage(network.folder, api, lines.append))
    return lines


async def test_exchange_and_once_more(network: LocalNetwork, api: NodeApi) -> None:
    assert network.folder.genesis.time_scale == TIME_SCALE
    first = await play_exchange(network, api)
    assert "    ✓ the bank owes the airline, for 2,500 miles at 5 fen: ¥125.00" in first
    assert "    ✓ Alice's points: 20000" in first
    again = await play_exchange(network, api)
    assert again[-1] == first[-1]
    assert sum("register_platform" in line for line in again) == 0


async def test_payments_and_once_more(network: LocalNetwork, api: NodeApi) -> None:
    for _ in range(2):
        lines: list[str] = []
        await payments.play(Stage(network.folder, api, lines.append))
        assert "    ✓ the cinema received 25.00 + 6.00 + 25.00: ¥56.00" in lines
        assert sum("callback" in line for line in lines) == 6


async def test_licensing(network: LocalNetwork, api: NodeApi) -> None:
    lines: list[str] = []
    await licensing.play(Stage(network.folder, api, lines.append))
    assert "    ✓ QR symbols: 13" in lines
    assert "    ✓ given back: 3000" in lines


async def test_deposits(network: LocalNetwork, api: NodeApi) -> None:
    lines: list[str] = []
    await deposits.play(Stage(network.folder, api, lines.append))
    assert "    ✓ interest at maturity, in fen: 21388" in lines
    assert sum("it is recommended" in line for line in lines) == 5


async def test_prepaid_on_a_network_whose_days_are_too_long_to_wait_for(
    network: LocalNetwork, api: NodeApi
) -> None:
    lines: list[str] = []
    await prepaid.play(Stage(network.folder, api, lines.append))
    assert "    ✓ back to Alice: 300,000 − 97,500: 202500" in lines
    assert any("--time-scale" in line for line in lines)
    assert not any("Bob thinks better" in line for line in lines)


def test_the_books_balance_on_every_node(
    network: LocalNetwork, capsys: pytest.CaptureFixture[str]
) -> None:
    directory: Path = network.folder.path
    assert main(["audit", "--full", "--dir", str(directory)]) == 0
    assert "exchange sums" in capsys.readouterr().out
