"""A market with enterprises, a bank and the modes of network.toml, for the tests of deposits."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any

from contracts.deposits.models import trade_key
from contracts.deposits.trading import commitment_of
from contracts.kernel.types import DAY_MS
from tests.contracts.world import World, id_of, key_of

NETWORK = Path(__file__).parent.parent.parent / "network.toml"
YUAN = 100
USCC = "91350100M000100Y43"
INFO: dict[str, Any] = {
    "name": "Steelworks",
    "location": "Fuzhou",
    "legal_representative": "Chen Gang",
    "registered_capital": "50,000,000",
    "business_scope": "rebar",
    "qualifications": {"uscc": USCC},
    "contacts": "0591-1",
}
SALT = b"s" * 16
STEEL, BUILDER, TRADER = id_of("steel"), id_of("builder"), id_of("trader")
ENTERPRISES = {"steel": STEEL, "builder": BUILDER, "trader": TRADER}


class Market:
    """Short ways to act; every method gives the receipt's code."""

    def __init__(self) -> None:
        parameters = tomllib.loads(NETWORK.read_text())["contracts"]["deposits"]
        self.world = World(others={"deposits": parameters})
        for name, role in (
            ("reviewer", "reviewer"),
            ("arbiter", "arbiter"),
            *((name, "enterprise") for name in ENTERPRISES),
        ):
            enrolled: dict[str, Any] = {"public_key": key_of(name), "roles": [role]}
            assert self.do("operator", "enrol", "kernel", **enrolled) == "OK"
        self.count = 0

    def do(self, sender: str, action: str, contract: str = "deposits", **args: Any) -> str:
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

    def passed(self, duration_ms: int) -> Market:
        """Let time pass."""
        self.world.advance(duration_ms)
        return self

    def number(self) -> str:
        """A name that was not used yet."""
        self.count += 1
        return f"n{self.count}"

    # ---- members

    def register(self, who: str, **changed: Any) -> str:
        info = {**INFO, "name": who, "legal_representative": f"head of {who}", **changed}
        args: dict[str, Any] = {
            "enterprise": ENTERPRISES[who],
            "info": {name: value for name, value in info.items() if value is not None},
            "salt": SALT,
            "sealed_info": b"sealed",
            "docs_hash": b"d" * 32,
        }
        return self.do(who, "register", **args)

    def member(self, *names: str, **changed: Any) -> Market:
        """Enterprises that were admitted."""
        for who in names:
            assert self.register(who, **changed) == "OK"
            code = self.do("reviewer", "review", enterprise=ENTERPRISES[who], ok=True, reason="ok")
            assert code == "OK"
        return self

    def pay_in(self, who: str, yuan: int) -> str:
        payment = id_of(self.number())
        args: dict[str, Any] = {"enterprise": ENTERPRISES[who], "amt": yuan * YUAN}
        return self.do("bank", "pay_in", payment=payment, **args)

    # ---- trading

    def publish(self, who: str, side: str, qty: int, yuan: int, name: str = "", **args: Any) -> str:
        given: dict[str, Any] = {
            "listing": id_of(name or self.number()),
            "side": side,
            "sku": "rebar",
            "qty": qty,
            "price": yuan * YUAN,
            "region": "Fujian",
            "ttl_ms": 30 * DAY_MS,
        }
        return self.do(who, "publish", **{**given, **args})

    def matched(
        self,
        seller: str = "steel",
        buyer: str = "builder",
        qty: int = 10,
        yuan: int = 1_000,
        **args: Any,
    ) -> bytes:
        """A fresh trade between these two."""
        sell, buy = self.number(), self.number()
        assert self.publish(seller, "SELL", qty, yuan, sell, **args) == "OK"
        assert self.publish(buyer, "BUY", qty, yuan, buy, **args) == "OK"
        return trade_key(id_of(buy), id_of(sell))

    def agreed(self, **args: Any) -> bytes:
        """A trade that both sides accepted."""
        trade = self.matched(**args)
        for who in (args.get("seller", "steel"), args.get("buyer", "builder")):
            assert self.do(who, "accept_match", trade=trade) == "OK"
        return trade

    def shipped(self, **args: Any) -> bytes:
        """A trade that is paid and on its way."""
        trade = self.agreed(**args)
        amount = args.get("qty", 10) * args.get("yuan", 1_000)
        assert self.pay_in(args.get("buyer", "builder"), amount) == "OK"
        assert self.do(args.get("buyer", "builder"), "fund", trade=trade) == "OK"
        seller = args.get("seller", "steel")
        assert self.do(seller, "ship", trade=trade, doc_hash=b"d" * 32) == "OK"
        return trade

    def settled(self, **args: Any) -> bytes:
        """A trade that is over."""
        trade = self.shipped(**args)
        qty = args.get("qty", 10)
        assert self.do(args.get("buyer", "builder"), "confirm", trade=trade, qty=qty) == "OK"
        return trade

    def commit(self, who: str, side: str, trade: bytes, score: int) -> str:
        commitment = commitment_of(trade, side, key_of(who), score, SALT)
        return self.do(who, "commit_review", trade=trade, commitment=commitment)

    def reveal(self, who: str, trade: bytes, score: int) -> str:
        return self.do(who, "reveal", trade=trade, score=score, salt=SALT)

    # ---- deposits

    def grant(self, who: str = "steel") -> str:
        return self.do(who, "grant_data", bank=key_of("bank"), ttl_ms=30 * DAY_MS)

    def analyse(self, who: str = "steel", name: str = "analysis") -> str:
        args: dict[str, Any] = {"analysis": id_of(name), "enterprise": ENTERPRISES[who]}
        return self.do("bank", "analyse", **args)

    def recommend(self, name: str = "rec", analysis: str = "analysis", **args: Any) -> str:
        given: dict[str, Any] = {"recommendation": id_of(name), "analysis": id_of(analysis)}
        return self.do("bank", "recommend", **{**given, **args})

    def accept(self, who: str = "steel", rec: str = "rec", **args: Any) -> str:
        given: dict[str, Any] = {
            "recommendation": id_of(rec),
            "deposit": id_of("deposit"),
            "mode": "SALES",
            "amt": 1_000_000 * YUAN,
            "term_days": 7,
            "purpose": "WORKING_CAPITAL",
        }
        return self.do(who, "accept", **{**given, **args})

    # ---- looking

    def balance(self, who: str) -> int:
        """On the enterprise's account, in fen."""
        from contracts.kernel.ledger import ACCOUNTS, account_key

        raw = self.world.memory.get(
            ACCOUNTS.name, account_key(ENTERPRISES[who], "CNY", "deposits.cash")
        )
        return 0 if raw is None else ACCOUNTS.decode(raw).balance

    def ask(self, viewer: str | None, query: str, **args: Any) -> Any:
        """A query's answer."""
        return self.world.ask(viewer, query, "deposits", **args)
