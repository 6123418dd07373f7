"""The keeper: sends the sweeps that anybody may send, so that what has expired is also booked.

Expiry counts whether or not somebody sweeps; a sweep only tidies up, page by page. A sweep is an
action whose answer says under `done` whether there is more. The keeper decides nothing.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import NamedTuple

import structlog

from client.errors import ClientError
from client.node_api import NodeApi
from node.protocol.encoding import Value
from node.protocol.keys import PrivateKey
from node.protocol.transaction import Call

PAGES_MAX = 1_000

log = structlog.get_logger("keeper")


class Sweep(NamedTuple):
    """A paged action that anybody may send; `args` are those of each page."""

    contract: str
    action: str
    args: dict[str, Value]


class Keeper:
    """Sweeps every `interval_seconds` until it is cancelled."""

    def __init__(
        self,
        network: NodeApi,
        key: PrivateKey,
        sweeps: Sequence[Sweep],
        interval_seconds: float,
    ) -> None:
        self._network = network
        self._key = key
        self._sweeps = tuple(sweeps)
        self._interval_seconds = interval_seconds

    async def run(self) -> None:
        """Endless."""
        while True:
            for sweep in self._sweeps:
                try:
                    pages = await self.sweep(sweep)
                    log.info("swept", contract=sweep.contract, action=sweep.action, pages=pages)
                except ClientError as failure:
                    log.warning("again", action=sweep.action, why=str(failure))
            await asyncio.sleep(self._interval_seconds)

    async def sweep(self, sweep: Sweep) -> int:
        """All pages of one sweep; how many it were. Raises `ClientError`.

        Nothing is sent while a dry run says that there is nothing to do.
        """
        for page in range(PAGES_MAX):
            call = Call(sweep.contract, sweep.action, sweep.args)
            transaction = self._network.build(self._key, [call])
            planned = (await self._network.simulate(transaction, self._key)).require()
            if not _has_work(planned.details):
                return page
            outcome = (await self._network.submit(transaction)).require()
            if outcome.details.get("done", True):
                return page + 1
        return PAGES_MAX


def _has_work(details: dict[str, object]) -> bool:
    """Whether an answer counts anything, besides saying whether it is `done`."""
    return any(value != "0" for name, value in details.items() if name != "done")
