"""The story of a film for ¥25.00, paid on a headset without taking it off.

First with a phone that shows the order and approves it, then with a password and no phone at all.
Each play has a viewer of its own, so that it may be played again on the same network. The channel's
and the phone's parts are done here as their programs do them.
"""

from __future__ import annotations

import json
import secrets
import time
from collections.abc import Mapping
from pathlib import Path
from tempfile import TemporaryDirectory

from client.demo.stage import Fields, Stage, StoryFailed, cast, need_time, new_id
from client.outcomes import Json
from client.payments import terms
from client.payments.terminal import Terminal
from client.payments.vault import Vault, pepper_of
from node.protocol.encoding import Value
from node.protocol.json_view import to_json
from node.protocol.keys import PrivateKey
from node.protocol.sealing import seal_bytes
from node.protocol.ticket import sign_ticket

CONTRACT = terms.CONTRACT
CAST = {
    "operator": "operator",
    "verifier": "verifier",
    "channel-a": "channel",
    "channel-b": "channel",
    "pages": "page_server",
    "passwords": "pay_service",
    "cinema": "payee",
}
ENDPOINTS = {"channel-a": "http://127.0.0.1:28211", "channel-b": "http://127.0.0.1:28212"}
FILM, SNACK, DEAR = 2_500, 600, 6_000
PASSWORD, WRONG = "271828", ("000000", "111111", "123456", "654321", "888888")
SIGNED_FOR_MS = 5 * 60_000
SCALE_MAX = 20
MANDATE_MS = 30 * 86_400_000


async def play(stage: Stage) -> None:
    """All of it; raises `StoryFailed` at the first wrong figure."""
    cast(stage.folder, CAST)
    need_time(stage.folder, SCALE_MAX)
    with TemporaryDirectory() as scratch:
        folder = Path(scratch)
        with Vault(folder / "passwords.sqlite", pepper_of(folder / "pepper")) as vault:
            story = _Story(stage, vault)
            await story.set_the_stage()
            await story.file_the_viewer()
            await story.trust_the_phone()
            await story.order_the_film()
            await story.approve_on_the_phone()
            await story.tell_it_three_times()
            await story.pay_with_a_password()
            await story.a_channel_that_times_out()
            await story.guess_the_password()
            await story.count_the_money()


class _Story:
    def __init__(self, stage: Stage, vault: Vault) -> None:
        self._stage = stage
        self._vault = vault
        self._phone = Terminal()
        self._viewer = f"viewer-{secrets.token_hex(4)}"
        self._user, self._mandate = new_id(), new_id()
        self._orders: dict[str, terms.Order] = {}
        self._received = 0

    # ---- the scenes

    async def set_the_stage(self) -> None:
        """Two channels, as far as they are not there from an earlier play."""
        self._stage.say("Two ways to pay. The operator registers them, each with its own key.")
        there = await self._stage.look(CONTRACT, "channels", None, {})
        known = {one["channel"]: one for one in there["items"]}
        for name, endpoint in ENDPOINTS.items():
            if name not in known:
                fields = {"owner": f"@{name}", "endpoint": endpoint, "asset": "CNY"}
                await self._call("register_channel", "operator", {"channel": name, **fields})
        for name in ENDPOINTS:
            await self._call("set_channel", "operator", {"channel": name, "enabled": "true"})

    async def file_the_viewer(self) -> None:
        """A new person, unknown at first; then filed, verified, and with both channels."""
        self._stage.say(
            f"{self._viewer} has a headset, and its key. Whoever is not filed pays nothing."
        )
        wallet = self._stage.folder.wallet
        self._stage.command("key", "new", self._viewer)
        wallet.store(self._viewer, PrivateKey.generate())
        enrolment = {"public-key": f"@{self._viewer}", "roles": '["holder"]'}
        await self._stage.call("kernel", "enrol", "operator", enrolment)
        first = {"intent": new_id(), "order": "film", "amt": str(FILM), "cur": "CNY"}
        first |= {"payee": "@cinema", "order-hash": "00" * 32}
        await self._refused("NOT_FILED", "create_intent", self._viewer, first)
        self._stage.say("She files: her phone as a salted commitment, the record sealed.")
        salt, phone = secrets.token_bytes(16), b"+86 138 0013 8000"
        verifier = bytes.fromhex(self._stage.folder.public_key("verifier"))
        sealed = seal_bytes(verifier, PrivateKey.generate(), salt + phone, b"payments filing")
        filing = {
            "user": self._user,
            "phone-commit": terms.order_hash({"salt": salt, "phone": phone}).hex(),
            "sealed-info": sealed.hex(),
        }
        await self._call("file_user", self._viewer, filing)
        self._stage.say("The verifier sent a code to that phone, and she typed it in.")
        await self._call("verify", "verifier", {"user": self._user, "ok": "true"})
        for name in ENDPOINTS:
            await self._call("link_channel", self._viewer, {"channel": name})

    async def trust_the_phone(self) -> None:
        """The phone's browser has a key of its own and consents; the headset's key is refused."""
        self._stage.say("Her phone shall approve. It signs a challenge with a key of its own.")
        challenge, until = new_id(), self._soon()
        signed = terms.binding(
            bytes.fromhex(self._user),
            self._phone.public_key,
            "phone",
            bytes.fromhex(challenge),
            until,
        )
        fields = {
            "terminal-pub": self._phone.public_key.hex(),
            "kind": "phone",
            "challenge": challenge,
            "ticket-until": str(until),
            "ticket": self._phone.sign(self._stage.network.chain, terms.BIND, signed).hex(),
        }
        own = {**fields, "terminal-pub": f"@{self._viewer}"}
        await self._refused("BAD_ARG", "bind_terminal", self._viewer, own)
        await self._call("bind_terminal", self._viewer, fields)

    async def order_the_film(self) -> None:
        """Channel B is disabled, so A is chosen; the server issues the page to the phone."""
        self._stage.say("A film for ¥25.00, ordered on the headset.")
        await self._create("film", FILM)
        self._stage.say("The operator has disabled channel B.")
        off = {"channel": "channel-b", "enabled": "false"}
        await self._call("set_channel", "operator", off)
        choice = {"intent": self._id("film"), "channel": "channel-b"}
        await self._refused("CHANNEL_DISABLED", "choose_channel", self._viewer, choice)
        await self._choose("film")
        self._received = await self._receivable()

    async def approve_on_the_phone(self) -> None:
        """What is approved is what was shown: another amount voids it."""
        self._stage.say("The phone shows film, payee and ¥25.00. Somebody tampers: 25,000 fen.")
        page = await self._issue_page("film")
        bad = self._approval("film", page, amt=25_000)
        await self._refused("LINK_MISMATCH", "start_charge", "channel-a", bad)
        self._stage.say("She approves what she sees; the page hands that to the channel.")
        started = await self._call("start_charge", "channel-a", self._approval("film", page))
        self._stage.expect("the channel charges", started["state"], "PROCESSING")

    async def tell_it_three_times(self) -> None:
        """One event id has one effect."""
        self._stage.say("The channel reports success, and to be sure reports it thrice.")
        for _ in range(3):
            await self._report("film", "SUCCEEDED", "film")
        film = await self._ask("film")
        self._stage.expect("the film is", film["state"], "SUCCEEDED")
        self._stage.expect("charged, in fen", film["captured"], FILM)
        earned = await self._receivable() - self._received
        self._stage.expect("one charge: the cinema has", earned, FILM)
        await self._call("ack", self._viewer, {"intent": self._id("film")})

    async def pay_with_a_password(self) -> None:
        """A mandate for channel A: ¥50 a charge, ¥200 a day."""
        self._stage.say("No phone at hand? A mandate for channel A: ¥50 a charge, ¥200 a day.")
        fields = {"mandate": self._mandate, "channel": "channel-a"}
        fields |= {"per-cap": "5000", "day-cap": "20000", "ttl-ms": str(MANDATE_MS)}
        await self._call("grant_mandate", self._viewer, fields)
        self._vault.set(bytes.fromhex(self._user), PASSWORD)
        self._stage.say("A snack for ¥6.00. She types six digits; the pay service says: right.")
        await self._create("snack", SNACK)
        await self._choose("snack")
        await self._call("proxy_charge", self._viewer, self._vouched("snack"))
        await self._call("start_charge", "channel-a", {"intent": self._id("snack")})
        await self._report("snack", "SUCCEEDED", "snack")
        self._stage.expect("the snack is", (await self._ask("snack"))["state"], "SUCCEEDED")
        mandate = await self._stage.ask(
            CONTRACT, "mandate", self._viewer, {"mandate": self._mandate}
        )
        self._stage.expect("left of today's ¥200", mandate["left_today"], 20_000 - SNACK)
        self._stage.say("Something for ¥60.00 is above the cap.")
        await self._create("dear", DEAR)
        await self._choose("dear")
        await self._refused("CAP_EXCEEDED", "proxy_charge", self._viewer, self._vouched("dear"))

    async def a_channel_that_times_out(self) -> None:
        """UNKNOWN is neither success nor failure; asked again, the channel knows."""
        self._stage.say("Another film, approved on the phone; this time the channel times out.")
        await self._create("sequel", FILM)
        await self._choose("sequel")
        page = await self._issue_page("sequel")
        await self._call("start_charge", "channel-a", self._approval("sequel", page))
        await self._report("sequel", "UNKNOWN", "sequel-1")
        self._stage.expect("the sequel is", (await self._ask("sequel"))["state"], "UNKNOWN")
        self._stage.say("The reconciler asks the channel again: the money did come.")
        await self._report("sequel", "SUCCEEDED", "sequel-2")
        self._stage.expect("the sequel is", (await self._ask("sequel"))["state"], "SUCCEEDED")

    async def guess_the_password(self) -> None:
        """Five wrong ones lock; the sixth is right and comes too late."""
        self._stage.say("Somebody guesses her password, five times.")
        await self._create("stolen", SNACK)
        await self._choose("stolen")
        user = bytes.fromhex(self._user)
        for guess in WRONG:
            if self._vault.is_right(user, guess):
                raise StoryFailed("DEMO_FAILED", "a wrong password was taken for the right one")
            told = await self._call(
                "auth_failed", "passwords", {"user": self._user, "attempt": new_id()}
            )
        self._stage.expect("wrong passwords in a row", told["failures"], len(WRONG))
        self._stage.expect("the password is locked", told["locked"], True)
        self._stage.say("The sixth is right. It does not help.")
        await self._refused("AUTH_LOCKED", "proxy_charge", self._viewer, self._vouched("stolen"))
        self._stage.say("She shows the verifier her phone again, and the lock is lifted.")
        await self._call("verify", "verifier", {"user": self._user, "ok": "true"})

    async def count_the_money(self) -> None:
        """What must hold at the end."""
        self._stage.say("In the end:")
        earned = await self._receivable() - self._received
        text = f"¥{earned // 100}.{earned % 100:02}"
        self._stage.expect("the cinema received 25.00 + 6.00 + 25.00", text, "¥56.00")
        me = await self._stage.ask(CONTRACT, "me", self._viewer, {})
        self._stage.expect("failures left on the count", me["failures"], 0)
        await self._call("set_channel", "operator", {"channel": "channel-b", "enabled": "true"})

    # ---- the props

    async def _create(self, name: str, amount: int) -> None:
        content: Mapping[str, Value] = {"title": name, "amt": amount, "cur": "CNY"}
        payee = bytes.fromhex(self._stage.folder.public_key("cinema"))
        order = terms.Order(
            bytes.fromhex(new_id()), terms.order_hash(content), payee, amount, "CNY", "channel-a"
        )
        self._orders[name] = order
        fields = {
            "intent": order.intent.hex(),
            "order": name,
            "order-hash": order.order_hash.hex(),
            "payee": "@cinema",
            "amt": str(amount),
            "cur": "CNY",
        }
        await self._call("create_intent", self._viewer, fields)

    async def _choose(self, name: str) -> None:
        fields = {"intent": self._id(name), "channel": "channel-a"}
        await self._call("choose_channel", self._viewer, fields)

    async def _issue_page(self, name: str) -> tuple[bytes, bytes]:
        """Hash and nonce of the page that the phone shows."""
        order = self._orders[name]
        shown: Mapping[str, Value] = {"title": name, **order._asdict()}
        page_hash, nonce = terms.order_hash(shown), secrets.token_bytes(terms.ID_BYTES)
        fields = {"intent": self._id(name), "page-hash": page_hash.hex(), "nonce": nonce.hex()}
        await self._call("issue_page", "pages", fields)
        return page_hash, nonce

    def _approval(self, name: str, page: tuple[bytes, bytes], amt: int | None = None) -> Fields:
        """What the phone signs of the order, as the channel passes it on."""
        order = self._orders[name]
        if amt is not None:
            order = order._replace(amt=amt)
        signed = terms.approval(order, *page, self._soon())
        approval = {
            **{field: value for field, value in signed.items() if field != "intent"},
            "terminal_pub": self._phone.public_key,
            "signature": self._phone.sign(self._stage.network.chain, terms.APPROVE, signed),
        }
        return {"intent": order.intent.hex(), "approval": json.dumps(to_json(approval))}

    def _vouched(self, name: str) -> Fields:
        """The pay service checks the right password and vouches for one charge."""
        user, order, expiry = bytes.fromhex(self._user), self._orders[name], self._soon()
        if not self._vault.is_right(user, PASSWORD):
            raise StoryFailed("DEMO_FAILED", "the right password was taken for a wrong one")
        signed = terms.assertion(user, order, expiry)
        service = self._stage.key("passwords")
        signature = sign_ticket(self._stage.network.chain, service, CONTRACT, terms.ASSERT, signed)
        return {
            "intent": order.intent.hex(),
            "mandate": self._mandate,
            "service": "@passwords",
            "expiry": str(expiry),
            "assertion": signature.hex(),
        }

    async def _report(self, name: str, status: str, event: str) -> None:
        fields = {
            "channel": "channel-a",
            "event-id": f"{self._id(name)[:16]}-{event}",
            "intent": self._id(name),
            "status": status,
            "amt": str(self._orders[name].amt),
        }
        await self._call("callback", "channel-a", fields)

    async def _receivable(self) -> int:
        """What the cinema has received so far, over all its payments."""
        account = {"owner": "@cinema", "asset": "CNY", "purpose": "payments.receivable"}
        return int((await self._stage.look("kernel", "balance", "cinema", account))["balance"])

    def _id(self, name: str) -> str:
        return self._orders[name].intent.hex()

    def _soon(self) -> int:
        return time.time_ns() // 1_000_000 + SIGNED_FOR_MS

    async def _ask(self, name: str) -> Json:
        return await self._stage.ask(CONTRACT, "intent", self._viewer, {"intent": self._id(name)})

    async def _refused(self, code: str, action: str, key: str, fields: Fields) -> None:
        await self._stage.refused(code, CONTRACT, action, key, fields)

    async def _call(self, action: str, key: str, fields: Fields) -> Json:
        return await self._stage.call(CONTRACT, action, key, fields)
