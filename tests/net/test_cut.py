"""Cut lines: to both ends the other one is gone, until the line is mended; nobody is at fault."""

from __future__ import annotations

import asyncio

from node.protocol.messages import Head
from tests.net.support import Network, all_connected, introduce, until


async def test_a_cut_line_carries_nothing_and_is_mended_at_once(network: Network) -> None:
    nodes = [await network.node(index) for index in range(3)]
    introduce(*nodes)
    await all_connected(*nodes)
    a, b, c = nodes
    a.transport.cut([b.public_key])
    b.transport.cut([a.public_key])
    await until(lambda: a.transport.connected == b.transport.connected == (c.public_key,))
    assert a.about(b).cut
    assert not a.about(c).cut
    await asyncio.sleep(0.2)
    assert a.transport.connected == (c.public_key,)
    assert not a.transport.send(b.public_key, Head(1))
    assert a.about(b).last_ending in ("CUT", "LOST")
    for node in (a, b):
        node.transport.cut(())
    await all_connected(*nodes)
    assert not a.about(b).cut


async def test_one_end_that_knows_of_the_cut_is_enough(network: Network) -> None:
    nodes = [await network.node(index) for index in range(2)]
    introduce(*nodes)
    await all_connected(*nodes)
    a, b = nodes
    a.transport.cut([b.public_key])
    await until(lambda: not a.transport.connected and not b.transport.connected)
    await asyncio.sleep(0.2)
    assert not b.transport.connected
    a.transport.cut(())
    await all_connected(a, b)  # neither was blamed: nobody waits for longer than a redial


async def test_who_becomes_a_peer_later_may_be_cut_off_already(network: Network) -> None:
    a, b = [await network.node(index) for index in range(2)]
    a.transport.cut([b.public_key])
    introduce(a, b)
    await asyncio.sleep(0.2)
    assert not a.transport.connected
    a.transport.cut(())
    await all_connected(a, b)
