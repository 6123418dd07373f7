"""The story of 50,000 bank points: an upgrade for miles, and a coffee that never came.

12 GP buy a mile, 1 GP buys 3 SP. Alice's quote holds though the airline becomes dearer; what a
machine does not deliver costs nothing; a quote left lying expires; the bank owes the airline
¥125.00. May be played again on the same network.
"""

from __future__ import annotations

import json

from client.delivery import delivery_of, receive
from client.demo.stage import Fields, Stage, StoryFailed, cast, need_time, new_id
from client.outcomes import Json

SCALE_MAX = 20
CONTRACT = "exchange"
CAST = {
    "bank": "issuer",
    "airline": "platform",
    "shop": "platform",
    "desk": "peripheral",
    "machine": "peripheral",
    "operator": "operator",
    "chair": "administrator",
    "alice": "holder",
    "bob": "holder",
}
YEAR_MS = 365 * 86_400_000
START_POINTS = 50_000
POOL_UNITS = 100_000
# Long enough to deliver by hand, short enough to wait for what does not come.
UPGRADE_TTL_MS = 600_000
COFFEE_TTL_MS = 5_000
VOUCHER = "Seat 14C, business class; show this at gate 7."


async def play(stage: Stage) -> None:
    """All of it; raises `StoryFailed` at the first wrong figure."""
    cast(stage.folder, CAST)
    need_time(stage.folder, SCALE_MAX)
    story = _Story(stage)
    await story.open_the_market()
    await story.fill_alices_wallet()
    await story.ask_for_a_quote_and_forget_it()
    await story.buy_the_upgrade()
    await story.deliver_the_upgrade()
    await story.buy_a_coffee_that_does_not_come()
    await story.come_back_to_the_forgotten_quote()
    await story.balance_the_books()


class _Story:
    def __init__(self, stage: Stage) -> None:
        self._stage = stage
        self._upgrade, self._coffee, self._forgotten = new_id(), new_id(), new_id()
        self._forgotten_until = 0

    # ---- the scenes

    async def open_the_market(self) -> None:
        """Assets, rates, products and pools, as far as they are not there from an earlier play."""
        self._stage.say(
            "Three assets: a bank's points (GP), an airline's miles (AIR), a shop's points (SP).\n"
            "An operator registers each with its platform, and a second person approves."
        )
        await self._register("GP", "bank", {})
        miles = {"min_lot": "500", "step": "500", "settle_price": "5"}
        await self._register("AIR", "airline", miles)
        points = {"min_lot": "100", "step": "100", "settle_price": "14", "settle_per": "100"}
        await self._register("SP", "shop", points)
        self._stage.say("12 GP buy a mile, 1 GP buys 3 shop points: each platform's own rates.")
        await self._rate("AIR", "airline", 1, 12)
        await self._rate("SP", "shop", 3, 1)
        self._stage.say("The airline's desk sells upgrades for miles, the shop's machine coffee.")
        await self._product("upgrade", "desk", "Upgrade to business class", "AIR", 2_500)
        await self._product("coffee", "machine", "A coffee", "SP", 1_000)
        for asset, owner in (("AIR", "airline"), ("SP", "shop")):
            if int((await self._book(asset))["pool"]) < POOL_UNITS // 2:
                fields = {"supply": new_id(), "asset": asset, "pool": asset}
                await self._call("provide", owner, {**fields, "amt": str(POOL_UNITS)})
        await self._settle_what_was_before()

    async def fill_alices_wallet(self) -> None:
        """The bank issues what she lacks of 50,000."""
        self._stage.say("Alice has 50,000 points at the bank.")
        short = START_POINTS - await self._held("GP")
        if short < 0:
            raise StoryFailed("DEMO_FAILED", "Alice has more than 50,000 GP; play it elsewhere")
        if short:
            fields = {"supply": new_id(), "asset": "GP", "user": "@alice", "amt": str(short)}
            await self._call("issue", "bank", fields)
        self._stage.expect("Alice's points", await self._held("GP"), START_POINTS)

    async def ask_for_a_quote_and_forget_it(self) -> None:
        """Its time runs while the rest is played."""
        self._stage.say("She asks what an upgrade costs, and lets this quote lie.")
        await self._request(self._forgotten, {"product": "upgrade"})
        quote = await self._call("quote", "alice", {"order": self._forgotten})
        self._stage.expect("it costs", quote["cost"], 30_000)
        self._forgotten_until = int(quote["expires_ms"])

    async def buy_the_upgrade(self) -> None:
        """The rate moves between quote and execution; the quote wins, once."""
        self._stage.say("Then she wants it. 2,500 miles at 12 GP:")
        wish = {"product": "upgrade", "user": {"details": "seat 14C"}}
        await self._request(self._upgrade, wish)
        quote = await self._call("quote", "alice", {"order": self._upgrade})
        self._stage.expect("miles needed", quote["need"], 2_500)
        self._stage.expect("it costs", quote["cost"], 30_000)
        self._stage.say("The airline becomes dearer, 15 GP a mile. Alice's quote still stands.")
        await self._rate("AIR", "airline", 1, 15)
        accept = {"order": self._upgrade, "quote": "1"}
        await self._call("execute", "alice", accept)
        self._stage.expect("points left to spend", await self._held("GP"), 20_000)
        self._stage.say("A quote is good once.")
        await self._stage.refused("QUOTE_USED", CONTRACT, "execute", "alice", accept)
        await self._platform_confirms("airline", self._upgrade)

    async def deliver_the_upgrade(self) -> None:
        """Sealed to Alice, and proved by her."""
        self._stage.say("The desk sees seat 14C and 2,500 miles in escrow; it delivers, sealed.")
        order = bytes.fromhex(self._upgrade)
        self._stage.command("exchange", "deliver", self._upgrade, "voucher.txt", "--key", "desk")
        desk, alice = self._stage.key("desk"), self._stage.key("alice")
        network, interface = self._stage.network, self._stage.folder.interface
        delivery = await delivery_of(network, desk, order, VOUCHER.encode())
        (await self._stage.send("desk", delivery)).require()
        self._stage.command("exchange", "product", self._upgrade, "--key", "alice")
        found = await receive(network, interface, order, alice, alice)
        self._stage.expect("opened by Alice, as the receipt says", found.product.decode(), VOUCHER)

    async def buy_a_coffee_that_does_not_come(self) -> None:
        """334 GP for 1,000 SP, and 334 back."""
        self._stage.say("A coffee for 1,000 shop points: 333⅓ GP, rounded up.")
        await self._request(self._coffee, {"product": "coffee"})
        quote = await self._call("quote", "alice", {"order": self._coffee})
        self._stage.expect("it costs", quote["cost"], 334)
        await self._call("execute", "alice", {"order": self._coffee, "quote": "1"})
        await self._platform_confirms("shop", self._coffee)
        self._stage.expect("points left to spend", await self._held("GP"), 19_666)
        self._stage.say("The machine is silent. When its time has come, anybody may say so.")
        order = await self._stage.look(CONTRACT, "order", "alice", {"order": self._coffee})
        await self._stage.wait_until(int(order["deadline_ms"]), "the machine's time")
        await self._call("timeout", "bob", {"order": self._coffee})
        self._stage.expect("points, to the last one", await self._held("GP"), 20_000)

    async def come_back_to_the_forgotten_quote(self) -> None:
        """It has expired meanwhile."""
        self._stage.say("The quote that she left lying has a time as well.")
        await self._stage.wait_until(self._forgotten_until, "until the quote expires")
        accept = {"order": self._forgotten, "quote": "1"}
        await self._stage.refused("QUOTE_EXPIRED", CONTRACT, "execute", "alice", accept)

    async def balance_the_books(self) -> None:
        """What must hold at the end."""
        self._stage.say("In the end:")
        held = await self._stage.ask(CONTRACT, "holdings", "alice", {})
        units = {item["asset"]: int(item["balance"]) for item in held["items"]}
        self._stage.expect("Alice's points", units["GP"], 20_000)
        self._stage.expect("stray miles", units.get("AIR", 0), 0)
        self._stage.expect("stray shop points", units.get("SP", 0), 0)
        self._stage.expect("nothing in escrow", (await self._book("SP"))["escrow"], 0)
        period = f"demo-{self._upgrade[:8]}"
        await self._call("settle", "operator", {"period": period})
        owed = await self._settled("AIR", period)
        text = f"¥{owed // 100}.{owed % 100:02}"
        self._stage.expect("the bank owes the airline, for 2,500 miles at 5 fen", text, "¥125.00")
        self._stage.expect("and the shop, for nothing", await self._settled("SP", period), 0)

    # ---- the props

    async def _register(self, asset: str, owner: str, limits: Fields) -> None:
        if asset in await self._listed("platforms", "asset"):
            return
        fields = {"asset": asset, "platform": f"@{owner}", **limits}
        await self._two("operator", "chair", "register_platform", fields)

    async def _rate(self, asset: str, owner: str, num: int, den: int) -> None:
        fields = {"asset": asset, "num": str(num), "den": str(den), "ttl_ms": str(YEAR_MS)}
        await self._two(owner, "operator", "set_rate", fields)

    async def _product(
        self, product: str, peripheral: str, title: str, asset: str, price: int
    ) -> None:
        if product in await self._listed("catalogue", "product"):
            return
        ttl_ms = COFFEE_TTL_MS if product == "coffee" else UPGRADE_TTL_MS
        fields = {"product": product, "title": title, "asset": asset, "price": str(price)}
        fields |= {"fulfil_ttl_ms": str(ttl_ms)}
        await self._two(peripheral, "operator", "set_product", fields)

    async def _two(self, proposer: str, approver: str, action: str, fields: Fields) -> None:
        """A change by two persons."""
        proposal = new_id()
        fields = {"proposal": proposal, "reason": "as agreed", **fields}
        await self._call(action, proposer, fields)
        await self._stage.call("kernel", "approve", approver, {"proposal": proposal})

    async def _platform_confirms(self, owner: str, order: str) -> None:
        """The platform's own part; with a connector it does this by itself when it is told."""
        self._stage.say(f"The {owner} books it in its own system, and says so on the chain.")
        fields = {"order": order, "ext_ref": f"{owner}-{order[:8]}"}
        await self._call("platform_confirm", owner, fields)

    async def _request(self, order: str, wish: Json) -> None:
        await self._call("submit_request", "alice", {"order": order, "raw": json.dumps(wish)})

    async def _settle_what_was_before(self) -> None:
        """So that the last settlement is of this story alone."""
        books = [await self._book(asset) for asset in ("AIR", "SP")]
        if any(int(book["owed"]) for book in books):
            await self._call("settle", "operator", {"period": f"before-{self._upgrade[:8]}"})

    async def _settled(self, asset: str, period: str) -> int:
        cursor, amount = "0", 0
        while True:
            page = await self._stage.look(
                CONTRACT, "settlements", "operator", {"asset": asset, "cursor": cursor}
            )
            amount += sum(int(one["amt"]) for one in page["items"] if one["period"] == period)
            if page["next"] is None:
                return amount
            cursor = page["next"]

    async def _held(self, asset: str) -> int:
        held = await self._stage.look(CONTRACT, "holdings", "alice", {})
        return sum(int(one["available"]) for one in held["items"] if one["asset"] == asset)

    async def _book(self, asset: str) -> Json:
        return await self._stage.look(CONTRACT, "book", "operator", {"asset": asset})

    async def _listed(self, query: str, field: str) -> list[str]:
        return [one[field] for one in (await self._stage.look(CONTRACT, query, None, {}))["items"]]

    async def _call(self, action: str, key: str, fields: Fields) -> Json:
        return await self._stage.call(CONTRACT, action, key, fields)
