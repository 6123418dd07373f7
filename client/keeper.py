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
from node.protocol.json_view import integer_from_json
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

        A page is sent only if a dry run says that there is something to do. Where an answer names
        the `next` page, that is the `cursor` to go on from.
        """
        args = dict(sweep.args)
        sent = 0
        for _ in range(PAGES_MAX):
            call = Call(sweep.contract, sweep.action, args)
            transaction = await self._network.build(self._key, [call])
            answer = (await self._network.simulate(transaction, self._key)).require().details
            has_work = _has_work(answer)
            if has_work:
                answer = (await self._network.submit(transaction)).require().details
                sent += 1
            if answer.get("done", True) or not (has_work or "next" in answer):
                break
            if "next" in answer:
                args["cursor"] = integer_from_json(answer["next"], "next")
        return sent


def _has_work(details: dict[str, object]) -> bool:
    """Whether an answer counts anything, besides saying whether it is `done` or what is `next`."""
    return any(value != "0" for name, value in details.items() if name not in ("done", "next"))
