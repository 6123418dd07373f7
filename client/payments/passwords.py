"""The pay service: sets and checks payment passwords, and vouches for single charges (R4.15).

Only the headset's own key may try, so that nobody else can lock a user out. A wrong password is
counted on chain before it is answered, over all intents of the user; the chain holds the count and
the lock, and no more than that. A right one gives a signed word for one charge, for a minute. One
user's attempts come one after the other. It listens on this machine alone: put TLS in front. The
headset's key is the one that filed; the service cannot see a key that replaced it on chain.
"""

from __future__ import annotations

import asyncio
import secrets
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any, NamedTuple

from aiohttp import web

from client.errors import Expired, Pending, Rejected
from client.interface import Schema, read_record
from client.node_api import NodeApi
from client.payments import terms
from client.payments.terms import CONTRACT, ID_BYTES
from client.payments.vault import Vault
from client.payments.web import application, body_of
from node.protocol.domain import Chain
from node.protocol.encoding import Value
from node.protocol.errors import Refused
from node.protocol.json_view import bytes_from_json, integer_from_json
from node.protocol.keys import PUBLIC_KEY_BYTES, PrivateKey
from node.protocol.ticket import sign_ticket, ticket_valid
from node.protocol.transaction import Call

SIGNATURE_BYTES = 64
SKEW_MS_MAX = 2 * 60_000
VOUCHED_FOR_MS = 60_000
SUBMIT_SECONDS = 20.0
USERS_BUSY_MAX = 1_000
PASSWORD_CHARS_MAX = 16
NO_INTENT = b""


class Attempt(NamedTuple):
    """What a headset asks, under its signature. `intent` is empty where a password is set."""

    user: bytes
    intent: bytes
    password: str
    new_password: str
    attempt: bytes
    at_ms: int


class Word(NamedTuple):
    """The service's word for one charge, as the contract takes it."""

    service: bytes
    expiry: int
    assertion: bytes


def sign_attempt(chain: Chain, headset: PrivateKey, asked: Attempt) -> dict[str, str]:
    """The JSON body that a headset posts."""
    signature = sign_ticket(chain, headset, CONTRACT, terms.ATTEMPT, _terms(asked))
    return {
        "user": asked.user.hex(),
        "intent": asked.intent.hex(),
        "password": asked.password,
        "new_password": asked.new_password,
        "attempt": asked.attempt.hex(),
        "at_ms": str(asked.at_ms),
        "signature": signature.hex(),
    }


class PayService:
    """See the module. `key` is the service's on chain."""

    def __init__(
        self,
        network: NodeApi,
        interface: Schema,
        key: PrivateKey,
        vault: Vault,
        now_ms: Callable[[], int] = lambda: time.time_ns() // 1_000_000,
    ) -> None:
        self._network, self._interface = network, interface
        self._key, self._vault, self._now_ms = key, vault, now_ms
        self._busy: dict[bytes, asyncio.Lock] = {}

    def app(self) -> web.Application:
        """What is served."""
        app = application()
        app.router.add_post("/passwords", self._post_password)
        app.router.add_post("/assertions", self._post_assertion)
        return app

    async def _post_password(self, request: web.Request) -> web.Response:
        asked, signature = _parse(await body_of(request))
        await self.set_password(asked, signature)
        return web.Response(status=204)

    async def _post_assertion(self, request: web.Request) -> web.Response:
        asked, signature = _parse(await body_of(request))
        word = await self.vouch(asked, signature)
        return web.json_response(
            {
                "service": word.service.hex(),
                "expiry": str(word.expiry),
                "assertion": word.assertion.hex(),
            }
        )

    async def set_password(self, asked: Attempt, signature: bytes) -> None:
        """Set a first password, or another one with the right old one.

        Raises `Refused`, or `Rejected` `AUTH_FAILED`, `AUTH_LOCKED`.
        """
        async with self._attempt(asked, signature):
            if asked.intent != NO_INTENT:
                raise Refused("BAD_ARG", "an intent is not asked for here", field="intent")
            if self._vault.knows(asked.user):
                await self._check(asked)
            self._vault.set(asked.user, asked.new_password)

    async def vouch(self, asked: Attempt, signature: bytes) -> Word:
        """The word for one charge, if the password is right; raises as `set_password` does."""
        async with self._attempt(asked, signature):
            order = await self._order(asked)
            await self._check(asked)
        expiry = self._now_ms() + VOUCHED_FOR_MS
        signed = terms.assertion(asked.user, order, expiry)
        assertion = sign_ticket(self._network.chain, self._key, CONTRACT, terms.ASSERT, signed)
        return Word(self._key.public_key, expiry, assertion)

    # ---- inside

    @asynccontextmanager
    async def _attempt(self, asked: Attempt, signature: bytes) -> AsyncIterator[None]:
        """One attempt at a time, by the user's own headset, not locked, and never seen before."""
        if abs(self._now_ms() - asked.at_ms) > SKEW_MS_MAX:
            raise Refused("EXPIRED", "the attempt's time is too far from now; check the clock")
        await self._check_signer(asked, signature)
        if len(self._busy) >= USERS_BUSY_MAX and asked.user not in self._busy:
            raise Pending("TRY_LATER", "too many users at once")
        lock = self._busy.setdefault(asked.user, asyncio.Lock())
        try:
            async with lock:
                await self._settle(asked.user)
                if (await self._user(asked.user))["locked"]:
                    raise Rejected("AUTH_LOCKED", "locked; have yourself verified again")
                if not self._vault.take(asked.attempt):
                    raise Refused("REPLAYED", "this attempt was made before", field="attempt")
                yield
        finally:
            if not lock.locked():
                self._busy.pop(asked.user, None)

    async def _check_signer(self, asked: Attempt, signature: bytes) -> None:
        owner = bytes_from_json((await self._user(asked.user))["owner"], "owner", PUBLIC_KEY_BYTES)
        chain, signed = self._network.chain, _terms(asked)
        if not ticket_valid(chain, owner, CONTRACT, terms.ATTEMPT, signed, signature):
            raise Refused("UNAUTHORIZED", "only the user's headset may try")

    async def _check(self, asked: Attempt) -> None:
        """Raise `Rejected` `AUTH_FAILED` for a wrong password, once the chain has counted it."""
        if not self._vault.knows(asked.user):
            raise Refused("NO_PASSWORD", "set a payment password first")
        if self._vault.is_right(asked.user, asked.password):
            return
        args: dict[str, Value] = {"user": asked.user, "attempt": asked.attempt}
        transaction = await self._network.build(self._key, [Call(CONTRACT, "auth_failed", args)])
        self._vault.owe(asked.user, transaction.raw)
        await self._settle(asked.user)
        raise Rejected("AUTH_FAILED", "the password is wrong")

    async def _settle(self, user: bytes) -> None:
        """See that the chain counts what is owed; nothing more is tried before."""
        raw = self._vault.owed(user)
        if raw is None:
            return
        transaction = self._network.decode(raw)
        try:
            outcome = await self._network.submit(transaction, timeout_seconds=SUBMIT_SECONDS)
        except Expired:
            # It never took effect: the same attempt, counted at most once, is told anew.
            args: dict[str, Value] = {"user": user, "attempt": secrets.token_bytes(ID_BYTES)}
            again = await self._network.build(self._key, [Call(CONTRACT, "auth_failed", args)])
            self._vault.owe(user, again.raw)
            raise Pending("TRY_LATER", "the last attempt is not counted yet") from None
        if not outcome.final:
            raise Pending("TRY_LATER", "the last attempt is not counted yet")
        self._vault.settle(user)

    async def _user(self, user: bytes) -> dict[str, Any]:
        """The user's record, proved."""
        proven = await self._network.verified.record(CONTRACT, "users", user, viewer=self._key)
        if proven.value is None:
            raise Rejected("NOT_FILED", "no such user")
        return read_record(self._interface, CONTRACT, "users", proven.value)

    async def _order(self, asked: Attempt) -> terms.Order:
        """What is to be charged, proved: the user's own, with a channel, not yet authorised."""
        proven = await self._network.verified.record(
            CONTRACT, "intents", asked.intent, viewer=self._key
        )
        if proven.value is None:
            raise Rejected("NOT_FOUND", "no such payment")
        found = read_record(self._interface, CONTRACT, "intents", proven.value)
        if found["user"] != asked.user.hex():
            raise Refused("UNAUTHORIZED", "another one's payment")
        if found["state"] != "REQUIRES_ACTION":
            raise Rejected("BAD_STATE", f"the payment is {found['state']}")
        return terms.Order(
            asked.intent,
            bytes_from_json(found["order_hash"], "order_hash"),
            bytes_from_json(found["payee"], "payee"),
            integer_from_json(found["amt"], "amt"),
            str(found["cur"]),
            str(found["channel"]),
        )


def _terms(asked: Attempt) -> dict[str, Value]:
    return dict(asked._asdict())


def _parse(given: dict[str, Any]) -> tuple[Attempt, bytes]:
    intent = bytes_from_json(given.get("intent", ""), "intent")
    if intent:
        intent = bytes_from_json(given["intent"], "intent", ID_BYTES)
    asked = Attempt(
        bytes_from_json(given.get("user"), "user", ID_BYTES),
        intent,
        _password(given, "password"),
        _password(given, "new_password"),
        bytes_from_json(given.get("attempt"), "attempt", ID_BYTES),
        integer_from_json(given.get("at_ms"), "at_ms"),
    )
    return asked, bytes_from_json(given.get("signature"), "signature", SIGNATURE_BYTES)


def _password(given: dict[str, Any], field: str) -> str:
    text = given.get(field, "")
    if not isinstance(text, str) or len(text) > PASSWORD_CHARS_MAX:
        raise Refused("BAD_ARG", "a payment password is six digits", field=field)
    return text
