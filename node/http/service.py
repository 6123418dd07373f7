"""What the HTTP rooms need of the running node: the one interface between them and the driver.

The driver implements `NodeService`; tests implement it in a few lines. Everything that can be read
from final blocks and state comes from `query`; the methods here are what only a live node knows.
Refusals are raised as `Refused`; nothing here speaks HTTP.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import msgspec

from node.protocol.block import Receipt
from node.protocol.errors import StoreFailure
from node.query import Query

ACCEPTED_CODES = frozenset({"PENDING", "KNOWN", "COMMITTED"})


class SubmitResult(Protocol):
    """The verdict on one submitted transaction: `ACCEPTED_CODES`, or the refusal's code.

    `transaction_id` is None where the bytes could not be read.
    """

    @property
    def transaction_id(self) -> bytes | None: ...

    @property
    def code(self) -> str: ...

    @property
    def message(self) -> str: ...


class FailedCheck(msgspec.Struct, frozen=True):
    """One reason why the node is not ready."""

    component: str
    reason: str


class NodeService(Protocol):
    """The running node as the API sees it."""

    query: Query

    @property
    def name(self) -> str:
        """The node's name in the genesis file."""

    @property
    def public_key(self) -> bytes:
        """The node's ledger key, 33 bytes: sessions are bound to it."""

    def now_ms(self) -> int:
        """The node's clock, ms since 1970."""

    def check_accepting(self) -> None:
        """Raise `Refused` `DISK_FULL` while nothing new can be stored."""

    def on_store_failure(self, failure: StoreFailure) -> None:
        """A request met damage in the database: the node stops."""

    async def submit(self, raws: Sequence[bytes]) -> Sequence[SubmitResult]:
        """Check and pool raw signed transactions; one verdict each, in order; never raises."""

    def pending_until(self, transaction_id: bytes) -> int | None:
        """`valid_until` (ms) of a transaction that waits here, else None."""

    def was_dropped(self, transaction_id: bytes) -> bool:
        """Whether a transaction that waited here waits no more, because its epoch has ended."""

    async def wait_committed(self, transaction_id: bytes, timeout_s: float) -> bool:
        """Whether the transaction is final, waiting up to `timeout_s` for it or its end."""

    async def simulate(self, raw: bytes) -> Receipt:
        """What would become of the transaction now. Raises `Refused` as submission would."""

    def note_read(self, reader: bytes, what: str) -> None:
        """Note a regulator's read before it is answered; raises `Refused` `READ_LOG_FAILED`."""

    def subscribe(self) -> asyncio.Queue[int]:
        """A bounded queue that receives each height as it becomes final; the oldest drop out."""

    def unsubscribe(self, queue: asyncio.Queue[int]) -> None:
        """End a subscription."""

    def status(self) -> Mapping[str, Any]:
        """Live facts for /v1/status (JSON view): view, leader, caught_up, …"""

    def peers(self) -> Sequence[Mapping[str, Any]]:
        """One entry for each known peer (JSON view)."""

    def mempool(self) -> Mapping[str, Any]:
        """Size and bytes of the mempool (JSON view); no content."""

    def evidence(self) -> Sequence[Mapping[str, Any]]:
        """Pairs of contradicting signed messages that this node holds (JSON view)."""

    def confirmations(self, height: int) -> Mapping[str, Any]:
        """Who confirmed and who dissented at a final height (JSON view)."""

    def health(self) -> Sequence[FailedCheck]:
        """Why the node is not ready; empty when it is."""

    def measurements(self) -> Mapping[str, float]:
        """Current figures by metric name without prefix, as listed in `node.http.metrics`."""
