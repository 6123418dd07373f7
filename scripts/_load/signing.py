"""Makes signed transactions by the batch, in a process of its own so that the loop stays free.

`Signer` is the pure part: openings of cards by the bank, each with the holder's ticket, and
purchases by the holders. `SigningProcess` runs one in a worker. Nothing here sends anything.
"""

from __future__ import annotations

import asyncio
import ctypes
import multiprocessing
import secrets
import signal
import time
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from typing import NamedTuple

from _load.cast import Cast
from node.protocol.domain import Chain
from node.protocol.encoding import Value
from node.protocol.keys import PrivateKey
from node.protocol.sealing import EPHEMERAL_LIFETIME_MS_MAX, EphemeralKey, EpochKey, seal_call
from node.protocol.ticket import sign_ticket
from node.protocol.transaction import (
    NONCE_BYTES,
    VALID_FOR_MS_MAX,
    Call,
    SealedCall,
    sign_transaction,
)

CONTRACT = "prepaid"
VALID_FOR_MS = VALID_FOR_MS_MAX - 30_000
TICKET_FOR_MS = 10 * 60 * 1000
PR_SET_PDEATHSIG = 1


class Opening(NamedTuple):
    """A card to open: whose, and with how much money on it."""

    holder: str
    paid: int


class Visit(NamedTuple):
    """A purchase to sign: whose card, how much, and which number of the card's purchases."""

    holder: str
    amount: int
    seq: int


class Signed(NamedTuple):
    """A transaction ready to send."""

    id: bytes
    raw: bytes
    valid_until: int


class Signer:
    """Signs for the whole cast of one load. Remembers the holders' keys, which cost to derive."""

    def __init__(
        self, chain: Chain, epoch: EpochKey, cast: Cast, card_class: str, sealed: bool
    ) -> None:
        self._chain = chain
        self._epoch = epoch
        self._cast = cast
        self._card_class = card_class
        self._sealed = sealed
        self._ephemeral = EphemeralKey()
        self._ephemeral_until = 0
        self._holders: dict[str, PrivateKey] = {}

    def openings(self, bank: PrivateKey, wanted: Sequence[Opening], now_ms: int) -> Signed:
        """One transaction of the bank that opens all these cards; up to 100."""
        return self._sign(bank, [self._open_call(one, now_ms) for one in wanted], now_ms)

    def visits(self, wanted: Sequence[Visit], now_ms: int) -> list[Signed]:
        """One transaction each, signed by the holder."""
        return [
            self._sign(self._holder(one.holder), [self._consume_call(one)], now_ms)
            for one in wanted
        ]

    def _holder(self, name: str) -> PrivateKey:
        key = self._holders.get(name)
        if key is None:
            key = self._holders[name] = self._cast.holder(name)
        return key

    def _open_call(self, wanted: Opening, now_ms: int) -> Call:
        holder = self._holder(wanted.holder)
        terms: dict[str, Value] = {
            "card": self._cast.card(wanted.holder),
            "merchant": self._cast.merchant,
            "holder_pub": holder.public_key,
            "class": self._card_class,
            "paid": wanted.paid,
            "bonus": 0,
            "ticket_until": now_ms + TICKET_FOR_MS,
        }
        ticket = sign_ticket(self._chain, holder, CONTRACT, "open_card", terms)
        return Call(CONTRACT, "open_card", {**terms, "ticket": ticket})

    def _consume_call(self, wanted: Visit) -> Call:
        card = self._cast.card(wanted.holder)
        return Call(CONTRACT, "consume", {"card": card, "amt": wanted.amount, "seq": wanted.seq})

    def _sign(self, key: PrivateKey, calls: Sequence[Call], now_ms: int) -> Signed:
        nonce = secrets.token_bytes(NONCE_BYTES)
        valid_until = now_ms + VALID_FOR_MS
        sent: tuple[Call | SealedCall, ...] = tuple(calls)
        if self._sealed:
            exchange = self._exchange_key(now_ms)
            place = (self._chain, self._epoch, key.public_key, nonce, valid_until)
            sent = tuple(
                seal_call(*place, index, call, exchange) for index, call in enumerate(calls)
            )
        transaction = sign_transaction(self._chain, key, nonce, valid_until, sent)
        return Signed(transaction.id, transaction.raw, valid_until)

    def _exchange_key(self, now_ms: int) -> EphemeralKey:
        if now_ms >= self._ephemeral_until:
            self._ephemeral = EphemeralKey()
            self._ephemeral_until = now_ms + EPHEMERAL_LIFETIME_MS_MAX
        return self._ephemeral


class SigningProcess:
    """A `Signer` in one worker process. Make it before there are a loop, threads and sockets."""

    def __init__(self, signer: Signer) -> None:
        self._pool = ProcessPoolExecutor(
            1,
            mp_context=multiprocessing.get_context("fork"),
            initializer=_begin,
            initargs=(signer,),
        )
        self._pool.submit(_visits, ()).result()

    async def openings(self, bank: PrivateKey, wanted: Sequence[Opening]) -> Signed:
        """As `Signer.openings`, valid from now."""
        return await asyncio.get_running_loop().run_in_executor(
            self._pool, _openings, bank.secret, tuple(wanted)
        )

    async def visits(self, wanted: Sequence[Visit]) -> list[Signed]:
        """As `Signer.visits`, valid from now."""
        return await asyncio.get_running_loop().run_in_executor(self._pool, _visits, tuple(wanted))

    def close(self) -> None:
        """End the worker."""
        self._pool.shutdown(wait=True, cancel_futures=True)


_signer: Signer | None = None
"""The worker process's own state, set once by `_begin`."""


def _begin(signer: Signer) -> None:
    global _signer
    # Ctrl-C is the parent's to handle; and a parent that is killed outright ends no worker.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    _signer = signer


def _openings(bank_secret: bytes, wanted: tuple[Opening, ...]) -> Signed:
    return _own().openings(PrivateKey(bank_secret), wanted, _now_ms())


def _visits(wanted: tuple[Visit, ...]) -> list[Signed]:
    return _own().visits(wanted, _now_ms())


def _own() -> Signer:
    if _signer is None:
        raise AssertionError("the worker was not initialised")
    return _signer


def _now_ms() -> int:
    return time.time_ns() // 1_000_000
