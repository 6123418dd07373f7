"""A network for one measurement: four real processes in a folder of their own, and their cards.

The nodes are those of `network.toml` on ports that were free a moment ago; nothing else is
different from a network that people use.
"""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from _load.cards import CardState, House, admit_merchant, open_cards, open_house, read_cards
from _load.cast import Cast
from _load.network import open_seed
from _load.signing import Opening, Signer, SigningProcess, Visit
from client.folder import NetworkFolder
from client.local import LocalNetwork, create_network, network_file
from client.node_api import NodeApi

NODES = 4
MERCHANT = "cdnow"
CARD_CLASS = "usd-replay"
AMOUNT = 1
PAID = 1_000_000
PORTS_FROM = 41_000
PORTS_TO = 60_000


@contextmanager
def temporary_network(directory: Path) -> Iterator[LocalNetwork]:
    """Made and started in `directory`, stopped in the end; the folder is the caller's."""
    ports = str(free_ports(2 * NODES))
    network = ["--network", str(network_file(None))]
    create_network(directory, [*network, "--nodes", str(NODES), "--ports-from", ports])
    local = LocalNetwork(NetworkFolder(directory))
    local.start()
    try:
        yield local
    finally:
        local.stop()


def free_ports(count: int) -> int:
    """The first of `count` ports in a row that nobody listens on."""
    first = PORTS_FROM
    while first + count <= PORTS_TO:
        busy = [port for port in range(first, first + count) if not _is_free(port)]
        if not busy:
            return first
        first = busy[-1] + 1
    raise RuntimeError("no free ports")


class Stage:
    """The actors: holders with a card each, and the next number of each card."""

    def __init__(self, local: LocalNetwork, holders: int, sealed: bool) -> None:
        folder = local.folder
        self.local = local
        self.sealed = sealed
        self.cast = Cast(open_seed(folder.wallet, "bench"), "bench")
        self.house: House = open_house(folder.wallet, MERCHANT)
        self.names = [f"{number:06}" for number in range(holders)]
        self._folder = folder
        self._next: list[int] = [1] * holders
        genesis = folder.genesis
        signer = Signer(genesis.chain, genesis.epoch_key, self.cast, CARD_CLASS, sealed)
        self.signing = SigningProcess(signer)

    def api(self) -> NodeApi:
        """The SDK on all nodes."""
        urls = [endpoint.http_url for endpoint in self._folder.endpoints]
        return NodeApi(self._folder.genesis, urls)

    async def open(self, network: NodeApi) -> None:
        """Admit the merchant and open all cards."""
        await admit_merchant(network, self.house, self.cast, MERCHANT, CARD_CLASS, self.sealed)
        wanted = [Opening(name, PAID) for name in self.names]
        await open_cards(network, self.signing, self.house, wanted, lambda _: None)

    async def look(self, network: NodeApi) -> int:
        """Learn each card's next number from the chain; how many purchases there were so far."""
        cards: dict[bytes, CardState] = await read_cards(network, self.house, self.cast)
        seqs = [cards[self.cast.card(name)].seq for name in self.names]
        self._next = [seq + 1 for seq in seqs]
        return sum(seqs)

    def visits(self, count: int) -> list[tuple[int, Visit]]:
        """The next `count` purchases, card after card in turn, each with its card's place."""
        planned = []
        for turn in range(count):
            place = turn % len(self.names)
            planned.append((place, Visit(self.names[place], AMOUNT, self._next[place])))
            self._next[place] += 1
        return planned


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True
