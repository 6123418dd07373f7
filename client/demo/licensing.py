"""The story of a book that is sold while its seller is away, and of what a licence allows.

Each play sells products of its own, so that it may be played again on the same network. The release
agents run beside the story as they always do: connectors that wait for the chain's confirmations.
"""

from __future__ import annotations

import asyncio
import json
import secrets
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from client.connector import Connector
from client.demo.stage import Stage, StoryFailed, cast, new_id
from client.journal import Journal
from client.product import packing, symbols, terms
from client.product.agent import CONFIRMED, ReleaseAgent
from client.product.code import Code
from client.product.opening import Confirmation, box_of, confirmation, open_product
from node.protocol.errors import Refused
from node.protocol.json_view import to_json

CONTRACT = "licensing"
SELLER, BUYER, FRIEND = "press", "alice", "bob"
AGENTS = ("agent-1", "agent-2", "agent-3")
CHANNELS = ("channel-a", "channel-b")
CAST = {
    SELLER: "seller",
    BUYER: "holder",
    FRIEND: "holder",
    **dict.fromkeys(AGENTS, "release_agent"),
    **dict.fromkeys(CHANNELS, "channel"),
}
CODE_BYTES, SYMBOLS = 38_000, 13
SAMPLE_PRICE, BOOK_PRICE, PRINT_PRICE = 100, 1_800, 3_000
PAGES = 50
OPEN_SECONDS = 60.0
POLL_SECONDS = 0.3
FITTING_MAX = 10


async def play(stage: Stage) -> None:
    """All of it; raises `StoryFailed` at the first wrong figure."""
    cast(stage.folder, CAST)
    with TemporaryDirectory() as scratch:
        story = _Story(stage, Path(scratch))
        await story.pack_the_book()
        async with story.agents():
            await story.buy_the_book()
            await story.use_it_on_two_devices()
            await story.pay_the_difference()
            await story.lend_it_to_a_friend()
            await story.give_it_back()
            await story.sell_once("TICKET", "a ticket for one evening", "enter")
            await story.sell_once("PROCESS", "a small program, run once", "run")
        await story.count_the_money()


class _Story:
    def __init__(self, stage: Stage, folder: Path) -> None:
        self._stage = stage
        self._folder = folder
        self._names: list[str] = []
        self._packed: dict[str, packing.Packed] = {}
        self._request = ""
        self._shares: dict[str, dict[str, packing.AgentShares]] = {name: {} for name in AGENTS}

    # ---- the scenes

    async def pack_the_book(self) -> None:
        """An integration code of 38,000 bytes is 13 QR symbols, which read back."""
        self._stage.say("A publisher packs a book: a sample, the text, and the right to print.")
        name = self._new_name("book")
        given = terms.Terms.model_validate(
            {
                **self._terms(name, "CONTENT"),
                "degrees": [
                    _degree(SAMPLE_PRICE, {"sample": 0}),
                    {**_degree(BOOK_PRICE, {"read": 0, "copy": 2_000}), "machines": 2},
                    {
                        **_degree(PRINT_PRICE, {"read": 0, "copy": 2_000, "print": PAGES}),
                        "machines": 2,
                        "transferable": True,
                    },
                ],
            }
        )
        packed = self._pack_to_size(given)
        self._stage.command("product", "pack", "book.toml", "--key", SELLER, "--out", "book")
        pictures = packing.draw(packed.code)
        self._stage.expect("bytes of the code", len(packed.code.raw), CODE_BYTES)
        self._stage.expect("QR symbols", len(pictures), SYMBOLS)
        scanned = packing.scan(
            self._stage.network.chain, [symbols.animate(list(reversed(pictures)))]
        )
        self._stage.expect("scanned in another order", scanned == packed.code, True)
        await self._publish(given, packed)

    async def buy_the_book(self) -> None:
        """The seller is away: ¥18 by channel A, two agents' shares, and the text is readable."""
        self._stage.say("The seller is away. Alice scans the code and buys the text for ¥18.00.")
        self._request = await self._buy(self._names[0], 2)
        await self._pay(self._request, "channel-a", BOOK_PRICE)
        confirmed = await self._opened(self._request, 2)
        self._stage.command(
            "product", "open", "book/symbols.gif", "--request", self._request, "--key", BUYER
        )
        parts = self._open(self._names[0], confirmed, BUYER)
        self._stage.expect("files opened", ", ".join(parts), "sample.txt, book.bin")

    async def use_it_on_two_devices(self) -> None:
        """Two devices, and no third one."""
        self._stage.say("The text is for two devices.")
        for machine in ("phone", "reader"):
            await self._call("activate", BUYER, self._machine(machine))
        await self._refused("TOO_MANY_MACHINES", "activate", BUYER, self._machine("desk"))
        await self._refused("DEGREE_LOW", "use", BUYER, self._use("print", 1, 1))

    async def pay_the_difference(self) -> None:
        """¥12 by channel B lift the degree: 50 pages of print, and not 51."""
        self._stage.say("Alice wants to print, and pays the difference of ¥12.00 by channel B.")
        given = {"request": self._request, "degree": "3"}
        details = await self._call("upgrade", BUYER, given)
        self._stage.expect("left to pay, in fen", details["price"], PRINT_PRICE - BOOK_PRICE)
        await self._pay(self._request, "channel-b", PRINT_PRICE - BOOK_PRICE)
        await self._opened(self._request, 3)
        await self._call("use", BUYER, self._use("print", PAGES, PAGES))
        await self._refused("RIGHT_EXHAUSTED", "use", BUYER, self._use("print", 1, PAGES + 1))

    async def lend_it_to_a_friend(self) -> None:
        """A copied confirmation opens nothing for somebody else."""
        self._stage.say("Bob has copied code and confirmation. They are of no use to him.")
        await self._refused("WRONG_BUYER", "use", FRIEND, self._use("read", 1, 1))
        confirmed = await self._opened(self._request, 3)
        try:
            self._open(self._names[0], confirmed, FRIEND)
            raise StoryFailed("DEMO_FAILED", "a copied confirmation opened the book")
        except Refused as refusal:
            self._stage.expect("opening it is refused", refusal.code, "WRONG_BUYER")

    async def give_it_back(self) -> None:
        """A refund revokes the licence."""
        self._stage.say("Alice returns the book; the publisher gives the ¥30.00 back.")
        refund = {"request": self._request, "amt": str(PRINT_PRICE), "reason": "returned"}
        await self._call("refund", SELLER, refund)
        await self._refused("REVOKED", "use", BUYER, self._use("read", 1, 1))

    async def sell_once(self, kind: str, what: str, item: str) -> None:
        """The same flow for something that is used once."""
        self._stage.say(f"The same way sells {what}.")
        name = self._new_name(kind.lower())
        path = self._folder / f"{name}.txt"
        path.write_text(f"{what}\n")
        degree = {**_degree(SAMPLE_PRICE, {item: 1}), "file": path.name}
        given = terms.Terms.model_validate({**self._terms(name, kind), "degrees": [degree]})
        packed = self._pack(given)
        await self._publish(given, packed)
        request = await self._buy(name, 1)
        await self._pay(request, "channel-a", SAMPLE_PRICE)
        confirmed = await self._opened(request, 1)
        self._stage.expect("files opened", ", ".join(self._open(name, confirmed, BUYER)), path.name)
        machine = {"licence": request, "fingerprint": _fingerprint("phone")}
        await self._call("activate", BUYER, machine)
        once = {**machine, "item": item, "n": "1"}
        await self._call("use", BUYER, {**once, "total": "1"})
        await self._refused("RIGHT_EXHAUSTED", "use", BUYER, {**once, "total": "2"})

    async def count_the_money(self) -> None:
        """What was paid is with the seller, or was given back."""
        self._stage.say("At the end the books say:")
        totals = {"paid": 0, "to_seller": 0, "refunded": 0}
        for name in self._names:
            answer = await self._stage.ask(CONTRACT, "sales", SELLER, {"product": name})
            for sale in answer["items"]:
                for field in totals:
                    totals[field] += int(sale[field])
        self._stage.expect("paid", totals["paid"], PRINT_PRICE + 2 * SAMPLE_PRICE)
        self._stage.expect("with the seller", totals["to_seller"], 2 * SAMPLE_PRICE)
        self._stage.expect("given back", totals["refunded"], PRINT_PRICE)

    # ---- the agents

    @asynccontextmanager
    async def agents(self) -> AsyncIterator[None]:
        """Two of the three agents at work; the third one is away, too."""
        height = int((await self._stage.network.status())["height"])
        tasks = []
        for name in AGENTS[:2]:
            journal = Journal(self._folder / f"{name}.journal", name)
            journal.start_at(height)
            handler = ReleaseAgent(self._shares[name])
            connector = Connector(
                self._stage.network, self._stage.key(name), journal, [CONFIRMED], handler
            )
            self._stage.command("product", "agent", "book", "--key", name)
            tasks.append(asyncio.create_task(connector.run()))
        try:
            yield
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    # ---- inside

    def _new_name(self, kind: str) -> str:
        name = f"{kind}-{secrets.token_hex(4)}"
        self._names.append(name)
        return name

    def _terms(self, name: str, kind: str) -> dict[str, Any]:
        return {
            "product": name,
            "name": name,
            "kind": kind,
            "media_type": "text/plain",
            "cur": "CNY",
            "agents": list(AGENTS),
            "shares_needed": 2,
        }

    def _pack(
        self, given: terms.Terms, files: dict[int, tuple[str, bytes]] | None = None
    ) -> packing.Packed:
        folder, chain = self._stage.folder, self._stage.network.chain
        attributes = terms.attributes_of(given, chain, folder.public_key)
        content = files or terms.files_of(given, self._folder)
        packed = packing.pack(chain, self._stage.key(SELLER), attributes, content)
        for name in AGENTS:
            agent = self._stage.key(name)
            sealed = packed.shares[agent.public_key]
            self._shares[name][given.product] = packing.open_shares(agent, packed.code.hash, sealed)
        self._packed[given.product] = packed
        return packed

    def _pack_to_size(self, given: terms.Terms) -> packing.Packed:
        """With a text of such a length that the code has just the size of the story."""
        size = CODE_BYTES - 4_000
        for _ in range(FITTING_MAX):
            files = {
                1: ("sample.txt", b"Chapter one\n"),
                2: ("book.bin", secrets.token_bytes(size)),
            }
            packed = self._pack(given, files)
            if len(packed.code.raw) == CODE_BYTES:
                return packed
            size += CODE_BYTES - len(packed.code.raw)
        raise StoryFailed("DEMO_FAILED", f"no text makes a code of {CODE_BYTES} bytes")

    async def _publish(self, given: terms.Terms, packed: packing.Packed) -> None:
        publication = to_json(terms.publication(given, packed))
        fields = {
            name: value if isinstance(value, str) else json.dumps(value)
            for name, value in publication.items()
        }
        await self._call("publish", SELLER, fields)

    async def _buy(self, name: str, degree: int) -> str:
        request, code = new_id(), self._code(name)
        fields = {
            "request": request,
            "product": name,
            "code_hash": code.hash.hex(),
            "degree": str(degree),
            "buyer_pub": box_of(self._stage.key(BUYER)).public_key.hex(),
            "nonce": new_id(),
        }
        await self._call("request_payment", BUYER, fields)
        return request

    async def _pay(self, request: str, channel: str, amount: int) -> None:
        fields = {
            "request": request,
            "channel": channel,
            "event_id": secrets.token_hex(8),
            "provider_ref": secrets.token_hex(8),
            "amt": str(amount),
        }
        await self._call("report_payment", channel, fields)

    async def _opened(self, request: str, degree: int) -> Confirmation:
        """The proved confirmation, once two agents have released their shares for the degree."""
        async with asyncio.timeout(OPEN_SECONDS):
            while True:
                try:
                    found = await confirmation(
                        self._stage.network,
                        self._stage.folder.interface,
                        bytes.fromhex(request),
                        self._stage.key(BUYER),
                    )
                    if found.degree == degree:
                        return found
                except Refused as refusal:
                    if refusal.code not in ("DEGREE_LOW", "FORGED_CONFIRMATION"):
                        raise
                await asyncio.sleep(POLL_SECONDS)

    def _open(self, name: str, confirmed: Confirmation, who: str) -> list[str]:
        return [file for file, _ in open_product(self._code(name), confirmed, self._stage.key(who))]

    def _code(self, name: str) -> Code:
        return self._packed[name].code

    def _machine(self, name: str) -> dict[str, str]:
        return {"licence": self._request, "fingerprint": _fingerprint(name)}

    def _use(self, item: str, n: int, total: int) -> dict[str, str]:
        return {**self._machine("phone"), "item": item, "n": str(n), "total": str(total)}

    async def _call(self, action: str, key: str, fields: dict[str, str]) -> dict[str, Any]:
        return await self._stage.call(CONTRACT, action, key, fields)

    async def _refused(self, code: str, action: str, key: str, fields: dict[str, str]) -> None:
        await self._stage.refused(code, CONTRACT, action, key, fields)


def _degree(price: int, rights: dict[str, int]) -> dict[str, Any]:
    return {"price": price, "rights": rights}


def _fingerprint(machine: str) -> str:
    return machine.encode().hex().ljust(64, "0")
