"""Connectors: programs that join the outside world to the chain, exactly once in effect.

A connector has a key and a journal. It follows final events from where it left off, lets a handler
act on those it is meant for, and reports back by a signed transaction. An event is believed only
if it stands in a proved receipt, or if more nodes tell of it than may lie. Delivery is at least
once: after a crash a handler may see an event again, under the same id, and must recognise it; the
report is journaled before it is sent, and the same bytes are sent again. Events are handled one
after the other, in the order of the chain.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Collection, Sequence
from contextlib import aclosing
from typing import NamedTuple

import structlog

from client.connection import Request
from client.errors import (
    ClientError,
    EpochEnded,
    Expired,
    NoQuorum,
    Pending,
    Rejected,
    Unproven,
    Unreachable,
)
from client.events import StreamEvent
from client.interface import Schema, find
from client.journal import Journal
from client.node_api import NodeApi
from client.outcomes import Json
from client.settling import WRONG_EPOCH
from client.webhook import Undelivered, Webhook
from node.protocol.encoding import encode, sha256
from node.protocol.errors import Refused
from node.protocol.json_view import arguments_from_json, bytes_from_json, to_json
from node.protocol.keys import PrivateKey
from node.protocol.transaction import CALLS_MAX, Call

PAUSE_SECONDS_MIN = 0.5
PAUSE_SECONDS_MAX = 60.0
SUBMIT_SECONDS = 30.0
HASH_BYTES = 32
INDEX_MAX = 999_999_999

log = structlog.get_logger("connector")


class Trigger(NamedTuple):
    """A kind of event."""

    contract: str
    event: str


class Happening(NamedTuple):
    """A final event that was proved. `id` says which, whatever node told of it and how often.

    It is made of the transaction and what happened: two events of one transaction that agree in
    all are one.
    """

    id: str
    transaction_id: str
    height: int
    contract: str
    event: str
    data: Json


Handler = Callable[[Happening], Awaitable[Sequence[Call]]]
"""Acts on an event and returns the calls that report it; raises `Undelivered` to be asked again."""


class Connector:
    """Runs one handler. `run` never ends by itself; cancel it."""

    def __init__(
        self,
        network: NodeApi,
        key: PrivateKey,
        journal: Journal,
        triggers: Collection[Trigger],
        handler: Handler,
        *,
        sealed: bool = True,
        pause_seconds: float = PAUSE_SECONDS_MIN,
    ) -> None:
        self._network = network
        self._key = key
        self._journal = journal
        self._triggers = frozenset(triggers)
        self._handler = handler
        self._sealed = sealed
        self._pause_seconds = pause_seconds

    async def run(self) -> None:
        """Handle events from the journal's height on, which moves with proved events only.

        A node that invents events can thus not make the connector pass over others.
        """
        pause = self._pause_seconds
        while True:
            before = self._journal.height
            try:
                await self._follow(_before_block(before))
            except (Rejected, Unproven, Refused) as failure:
                log.warning("another node", why=str(failure))
            moved = self._journal.height != before
            pause = self._pause_seconds if moved else min(2 * pause, PAUSE_SECONDS_MAX)
            await asyncio.sleep(pause)

    async def _follow(self, after: str) -> None:
        """Handle what one stream brings; raises `Unproven` for what a node may have invented."""
        contracts = {trigger.contract for trigger in self._triggers}
        events = self._network.events(
            kinds=("event",),
            after=after,
            contract=contracts.pop() if len(contracts) == 1 else None,
            viewer=self._key,
        )
        async with aclosing(events):
            async for event in events:
                kind = Trigger(str(event.data.get("contract")), str(event.data.get("name")))
                if kind not in self._triggers:
                    continue
                try:
                    await self._until_done(event)
                except (Rejected, Unproven, Refused):
                    self._network.connection.distrust(event.url)
                    raise

    async def _until_done(self, event: StreamEvent) -> None:
        """Handle one event however often it takes."""
        pause = self._pause_seconds
        while True:
            try:
                happening = await self._proved(event)
                await self._handle(happening)
                return
            except (Undelivered, Pending, Unreachable, NoQuorum) as failure:
                log.warning("again", place=event.id, why=str(failure), pause_s=pause)
            await asyncio.sleep(pause)
            pause = min(2 * pause, PAUSE_SECONDS_MAX)

    async def _handle(self, happening: Happening) -> None:
        entry = self._journal.entry(happening.id)
        if entry is not None and entry.outcome:
            return
        raw = entry.raw if entry is not None else b""
        if not raw:
            calls = tuple(await self._handler(happening))
            raw = await self._signed(calls) if calls else b""
            self._journal.record(happening.id, raw)
        try:
            code = await self._see_through(raw) if raw else "OK"
        except Expired:
            self._journal.record(happening.id, b"")  # it never took effect: sign it anew
            raise Pending("EXPIRED", "the report came too late; it is made again") from None
        self._journal.finish(happening.id, happening.height, code)
        log.info("handled", id=happening.id, name=happening.event, code=code)

    async def _signed(self, calls: tuple[Call, ...]) -> bytes:
        return (await self._network.build(self._key, calls, sealed=self._sealed)).raw

    async def _see_through(self, raw: bytes) -> str:
        """The proved code of the report once it is final; a rejection is an answer too."""
        transaction = self._network.decode(raw)
        try:
            outcome = await self._network.submit(transaction, timeout_seconds=SUBMIT_SECONDS)
        except Expired:
            raise
        except Rejected as refusal:
            return refusal.code
        if not outcome.final:
            raise Pending("PENDING", f"{transaction.id.hex()} is not final yet")
        if outcome.code == WRONG_EPOCH:
            self._network.sealing.forget()
            identity = transaction.id.hex()
            raise EpochEnded(WRONG_EPOCH, f"{identity} is sealed to an epoch that has ended")
        return outcome.code or "OK"

    # ---- believing

    async def _proved(self, event: StreamEvent) -> Happening:
        """The event, if it is final beyond doubt; raises `Unproven` while it is not."""
        claimed = event.data
        transaction_id = str(claimed.get("id"))
        identity = bytes_from_json(transaction_id, "id", HASH_BYTES)
        same = {name: claimed.get(name) for name in ("contract", "name", "data")}
        proven = await self._network.verified.receipt(identity, self._key)
        if proven.receipt is not None:
            told = [_fields(one.contract, one.name, one.data) for one in proven.receipt.events]
            if proven.code != "OK" or same not in told:
                raise Unproven("NO_SUCH_EVENT", f"{transaction_id} did not bring it about")
        else:
            await self._ask_witnesses(transaction_id, same, proven.header.height)
        return Happening(
            f"{transaction_id}.{sha256(encode(same)).hex()[:16]}",
            transaction_id,
            proven.header.height,
            str(claimed["contract"]),
            str(claimed["name"]),
            dict(claimed.get("data") or {}),
        )

    async def _ask_witnesses(self, transaction_id: str, same: Json, height: int) -> None:
        """Where the whole receipt is not for this key: more nodes than may lie must tell of it."""
        needed = self._network.light.validators_at(height).faulty_max + 1
        witnesses = 0
        for url in self._network.connection.urls:
            request = Request("GET", f"/v1/transactions/{transaction_id}")
            try:
                answer = await self._network.ask(request, self._key, url)
            except ClientError:
                continue
            receipt = answer.body.get("receipt")
            told = receipt.get("events") if isinstance(receipt, dict) else None
            if isinstance(told, list) and any(
                isinstance(one, dict) and {name: one.get(name) for name in same} == same
                for one in told
            ):
                witnesses += 1
            if witnesses >= needed:
                return
        raise Unproven("NO_WITNESSES", f"{witnesses} nodes tell of it and {needed} must")


def webhook_handler(webhook: Webhook, interface: Schema, now_s: Callable[[], int]) -> Handler:
    """A handler that hands the event to a webhook and reports the calls of its answer.

    The answer is empty, or {"calls": [{"contract": …, "action": …, "args": {…}}, …]} in the JSON
    form that `interface.json` describes. Another answer counts as not delivered.
    """

    async def handle(happening: Happening) -> Sequence[Call]:
        message = {
            "type": f"{happening.contract}.{happening.event}",
            "id": happening.id,
            "transaction": happening.transaction_id,
            "height": str(happening.height),
            "data": happening.data,
        }
        answer = await webhook.deliver(f"evt_{happening.id}", now_s(), message)
        try:
            return [_call(interface, item) for item in _items(answer)]
        except Refused as refusal:
            raise Undelivered(f"{webhook.url} wants to report what is none: {refusal}") from None

    return handle


def _items(answer: Json) -> list[Json]:
    calls = answer.get("calls", [])
    if not isinstance(calls, list) or len(calls) > CALLS_MAX:
        raise Refused("BAD_ARG", f"calls is a list of at most {CALLS_MAX}")
    return calls


def _call(interface: Schema, item: object) -> Call:
    fields = item if isinstance(item, dict) else {}
    contract, action, args = (fields.get(name) for name in ("contract", "action", "args"))
    if not isinstance(contract, str) or not isinstance(action, str) or not isinstance(args, dict):
        raise Refused("BAD_ARG", "a call has contract, action and args")
    operation = find(interface, "actions", contract, action)
    return Call(contract, action, arguments_from_json(operation.schema, args))


def _before_block(height: int) -> str:
    """The cursor behind which the events of this block come next."""
    return f"{height - 1}.{INDEX_MAX}" if height else "0.0"


def _fields(contract: str, name: str, data: Json) -> Json:
    return {"contract": contract, "name": name, "data": to_json(data)}
