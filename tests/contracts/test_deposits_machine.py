"""Random trading and saving: whatever is done in whatever order, every invariant holds."""

from __future__ import annotations

from typing import Any

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, invariant, multiple, rule

from contracts.kernel.ledger import ACCOUNTS
from contracts.kernel.types import DAY_MS
from tests.contracts.deposits_world import ENTERPRISES, Market
from tests.contracts.world import id_of, key_of

WHO = st.sampled_from(sorted(ENTERPRISES))
QUANTITIES = st.integers(1, 20)
PRICES = st.integers(5, 15)
EXPECTED = frozenset(
    {
        "OK",
        "BAD_ARG",
        "UNAUTHORIZED",
        "NOT_FOUND",
        "EXPIRED",
        "BAD_STATE",
        "SELF_TRADE",
        "NO_FILL",
        "REVIEW_CLOSED",
        "THIN_DATA",
        "POLICY_STALE",
        "PURPOSE_MISMATCH",
        "INSUFFICIENT",
        "IDEM_CONFLICT",
    }
)


class Machine(RuleBasedStateMachine):
    """Three members, their bank, a reviewer and an arbiter."""

    trades = Bundle("trades")
    listings = Bundle("listings")
    deposits = Bundle("deposits")

    def __init__(self) -> None:
        super().__init__()
        self.market = Market().member(*ENTERPRISES)
        for who in ENTERPRISES:
            self.check(self.market.pay_in(who, 500))
            self.check(self.market.grant(who))

    def check(self, code: str) -> str:
        assert code in EXPECTED, code
        return code

    @rule(
        target=trades,
        who=WHO,
        side=st.sampled_from(["BUY", "SELL"]),
        qty=QUANTITIES,
        price=PRICES,
        smallest=st.integers(1, 5),
        duration=st.sampled_from(["GTC", "IOC", "FOK"]),
        category=st.sampled_from(["GOODS", "FREIGHT"]),
    )
    def publish(
        self, who: str, side: str, qty: int, price: int, smallest: int, **options: str
    ) -> Any:
        options["min_fill"] = min(smallest, qty)  # type: ignore[assignment]
        if self.check(self.market.publish(who, side, qty, price, **options)) != "OK":
            return multiple()
        return multiple(*self.market.details["trades"])

    @rule(who=WHO, trade=trades, act=st.sampled_from(["accept_match", "cancel_trade", "fund"]))
    def before_shipping(self, who: str, trade: bytes, act: str) -> None:
        self.check(self.market.do(who, act, trade=trade))

    @rule(trade=trades)
    def agreed_and_funded(self, trade: bytes) -> None:
        for who in ENTERPRISES:
            self.check(self.market.do(who, "accept_match", trade=trade))
        for who in ENTERPRISES:
            self.check(self.market.do(who, "fund", trade=trade))

    @rule(who=WHO, trade=trades)
    def ship(self, who: str, trade: bytes) -> None:
        self.check(self.market.do(who, "ship", trade=trade, doc_hash=b"d" * 32))

    @rule(who=WHO, trade=trades, qty=QUANTITIES)
    def confirm(self, who: str, trade: bytes, qty: int) -> None:
        self.check(self.market.do(who, "confirm", trade=trade, qty=qty))

    @rule(trade=trades)
    def auto_release(self, trade: bytes) -> None:
        self.check(self.market.do("trader", "auto_release", trade=trade))

    @rule(who=WHO, trade=trades)
    def dispute(self, who: str, trade: bytes) -> None:
        self.check(self.market.do(who, "dispute", trade=trade, reason="no"))

    @rule(trade=trades, part=st.integers(0, 30_000))
    def resolve(self, trade: bytes, part: int) -> None:
        held = self.market.ask("arbiter", "trade", trade=trade)["escrow"]
        args: dict[str, Any] = {"buyer_amt": min(part, held), "seller_amt": max(held - part, 0)}
        self.check(self.market.do("arbiter", "resolve", trade=trade, **args))

    @rule(who=WHO, trade=trades, side=st.sampled_from(["BUYER", "SELLER"]), score=st.integers(1, 5))
    def commit(self, who: str, trade: bytes, side: str, score: int) -> None:
        self.check(self.market.commit(who, side, trade, score))

    @rule(who=WHO, trade=trades, score=st.integers(1, 5))
    def reveal(self, who: str, trade: bytes, score: int) -> None:
        self.check(self.market.reveal(who, trade, score))

    @rule(
        target=deposits,
        who=WHO,
        mode=st.sampled_from(["FINANCE", "LOGISTICS", "PURCHASE"]),
        amount=st.integers(100_000, 1_000_000),
    )
    def save(self, who: str, mode: str, amount: int) -> Any:
        name = self.market.number()
        if self.check(self.market.analyse(who, name)) != "OK":
            return multiple()
        self.check(self.market.recommend(name, name))
        terms = {
            "FINANCE": (90, "RESERVE"),
            "LOGISTICS": (30, "FREIGHT"),
            "PURCHASE": (30, "MARGIN"),
        }
        days, purpose = terms[mode]
        args: dict[str, Any] = {"mode": mode, "amt": amount, "term_days": days, "purpose": purpose}
        code = self.check(self.market.accept(who, name, deposit=id_of(name), **args))
        return id_of(name) if code == "OK" else multiple()

    @rule(who=WHO, deposit=deposits, act=st.sampled_from(["mature", "break_early"]))
    def close(self, who: str, deposit: bytes, act: str) -> None:
        self.check(self.market.do(who, act, deposit=deposit))

    @rule(who=WHO, deposit=deposits, trade=trades)
    def release(self, who: str, deposit: bytes, trade: bytes) -> None:
        self.check(self.market.do(who, "release", deposit=deposit, trade=trade))

    @rule(who=WHO, amount=st.integers(1, 60_000))
    def pay_out(self, who: str, amount: int) -> None:
        payment = id_of(self.market.number())
        args: dict[str, Any] = {"bank": key_of("bank"), "amt": amount}
        self.check(self.market.do(who, "pay_out", payment=payment, **args))

    @rule(days=st.sampled_from([1, 4, 8, 31, 91]))
    def wait(self, days: int) -> None:
        self.market.passed(days * DAY_MS)

    @invariant()
    def nothing_comes_from_nowhere(self) -> None:
        balances = [
            ACCOUNTS.decode(raw).balance
            for (table, _), raw in self.market.world.memory.records.items()
            if table == ACCOUNTS.name
        ]
        assert sum(balances) == 0


TestDeposits = Machine.TestCase
TestDeposits.settings = settings(max_examples=30, stateful_step_count=40, deadline=None)
