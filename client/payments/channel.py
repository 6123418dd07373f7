"""A payment channel between page, chain and provider.

The page hands it a signed approval (`POST /approvals`); the chain verifies that by starting the
charge, and only then is anything charged, once under one reference. The same goes for charges that
a mandate authorised. What the provider says comes to `POST /notices`, is stored, acknowledged, and
told to the chain as callbacks. Where the provider does not answer, the charge is UNKNOWN until a
reconciler has asked again; it is never assumed failed.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping, Sequence
from typing import Any

import structlog
from aiohttp import web

from client.connector import Connector, Happening, Trigger
from client.errors import (
    ClientError,
    Expired,
    NoQuorum,
    Pending,
    Rejected,
    Unproven,
    Unreachable,
)
from client.interface import Schema, find
from client.journal import Journal
from client.node_api import NodeApi
from client.outcomes import Outcome
from client.payments.charges import Charge, Charges, Notice
from client.payments.providers import Answer, NoAnswer, Provider
from client.payments.terms import CONTRACT, ID_BYTES
from client.payments.web import allow_preflight, application, body_of
from client.webhook import BadSignature, Undelivered, verify
from node.protocol.encoding import Value
from node.protocol.errors import Refused
from node.protocol.json_view import arguments_from_json, bytes_from_json, integer_from_json, to_json
from node.protocol.keys import PrivateKey
from node.protocol.transaction import Call

AUTHORISED = Trigger(CONTRACT, "Authorised")
STARTED = Trigger(CONTRACT, "ChargeStarted")
REFUNDED = Trigger(CONTRACT, "Refunded")
REFERENCE_CHARS = 40
BATCH = 50
# Being brought to the chain at one time.
APPROVALS_MAX = 32
RECONCILE_SECONDS = 10.0
TELL_PAUSE_SECONDS = 1.0
SUBMIT_SECONDS = 20.0
# What the chain calls what the provider says; a charge that is pending is not told of.
CALLBACK = {"succeeded": "SUCCEEDED", "failed": "FAILED"}
FINAL = ("SUCCEEDED", "FAILED")

log = structlog.get_logger("channel")


class Channel:
    """One channel: `name` on chain, the key that reports for it, and its provider."""

    def __init__(
        self,
        network: NodeApi,
        interface: Schema,
        name: str,
        key: PrivateKey,
        charges: Charges,
        provider: Provider,
        secret: bytes,
        *,
        reconcile_seconds: float = RECONCILE_SECONDS,
    ) -> None:
        self._network, self._interface = network, interface
        self._name, self._key = name, key
        self._charges, self._provider, self._secret = charges, provider, secret
        self._reconcile_seconds = reconcile_seconds
        self._noted = asyncio.Event()
        self._room = asyncio.Semaphore(APPROVALS_MAX)

    def app(self, *origins: str) -> web.Application:
        """What is served; pages of these origins may hand in approvals."""
        app = application(*origins)
        app.router.add_post("/approvals", self._take_approval)
        allow_preflight(app, "/approvals")
        app.router.add_post("/notices", self._take_notice)
        return app

    async def run(self, journal: Journal) -> None:
        """Follow the chain, tell it what the provider says, reconcile; until cancelled."""
        triggers = (AUTHORISED, STARTED, REFUNDED)
        connector = Connector(self._network, self._key, journal, triggers, self.handle)
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(connector.run())
            tasks.create_task(self._tell())
            tasks.create_task(self._reconcile())

    # ---- from the page

    async def _take_approval(self, request: web.Request) -> web.Response:
        """Bring an approval to the chain, which alone decides whether it fits (R4.12)."""
        schema = find(self._interface, "actions", CONTRACT, "start_charge").schema
        args = arguments_from_json(schema, await body_of(request))
        if args.get("approval") is None:
            raise Refused("BAD_ARG", "an approval is missing", field="approval")
        await self._check_is_ours(args["intent"])
        async with self._room:
            outcome = (await self._send([Call(CONTRACT, "start_charge", args)])).require()
        return web.json_response({"state": outcome.details.get("state", "PROCESSING")}, status=202)

    async def _check_is_ours(self, intent: Value) -> None:
        """Strangers can post here: nothing is ordered for what this channel may not even read."""
        asked = {"intent": to_json(intent)}
        answer = await self._network.query(CONTRACT, "intent", asked, self._key)
        if answer["result"]["channel"] != self._name:
            raise Refused("LINK_MISMATCH", "another channel was chosen", field="channel")

    # ---- from the provider

    async def _take_notice(self, request: web.Request) -> web.Response:
        """Store what the provider says, and answer; processing comes later (B4.6)."""
        raw = await request.read()
        try:
            verify(self._secret, request.headers, raw, int(time.time()))
        except BadSignature as error:
            raise Refused("UNAUTHORIZED", str(error)) from None
        told = await body_of(request)
        reference, status = str(told.get("reference")), CALLBACK.get(str(told.get("status")))
        if status is not None and self._charges.find(reference) is not None:
            amount = integer_from_json(told.get("amount"), "amount")
            self._note(reference, status, amount)
        return web.Response(status=204)

    # ---- from the chain

    async def handle(self, happening: Happening) -> Sequence[Call]:
        """Start what a mandate authorised, charge what was started, give back what was refunded."""
        data = happening.data
        if data.get("channel") != self._name:
            return ()
        intent = bytes_from_json(data.get("intent"), "intent", ID_BYTES)
        if happening.event == AUTHORISED.event:
            by_mandate = data.get("by") == "MANDATE"
            return (Call(CONTRACT, "start_charge", {"intent": intent}),) if by_mandate else ()
        amount = integer_from_json(data.get("amt"), "amt")
        if happening.event == REFUNDED.event:
            return await self._give_back(happening, intent, amount)
        reference = happening.transaction_id[:REFERENCE_CHARS]
        charge = Charge(reference, intent, amount, str(data.get("cur")))
        self._charges.open(charge)
        try:
            answer = await self._provider.charge(reference, amount, charge.cur)
        except NoAnswer as silence:
            log.warning("no answer", reference=reference, why=str(silence))
            return (self._callback(charge, "UNKNOWN", amount),)
        self._note_answer(charge, answer)
        return ()

    async def _give_back(self, happening: Happening, intent: bytes, amount: int) -> Sequence[Call]:
        charge = self._charges.newest_of(intent)
        if charge is None:
            log.warning("a refund of what was not charged here", intent=intent.hex())
            return ()
        identity = happening.id[:REFERENCE_CHARS]
        try:
            await self._provider.refund(charge.reference, identity, amount)
        except NoAnswer as silence:
            raise Undelivered(str(silence)) from None
        return ()

    # ---- telling the chain

    async def _tell(self) -> None:
        """Each notice becomes a callback, in the order in which they came."""
        while True:
            self._noted.clear()
            for notice in self._charges.untold(BATCH):
                try:
                    await self._tell_one(notice)
                except (Pending, Unreachable, NoQuorum, Unproven, Expired) as failure:
                    log.warning("again", reference=notice.reference, why=str(failure))
                    await asyncio.sleep(TELL_PAUSE_SECONDS)
                    self._noted.set()
                    break
            await self._noted.wait()

    async def _tell_one(self, notice: Notice) -> None:
        charge = self._charges.find(notice.reference)
        if charge is None:
            raise AssertionError("a notice without its charge")
        call = self._callback(charge, notice.status, notice.amt)
        try:
            outcome = await self._send([call])
            code = outcome.code or "OK"
        except Expired:
            raise
        except Rejected as refusal:
            code = refusal.code
        log.info("told", reference=notice.reference, status=notice.status, code=code)
        self._charges.told(notice.number, code)
        settled = code in ("OK", "BAD_STATE", "IDEM_CONFLICT")
        if settled and notice.status in FINAL:
            self._charges.finish(notice.reference)

    def _callback(self, charge: Charge, status: str, amount: int) -> Call:
        """The same report always has the same event id, however often it is made."""
        args: Mapping[str, Value] = {
            "channel": self._name,
            "event_id": f"{charge.reference}.{status}",
            "intent": charge.intent,
            "status": status,
            "amt": amount,
        }
        return Call(CONTRACT, "callback", dict(args))

    async def _send(self, calls: Sequence[Call]) -> Outcome:
        transaction = await self._network.build(self._key, calls)
        outcome = await self._network.submit(transaction, timeout_seconds=SUBMIT_SECONDS)
        if not outcome.final:
            raise Pending("PENDING", f"{transaction.id.hex()} is not final yet")
        return outcome

    # ---- repairing

    async def _reconcile(self) -> None:
        """Ask the provider's books about all that is open; charge what never arrived (B4.5)."""
        while True:
            await asyncio.sleep(self._reconcile_seconds)
            waiting = {notice.reference for notice in self._charges.untold(BATCH)}
            for charge in self._charges.unfinished(BATCH):
                if charge.reference in waiting:
                    continue
                try:
                    answer = await self._provider.look(charge.reference)
                    if answer.status == "none":
                        answer = await self._charge_again(charge)
                    self._note_answer(charge, answer)
                except (NoAnswer, ClientError, Refused) as failure:
                    log.warning("still unknown", reference=charge.reference, why=str(failure))

    async def _charge_again(self, charge: Charge) -> Answer:
        """The provider never heard of it: charge now, if the chain still waits for it."""
        args = {"intent": charge.intent.hex()}
        answer: dict[str, Any] = await self._network.query(CONTRACT, "intent", args, self._key)
        if answer["result"]["state"] not in ("PROCESSING", "UNKNOWN"):
            self._charges.finish(charge.reference)
            return Answer("pending", charge.amt)
        return await self._provider.charge(charge.reference, charge.amt, charge.cur)

    def _note_answer(self, charge: Charge, answer: Answer) -> None:
        status = CALLBACK.get(answer.status)
        if status is not None:
            self._note(charge.reference, status, answer.amt)

    def _note(self, reference: str, status: str, amount: int) -> None:
        self._charges.note(reference, status, amount)
        self._noted.set()
