"""A shop for digital products: seller, agents, channels, buyers, and an e-book in three degrees."""

from __future__ import annotations

import hashlib
from typing import Any

from tests.contracts.world import World, id_of, key_of

YUAN = 100
CODE = b"k" * 32
MACHINES = {name: hashlib.sha256(name.encode()).digest() for name in ("m1", "m2", "m3", "m4")}
AGENTS = ("agent 1", "agent 2", "agent 3")
ROLES = {
    "press": "seller",
    "buyer": "holder",
    "friend": "holder",
    "channel a": "channel",
    "channel b": "channel",
    **dict.fromkeys(AGENTS, "release_agent"),
}
COMMITMENTS = [hashlib.sha256(agent.encode()).digest() for agent in AGENTS]
BOOK: list[dict[str, Any]] = [
    {
        "price": 1 * YUAN,
        "rights": [{"item": "sample", "limit": 0}],
        "commitments": COMMITMENTS,
    },
    {
        "price": 18 * YUAN,
        "machines": 2,
        "rights": [{"item": "read", "limit": 0}, {"item": "copy", "limit": 2_000}],
        "commitments": COMMITMENTS,
    },
    {
        "price": 30 * YUAN,
        "machines": 2,
        "transferable": True,
        "rights": [
            {"item": "read", "limit": 0},
            {"item": "copy", "limit": 2_000},
            {"item": "print", "limit": 50},
        ],
        "commitments": COMMITMENTS,
    },
]


class Shop:
    """Short ways to act; every method gives the receipt's code."""

    def __init__(self) -> None:
        self.world = World()
        for name, role in ROLES.items():
            enrolled: dict[str, Any] = {"public_key": key_of(name), "roles": [role]}
            assert self.do("operator", "enrol", "kernel", **enrolled) == "OK"

    def do(self, sender: str, action: str, contract: str = "licensing", **args: Any) -> str:
        code = self.world.do(sender, action, contract=contract, **args)
        assert self.world.violations() == []
        return code

    @property
    def details(self) -> dict[str, Any]:
        """Of the last receipt."""
        return self.world.last.details

    @property
    def events(self) -> list[str]:
        """Names of the last receipt's events."""
        return [event.name for event in self.world.last.events]

    def passed(self, duration_ms: int) -> Shop:
        """Let time pass."""
        self.world.advance(duration_ms)
        return self

    def publish(self, product: str = "book", **args: Any) -> str:
        given: dict[str, Any] = {
            "product": product,
            "code_hash": CODE,
            "name": "A book",
            "kind": "CONTENT",
            "cur": "CNY",
            "degrees": BOOK,
            "agents": [key_of(agent) for agent in AGENTS],
            "shares_needed": 2,
        }
        return self.do("press", "publish", **{**given, **args})

    def request(self, name: str = "r", degree: int = 2, who: str = "buyer", **args: Any) -> str:
        given: dict[str, Any] = {
            "request": id_of(name),
            "product": "book",
            "code_hash": CODE,
            "degree": degree,
            "buyer_pub": key_of(f"{who} box"),
            "nonce": id_of("nonce"),
        }
        return self.do(who, "request_payment", **{**given, **args})

    def report(
        self, yuan: int, ref: str = "p1", channel: str = "a", name: str = "r", **args: Any
    ) -> str:
        given: dict[str, Any] = {
            "request": id_of(name),
            "channel": channel,
            "event_id": f"{channel}/{ref}",
            "provider_ref": ref,
            "amt": yuan * YUAN,
        }
        return self.do(f"channel {channel}", "report_payment", **{**given, **args})

    def share(
        self, agent: str = "agent 1", degree: int = 2, name: str = "r", blob: bytes = b"share"
    ) -> str:
        args: dict[str, Any] = {"request": id_of(name), "degree": degree, "blob": blob}
        return self.do(agent, "release_share", **args)

    def shares(self, degree: int = 2, name: str = "r") -> Shop:
        """Enough of them."""
        for agent in AGENTS[:2]:
            assert self.share(agent, degree, name) == "OK"
        return self

    def sold(self, degree: int = 2, name: str = "r") -> Shop:
        """A book that was bought and opened in this degree."""
        if self.world.memory.get("licensing/products", b"book") is None:
            assert self.publish() == "OK"
        assert self.request(name, degree) == "OK"
        assert self.report(BOOK[degree - 1]["price"] // YUAN, f"paid {name}", name=name) == "OK"
        return self.shares(degree, name)

    def activate(self, machine: str = "m1", who: str = "buyer", name: str = "r") -> str:
        args: dict[str, Any] = {"licence": id_of(name), "fingerprint": MACHINES[machine]}
        return self.do(who, "activate", **args)

    def deactivate(self, machine: str = "m1", who: str = "buyer") -> str:
        args: dict[str, Any] = {"licence": id_of("r"), "fingerprint": MACHINES[machine]}
        return self.do(who, "deactivate", **args)

    def use(
        self,
        item: str,
        n: int,
        total: int,
        machine: str = "m1",
        who: str = "buyer",
    ) -> str:
        args: dict[str, Any] = {"licence": id_of("r"), "fingerprint": MACHINES[machine]}
        return self.do(who, "use", item=item, n=n, total=total, **args)

    def refund(self, yuan: int = 0, name: str = "r", who: str = "press") -> str:
        args: dict[str, Any] = {"request": id_of(name), "amt": yuan * YUAN, "reason": "returned"}
        return self.do(who, "refund", **args)

    def purchase(self, viewer: str = "buyer", name: str = "r") -> dict[str, Any]:
        found: dict[str, Any] = self.world.ask(viewer, "request", "licensing", request=id_of(name))
        return found

    def licence(self, viewer: str = "buyer", name: str = "r") -> dict[str, Any]:
        found: dict[str, Any] = self.world.ask(viewer, "licence", "licensing", licence=id_of(name))
        return found

    def balances(self) -> dict[str, int]:
        """Posted balances by purpose, summed."""
        from contracts.kernel.ledger import ACCOUNTS

        sums: dict[str, int] = {}
        for (table, _), raw in self.world.memory.records.items():
            if table == ACCOUNTS.name:
                one = ACCOUNTS.decode(raw)
                sums[one.purpose] = sums.get(one.purpose, 0) + one.balance
        return {purpose: amount for purpose, amount in sums.items() if amount}
