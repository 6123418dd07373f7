"""A payment provider to try things out with: a real HTTP server with books of its own.

It charges nobody. It speaks two dialects, which the two adapters of `providers` understand, tells
results by signed webhooks, and misbehaves on request: it repeats itself, is late, tells things in
the wrong order, never answers, declines, or names another amount. Its books always tell the truth.
"""

from __future__ import annotations

import asyncio
import hmac
import sqlite3
import time
from dataclasses import dataclass, fields
from pathlib import Path
from urllib.parse import parse_qsl

from aiohttp import web

from client.outcomes import Json
from client.payments.web import application, body_of
from client.webhook import Undelivered, Webhook, format_secret
from node.protocol.errors import Refused
from node.protocol.json_view import integer_from_json

ANSWER_NEVER_SECONDS = 600.0
REPEATS_MAX = 10
DELAY_MS_MAX = 60_000
AMOUNT_MAX = 1 << 62
REFERENCE_CHARS_MAX = 64
TELL_ATTEMPTS = 5
TELL_PAUSE_SECONDS = 0.5
SUCCEEDED, FAILED, PENDING, NONE = "succeeded", "failed", "pending", "none"
# How the second dialect says it.
TRADE = {SUCCEEDED: "TRADE_SUCCESS", FAILED: "TRADE_CLOSED", PENDING: "WAIT_PAY", NONE: "NO_TRADE"}
_SCHEMA = """
CREATE TABLE IF NOT EXISTS charges (
    reference TEXT PRIMARY KEY, amt INTEGER NOT NULL, cur TEXT NOT NULL, status TEXT NOT NULL,
    refunded INTEGER NOT NULL DEFAULT 0
);
CREATE TABLE IF NOT EXISTS refunds (id TEXT PRIMARY KEY, reference TEXT NOT NULL, amt INTEGER);
"""


@dataclass
class Mischief:
    """What it does wrong from now on; all off to begin with. `repeat` counts extra notices."""

    repeat: int = 0
    delay_ms: int = 0
    reorder: bool = False
    time_out: bool = False
    silent: bool = False
    decline: bool = False
    lie_amt: int = 0


class Sandbox:
    """The provider; `notify` is where it tells results."""

    def __init__(self, books: Path | str, secret: bytes, notify: str) -> None:
        self.mischief = Mischief()
        self._token = format_secret(secret)
        self._webhook = Webhook(notify, secret)
        self._database = sqlite3.connect(books, isolation_level=None)
        self._database.executescript(_SCHEMA)
        self._telling: set[asyncio.Task[None]] = set()

    def app(self) -> web.Application:
        """What is served."""
        app = application()
        app.router.add_post("/v1/charges", self._charge)
        app.router.add_get("/v1/charges/{reference}", self._look)
        app.router.add_post("/v1/refunds", self._refund)
        app.router.add_post("/gateway.do", self._gateway)
        app.router.add_post("/control", self._control)
        app.on_cleanup.append(self._close)
        return app

    def charged(self) -> list[tuple[str, int, str]]:
        """Its books: reference, amount, status."""
        rows = self._database.execute("SELECT reference, amt, status FROM charges ORDER BY rowid")
        return [(str(one[0]), int(one[1]), str(one[2])) for one in rows]

    # ---- the first dialect: JSON, minor units

    async def _charge(self, request: web.Request) -> web.Response:
        self._check(request)
        given = await body_of(request)
        reference, cur = str(given.get("reference", "")), str(given.get("currency", ""))
        answer = await self._book(reference, integer_from_json(given.get("amount"), "amount"), cur)
        return web.json_response(answer, status=202)

    async def _look(self, request: web.Request) -> web.Response:
        self._check(request)
        return web.json_response(self._entry(request.match_info["reference"]))

    async def _refund(self, request: web.Request) -> web.Response:
        self._check(request)
        given = await body_of(request)
        amount = integer_from_json(given.get("amount"), "amount")
        return web.json_response(
            self._give_back(str(given.get("id")), str(given.get("reference")), amount)
        )

    # ---- the second dialect: a form, in yuan

    async def _gateway(self, request: web.Request) -> web.Response:
        self._check(request)
        given = dict(parse_qsl((await request.read()).decode("utf-8", "replace")))
        reference, method = given.get("out_trade_no", ""), given.get("method", "")
        if method == "trade.pay":
            amount = fen_of(given.get("total_amount", ""))
            answer = await self._book(reference, amount, "CNY")
        elif method == "trade.query":
            answer = self._entry(reference)
        elif method == "trade.refund":
            amount = fen_of(given.get("refund_amount", ""))
            answer = self._give_back(given.get("out_request_no", ""), reference, amount)
        else:
            raise Refused("BAD_ARG", "no such method", field="method")
        told = {"trade_status": TRADE[answer["status"]], "total_amount": yuan_of(answer["amount"])}
        return web.json_response(told)

    # ---- its books

    async def _book(self, reference: str, amount: int, cur: str) -> Json:
        """Charge once under a reference, tell later; the same again is the same charge."""
        if not 0 < len(reference) <= REFERENCE_CHARS_MAX or not 0 < amount < AMOUNT_MAX:
            raise Refused("BAD_ARG", "a charge has a reference and a positive amount")
        status = FAILED if self.mischief.decline else SUCCEEDED
        added = self._database.execute(
            "INSERT INTO charges (reference, amt, cur, status) VALUES (?, ?, ?, ?) "
            "ON CONFLICT DO NOTHING",
            (reference, amount, cur, status),
        )
        known = self._entry(reference)
        if (known["amount"], known["currency"]) != (amount, cur):
            raise Refused("IDEM_CONFLICT", "this reference stands for another charge")
        if added.rowcount == 1 and not self.mischief.silent:
            task = asyncio.create_task(self._tell(reference, amount, known["status"]))
            self._telling.add(task)
            task.add_done_callback(self._telling.discard)
        if self.mischief.time_out:
            await asyncio.sleep(ANSWER_NEVER_SECONDS)
        return {**known, "status": PENDING}

    def _entry(self, reference: str) -> Json:
        row = self._database.execute(
            "SELECT amt, cur, status, refunded FROM charges WHERE reference = ?", (reference,)
        ).fetchone()
        if row is None:
            return {"reference": reference, "amount": 0, "currency": "", "status": NONE}
        return {
            "reference": reference,
            "amount": int(row[0]),
            "currency": str(row[1]),
            "status": str(row[2]),
            "refunded": int(row[3]),
        }

    def _give_back(self, identity: str, reference: str, amount: int) -> Json:
        entry = self._entry(reference)
        self._database.execute("BEGIN IMMEDIATE")
        try:
            added = self._database.execute(
                "INSERT INTO refunds (id, reference, amt) VALUES (?, ?, ?) ON CONFLICT DO NOTHING",
                (identity, reference, amount),
            )
            if added.rowcount == 1:
                if amount <= 0 or entry["refunded"] + amount > entry["amount"]:
                    raise Refused("INSUFFICIENT", "more than was charged")
                self._database.execute(
                    "UPDATE charges SET refunded = refunded + ? WHERE reference = ?",
                    (amount, reference),
                )
        except Refused:
            self._database.execute("ROLLBACK")
            raise
        self._database.execute("COMMIT")
        return self._entry(reference)

    # ---- telling

    async def _tell(self, reference: str, amount: int, status: str) -> None:
        how = Mischief(**vars(self.mischief))
        await asyncio.sleep(how.delay_ms / 1000)
        order = [status, PENDING] if how.reorder else [PENDING, status]
        for one in order:
            for number in range(1 + how.repeat):
                told = {
                    "reference": reference,
                    "status": one,
                    "amount": how.lie_amt or amount,
                }
                await self._deliver(f"{reference}.{one}", told)
                if number < how.repeat:
                    await asyncio.sleep(0)

    async def _deliver(self, identity: str, told: Json) -> None:
        for attempt in range(TELL_ATTEMPTS):
            try:
                await self._webhook.deliver(identity, int(time.time()), told)
                return
            except Undelivered:
                await asyncio.sleep(TELL_PAUSE_SECONDS * (1 + attempt))

    # ---- control

    async def _control(self, request: web.Request) -> web.Response:
        self._check(request)
        given = await body_of(request)
        known = {one.name: type(one.default) for one in fields(Mischief)}
        for name, value in given.items():
            if known.get(name) is not type(value):
                raise Refused("BAD_ARG", f"{name} is none of {', '.join(known)}", field=name)
        changed = Mischief(**{**vars(self.mischief), **given})
        if not 0 <= changed.repeat <= REPEATS_MAX or not 0 <= changed.delay_ms <= DELAY_MS_MAX:
            raise Refused("BAD_ARG", "too many repeats or too long a delay")
        self.mischief = changed
        return web.json_response(vars(changed))

    def _check(self, request: web.Request) -> None:
        given = request.headers.get("Authorization", "")
        if not hmac.compare_digest(given.encode(), f"Bearer {self._token}".encode()):
            raise Refused("UNAUTHORIZED", "the secret does not match")

    async def _close(self, _: web.Application) -> None:
        for task in tuple(self._telling):
            task.cancel()
        await asyncio.gather(*self._telling, return_exceptions=True)
        await self._webhook.close()
        self._database.close()


def fen_of(text: str) -> int:
    """Fen of an amount in yuan with two decimals; raises `Refused` `BAD_ARG`."""
    yuan, dot, fen = text.partition(".")
    if not dot or len(fen) != 2 or not (yuan + fen).isascii() or not (yuan + fen).isdecimal():
        raise Refused("BAD_ARG", "an amount is yuan with two decimals")
    return integer_from_json(str(int(yuan + fen)), "amount")


def yuan_of(fen: int) -> str:
    """The text that `fen_of` reads."""
    return f"{fen // 100}.{fen % 100:02}"
