"""Housekeeping: what a node does on chain by itself, signed with its ledger key.

When the chain brings an epoch, the node opens its wrap, checks the secret against the epoch's
public key, hands it to the verifier, keeps the wrap in its folder, and acknowledges. A wrap that is
wrong raises an alarm and is never acknowledged. Nothing here is needed to execute blocks: the
keyring finds the same keys by itself. It watches final blocks for the driver and sends through it;
the engine does not know of it.
"""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Callable, Mapping, Sequence
from typing import Protocol

import structlog

from contracts.kernel.registry import KERNEL, epoch_of, is_node, newest_epoch, wrap_of
from contracts.kernel.state import Reader
from node.clock import now_ms
from node.keyring import Keyring
from node.outputs import SubmitResult
from node.protocol.block import Receipt
from node.protocol.committee import BAD_EPOCH_WRAP
from node.protocol.domain import Chain
from node.protocol.encoding import Value
from node.protocol.errors import GroatError, Refused
from node.protocol.keys import PrivateKey
from node.protocol.transaction import NONCE_BYTES, Call, sign_transaction

LOOK_S = 1.0
# Longer than a block takes; what was lost on its way is sent again.
AGAIN_MS = 10_000
VALID_FOR_MS = 60_000

log = structlog.get_logger("node")


class Sender(Protocol):
    """The driver, as far as it is needed here."""

    async def submit(self, raws: Sequence[bytes]) -> tuple[SubmitResult, ...]:
        """Check, pool and spread transactions."""
        ...

    def alarm(self, code: str, message: str) -> None:
        """Tell the operator."""
        ...


class Housekeeping:
    """The errands of one node."""

    def __init__(
        self,
        chain: Chain,
        key: PrivateKey,
        state: Reader,
        keyring: Keyring,
        sender: Sender,
        caught_up: Callable[[], bool],
        learn: Callable[[int, PrivateKey], None],
        keep: Callable[[int, bytes], None],
        clock: Callable[[], int] = now_ms,
    ) -> None:
        """`learn` gets each epoch's key once, `keep` the node's own wrap of a later epoch."""
        self._chain = chain
        self._key = key
        self._state = state
        self._keyring = keyring
        self._sender = sender
        self._caught_up = caught_up
        self._learn = learn
        self._keep = keep
        self._clock = clock
        self._seen = -1
        self._sent: dict[str, tuple[Mapping[str, Value], int]] = {}

    async def run(self) -> None:
        """Do what there is to do, every second, until cancelled."""
        while True:
            await self.look()
            await asyncio.sleep(LOOK_S)

    async def look(self) -> None:
        """Do what there is to do now."""
        self.learn_epochs()
        if self._caught_up() and is_node(self._state, self._key.public_key):
            await self._acknowledge()

    # ---- what the driver tells

    def on_committed(self, height: int, receipts: Sequence[Receipt]) -> None:
        """A block is final: the verifier must know an epoch before the first call sealed to it."""
        self.learn_epochs()

    def on_alarm(self, code: str, message: str) -> None:
        """Nothing of ours."""

    # ---- epochs

    def learn_epochs(self) -> None:
        """Open the wraps of all epochs that came since the last look."""
        newest = newest_epoch(self._state).number
        first = 0 if self._seen < 0 else self._seen + 1
        self._seen = newest
        for number in range(first, newest + 1):
            if epoch_of(self._state, number) is not None:
                self._learn_epoch(number)

    def _learn_epoch(self, number: int) -> None:
        try:
            self._learn(number, self._keyring.open(number))
        except Refused as refusal:
            if refusal.code == BAD_EPOCH_WRAP:
                self._sender.alarm(
                    BAD_EPOCH_WRAP,
                    f"{refusal.message}; it is not acknowledged: ask for a new epoch",
                )
            return
        share = wrap_of(self._state, number, self._key.public_key)
        if share is None or self._keyring.was_given(number):
            return
        try:
            self._keep(number, share.wrap)
        except (OSError, GroatError) as error:
            # It is on chain as well; the file is for those who cannot read the database.
            log.warning("wrap_not_kept", epoch=number, why=str(error))

    async def _acknowledge(self) -> None:
        newest = newest_epoch(self._state)
        share = wrap_of(self._state, newest.number, self._key.public_key)
        if share is None or share.acknowledged_height:
            return
        if self._keyring.get(newest.number) is not None:
            await self._send(
                "acknowledge_epoch", {"epoch": newest.number, "epoch_key": newest.public_key}
            )

    async def _send(self, action: str, args: Mapping[str, Value]) -> None:
        """Send a call of the kernel, unless just this one is under way."""
        now = self._clock()
        last, sent_ms = self._sent.get(action, ({}, 0))
        if last == args and now < sent_ms + AGAIN_MS:
            return
        self._sent[action] = args, now
        transaction = sign_transaction(
            self._chain,
            self._key,
            secrets.token_bytes(NONCE_BYTES),
            now + VALID_FOR_MS,
            (Call(KERNEL.name, action, dict(args)),),
        )
        try:
            (result,) = await self._sender.submit([transaction.raw])
            log.info("housekeeping", action=action, id=transaction.id.hex(), code=result.code)
        except Refused as refusal:
            log.warning("housekeeping", action=action, code=refusal.code, why=refusal.message)
