"""The story of 500 tonnes of steel, and of what a sale tells a bank about the seller.

A steelworks sells to a builder under escrow; both evaluate each other; with the steelworks' leave a
bank weighs what is known and recommends a deposit, which the steelworks shapes and takes. Five
other enterprises with other lives reach the other five modes. Each play enrols its own.
"""

from __future__ import annotations

import json
import secrets
from typing import Any

from client.demo.stage import Fields, Stage, cast, new_id
from node.protocol.encoding import sha256
from node.protocol.keys import PrivateKey

CONTRACT = "deposits"
CAST = {
    "operator": "operator",
    "reviewer": "reviewer",
    "bank": "bank",
}
YUAN = 100
DAY_MS = 86_400_000
UTC8_MS = 28_800_000
USCC, BAD_USCC = "91350100M000100Y43", "91350100M000100Y4Z"
DOCUMENTS = "d0" * 32
# Five sales before the story, 60 percent of their value to one buyer, in yuan.
HISTORY = (("builder", 900_000), ("builder", 900_000), ("trader", 400_000)) + (
    ("trader", 400_000),
) * 2
WAGES = 2_900_000
TONNES, ASKED, BID, WANTED = 500, 3_620, 3_650, 800
DEPOSIT, TERM_DAYS, INTEREST = 1_000_000 * YUAN, 7, 21_388
# Maturity is waited for where that takes less than this.
PATIENCE_MS = 120_000
PROFILES = (
    ("PURCHASE", "a plant that pays in advance", {"prepaid": "true"}),
    ("LOGISTICS", "a shipper that pays freight", {"category": "FREIGHT"}),
    ("MEMBERSHIP", "a guild that pays dues", {"category": "DUES"}),
    ("RIGHTS", "a dealer in warehouse receipts", {"category": "RIGHTS"}),
)
LARGE = 200_000


async def play(stage: Stage) -> None:
    """All of it; raises `StoryFailed` at the first wrong figure."""
    cast(stage.folder, CAST)
    story = _Story(stage)
    await story.register()
    await story.five_sales_before()
    await story.sell_the_steel()
    await story.evaluate()
    await story.analyse()
    await story.take_the_deposit()
    await story.five_other_lives()


class _Story:
    def __init__(self, stage: Stage) -> None:
        self._stage = stage
        self._mark = secrets.token_hex(3)
        self._ids: dict[str, str] = {}
        self._analysis, self._recommendation, self._deposit = new_id(), new_id(), new_id()
        self._trade = ""

    # ---- the scenes

    async def register(self) -> None:
        """Seven fields, of which none may be missing, and a credit code that must be right."""
        self._stage.say("Three enterprises register: seven fields, kept as a salted commitment.")
        await self._enrol("steel")
        await self._refused(
            "INCOMPLETE_INFO", "register", "steel", self._papers("steel", "contacts")
        )
        bad = self._papers("steel", uscc=BAD_USCC)
        await self._refused("BAD_USCC", "register", "steel", bad)
        await self._admit("steel")
        for name in ("builder", "trader"):
            await self._enrol(name)
            await self._admit(name)

    async def five_sales_before(self) -> None:
        """What the bank will see later; and the wages that keep the money from being idle."""
        self._stage.say("The steelworks has sold five times before, mostly to one buyer.")
        for buyer, yuan in HISTORY:
            await self._sale("steel", buyer, 1, yuan)
        fields = {"payment": new_id(), "bank": "@bank", "amt": str(WAGES * YUAN)}
        await self._call("pay_out", "steel", fields)

    async def sell_the_steel(self) -> None:
        """500 t at ¥3,620 meet a bid for 800 t at ¥3,650: the resting price counts."""
        self._stage.say("500 t of rebar at ¥3,620; a builder bids for 800 t at up to ¥3,650.")
        sku = f"rebar-{self._mark}"
        await self._publish("steel", "SELL", TONNES, ASKED, sku)
        trades = await self._publish("builder", "BUY", WANTED, BID, sku)
        self._trade = trades[0]
        shown = await self._ask("trade", "builder", {"trade": self._trade})
        amount = TONNES * ASKED * YUAN
        self._stage.expect("agreed, in fen", shown["amount"], amount)
        book = await self._ask("book", None, {"sku": sku, "region": "Fujian", "side": "BUY"})
        self._stage.expect("tonnes that rest", book["items"][0]["quantity"], WANTED - TONNES)
        before = await self._cash("steel")
        await self._carry_out(self._trade, "steel", "builder", TONNES, amount)
        fee = amount // 1_000
        paid = await self._ask("trade", "steel", {"trade": self._trade})
        self._stage.expect("the platform's fee", paid["fees"], fee)
        after = await self._cash("steel")
        self._stage.expect("the steelworks gets", after - before, amount - fee)

    async def evaluate(self) -> None:
        """Both commit before either reveals, so that nobody copies or takes revenge."""
        self._stage.say("Both evaluate each other: first sealed, then revealed.")
        sides = (("steel", "SELLER", 5), ("builder", "BUYER", 5))
        salts = {who: secrets.token_bytes(16) for who, _, _ in sides}
        for who, side, score in sides:
            commitment = self._commitment(who, side, score, salts[who])
            fields = {"trade": self._trade, "commitment": commitment.hex()}
            await self._call("commit_review", who, fields)
        for who, _, score in sides:
            fields = {"trade": self._trade, "score": str(score), "salt": salts[who].hex()}
            await self._call("reveal", who, fields)
        facts = await self._ask("facts", "steel", {"enterprise": self._ids["steel"]})
        self._stage.expect("its rating, in hundredths", facts["rating"], 500)

    async def analyse(self) -> None:
        """The bank may look only because the steelworks lets it; each point can be added up."""
        self._stage.say("The bank may not look, until the steelworks lets it.")
        await self._refused("UNAUTHORIZED", "analyse", "bank", self._about("steel"))
        grant = {"bank": "@bank", "ttl_ms": str(30 * DAY_MS)}
        await self._call("grant_data", "steel", grant)
        details = await self._call("analyse", "bank", self._about("steel"))
        self._stage.expect("the type of demand", details["mode"], "SALES")
        reasons = ", ".join(details["reasons"])
        self._stage.expect("reasons", reasons, "SHORT_HISTORY, ONE_BUYER_60PCT")
        explained = await self._ask("explain", "bank", {"analysis": self._analysis})
        points = 0
        for line in explained["lines"]["SALES"]:
            points += int(line["points"])
            self._stage.say(
                f"{line['feature']}: {line['value']} / {line['unit']} × {line['points_each']}"
                f" → {line['points']} points"
            )
        self._stage.expect("which add up to", points, explained["points"]["SALES"])

    async def take_the_deposit(self) -> None:
        """Recommended, shaped by the enterprise, and on the day of maturity back with interest."""
        self._stage.say("The bank recommends, and the steelworks shapes the deposit itself.")
        pushed = {"recommendation": self._recommendation, "analysis": self._analysis}
        details = await self._call("recommend", "bank", pushed)
        self._stage.expect("recommended, in fen", details["amount"], DEPOSIT)
        wish = {
            "recommendation": self._recommendation,
            "deposit": self._deposit,
            "mode": "SALES",
            "amt": str(DEPOSIT),
            "term_days": str(TERM_DAYS),
        }
        yacht = {**wish, "purpose": "YACHT"}
        await self._refused("PURPOSE_MISMATCH", "accept", "steel", yacht)
        await self._call("accept", "steel", {**wish, "purpose": "WORKING_CAPITAL"})
        shown = await self._ask("deposit", "steel", {"deposit": self._deposit})
        self._stage.expect("interest at maturity, in fen", shown["interest_at_maturity"], INTEREST)
        scale = self._stage.folder.genesis.time_scale
        if TERM_DAYS * DAY_MS // scale > PATIENCE_MS:
            self._stage.say(
                "Its seven days are too long to wait for here; `groat up --time-scale 14400`\n"
                "makes a network on which a day takes six seconds."
            )
            return
        matures_ms = int(shown["matures_on"]) * (DAY_MS // scale) - UTC8_MS // scale
        await self._stage.wait_until(matures_ms, "until the deposit matures")
        closed = await self._call("mature", "bank", {"deposit": self._deposit})
        self._stage.expect("interest paid, in fen", closed["interest"], INTEREST)

    async def five_other_lives(self) -> None:
        """Each other mode for somebody whom it fits."""
        self._stage.say("Five other enterprises, each with another life.")
        for mode, about, options in PROFILES:
            self._stage.say(f"{about[0].upper()}{about[1:]}:")
            name = mode.lower()
            await self._enrol(name)
            await self._admit(name)
            await self._sale("steel", name, 1, LARGE, options)
            await self._list_something(name)
            await self._expect_mode(name, mode)
        self._stage.say("A widow's trust, whose money lies still:")
        await self._enrol("finance")
        await self._admit("finance")
        await self._pay_in("finance", LARGE * YUAN)
        for _ in range(3):
            await self._list_something("finance")
        await self._expect_mode("finance", "FINANCE")

    # ---- inside

    async def _enrol(self, name: str) -> None:
        key = self._key(name)
        self._ids[name] = new_id()
        self._stage.command("key", "new", key)
        self._stage.folder.wallet.store(key, PrivateKey.generate())
        fields = {"public-key": f"@{key}", "roles": '["enterprise"]'}
        await self._stage.call("kernel", "enrol", "operator", fields)

    async def _admit(self, name: str) -> None:
        await self._call("register", name, self._papers(name))
        decision = {"enterprise": self._ids[name], "ok": "true", "reason": "papers seen"}
        await self._call("review", "reviewer", decision)

    def _papers(self, name: str, missing: str = "", uscc: str = USCC) -> Fields:
        info: dict[str, Any] = {
            "name": self._key(name),
            "location": "Fuzhou",
            "legal_representative": f"head of {self._key(name)}",
            "registered_capital": "50,000,000",
            "business_scope": "steel",
            "qualifications": {"uscc": uscc},
            "contacts": "0591 1234",
        }
        info.pop(missing, None)
        return {
            "enterprise": self._ids[name],
            "info": json.dumps(info),
            "salt": sha256(self._ids[name].encode()).hex()[:32],
            "sealed_info": "5ea1ed",
            "docs_hash": DOCUMENTS,
        }

    async def _sale(
        self, seller: str, buyer: str, qty: int, yuan: int, options: Fields | None = None
    ) -> None:
        """A whole trade between these two, from listing to settlement."""
        sku = f"goods-{secrets.token_hex(4)}"
        await self._publish(seller, "SELL", qty, yuan, sku, options)
        trades = await self._publish(buyer, "BUY", qty, yuan, sku, options)
        await self._carry_out(trades[0], seller, buyer, qty, qty * yuan * YUAN)

    async def _publish(
        self,
        who: str,
        side: str,
        qty: int,
        yuan: int,
        sku: str,
        options: Fields | None = None,
    ) -> list[str]:
        fields = {
            "listing": new_id(),
            "side": side,
            "sku": sku,
            "qty": str(qty),
            "price": str(yuan * YUAN),
            "region": "Fujian",
            "ttl_ms": str(30 * DAY_MS),
            **(options or {}),
        }
        trades: list[str] = (await self._call("publish", who, fields))["trades"]
        return trades

    async def _list_something(self, who: str) -> None:
        await self._publish(who, "SELL", 1, 10_000, f"shelf-{secrets.token_hex(4)}")

    async def _carry_out(self, trade: str, seller: str, buyer: str, qty: int, amount: int) -> None:
        fields = {"trade": trade}
        for who in (seller, buyer):
            await self._call("accept_match", who, fields)
        await self._pay_in(buyer, amount)
        await self._call("fund", buyer, fields)
        await self._call("ship", seller, {**fields, "doc_hash": DOCUMENTS})
        await self._call("confirm", buyer, {**fields, "qty": str(qty)})

    async def _pay_in(self, who: str, amount: int) -> None:
        fields = {"payment": new_id(), "enterprise": self._ids[who], "amt": str(amount)}
        await self._call("pay_in", "bank", fields)

    async def _expect_mode(self, name: str, mode: str) -> None:
        await self._call("grant_data", name, {"bank": "@bank", "ttl_ms": str(30 * DAY_MS)})
        analysis = new_id()
        asked = {"analysis": analysis, "enterprise": self._ids[name]}
        await self._call("analyse", "bank", asked)
        pushed = {"recommendation": new_id(), "analysis": analysis}
        details = await self._call("recommend", "bank", pushed)
        self._stage.expect("it is recommended", details["mode"], mode)

    async def _cash(self, who: str) -> int:
        answer = await self._stage.look(
            CONTRACT, "what_if", self._key(who), {"enterprise": self._ids[who]}
        )
        return int(answer["features"]["cash"])

    def _about(self, name: str) -> Fields:
        return {"analysis": self._analysis, "enterprise": self._ids[name]}

    def _commitment(self, who: str, side: str, score: int, salt: bytes) -> bytes:
        """What is committed: as the contract computes it from the revealed score."""
        reviewer = bytes.fromhex(self._stage.folder.public_key(self._key(who)))
        joined = b"groat/deposits/review/1"
        for part in (bytes.fromhex(self._trade), side.encode(), reviewer, bytes([score]), salt):
            joined += len(part).to_bytes(2, "big") + part
        return sha256(joined)

    def _key(self, name: str) -> str:
        return name if name in CAST else f"{name}-{self._mark}"

    async def _call(self, action: str, who: str, fields: Fields) -> dict[str, Any]:
        return await self._stage.call(CONTRACT, action, self._key(who), fields)

    async def _refused(self, code: str, action: str, who: str, fields: Fields) -> None:
        await self._stage.refused(code, CONTRACT, action, self._key(who), fields)

    async def _ask(self, query: str, who: str | None, fields: Fields) -> dict[str, Any]:
        key = None if who is None else self._key(who)
        return await self._stage.ask(CONTRACT, query, key, fields)
