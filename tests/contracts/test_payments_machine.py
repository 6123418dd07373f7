"""Random payments: whatever is done in whatever order, every invariant holds after every act."""

from __future__ import annotations

from typing import Any

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, initialize, invariant, multiple, rule

from contracts.kernel.types import DAY_MS
from tests.contracts.payments_world import MINUTE_MS, USER, Payments
from tests.contracts.world import id_of

AMOUNTS = st.integers(1, 6_000)
CHANNELS = st.sampled_from(["a", "b"])
STATUSES = st.sampled_from(["SUCCEEDED", "FAILED", "UNKNOWN"])
EXPECTED = frozenset(
    {
        "OK",
        "BAD_STATE",
        "EXPIRED",
        "SWITCHED_OFF",
        "CHANNEL_DISABLED",
        "CHANNEL_NOT_LINKED",
        "TERMINAL_UNKNOWN",
        "LINK_MISMATCH",
        "AUTH_LOCKED",
        "CAP_EXCEEDED",
        "IDEM_CONFLICT",
        "INSUFFICIENT",
        "UNAUTHORIZED",
        "NOT_FOUND",
        "AMOUNT_MISMATCH",
    }
)


class Machine(RuleBasedStateMachine):
    """A user, two channels and a payee, doing what they like."""

    orders = Bundle("orders")

    def __init__(self) -> None:
        super().__init__()
        self.world = Payments().verified()
        self.amounts: dict[str, int] = {}
        self.nonces: dict[str, str] = {}
        self.count = 0

    def check(self, code: str) -> None:
        assert code in EXPECTED, code

    def number(self) -> str:
        self.count += 1
        return str(self.count)

    @initialize()
    def ready(self) -> None:
        assert self.world.bind() == "OK"
        assert self.world.grant(per_cap=5_000, day_cap=12_000) == "OK"

    @rule(target=orders, amount=AMOUNTS, manual=st.booleans())
    def order(self, amount: int, manual: bool) -> Any:
        name = self.number()
        code = self.world.order(name, amount, manual_capture=manual)
        self.check(code)
        self.amounts[name] = amount
        return name if code == "OK" else multiple()

    @rule(name=orders, channel=st.none() | CHANNELS)
    def choose(self, name: str, channel: str | None) -> None:
        self.check(self.world.choose(name, channel))

    @rule(name=orders)
    def page(self, name: str) -> None:
        nonce = self.number()
        code = self.world.page(name, nonce)
        self.check(code)
        if code == "OK":
            self.nonces[name] = nonce

    @rule(name=orders, channel=CHANNELS, honest=st.booleans())
    def approve(self, name: str, channel: str, honest: bool) -> None:
        amt = self.amounts[name] + (0 if honest else 1)
        nonce = self.nonces.get(name, "none")
        approval = self.world.approval(name, nonce=nonce, channel=channel, amt=amt)
        code = self.world.start(name, approval, channel)
        self.check(code)
        # The same terminal and nonce again is a replay, which changes nothing.
        assert honest or code != "OK" or self.world.details.get("replayed")

    @rule(name=orders)
    def proxy(self, name: str) -> None:
        self.check(self.world.charge_by_proxy(name, self.amounts[name]))

    @rule(name=orders, channel=CHANNELS)
    def start(self, name: str, channel: str) -> None:
        self.check(self.world.start(name, channel=channel))

    @rule(name=orders, channel=CHANNELS, status=STATUSES, event=st.integers(0, 3))
    def report(self, name: str, channel: str, status: str, event: int) -> None:
        event_id = f"{name}/{event}"
        self.check(self.world.report(status, name, event_id, self.amounts[name], channel))

    @rule(name=orders, who=st.sampled_from(["vera", "cinema", "walt"]))
    def cancel(self, name: str, who: str) -> None:
        self.check(self.world.do(who, "cancel", intent=id_of(name)))

    @rule(name=orders, amount=AMOUNTS)
    def capture(self, name: str, amount: int) -> None:
        self.check(self.world.do("cinema", "capture", intent=id_of(name), amt=amount))

    @rule(name=orders, amount=AMOUNTS)
    def refund(self, name: str, amount: int) -> None:
        refund = id_of(f"refund {self.number()}")
        self.check(self.world.do("cinema", "refund", refund=refund, intent=id_of(name), amt=amount))

    @rule(name=orders, accept=st.booleans())
    def reconcile(self, name: str, accept: bool) -> None:
        args = {"intent": id_of(name), "accept": accept, "reason": "looked at it"}
        self.check(self.world.do("operator", "reconcile", "payments", **args))

    @rule(name=orders)
    def dispute(self, name: str) -> None:
        self.check(self.world.do("vera", "dispute", intent=id_of(name), reason="no"))

    @rule(name=orders, part=st.integers(0, 6_000))
    def resolve(self, name: str, part: int) -> None:
        disputed = self.world.intent(name)["disputed"]
        args = {"to_user": min(part, disputed), "to_payee": max(disputed - part, 0)}
        self.check(self.world.do("arbiter", "resolve", "payments", intent=id_of(name), **args))

    @rule(on=st.booleans())
    def switch(self, on: bool) -> None:
        self.check(self.world.do("vera", "set_switch", on=on))

    @rule(channel=CHANNELS, on=st.booleans())
    def enable(self, channel: str, on: bool) -> None:
        self.check(self.world.do("operator", "set_channel", channel=channel, enabled=on))

    @rule()
    def wrong_password(self) -> None:
        attempt = id_of(self.number())
        self.check(self.world.do("service", "auth_failed", user=USER, attempt=attempt))

    @rule()
    def verified_again(self) -> None:
        self.check(self.world.do("verifier", "verify", user=USER, ok=True))

    @rule(duration_ms=st.sampled_from([MINUTE_MS, 20 * MINUTE_MS, DAY_MS, 8 * DAY_MS]))
    def wait(self, duration_ms: int) -> None:
        self.world.passed(duration_ms)

    @rule()
    def sweep(self) -> None:
        self.check(self.world.do("walt", "expire_pending", "kernel"))

    @invariant()
    def nothing_comes_from_nowhere(self) -> None:
        assert sum(self.world.balances().values()) == 0


TestPayments = Machine.TestCase
TestPayments.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)
