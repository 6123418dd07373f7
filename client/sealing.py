"""Sealing for the committee: to the epoch that the chain proves, with an exchange key of one's own.

The epoch in force is a record of the state, proved against certified headers of more nodes than may
lie, so that none can name a key of its own, or one alone an old key whose secret others hold. What
was proved counts for a minute. The exchange key is in memory only and shared by many calls, which
makes sealing cheap and lets calls of one sender be linked while it is in use.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence

from client.connection import Connection
from client.errors import ClientError, Unproven
from client.light import LightClient
from client.verified import ProvenRecord, VerifiedReader
from node.protocol.committee import CURRENT_EPOCH, EpochRecord, epoch_codec
from node.protocol.domain import Chain
from node.protocol.errors import Refused
from node.protocol.genesis import Genesis
from node.protocol.sealing import EPHEMERAL_LIFETIME_MS_MAX, EphemeralKey, EpochKey, seal_call
from node.protocol.transaction import Call, SealedCall

FRESH_SECONDS = 60.0
NO_BLOCK_YET = "NO_BLOCK_YET"


class Sealing:
    """The epoch and the exchange key of one client."""

    def __init__(
        self,
        genesis: Genesis,
        connection: Connection,
        verified: VerifiedReader,
        light: LightClient,
        now_ms: Callable[[], int],
        exchange_ms: int,
    ) -> None:
        """`exchange_ms` is how long one exchange key is used; 0: for one transaction."""
        self._chain: Chain = genesis.chain
        self._founding = genesis.epoch_key
        self._connection = connection
        self._verified = verified
        self._light = light
        self._now_ms = now_ms
        self._exchange_ms = min(exchange_ms, EPHEMERAL_LIFETIME_MS_MAX)
        self._ephemeral = EphemeralKey()
        self._ephemeral_until = now_ms() + self._exchange_ms
        self._epoch = self._founding
        self._fresh_until = 0.0

    async def seal(
        self,
        sender: bytes,
        nonce: bytes,
        valid_until: int,
        calls: Sequence[Call],
        readers: tuple[bytes, ...],
    ) -> tuple[SealedCall, ...]:
        """The calls of one transaction, sealed to the epoch in force."""
        epoch = await self.epoch()
        place = (self._chain, epoch, sender, nonce, valid_until)
        exchange = self._exchange_key()
        return tuple(
            seal_call(*place, index, call, exchange, readers) for index, call in enumerate(calls)
        )

    async def epoch(self) -> EpochKey:
        """The epoch in force, as proved a minute ago at most."""
        if time.monotonic() >= self._fresh_until:
            self._epoch = await self._prove()
            self._fresh_until = time.monotonic() + FRESH_SECONDS
        return self._epoch

    def forget(self) -> None:
        """The epoch may be another one by now: prove it anew before the next call."""
        self._fresh_until = 0.0

    async def has_ended(self, epochs: Sequence[int], url: str) -> bool:
        """Whether one node proves that some of `epochs` will never be accepted again."""
        proven = await self._verified.record(*CURRENT_EPOCH, url=url)
        current = _decoded(proven)
        return any(current.has_ended(epoch, proven.time_ms) for epoch in epochs)

    async def _prove(self) -> EpochKey:
        """By more nodes than may lie, as far as there are such: the newest that one of them has."""
        urls, found = self._connection.order(), list[ProvenRecord]()
        validators = self._light.validators_at(self._light.head.height + 1)
        needed = min(validators.faulty_max + 1, len(urls))
        faults: list[ClientError] = []
        while urls and len(found) < needed:
            batch = [urls.pop(0) for _ in range(min(needed - len(found), len(urls)))]
            for answer in await asyncio.gather(*map(self._ask, batch)):
                if isinstance(answer, ProvenRecord):
                    found.append(answer)
                else:
                    faults.append(answer)
        if found:
            current = _decoded(max(found, key=lambda proven: proven.height))
            return EpochKey(current.number, current.public_key)
        nothing_decided = any(fault.code == NO_BLOCK_YET for fault in faults)
        if nothing_decided and self._light.head.height == 0:
            return self._founding
        raise faults[-1]

    async def _ask(self, url: str) -> ProvenRecord | ClientError:
        try:
            return await self._verified.record(*CURRENT_EPOCH, url=url)
        except ClientError as error:
            return error

    def _exchange_key(self) -> EphemeralKey:
        if self._now_ms() >= self._ephemeral_until:
            self._ephemeral = EphemeralKey()
            self._ephemeral_until = self._now_ms() + self._exchange_ms
        return self._ephemeral


def _decoded(proven: ProvenRecord) -> EpochRecord:
    try:
        if proven.value is not None:
            return epoch_codec.decode(proven.value)
    except Refused:
        pass
    raise Unproven("BAD_EPOCH", f"{proven.url} proves a record that is no epoch")
