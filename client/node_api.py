"""The SDK: a program's way to a network of Groat nodes, believing no single one of them.

    async with NodeApi(genesis, urls) as network:
        outcome = await network.transact(key, [Call("prepaid", "consume", {…})])

    # or in two steps, where what was signed must survive a crash:
        transaction = await network.build(key, [Call("prepaid", "consume", {…})])
        # remember transaction.raw here: sending it again is harmless
        outcome = await network.submit(transaction)

Requests fail over between the nodes. Outcomes are typed; a time-out is `Pending`, never a failure.
What `network.verified` answers was checked against the genesis file, down to a quorum's signatures.
"""

from __future__ import annotations

import asyncio
import secrets
import time
from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from contextlib import aclosing
from pathlib import Path
from types import TracebackType
from typing import Self

from client.connection import ATTEMPT_SECONDS, Answer, Connection, Request
from client.errors import ClientError, EpochEnded, NoQuorum, Overloaded, Unreachable
from client.events import StreamEvent, stream
from client.light import LightClient
from client.outcomes import Json, Outcome, Verdict, failed_checks, parse_outcome, parse_verdict
from client.sealing import Sealing
from client.sessions import Sessions
from client.settling import WRONG_EPOCH, Settling, Turn, pause
from client.verified import VerifiedReader
from node.protocol.encoding import encode
from node.protocol.genesis import Genesis
from node.protocol.keys import PrivateKey
from node.protocol.sealing import EPHEMERAL_LIFETIME_MS_MAX
from node.protocol.transaction import (
    NONCE_BYTES,
    VALID_FOR_MS_MAX,
    Call,
    SealedCall,
    Transaction,
    parse_transaction,
    sign_transaction,
)

VALID_FOR_MS = 5 * 60 * 1000
SUBMIT_SECONDS = 15.0
BATCH_TYPE = "application/x-groat-batch"


class NodeApi:
    """One network, through the nodes at `urls`; `trust` is the light client's file, if any.

    `node_keys` has the ledger keys of nodes by url: sessions are opened with no others there.
    """

    def __init__(
        self,
        genesis: Genesis,
        urls: Sequence[str],
        *,
        trust: Path | None = None,
        node_keys: Mapping[str, bytes] | None = None,
        attempt_seconds: float = ATTEMPT_SECONDS,
        exchange_ms: int = EPHEMERAL_LIFETIME_MS_MAX,
        now_ms: Callable[[], int] = lambda: time.time_ns() // 1_000_000,
    ) -> None:
        """`exchange_ms`: for how long sealed calls share an exchange key, by which they can be
        linked; 0 makes one for each transaction, at more than the cost of a signature.
        """
        self.genesis = genesis
        self.chain = genesis.chain
        self.light = LightClient(genesis, trust)
        self.connection = Connection(urls, attempt_seconds)
        self.verified = VerifiedReader(self.light, self)
        reading = (self.connection, self.verified, self.light)
        self.sealing = Sealing(genesis, *reading, now_ms, exchange_ms)
        self._settling = Settling(*reading, self.sealing, now_ms)
        self._sessions = Sessions(genesis, self.connection, now_ms, node_keys or {})
        self._now_ms = now_ms

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self.close()

    async def close(self) -> None:
        """Keep what was verified and close all sockets."""
        await self.connection.close()
        self.light.save()

    # ---- transactions

    async def build(
        self,
        key: PrivateKey,
        calls: Sequence[Call],
        *,
        sealed: bool = True,
        nonce: bytes | None = None,
        valid_for_ms: int = VALID_FOR_MS,
        readers: tuple[bytes, ...] = (),
    ) -> Transaction:
        """A signed transaction of 1 to 100 calls, sealed unless told otherwise; sends nothing.

        `readers` are further public keys that may open the sealed calls. Raises `Refused`, and
        `Unreachable` or `Unproven` where nobody proves to what epoch calls are sealed now.
        """
        nonce = secrets.token_bytes(NONCE_BYTES) if nonce is None else nonce
        valid_until = self._now_ms() + min(valid_for_ms, VALID_FOR_MS_MAX)
        sent: tuple[Call | SealedCall, ...] = tuple(calls)
        if sealed:
            sent = await self.sealing.seal(key.public_key, nonce, valid_until, calls, readers)
        return sign_transaction(self.chain, key, nonce, valid_until, sent)

    async def transact(
        self,
        key: PrivateKey,
        calls: Sequence[Call],
        *,
        sealed: bool = True,
        readers: tuple[bytes, ...] = (),
        wait: str = "commit",
        timeout_seconds: float = SUBMIT_SECONDS,
        on_signed: Callable[[Transaction], None] = lambda transaction: None,
    ) -> Outcome:
        """Build and submit, and where the epoch ended meanwhile, once more.

        `on_signed` is told of each transaction before it is sent. Raises as these do.
        """
        deadline = time.monotonic() + timeout_seconds
        for last in (False, True):
            transaction = await self.build(key, calls, sealed=sealed, readers=readers)
            on_signed(transaction)
            left = max(deadline - time.monotonic(), 0.0)
            try:
                outcome = await self.submit(transaction, wait=wait, timeout_seconds=left)
                # A proved failure has no effect either; but a node that only says so proves none.
                if last or wait != "commit" or outcome.code != WRONG_EPOCH:
                    break
                self.sealing.forget()
            except EpochEnded:
                if last:
                    raise
        return outcome

    async def submit(
        self,
        transaction: Transaction,
        *,
        wait: str = "commit",
        timeout_seconds: float = SUBMIT_SECONDS,
    ) -> Outcome:
        """Send, and with `wait` = "commit" stay until it is final; "check": until it is admitted.

        "none" asks for no verdict. Sending the same transaction again is harmless. Returns a final
        outcome (perhaps a failed one), which is proved, or after `timeout_seconds` a pending one.
        Raises `Rejected` if the network refuses it, `Expired` where it can never become final
        (`EpochEnded`, if sealed anew it could), `Unreachable`, `Overloaded`, `NoQuorum`, or
        `Unproven` where what is said to be final was proved by nobody.
        """
        deadline = time.monotonic() + timeout_seconds
        if wait != "commit":
            return await self._send_once(transaction, wait, deadline)

        async def send(url: str, turn: Turn) -> Answer:
            return await self.connection.ask(_submission(transaction, wait, turn), url)

        body = transaction.body
        epochs = {call.epoch: None for call in body.calls if isinstance(call, SealedCall)}
        return await self._settling.until_final(
            transaction.id, send, deadline, body.valid_until, tuple(epochs)
        )

    async def submit_many(self, transactions: Sequence[Transaction]) -> list[Verdict]:
        """Send up to 500 transactions to one node; a verdict on each, in order."""
        raws = [transaction.raw for transaction in transactions]
        request = Request(
            "POST", "/v1/transactions", {"wait": "check"}, encode(raws), content_type=BATCH_TYPE
        )
        answer = await self.connection.ask(request)
        items = answer.body.get("items")
        if not isinstance(items, list) or len(items) != len(raws):
            raise Unreachable("BAD_ANSWER", f"{answer.url} did not answer for each transaction")
        return [parse_verdict(item) for item in items]

    async def wait(
        self, transaction_id: bytes, timeout_seconds: float, valid_until: int | None = None
    ) -> Outcome:
        """Stay until the transaction is final, at most `timeout_seconds`; then pending or unknown.

        A final outcome is proved; raises `Unproven` where it only is said to be. With
        `valid_until` (ms), raises `Expired` once it is certain that it never will be final.
        """
        deadline = time.monotonic() + timeout_seconds

        async def look(url: str, turn: Turn) -> Answer:
            path = f"/v1/transactions/{transaction_id.hex()}"
            query = {"wait": f"{turn.hold:.3f}", "prove": "true"}
            request = Request("GET", path, query, wait_seconds=turn.hold, deadline=turn.deadline)
            return await self.connection.ask(request, url)

        return await self._settling.until_final(transaction_id, look, deadline, valid_until)

    async def outcome(self, transaction_id: bytes, viewer: PrivateKey | None = None) -> Outcome:
        """What the network knows of a transaction now."""
        answer = await self.ask(Request("GET", f"/v1/transactions/{transaction_id.hex()}"), viewer)
        return parse_outcome(transaction_id.hex(), answer.body)

    async def simulate(self, transaction: Transaction, viewer: PrivateKey | None = None) -> Outcome:
        """What the transaction would do now, without sending it on; raises `Rejected`.

        The details are for the sender's eyes, as `viewer`.
        """
        request = Request("POST", "/v1/transactions/simulate", body=transaction.raw)
        answer = await self.ask(request, viewer)
        return parse_outcome(transaction.id.hex(), answer.body)

    def decode(self, raw: bytes) -> Transaction:
        """A transaction from its bytes; raises `Refused`."""
        return parse_transaction(self.chain, raw)

    # ---- reading

    async def ask(
        self, request: Request, viewer: PrivateKey | None = None, url: str | None = None
    ) -> Answer:
        """Any resource, with fail-over; as `viewer` through a session that opens by itself."""
        if viewer is None:
            return await self.connection.ask(request, url)
        return await self._sessions.ask(viewer, request, url)

    async def get(self, path: str, **query: str) -> Json:
        """The body of a public resource."""
        return (await self.connection.ask(Request("GET", path, query or None))).body

    async def status(self, url: str | None = None) -> Json:
        """What one node says of the chain and itself."""
        return (await self.connection.ask(Request("GET", "/v1/status"), url)).body

    async def statuses(self) -> dict[str, Json | ClientError]:
        """Each node's status, or why there is none, by url."""

        async def one(url: str) -> Json | ClientError:
            try:
                return await self.status(url)
            except ClientError as error:
                return error

        answers = await asyncio.gather(*(one(url) for url in self.connection.urls))
        return dict(zip(self.connection.urls, answers, strict=True))

    async def require_quorum(self) -> None:
        """Raise `NoQuorum` if the nodes that answer are too few, or see too few, to decide."""
        answers = list((await self.statuses()).values())
        alive = [answer for answer in answers if isinstance(answer, dict)]
        needed = self.light.validators_at(self.light.head.height + 1).quorum
        everyone = len(answers) >= self.light.validators_at(self.light.head.height + 1).size
        alone = [one for one in alive if any(name == "peers" for name, _ in failed_checks(one))]
        if alive and (len(alone) == len(alive) or (everyone and len(alive) < needed)):
            count = len(alive)
            raise NoQuorum("NO_QUORUM", f"{count} nodes answer and {needed} must agree")

    async def query(
        self,
        contract: str,
        name: str,
        args: Json,
        viewer: PrivateKey | None = None,
        url: str | None = None,
    ) -> Json:
        """A contract's query with JSON arguments: {"height": …, "result": …}, as one node says."""
        path = f"/v1/contracts/{contract}/queries/{name}"
        return (await self.ask(Request("POST", path, body=args), viewer, url)).body

    async def events(
        self,
        *,
        kinds: Sequence[str] = (),
        after: str | None = None,
        contract: str | None = None,
        viewer: PrivateKey | None = None,
    ) -> AsyncGenerator[StreamEvent]:
        """Blocks, transactions and events as they become final, over reconnections and fail-over.

        `after` is the id of the last event handled: the stream continues behind it, on any node.
        """

        async def headers(url: str) -> dict[str, str]:
            return {} if viewer is None else await self._sessions.headers(viewer, url)

        query = {"type": ",".join(kinds)} if kinds else {}
        if contract is not None:
            query["contract"] = contract
        async with aclosing(stream(self.connection, query, after, headers)) as found:
            async for event in found:
                yield event

    # ---- inside

    async def _send_once(self, transaction: Transaction, wait: str, deadline: float) -> Outcome:
        while True:
            try:
                request = _submission(transaction, wait, Turn(0.0, deadline))
                answer = await self.connection.ask(request)
                return parse_outcome(transaction.id.hex(), answer.body)
            except Overloaded as error:
                await pause(error, deadline)


def _submission(transaction: Transaction, wait: str, turn: Turn) -> Request:
    query = {"wait": wait}
    if wait == "commit":
        query |= {"timeout": f"{turn.hold:.3f}", "prove": "true"}
    return Request(
        "POST",
        "/v1/transactions",
        query,
        transaction.raw,
        wait_seconds=turn.hold,
        deadline=turn.deadline,
    )
