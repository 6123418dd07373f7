"""A network with assets: general points of a bank, miles of an airline, points of a shop.

12 GP buy a mile, in lots of 500; 1 GP buys 3 SP, in lots of 100. The airline's desk sells upgrades
for miles, the shop's machine coffee for points. Ann is a person with 50,000 GP.
"""

from __future__ import annotations

import json
from typing import Any

from contracts.kernel.registry import Rejected
from tests.contracts.world import DAY_MS, World, id_of, key_of

PEOPLE = {
    "issuer": ["issuer", "platform"],
    "airline": ["platform"],
    "shop": ["platform"],
    "desk": ["peripheral"],
    "machine": ["peripheral"],
    "ann": ["holder"],
    "ben": ["holder"],
    "all": ["issuer", "peripheral", "platform"],
}
YEAR_MS = 365 * DAY_MS
MAX = (1 << 63) - 1


class ExchangeWorld(World):
    """The world of the exchange; `code` is the last receipt's, `details` its details."""

    def __init__(
        self, general: bool = True, offers: bool = True, points: int = 50_000, **more: Any
    ) -> None:
        super().__init__(**more)
        self._ids = 0
        for name, roles in PEOPLE.items():
            args = {"public_key": key_of(name), "roles": roles}
            assert self.do("administrator", "enrol", contract="kernel", **args) == "OK"
        if general:
            self.register("GP", "issuer", lot_ttl_ms=2 * YEAR_MS)
        if offers:
            self._open_shop()
        if points:
            self.issue("ann", points)

    def _open_shop(self) -> None:
        self.register("AIR", "airline", min_lot=500, step=500, settle_price=5)
        self.register("SP", "shop", min_lot=100, step=100, settle_price=14, settle_per=100)
        self.rate("AIR", 1, 12)
        self.rate("SP", 3, 1)
        self.provide("AIR", 1_000_000)
        self.provide("SP", 1_000_000)
        self.offer("desk", "upgrade", "AIR", 2_500)
        self.offer("machine", "coffee", "SP", 1_000)

    # ---- acts

    @property
    def code(self) -> str:
        """The last receipt's code."""
        return self.last.code

    @property
    def details(self) -> dict[str, Any]:
        """The last receipt's details."""
        return self.last.details

    def act(self, sender: str, action: str, **args: Any) -> str:
        """A call of the exchange; the receipt's code."""
        return self.do(sender, action, contract="exchange", **args)

    def new_id(self) -> bytes:
        """An id that was not used."""
        self._ids += 1
        return id_of(f"exchange {self._ids}")

    def two(self, proposer: str, approver: str, action: str, **args: Any) -> str:
        """A change by two persons; the code of the first receipt that is not OK, or OK."""
        proposal = self.new_id()
        code = self.act(proposer, action, proposal=proposal, reason="as agreed", **args)
        if code != "OK":
            return code
        return self.do(approver, "approve", contract="kernel", proposal=proposal)

    def register(self, asset: str, owner: str, **limits: Any) -> None:
        """An asset and its platform."""
        args = {"asset": asset, "platform": key_of(owner), **limits}
        assert self.two("operator", "administrator", "register_platform", **args) == "OK", self.last

    def rate(self, asset: str, num: int, den: int, side: str = "BUY", **more: Any) -> str:
        """A new rate; the code."""
        owner = {"AIR": "airline", "SP": "shop"}[asset]
        args = {"asset": asset, "side": side, "num": num, "den": den, "ttl_ms": YEAR_MS, **more}
        return self.two(owner, "operator", "set_rate", **args)

    def offer(self, peripheral: str, product: str, asset: str, price: int, **more: Any) -> None:
        """A product."""
        args = {"product": product, "title": product, "asset": asset, "price": price, **more}
        args = {"fulfil_ttl_ms": 60_000, **args}
        assert self.two(peripheral, "operator", "set_product", **args) == "OK", self.last

    def issue(self, user: str, amt: int, asset: str = "GP") -> str:
        """New units for a person; the code."""
        owner = {"GP": "issuer", "AIR": "airline", "SP": "shop"}[asset]
        args = {"supply": self.new_id(), "asset": asset, "user": key_of(user), "amt": amt}
        return self.act(owner, "issue", **args)

    def provide(self, asset: str, amt: int, pool: str = "") -> str:
        """New units for a pool; the code."""
        owner = {"GP": "issuer", "AIR": "airline", "SP": "shop"}[asset]
        args = {"supply": self.new_id(), "asset": asset, "pool": pool or asset, "amt": amt}
        return self.act(owner, "provide", **args)

    # ---- orders

    def ask_for(self, user: str, raw: Any) -> bytes:
        """A submitted request; the order's id. `raw` is a mapping or a product's name."""
        order = self.new_id()
        wanted = {"product": raw} if isinstance(raw, str) else raw
        assert self.act(user, "submit_request", order=order, raw=json.dumps(wanted)) == "OK"
        return order

    def quoted(self, user: str, raw: Any) -> bytes:
        """A request with a quote; `details` are the quote's."""
        order = self.ask_for(user, raw)
        assert self.act(user, "quote", order=order) == "OK", self.last
        return order

    def executed(self, user: str, raw: Any) -> bytes:
        """A request whose quote was accepted."""
        order = self.quoted(user, raw)
        assert self.act(user, "execute", order=order, quote=1) == "OK", self.last
        return order

    def confirmed(self, user: str, raw: Any) -> bytes:
        """An order that its platforms have confirmed."""
        order = self.executed(user, raw)
        for owner in ("airline", "shop"):
            mine = key_of(owner)
            parts = self.view("regulator", "order", order=order)["parts"]
            if any(part["platform"] == mine and not part["confirmed"] for part in parts):
                assert self.confirm(owner, order) == "OK", self.last
        return order

    def confirm(self, owner: str, order: bytes, ref: str = "") -> str:
        """A platform confirms; the code."""
        ref = ref or f"ref-{order.hex()[:8]}"
        return self.act(owner, "platform_confirm", order=order, ext_ref=ref)

    def fulfil(self, peripheral: str, order: bytes) -> str:
        """A peripheral delivers; the code."""
        receipt = id_of("receipt") * 2
        args = {"order": order, "receipt_hash": receipt, "sealed_product": b"sealed"}
        return self.act(peripheral, "fulfil", **args)

    # ---- looking

    def records(self) -> dict[tuple[str, bytes], bytes]:
        """The whole state, but for what each block leaves."""
        return {
            place: raw
            for place, raw in self.memory.records.items()
            if place[0] != "kernel/state_roots"
        }

    def view(self, viewer: str | None, query: str, **args: Any) -> Any:
        """A query of the exchange."""
        return self.ask(viewer, query, contract="exchange", **args)

    def state_of(self, order: bytes) -> str:
        """An order's state."""
        return str(self.view("regulator", "order", order=order)["state"])

    def holding(self, user: str, asset: str, what: str = "available") -> Any:
        """One figure of a person's holding."""
        for item in self.view(user, "holdings")["items"]:
            if item["asset"] == asset:
                return item[what]
        return 0

    def balance_of(self, account: bytes) -> int:
        """A posted balance, whoever's."""
        return int(self.ask("regulator", "account", contract="kernel", account=account)["balance"])

    def book(self, asset: str) -> Any:
        """An asset's books."""
        return self.view("operator", "book", asset=asset)

    def refused(self, viewer: str | None, query: str, **args: Any) -> str:
        """The code of a query that is refused, or OK."""
        try:
            self.view(viewer, query, **args)
        except Rejected as rejected:
            return rejected.code
        return "OK"


def bought(product: str, **more: Any) -> dict[str, Any]:
    """The raw request of a purchase."""
    return {"product": product, **more}


def swapped(source: str, target: str, amt: int) -> dict[str, Any]:
    """The raw request of an exchange."""
    return {"exchange": {"from": source, "to": target, "amt": str(amt)}}
