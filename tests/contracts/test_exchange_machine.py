"""Random acts on the exchange, held against a model of plain integers and fractions after each.

`execute` checks the invariants of each transaction; the audit of the whole state is run here. The
model knows rates as fractions and wallets as units by expiry, and what a person's units are worth.
Longer than most because the model stands beside the rules.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from fractions import Fraction
from math import ceil, floor

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from tests.contracts.exchange_world import YEAR_MS, ExchangeWorld, bought, swapped

USERS = ("ann", "ben")
ASSETS = ("GP", "AIR", "SP")
OWNERS = {"AIR": "airline", "SP": "shop"}
NEEDS = {
    "upgrade": ("AIR", 25, "desk"),
    "coffee": ("SP", 10, "machine"),
    "tea": ("GP", 7, "machine"),
}
LOTS = {"AIR": (5, 5), "SP": (1, 1)}
TTL_MS = 400_000
QUOTE_MS, CONFIRM_MS, FULFIL_MS = 120_000, 600_000, 60_000
USER = st.sampled_from(USERS)
PICK = st.integers(0, 5)
# How far an order goes at once: asked for, executed, confirmed, delivered.
STEPS = st.integers(0, 3)


@dataclass
class Deal:
    """An order as the model sees it: amounts in, amounts out, and what was taken of which lots."""

    user: str
    kind: str
    source: str
    target: str
    paid: int = 0
    own: int = 0
    need: int = 0
    received: int = 0
    remainder: int = 0
    state: str = "QUOTED"
    until: int = 0
    awaiting: list[str] = field(default_factory=list)
    taken: dict[int, int] = field(default_factory=dict)
    taken_own: dict[int, int] = field(default_factory=dict)


class ExchangeMachine(RuleBasedStateMachine):
    """Two persons, three assets, three products; everybody tries everything at any time."""

    def __init__(self) -> None:
        super().__init__()
        self.world = ExchangeWorld(offers=False, points=0)
        self.buy: dict[str, Fraction] = {}
        self.sell: dict[str, Fraction] = {}
        self.bonus: dict[str, tuple[int, int]] = {}
        self.deals: dict[bytes, Deal] = {}
        self.wallets: dict[tuple[str, str], dict[int, int]] = {
            (user, asset): {} for user in USERS for asset in ASSETS
        }
        self.worth: dict[str, Fraction] = dict.fromkeys(USERS, Fraction(0))

    @initialize(
        nums=st.lists(st.integers(1, 9), min_size=4, max_size=4),
        percent=st.integers(0, 100),
        bps=st.integers(0, 900),
    )
    def open(self, nums: list[int], percent: int, bps: int) -> None:
        """Rates drawn at random; selling gives at most what buying with its bonus costs."""
        world = self.world
        for index, (asset, owner) in enumerate(OWNERS.items()):
            least, step = LOTS[asset]
            world.register(
                asset,
                owner,
                min_lot=least,
                step=step,
                lot_ttl_ms=TTL_MS,
                settle_price=3,
                settle_per=7,
            )
            num, den = nums[2 * index : 2 * index + 2]
            row = {"per": 50, "extra": 4}
            code = world.rate(asset, num, den, spread_bps=bps, bonuses=[row])
            assert code == "OK"
            self.buy[asset], self.bonus[asset] = Fraction(num, den), (50, 4)
            best = self.buy[asset] + Fraction(4, 50)
            sale = Fraction(percent + 1, 101) / best
            code = world.rate(asset, sale.numerator, sale.denominator, side="SELL")
            assert code == "OK"
            self.sell[asset] = sale
            more = Fraction(102, 101) / best
            code = world.rate(asset, more.numerator, more.denominator, side="SELL")
            assert code == "RATE_ARBITRAGE"
            assert world.provide(asset, 400) == world.provide("GP", 60, pool=asset) == "OK"
        for product, (asset, price, peripheral) in NEEDS.items():
            world.offer(peripheral, product, asset, price, stock=30)
        for user in USERS:
            for asset, amount in (("GP", 400), ("AIR", 40), ("SP", 40)):
                self.issue(user, asset, amount)

    # ---- rules

    @rule(user=USER, asset=st.sampled_from(ASSETS), amount=st.integers(1, 150))
    def more_units(self, user: str, asset: str, amount: int) -> None:
        self.issue(user, asset, amount)

    def issue(self, user: str, asset: str, amount: int) -> None:
        assert self.world.issue(user, amount, asset) == "OK"
        self.gain(user, asset, amount)
        self.worth[user] += amount * self.sell.get(asset, Fraction(1))

    @rule(user=USER, product=st.sampled_from(sorted(NEEDS)), own=st.integers(0, 12), steps=STEPS)
    def buy_a_product(self, user: str, product: str, own: int, steps: int) -> None:
        asset, need, _ = NEEDS[product]
        order = self.world.ask_for(user, bought(product, own=str(own)))
        code = self.world.act(user, "quote", order=order)
        if code != "OK":
            assert code in ("BAD_REQUEST", "NO_LIQUIDITY", "OUT_OF_STOCK")
            assert code != "BAD_REQUEST" or own > need
            return
        deal = Deal(user, product, "GP", asset, need=need, own=own)
        if asset == "GP":
            deal.own = need
        elif own < need:
            least, step = LOTS[asset]
            obtained = least + step * max(ceil(Fraction(need - own - least, step)), 0)
            self.price(deal, asset, obtained)
            deal.paid = self.cost(asset, obtained)
        self.keep(order, deal, steps)

    @rule(
        user=USER,
        pair=st.sampled_from([(a, b) for a in ASSETS for b in ASSETS if a != b]),
        amount=st.integers(1, 60),
        steps=STEPS,
    )
    def exchange(self, user: str, pair: tuple[str, str], amount: int, steps: int) -> None:
        source, target = pair
        order = self.world.ask_for(user, swapped(source, target, amount))
        if self.world.act(user, "quote", order=order) != "OK":
            assert self.world.code in ("LOT_TOO_SMALL", "NO_LIQUIDITY")
            return
        deal = Deal(user, "", source, target, paid=amount)
        general = amount if source == "GP" else floor(amount * self.sell[source])
        if target == "GP":
            deal.remainder = general
        else:
            least, step = LOTS[target]
            obtained = floor(general * self.buy[target])
            obtained -= (obtained - least) % step
            cost = self.cost(target, obtained)
            self.price(deal, target, obtained)
            if source == "GP":
                deal.paid = cost
            else:
                deal.remainder = general - cost
        self.keep(order, deal, steps)

    def cost(self, asset: str, obtained: int) -> int:
        return ceil(obtained / self.buy[asset])

    def price(self, deal: Deal, asset: str, obtained: int) -> None:
        per, extra = self.bonus[asset]
        deal.received = obtained + self.cost(asset, obtained) // per * extra

    def keep(self, order: bytes, deal: Deal, steps: int) -> None:
        details = self.world.details
        assert (details["cost"], details["own"]) == (deal.paid, deal.own)
        assert details["obtained"] + details["bonus"] == deal.received
        assert details["remainder"] == deal.remainder
        deal.until = details["expires_ms"]
        assert deal.until == self.world.time_ms + QUOTE_MS
        self.deals[order] = deal
        if steps > 0:
            self.execute(order, deal)
        for asset in list(deal.awaiting) if steps > 1 else ():
            self.platform_acts(order, deal, asset, yes=True)
        if steps > 2 and deal.state == "RESERVED":
            self.peripheral_acts(order, deal, "fulfil")

    @rule(pick=PICK)
    def execute_one(self, pick: int) -> None:
        order, deal = self.pick(pick)
        if deal is not None:
            self.execute(order, deal)

    def execute(self, order: bytes, deal: Deal) -> None:
        code = self.world.act(deal.user, "execute", order=order, quote=1)
        if self.now >= deal.until and deal.state == "QUOTED":
            assert code == "QUOTE_EXPIRED"
        elif deal.state != "QUOTED":
            assert code in ("QUOTE_USED", "QUOTE_EXPIRED")
        elif code == "OK":
            deal.taken = self.take(deal.user, deal.source, deal.paid)
            deal.taken_own = self.take(deal.user, deal.target, deal.own)
            bought_there = [deal.target] if deal.received else []
            sold = [deal.source] if deal.source != "GP" else []
            deal.awaiting = [*sold, *bought_there]
            deal.state, deal.until = "EXCHANGING", self.now + CONFIRM_MS
            self.go_on(deal)
        else:
            assert code in ("INSUFFICIENT", "NO_LIQUIDITY", "OUT_OF_STOCK")
            short = self.available(deal.user, deal.source) < deal.paid
            short |= self.available(deal.user, deal.target) < deal.own
            assert code != "INSUFFICIENT" or short

    @rule(pick=PICK, asset=st.sampled_from(sorted(OWNERS)), yes=st.booleans())
    def answer_one(self, pick: int, asset: str, yes: bool) -> None:
        order, deal = self.pick(pick)
        if deal is not None:
            self.platform_acts(order, deal, asset, yes)

    def platform_acts(self, order: bytes, deal: Deal, asset: str, yes: bool) -> None:
        if yes:
            code = self.world.confirm(OWNERS[asset], order, f"{asset}{order.hex()}")
            late = self.world.details.get("late")
        else:
            args = {"order": order, "reason": "r"}
            code, late = self.world.act(OWNERS[asset], "platform_reject", **args), False
        if code != "OK" or self.world.details.get("replayed"):
            return
        assert asset in deal.awaiting
        if late:
            deal.awaiting.remove(asset)
            assert deal.state == "REFUNDED" or self.now >= deal.until
            self.refund(deal)
        elif yes:
            assert self.now < deal.until
            deal.awaiting.remove(asset)
            self.go_on(deal)
        else:
            self.refund(deal)

    @rule(pick=PICK, act=st.sampled_from(["fulfil", "fail"]))
    def deliver_one(self, pick: int, act: str) -> None:
        order, deal = self.pick(pick)
        if deal is not None and deal.kind:
            self.peripheral_acts(order, deal, act)

    def peripheral_acts(self, order: bytes, deal: Deal, act: str) -> None:
        peripheral = NEEDS[deal.kind][2]
        if act == "fulfil":
            code = self.world.fulfil(peripheral, order)
        else:
            code = self.world.act(peripheral, "fail", order=order, reason="r")
        if code != "OK" or self.world.details.get("replayed"):
            assert deal.state != "RESERVED" or (act == "fulfil" and self.now >= deal.until)
            return
        assert deal.state == "RESERVED"
        if act == "fulfil":
            assert self.now < deal.until
            deal.state = "FULFILLED"
            self.gain(deal.user, deal.target, deal.own + deal.received - deal.need)
        else:
            self.refund(deal)

    @rule(pick=PICK, who=st.sampled_from(["ann", "ben", "desk"]))
    def time_out(self, pick: int, who: str) -> None:
        order, deal = self.pick(pick)
        if deal is None:
            return
        code = self.world.act(who, "timeout", order=order)
        if code == "OK" and not self.world.details.get("replayed"):
            assert self.now >= deal.until
            self.refund(deal)
        elif code != "OK":
            due = deal.state in ("EXCHANGING", "RESERVED") and self.now >= deal.until
            assert not due

    @rule(limit=st.integers(1, 3))
    def sweep(self, limit: int) -> None:
        open_deals = [one for one in self.deals.values() if one.state in ("EXCHANGING", "RESERVED")]
        assert self.world.act("ben", "expire_orders", limit=limit) == "OK"
        due = sorted(
            [one for one in open_deals if self.now >= one.until], key=lambda one: one.until
        )
        assert self.world.details["expired"] == min(len(due), limit)
        for order, deal in self.deals.items():
            if deal in due and self.world.state_of(order) == "REFUNDED":
                self.refund(deal)

    @rule(limit=st.integers(1, 5))
    def expire_lots(self, limit: int) -> None:
        assert self.world.act("ann", "expire_lots", limit=limit) == "OK"
        burned = 0
        for (user, asset), lots in self.wallets.items():
            due = sorted(one for one in lots if one <= self.now)
            left = self.world.holding(user, asset, "expired")
            while sum(lots[one] for one in due) > left:
                del lots[due.pop(0)]
                burned += 1
        assert burned == self.world.details["expired"] <= limit

    @rule(duration_ms=st.sampled_from([1_000, 30_000, 60_000, 120_000, 300_000]))
    def wait(self, duration_ms: int) -> None:
        self.world.advance(duration_ms)

    @rule(period=st.integers(1, 4), asset=st.sampled_from(sorted(OWNERS)), pick=PICK)
    def clear(self, period: int, asset: str, pick: int) -> None:
        assert self.world.act("operator", "settle", period=f"p{period}") == "OK"
        order, deal = self.pick(pick)
        if deal is not None:
            lines = [{"ext_ref": f"{asset}{order.hex()}", "amt": max(deal.received, 1)}]
            args = {"statement": self.world.new_id(), "asset": asset, "lines": lines}
            assert self.world.act(OWNERS[asset], "reconcile", **args) == "OK"

    @rule(asset=st.sampled_from(sorted(OWNERS)), num=st.integers(1, 9), den=st.integers(1, 9))
    def move_a_rate(self, asset: str, num: int, den: int) -> None:
        """Buying becomes dearer or cheaper, but never so that selling again would gain."""
        code = self.world.rate(asset, num, den)
        assert code in ("OK", "RATE_ARBITRAGE")
        gains = Fraction(num, den) * self.sell[asset] > 1
        assert code == ("RATE_ARBITRAGE" if gains else "OK")
        if code == "OK":
            self.buy[asset], self.bonus[asset] = Fraction(num, den), (1, 0)

    # ---- the model

    @property
    def now(self) -> int:
        """The time of the last block."""
        return self.world.time_ms

    def pick(self, number: int) -> tuple[bytes, Deal | None]:
        """One of the orders, an old one or the last."""
        if not self.deals:
            return b"", None
        orders = list(self.deals)
        order = orders[-1 - number % len(orders)]
        return order, self.deals[order]

    def available(self, user: str, asset: str) -> int:
        lots = self.wallets[user, asset]
        return sum(amount for expires_ms, amount in lots.items() if expires_ms > self.now)

    def take(self, user: str, asset: str, amount: int) -> dict[int, int]:
        """Units out of the lots that expire first."""
        lots, taken = self.wallets[user, asset], {}
        for expires_ms in sorted(one for one in lots if one > self.now):
            part = min(lots[expires_ms], amount)
            amount -= part
            lots[expires_ms] -= part
            if part:
                taken[expires_ms] = part
        self.wallets[user, asset] = {one: left for one, left in lots.items() if left}
        assert amount == 0
        return taken

    def gain(self, user: str, asset: str, amount: int) -> None:
        """A new lot."""
        ttl_ms = TTL_MS if asset in OWNERS else 2 * YEAR_MS
        self.put_back(user, asset, {self.now + ttl_ms: amount} if amount else {})

    def put_back(self, user: str, asset: str, taken: dict[int, int]) -> None:
        lots = self.wallets[user, asset]
        for expires_ms, amount in taken.items():
            lots[expires_ms] = lots.get(expires_ms, 0) + amount

    def go_on(self, deal: Deal) -> None:
        """When all platforms have done their part."""
        if deal.awaiting:
            return
        if deal.kind:
            deal.state, deal.until = "RESERVED", self.now + FULFIL_MS
            return
        deal.state = "EXCHANGED"
        self.gain(deal.user, deal.target, deal.received)
        self.gain(deal.user, "GP", deal.remainder)

    def refund(self, deal: Deal) -> None:
        """Each unit into the lot that it came from."""
        if deal.state == "REFUNDED":
            return
        deal.state = "REFUNDED"
        self.put_back(deal.user, deal.source, deal.taken)
        self.put_back(deal.user, deal.target, deal.taken_own)

    # ---- what must hold

    @invariant()
    def the_whole_state_is_sound(self) -> None:
        assert self.world.violations() == []

    @invariant()
    def wallets_and_orders_are_what_the_model_says(self) -> None:
        for (user, asset), lots in self.wallets.items():
            found = self.world.holding(user, asset, "lots") or []
            good = {one: amount for one, amount in lots.items() if one > self.now}
            assert {one["expires_ms"]: one["amt"] for one in found} == good
            assert self.world.holding(user, asset) == sum(good.values())
            expired = self.world.holding(user, asset, "expired")
            assert expired == sum(lots.values()) - sum(good.values())
        for order, deal in self.deals.items():
            assert self.world.state_of(order) == deal.state

    @invariant()
    def nobody_gains(self) -> None:
        """What a person has or would get back, at what it can be sold for, never becomes more."""
        for user in USERS:
            units = {asset: sum(self.wallets[user, asset].values()) for asset in ASSETS}
            for deal in self.deals.values():
                if deal.user == user and deal.state in ("EXCHANGING", "RESERVED"):
                    units[deal.source] += deal.paid
                    units[deal.target] += deal.own
            worth = sum(
                (units[asset] * self.sell.get(asset, Fraction(1)) for asset in ASSETS), Fraction(0)
            )
            assert worth <= self.worth[user]
            self.worth[user] = worth


ExchangeMachine.TestCase.settings = settings(max_examples=25, stateful_step_count=40, deadline=None)
TestExchange = ExchangeMachine.TestCase
