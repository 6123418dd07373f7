"""Random purchases and uses: whatever is done in whatever order, every invariant holds."""

from __future__ import annotations

from typing import Any

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, initialize, invariant, multiple, rule

from contracts.kernel.types import DAY_MS
from tests.contracts.licensing_world import AGENTS, MACHINES, Shop
from tests.contracts.world import id_of, key_of

WHO = st.sampled_from(["buyer", "friend"])
DEGREES = st.integers(1, 3)
EXPECTED = frozenset(
    {
        "OK",
        "BAD_ARG",
        "UNAUTHORIZED",
        "IDEM_CONFLICT",
        "NOT_FOUND",
        "EXPIRED",
        "BAD_STATE",
        "DEGREE_LOW",
        "WRONG_BUYER",
        "TOO_MANY_MACHINES",
        "RIGHT_EXHAUSTED",
        "REVOKED",
        "INSUFFICIENT",
    }
)


class Machine(RuleBasedStateMachine):
    """Two buyers, two channels, three agents, a seller and a bank."""

    requests = Bundle("requests")

    def __init__(self) -> None:
        super().__init__()
        self.shop = Shop()
        self.count = 0

    def check(self, code: str) -> str:
        assert code in EXPECTED, code
        return code

    def number(self) -> str:
        self.count += 1
        return str(self.count)

    @initialize()
    def open(self) -> None:
        self.check(self.shop.publish())

    @rule(target=requests, who=WHO, degree=DEGREES)
    def request(self, who: str, degree: int) -> Any:
        name = self.number()
        code = self.check(self.shop.request(name, degree, who))
        return name if code == "OK" else multiple()

    @rule(
        name=requests,
        yuan=st.sampled_from([1, 12, 18, 30]),
        ref=st.integers(0, 5),
        channel=st.sampled_from(["a", "b"]),
    )
    def report(self, name: str, yuan: int, ref: int, channel: str) -> None:
        self.check(self.shop.report(yuan, f"ref {ref}", channel, name))

    @rule(who=WHO, amount=st.integers(1, 3_000))
    def pay_in(self, who: str, amount: int) -> None:
        args: dict[str, Any] = {"buyer": key_of(who), "cur": "CNY", "amt": amount}
        self.check(self.shop.do("bank", "pay_in", payment=id_of(self.number()), **args))

    @rule(who=WHO, name=requests, amount=st.integers(1, 3_000))
    def pay(self, who: str, name: str, amount: int) -> None:
        args: dict[str, Any] = {"request": id_of(name), "amt": amount}
        self.check(self.shop.do(who, "pay", payment=id_of(self.number()), **args))

    @rule(who=st.sampled_from(["buyer", "press"]), amount=st.integers(1, 3_000))
    def pay_out(self, who: str, amount: int) -> None:
        purpose = "REVENUE" if who == "press" else "CASH"
        args: dict[str, Any] = {"bank": key_of("bank"), "cur": "CNY", "purpose": purpose}
        self.check(self.shop.do(who, "pay_out", payment=id_of(self.number()), amt=amount, **args))

    @rule(name=requests, agent=st.sampled_from(AGENTS), degree=DEGREES)
    def share(self, name: str, agent: str, degree: int) -> None:
        self.check(self.shop.share(agent, degree, name))

    @rule(name=requests)
    def all_shares(self, name: str) -> None:
        degree = self.shop.purchase("press", name)["degree"]
        for agent in AGENTS:
            self.check(self.shop.share(agent, max(degree, 1), name))

    @rule(who=WHO, name=requests, degree=DEGREES)
    def upgrade(self, who: str, name: str, degree: int) -> None:
        self.check(self.shop.do(who, "upgrade", request=id_of(name), degree=degree))

    @rule(who=WHO, name=requests)
    def claim(self, who: str, name: str) -> None:
        self.check(self.shop.do(who, "claim_refund", request=id_of(name)))

    @rule(name=requests, yuan=st.sampled_from([0, 1, 18, 30]))
    def refund(self, name: str, yuan: int) -> None:
        self.check(self.shop.refund(yuan, name))

    @rule(
        who=WHO,
        name=requests,
        machine=st.sampled_from(sorted(MACHINES)),
        act=st.sampled_from(["activate", "deactivate"]),
    )
    def machine(self, who: str, name: str, machine: str, act: str) -> None:
        args: dict[str, Any] = {"licence": id_of(name), "fingerprint": MACHINES[machine]}
        self.check(self.shop.do(who, act, **args))

    @rule(
        who=WHO,
        name=requests,
        machine=st.sampled_from(sorted(MACHINES)),
        item=st.sampled_from(["read", "copy", "print"]),
        n=st.integers(1, 1_500),
        base=st.sampled_from([0, 1]),
    )
    def use(self, who: str, name: str, machine: str, item: str, n: int, base: int) -> None:
        args: dict[str, Any] = {"licence": id_of(name), "fingerprint": MACHINES[machine]}
        self.check(self.shop.do(who, "use", item=item, n=n, total=n + base, **args))

    @rule(name=requests, on=st.booleans())
    def suspend(self, name: str, on: bool) -> None:
        args: dict[str, Any] = {"licence": id_of(name), "suspended": on, "reason": "looked"}
        self.check(self.shop.do("press", "suspend", **args))

    @rule(days=st.sampled_from([1, 31]))
    def wait(self, days: int) -> None:
        self.shop.passed(days * DAY_MS)

    @invariant()
    def nothing_comes_from_nowhere(self) -> None:
        assert sum(self.shop.balances().values()) == 0


TestLicensing = Machine.TestCase
TestLicensing.settings = settings(max_examples=30, stateful_step_count=40, deadline=None)
