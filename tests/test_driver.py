"""The driver's door: what one peer sends must not keep the others, or a proposal's bodies, out."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any, cast

from node.core import Core
from node.driver import INBOX_MAX, Driver
from node.examination import LANE_TRANSACTIONS_MAX
from node.protocol.encoding import sha256
from node.protocol.messages import Head, Transactions

LIAR, HONEST = b"liar", b"honest"
PATIENCE_S = 2.0


class Idle:
    """An engine that holds nothing and lacks the bodies of `wanted`."""

    def __init__(self) -> None:
        self.mempool: set[bytes] = set()
        self.wanted: set[bytes] = set()
        self.sync = None


def idle_driver(engine: Idle) -> Driver:
    """A driver whose queues nobody empties."""
    nothing = cast(Any, None)
    core = Core(cast(Any, engine), *(nothing,) * 8)
    return Driver(core, nothing, lambda: 1 << 40)


def run(scenario: Coroutine[Any, Any, None]) -> None:
    """Run one scenario in a loop of its own."""
    asyncio.run(asyncio.wait_for(scenario, 5 * PATIENCE_S))


def test_a_peer_that_floods_keeps_nobody_waiting() -> None:
    async def scenario() -> None:
        driver = idle_driver(Idle())

        async def flood() -> None:
            for height in range(INBOX_MAX + 1):
                await driver.on_message(LIAR, Head(height))

        flooding = asyncio.create_task(flood())
        await asyncio.sleep(0.2)
        await asyncio.wait_for(driver.on_message(HONEST, Head(1)), PATIENCE_S)
        flooding.cancel()

    run(scenario())


def test_a_flood_of_transactions_does_not_keep_out_what_a_proposal_lacks() -> None:
    async def scenario() -> None:
        engine = Idle()
        driver = idle_driver(engine)
        body, seen = b"the missing one", b"queued already"
        await driver.on_message(LIAR, Transactions((seen,)))
        for number in range(LANE_TRANSACTIONS_MAX // 250 + 1):
            junk = tuple(b"%d/%d" % (number, place) for place in range(250))
            await driver.on_message(LIAR, Transactions(junk))
        engine.wanted = {sha256(b"\x00" + body), sha256(b"\x00" + seen)}
        for _ in range(2):
            await driver.on_message(HONEST, Transactions((b"other", body, seen)))
        first = driver.examination.take(250)
        assert [item.raw for item in first[:2]] == [body, seen]
        assert first[2].origin == LIAR

    run(scenario())
