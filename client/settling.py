"""Settling: staying with a transaction until its outcome is proved, whichever node tells it.

Node after node is asked, each for a moment, so that no single one can keep the answer to itself;
what one says is final counts once it is proved from the genesis file, and what one refuses once
more of them have refused it than may lie, or nobody else is left to ask. That something never will
be final is said only where as many show a head with which it cannot be, and do not have it.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import NamedTuple

from client.connection import Answer, Connection, Request
from client.errors import (
    ClientError,
    EpochEnded,
    Expired,
    Overloaded,
    Rejected,
    Unproven,
    Unreachable,
)
from client.light import LightClient
from client.outcomes import DROPPED, Outcome, parse_outcome
from client.sealing import Sealing
from client.verified import VerifiedReader
from node.protocol.transaction import VALID_FOR_MS_MAX

TURN_SECONDS_MAX = 3.0
TURN_SECONDS_MIN = 0.5
TURN_MARGIN_SECONDS = 1.0
UNKNOWN_PAUSE_SECONDS = 0.2
EXPIRED = "TX_EXPIRED"
WRONG_EPOCH = "WRONG_EPOCH"


class Turn(NamedTuple):
    """One node's turn: how long it may hold the request (s), and when it ends (monotonic)."""

    hold: float
    deadline: float


Ask = Callable[[str, Turn], Awaitable[Answer]]


class Settling:
    """Waits for outcomes. `now_ms` is the client's clock."""

    def __init__(
        self,
        connection: Connection,
        verified: VerifiedReader,
        light: LightClient,
        sealing: Sealing,
        now_ms: Callable[[], int],
    ) -> None:
        self._connection = connection
        self._verified = verified
        self._light = light
        self._sealing = sealing
        self._now_ms = now_ms

    async def until_final(
        self,
        transaction_id: bytes,
        ask: Ask,
        deadline: float,
        valid_until: int | None,
        epochs: tuple[int, ...] = (),
    ) -> Outcome:
        """The proved outcome, or what is known at the deadline (monotonic).

        `epochs` are those that its calls are sealed to. Raises `Rejected`, `Expired`, `EpochEnded`,
        `Unreachable`, `Overloaded`, or `Unproven` where all that was said to be final lacked a
        proof.
        """
        identity = transaction_id.hex()
        outcome, silent = Outcome(identity, "unknown"), 0
        nodes: list[str] = []
        refusing: set[str] = set()
        fault: ClientError | None = None
        while True:
            nodes = nodes or self._connection.order()
            turn, url = _turn(deadline, len(nodes)), nodes.pop(0)
            try:
                answer = await ask(url, turn)
                found, silent = parse_outcome(identity, answer.body), 0
                if found.final:
                    return await self._verified.outcome(transaction_id, answer)
                outcome = found
                if found.status == DROPPED:
                    await self._check_ended(transaction_id, epochs, valid_until)
            except Unproven as error:
                self._connection.distrust(url)
                fault = error
            except Overloaded as error:
                await pause(error, deadline)
            except Unreachable:
                silent += 1
                if silent >= len(self._connection.urls) and outcome.status == "unknown":
                    raise
            except Rejected as refusal:
                if refusal.code == WRONG_EPOCH and epochs:
                    await self._check_ended(transaction_id, epochs, valid_until)
                    fault = refusal  # a node that is a block behind does not know the epoch yet
                else:
                    refusing.add(url)
                enough = len(refusing) > self._liars_max or not nodes
                # Once taken by one node, what another thinks of it decides nothing.
                known = outcome.status != "unknown" or refusal.code in (EXPIRED, WRONG_EPOCH)
                if enough and not known:
                    raise
            if valid_until is not None and self._now_ms() > valid_until:
                await self._check_expired(transaction_id, valid_until)
            if time.monotonic() >= deadline:
                if fault is not None:
                    raise fault
                return outcome
            if outcome.status == "unknown" or fault is not None:
                await asyncio.sleep(UNKNOWN_PAUSE_SECONDS)

    @property
    def _liars_max(self) -> int:
        """How many validators may lie, by the newest verified set."""
        return self._light.validators_at(self._light.head.height + 1).faulty_max

    async def _check_expired(self, transaction_id: bytes, valid_until: int) -> None:
        """Raise `Expired` if more nodes than may lie are past `valid_until` without the id."""

        async def is_past(url: str) -> bool:
            return (await self._verified.header("latest", url)).time_ms > valid_until

        if await self._is_absent(transaction_id, valid_until, is_past):
            identity = transaction_id.hex()
            message = (
                f"{identity} was not ordered in its lifetime and never will be; send a new one"
            )
            raise Expired(EXPIRED, message, id=identity)

    async def _check_ended(
        self, transaction_id: bytes, epochs: tuple[int, ...], valid_until: int | None
    ) -> None:
        """Raise `EpochEnded` if more nodes than may lie are past its epoch without the id."""

        async def is_past(url: str) -> bool:
            return await self._sealing.has_ended(epochs, url)

        if not epochs or valid_until is None:
            return
        if await self._is_absent(transaction_id, valid_until, is_past):
            self._sealing.forget()
            identity = transaction_id.hex()
            raise EpochEnded(WRONG_EPOCH, "its epoch has ended; seal it anew", id=identity)

    async def _is_absent(
        self, transaction_id: bytes, valid_until: int, is_past: Callable[[str], Awaitable[bool]]
    ) -> bool:
        """Whether more nodes than may lie are past something and do not have the transaction.

        Those count that have kept the blocks in which it could stand.
        """
        silent = 0
        for url in self._connection.urls:
            try:
                # Asked first: the look-up saw at least the block that this rests on.
                past = await is_past(url)
                path = f"/v1/transactions/{transaction_id.hex()}"
                answer = await self._connection.ask(Request("GET", path), url)
                would_know = await self._has_kept(valid_until - VALID_FOR_MS_MAX, url)
            except ClientError:
                continue
            if parse_outcome(transaction_id.hex(), answer.body).final:
                return False
            silent += would_know and past
        return silent > self._liars_max

    async def _has_kept(self, since_ms: int, url: str) -> bool:
        """Whether the node at `url` has all blocks since then: it may have pruned some."""
        status = (await self._connection.ask(Request("GET", "/v1/status"), url)).body
        oldest = str(status.get("pruned_below", "1"))
        if oldest == "1":
            return True
        return (await self._verified.header(oldest, url)).time_ms < since_ms


async def pause(error: Overloaded, deadline: float) -> None:
    """Do as an overloaded node asks; raises the error where there is no time for it."""
    seconds = float(str(error.details.get("retry_after", 1.0)))
    if time.monotonic() + seconds >= deadline:
        raise error
    await asyncio.sleep(seconds)


def _turn(deadline: float, nodes: int) -> Turn:
    """A fair part of the time that is left, so that a silent node does not use it all up."""
    now = time.monotonic()
    seconds = max(min((deadline - now) / nodes, TURN_SECONDS_MAX), TURN_SECONDS_MIN)
    return Turn(max(seconds - TURN_MARGIN_SECONDS, 0.0), now + seconds)
