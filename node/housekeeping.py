"""Housekeeping: what a node does on chain by itself, signed with its ledger key.

Errands say what is due; here it is signed, sent through the driver, and sent again while it does
not take effect. The engine does not know of it, and no block needs it to be executed.
"""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple, Protocol

import structlog

from contracts.kernel.registry import KERNEL, is_node
from contracts.kernel.state import Reader
from node.clock import now_ms
from node.outputs import SubmitResult
from node.protocol.block import Receipt
from node.protocol.domain import Chain
from node.protocol.encoding import Value
from node.protocol.errors import Refused
from node.protocol.keys import PrivateKey
from node.protocol.transaction import NONCE_BYTES, Call, sign_transaction

LOOK_S = 1.0
# Longer than a block takes; what was lost on its way is sent again.
AGAIN_MS = 10_000
VALID_FOR_MS = 60_000

log = structlog.get_logger("node")


class Due(NamedTuple):
    """A call of the kernel that a node must make."""

    action: str
    args: Mapping[str, Value]


class Errand(Protocol):
    """Something that a node sees to."""

    def on_committed(self) -> None:
        """A block is final: the state is another."""
        ...

    def due(self, time_ms: int) -> Due | None:
        """What must be sent now, as long as the chain does not show it."""
        ...


class Sender(Protocol):
    """The driver, as far as it is needed here."""

    async def submit(self, raws: Sequence[bytes]) -> tuple[SubmitResult, ...]:
        """Check, pool and spread transactions."""
        ...


class Housekeeping:
    """Runs the errands of one node; watches final blocks for the driver."""

    def __init__(
        self,
        chain: Chain,
        key: PrivateKey,
        state: Reader,
        sender: Sender,
        errands: Sequence[Errand],
        caught_up: Callable[[], bool],
        clock: Callable[[], int] = now_ms,
    ) -> None:
        self._chain = chain
        self._key = key
        self._state = state
        self._sender = sender
        self._errands = errands
        self._caught_up = caught_up
        self._clock = clock
        self._sent: dict[str, tuple[Mapping[str, Value], int]] = {}

    async def run(self) -> None:
        """Do what there is to do, every second, until cancelled."""
        while True:
            await self.look()
            await asyncio.sleep(LOOK_S)

    async def look(self) -> None:
        """Do what there is to do now; what an old state seems to ask for is left alone."""
        if not self._caught_up() or not is_node(self._state, self._key.public_key):
            return
        for errand in self._errands:
            due = errand.due(self._clock())
            if due is not None:
                await self._send(due)

    # ---- what the driver tells

    def on_committed(self, height: int, receipts: Sequence[Receipt]) -> None:
        """A block is final."""
        for errand in self._errands:
            errand.on_committed()

    def on_alarm(self, code: str, message: str) -> None:
        """Nothing of ours."""

    async def _send(self, due: Due) -> None:
        """Send a call, unless just this one is under way."""
        now = self._clock()
        last, sent_ms = self._sent.get(due.action, ({}, 0))
        if last == due.args and now < sent_ms + AGAIN_MS:
            return
        self._sent[due.action] = due.args, now
        transaction = sign_transaction(
            self._chain,
            self._key,
            secrets.token_bytes(NONCE_BYTES),
            now + VALID_FOR_MS,
            (Call(KERNEL.name, due.action, dict(due.args)),),
        )
        try:
            (result,) = await self._sender.submit([transaction.raw])
            log.info("housekeeping", action=due.action, id=transaction.id.hex(), code=result.code)
        except Refused as refusal:
            log.warning("housekeeping", action=due.action, code=refusal.code, why=refusal.message)
