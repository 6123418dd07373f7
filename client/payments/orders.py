"""The orders that a page server knows: each proved, each with its page issued, each pushed.

It follows the chain's events; an event is only a reason to look: what is shown was read by proof
against the genesis file. Who is connected, and how, is not decided here.
"""

from __future__ import annotations

import asyncio
import secrets
from collections import OrderedDict
from collections.abc import Callable
from contextlib import aclosing
from typing import Any, NamedTuple

import structlog

from client.errors import ClientError, Rejected
from client.interface import Schema, read_record
from client.node_api import NodeApi
from client.outcomes import Json
from client.payments.terms import CONTRACT, ID_BYTES
from node.protocol.errors import Refused
from node.protocol.json_view import bytes_from_json
from node.protocol.keys import PrivateKey
from node.protocol.transaction import Call

REPLAYED_BLOCKS = 5_000
ORDERS_MAX = 10_000
EVENT_INDEX_MAX = 999_999_999
SUBMIT_SECONDS = 20.0
PAUSE_SECONDS = 1.0
# Until one of these a payment may still change by itself.
OVER = ("SUCCEEDED", "CANCELED")

log = structlog.get_logger("pages")
Changed = Callable[[str, str], None]
"""Told of the user and the payment of an order that is new or another than before."""


class Shown(NamedTuple):
    """An order as the page shows it: the fields that its terminal signs, and its state."""

    user: str
    fields: Json


class Orders:
    """Follows the chain; `page_hash` is of the page that this server serves."""

    def __init__(
        self,
        network: NodeApi,
        interface: Schema,
        key: PrivateKey,
        page_hash: bytes,
        changed: Changed,
    ) -> None:
        self._network, self._interface, self._key = network, interface, key
        self._page_hash, self._changed = page_hash, changed
        self._orders: OrderedDict[str, Shown] = OrderedDict()
        self._endpoints: dict[str, str] = {}

    def of(self, user: str) -> Json | None:
        """The user's newest order that waits, else the newest there is."""
        mine = [one.fields for one in reversed(self._orders.values()) if one.user == user]
        waiting = [one for one in mine if one["state"] == "REQUIRES_ACTION"]
        return next(iter(waiting or mine), None)

    def get(self, intent: str) -> Shown | None:
        """One order."""
        return self._orders.get(intent)

    async def endpoints(self) -> dict[str, str]:
        """Where each enabled channel takes approvals."""
        found: dict[str, str] = {}
        cursor: Json = {}
        while True:
            page = (await self._network.query(CONTRACT, "channels", cursor))["result"]
            found |= {
                one["channel"]: one["endpoint"].rstrip("/")
                for one in page["items"]
                if one["enabled"]
            }
            if page["next"] is None:
                return found
            cursor = {"cursor": page["next"]}

    async def run(self) -> None:
        """Until cancelled: look at payments that events name, and at open ones with each block."""
        head = (await self._network.verified.header("latest")).height
        after = f"{max(head - REPLAYED_BLOCKS, 0)}.{EVENT_INDEX_MAX}"
        events = self._network.events(kinds=("block", "event"), after=after, viewer=self._key)
        async with aclosing(events):
            async for event in events:
                named: list[str] = []
                if event.kind == "block" and int(event.id.partition(".")[0]) >= head:
                    named = [one for one, shown in self._orders.items() if _is_open(shown)]
                elif event.kind == "event" and event.data.get("contract") == CONTRACT:
                    data = event.data.get("data") or {}
                    named = [str(data["intent"])] if data.get("intent") else []
                for intent in named:
                    await self._look(intent)

    async def _look(self, intent: str) -> None:
        """Read one payment by proof; issue its page if it waits for one; tell of a change."""
        try:
            identity = bytes_from_json(intent, "intent", ID_BYTES)
            found = await self._read(identity)
            if found is not None and found["state"] == "REQUIRES_ACTION" and not found["page"]:
                await self._issue(identity)
                found = await self._read(identity)
            if found is not None:
                await self._keep(intent, found)
        except Rejected as refusal:
            log.info("no page", intent=intent, code=refusal.code)
        except (ClientError, Refused) as failure:
            log.warning("again", intent=intent, why=str(failure))

    async def _read(self, identity: bytes) -> dict[str, Any] | None:
        proven = await self._network.verified.record(
            CONTRACT, "intents", identity, viewer=self._key
        )
        if proven.value is None:
            return None
        found = read_record(self._interface, CONTRACT, "intents", proven.value)
        waits = found["state"] in ("REQUIRES_METHOD", "REQUIRES_ACTION", "AUTHORISED")
        if waits and proven.time_ms >= int(found["expires_ms"]):
            found["state"] = "EXPIRED"
        return found

    async def _issue(self, identity: bytes) -> None:
        nonce = secrets.token_bytes(ID_BYTES)
        args = {"intent": identity, "page_hash": self._page_hash, "nonce": nonce}
        outcome = await self._network.transact(
            self._key, [Call(CONTRACT, "issue_page", args)], timeout_seconds=SUBMIT_SECONDS
        )
        outcome.require()

    async def _keep(self, intent: str, found: dict[str, Any]) -> None:
        if found["channel"] and found["channel"] not in self._endpoints:
            self._endpoints = await self.endpoints()
        names = ("order", "order_hash", "owner", "payee", "amt", "cur", "channel", "state")
        fields = {"intent": intent, "expires_ms": found["expires_ms"]}
        fields |= {name: found[name] for name in names}
        page = found["page"] or {"page_hash": "", "nonce": ""}
        fields |= {"page_hash": page["page_hash"], "nonce": page["nonce"]}
        fields["endpoint"] = self._endpoints.get(found["channel"], "")
        fields["payee_name"] = await self._name(found["payee"])
        shown = Shown(str(found["user"]), fields)
        if self._orders.get(intent) == shown:
            return
        self._orders[intent] = shown
        self._orders.move_to_end(intent)
        while len(self._orders) > ORDERS_MAX:
            self._orders.popitem(last=False)
        self._changed(shown.user, intent)

    async def _name(self, payee: str) -> str:
        """The name under which an institution is registered, or none."""
        try:
            found = await self._network.query(
                "kernel", "identity", {"public_key": payee}, self._key
            )
        except ClientError:
            return ""
        return str(found["result"]["name"])

    async def keep_running(self) -> None:
        """`run`, and again after whatever the network does."""
        while True:
            try:
                await self.run()
            except (ClientError, Refused) as failure:
                log.warning("again", why=str(failure))
            await asyncio.sleep(PAUSE_SECONDS)


def _is_open(shown: Shown) -> bool:
    return shown.fields["state"] not in (*OVER, "EXPIRED", "REQUIRES_CAPTURE", "LATE")
