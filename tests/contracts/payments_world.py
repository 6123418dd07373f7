"""A network on which a headset can pay: user, two channels, payee, page server, pay service.

Signatures are the fakes of `world`; a terminal's are told from a ledger key's by their statement.
"""

from __future__ import annotations

from typing import Any

from tests.contracts.world import FAR_MS, World, id_of, key_of, signature_of

MINUTE_MS = 60_000
ROLES = {
    "verifier": "verifier",
    "reviewer": "reviewer",
    "channel a": "channel",
    "channel b": "channel",
    "server": "page_server",
    "service": "pay_service",
    "arbiter": "arbiter",
    "cinema": "merchant",
    "vera": "holder",
    "walt": "holder",
}
USER, OTHER = id_of("user"), id_of("other user")
COMMIT = b"c" * 32
ORDER_HASH, PAGE_HASH = b"o" * 32, b"p" * 32


class Payments:
    """Short ways to act; every method gives the receipt's code."""

    def __init__(self, **options: Any) -> None:
        self.world = World(**options)
        for name, role in ROLES.items():
            assert (
                self.do(
                    "operator", "enrol", contract="kernel", public_key=key_of(name), roles=[role]
                )
                == "OK"
            )
        for channel in ("a", "b"):
            code = self.do(
                "operator",
                "register_channel",
                channel=channel,
                owner=key_of(f"channel {channel}"),
                endpoint=f"http://127.0.0.1:1/{channel}",
                asset="CNY",
            )
            assert code == "OK"

    def do(self, sender: str, action: str, contract: str = "payments", **args: Any) -> str:
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

    # ---- users

    def file(self, who: str = "vera", user: bytes = USER, **args: Any) -> str:
        given: dict[str, Any] = {"user": user, "phone_commit": COMMIT, "sealed_info": b"sealed"}
        return self.do(who, "file_user", **{**given, **args})

    def verified(self, who: str = "vera", user: bytes = USER, channels: str = "ab") -> Payments:
        """A user who may pay by these channels."""
        assert self.file(who, user) == "OK"
        assert self.do("verifier", "verify", user=user, ok=True) == "OK"
        for channel in channels:
            assert self.do(who, "link_channel", channel=channel) == "OK"
        return self

    # ---- terminals

    def bind(
        self,
        terminal: str = "phone",
        who: str = "vera",
        user: bytes = USER,
        voucher: str | None = None,
        voucher_ticket: bytes | None = None,
        **args: Any,
    ) -> str:
        terms: dict[str, Any] = {
            "terminal_pub": key_of(terminal),
            "kind": "phone",
            "challenge": id_of("challenge"),
            "ticket_until": FAR_MS,
        }
        signed: dict[str, Any] = {"user": user, **terms}
        given: dict[str, Any] = {**terms, "ticket": browser(terminal, "bind_terminal", signed)}
        if voucher is not None:
            given["voucher"] = key_of(voucher)
            given["voucher_ticket"] = voucher_ticket or browser(voucher, "vouch", signed)
        return self.do(who, "bind_terminal", **{**given, **args})

    # ---- intents

    def order(self, name: str = "film", amt: int = 2_500, who: str = "vera", **args: Any) -> str:
        given: dict[str, Any] = {
            "intent": id_of(name),
            "order": name,
            "order_hash": ORDER_HASH,
            "payee": key_of("cinema"),
            "amt": amt,
            "cur": "CNY",
        }
        return self.do(who, "create_intent", **{**given, **args})

    def choose(self, name: str = "film", channel: str | None = "a", who: str = "vera") -> str:
        return self.do(who, "choose_channel", intent=id_of(name), channel=channel)

    def page(self, name: str = "film", nonce: str = "nonce", **args: Any) -> str:
        given: dict[str, Any] = {"page_hash": PAGE_HASH, "nonce": id_of(nonce), **args}
        return self.do("server", "issue_page", intent=id_of(name), **given)

    def approval(
        self, name: str = "film", terminal: str = "phone", nonce: str = "nonce", **terms: Any
    ) -> dict[str, Any]:
        """What the terminal signs for an order of `order`, with other terms if given."""
        shown: dict[str, Any] = {
            "order_hash": ORDER_HASH,
            "page_hash": PAGE_HASH,
            "amt": 2_500,
            "cur": "CNY",
            "payee": key_of("cinema"),
            "channel": "a",
            "nonce": id_of(nonce),
            "expiry": self.world.time_ms + 5 * MINUTE_MS,
            **terms,
        }
        signature = browser(terminal, "approve", {**shown, "intent": id_of(name)})
        return {"terminal_pub": key_of(terminal), **shown, "signature": signature}

    def start(
        self, name: str = "film", approval: dict[str, Any] | None = None, channel: str = "a"
    ) -> str:
        args: dict[str, Any] = {} if approval is None else {"approval": approval}
        return self.do(f"channel {channel}", "start_charge", intent=id_of(name), **args)

    def report(
        self,
        status: str = "SUCCEEDED",
        name: str = "film",
        event: str = "e1",
        amt: int = 2_500,
        channel: str = "a",
        sender: str | None = None,
    ) -> str:
        return self.do(
            sender or f"channel {channel}",
            "callback",
            channel=channel,
            event_id=event,
            intent=id_of(name),
            status=status,
            amt=amt,
        )

    def shown(self, name: str = "film", amt: int = 2_500, **order: Any) -> Payments:
        """An order with its page on the terminal."""
        assert self.order(name, amt, **order) == "OK"
        assert self.choose(name) == "OK"
        assert self.page(name) == "OK"
        return self

    def charged(self, name: str = "film", **order: Any) -> Payments:
        """An order that was approved and is being charged."""
        self.shown(name, **order)
        amt = order.get("amt", 2_500)
        assert self.start(name, self.approval(name, amt=amt)) == "OK"
        return self

    def paid(self, name: str = "film", **order: Any) -> Payments:
        """An order that was paid."""
        self.charged(name, **order)
        assert self.report(name=name, event=name, amt=order.get("amt", 2_500)) == "OK"
        return self

    # ---- mandates

    def grant(self, per_cap: int = 5_000, day_cap: int = 20_000, **args: Any) -> str:
        given: dict[str, Any] = {
            "mandate": id_of("mandate"),
            "channel": "a",
            "per_cap": per_cap,
            "day_cap": day_cap,
            "ttl_ms": 30 * 24 * 60 * MINUTE_MS,
        }
        return self.do("vera", "grant_mandate", **{**given, **args})

    def proxy(self, name: str, amt: int, **options: Any) -> str:
        """Order, choose and charge under the mandate, with the pay service's word."""
        if self.world.memory.get("payments/intents", id_of(name)) is None:
            assert self.order(name, amt) == "OK"
            assert self.choose(name) == "OK"
        return self.charge_by_proxy(name, amt, **options)

    def charge_by_proxy(
        self, name: str, amt: int, service: str = "service", said: dict[str, Any] | None = None
    ) -> str:
        expiry = self.world.time_ms + MINUTE_MS
        terms: dict[str, Any] = {
            "user": USER,
            "intent": id_of(name),
            "amt": amt,
            "cur": "CNY",
            "payee": key_of("cinema"),
            "channel": "a",
            "expiry": expiry,
            **(said or {}),
        }
        return self.do(
            "vera",
            "proxy_charge",
            intent=id_of(name),
            mandate=id_of("mandate"),
            service=key_of(service),
            expiry=expiry,
            assertion=signature_of(key_of(service), "payments", "assert", terms),
        )

    def passed(self, duration_ms: int) -> Payments:
        """Let time pass."""
        self.world.advance(duration_ms)
        return self

    # ---- looking

    def intent(self, name: str = "film", viewer: str = "vera") -> dict[str, Any]:
        found: dict[str, Any] = self.world.ask(viewer, "intent", "payments", intent=id_of(name))
        return found

    def state(self, name: str = "film") -> str:
        return str(self.intent(name)["state"])

    def balances(self) -> dict[str, int]:
        """Posted balances by purpose, summed."""
        from contracts.kernel.ledger import ACCOUNTS

        sums: dict[str, int] = {}
        for (table, _), raw in self.world.memory.records.items():
            if table == ACCOUNTS.name:
                one = ACCOUNTS.decode(raw)
                sums[one.purpose] = sums.get(one.purpose, 0) + one.balance
        return {purpose: amount for purpose, amount in sums.items() if amount}


def browser(terminal: str, statement: str, terms: dict[str, Any]) -> bytes:
    """What stands for a terminal's ES256 signature."""
    return signature_of(key_of(terminal), "payments", f"{statement} in a browser", terms)
