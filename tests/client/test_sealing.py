"""Sealing: to the epoch that the chain proves, by an exchange key of as long as one chose."""

from __future__ import annotations

from client.node_api import NodeApi
from contracts.kernel.anchors import ReadAnchor
from contracts.kernel.epochs import Epoch
from node.protocol.anchors import AnchorRecord
from node.protocol.committee import EpochRecord
from node.protocol.transaction import Call, SealedCall
from tests.client.support import Node
from tests.http.support import HOLDER, World

CALL = Call("prepaid", "consume", {"card": bytes(16), "amt": 1, "seq": 1})


def test_the_client_reads_records_as_the_contract_writes_them() -> None:
    assert EpochRecord.__struct_fields__ == Epoch.__struct_fields__
    assert AnchorRecord.__struct_fields__ == ReadAnchor.__struct_fields__


def test_when_an_epoch_has_ended() -> None:
    current = EpochRecord(3, b"", 0, 9, 600, 2, 1_000)
    assert [current.has_ended(number, 999) for number in (1, 2, 3, 4)] == [
        True,
        False,
        False,
        False,
    ]
    assert [current.has_ended(number, 1_000) for number in (1, 2, 3)] == [True, True, False]


async def test_an_exchange_key_for_each_transaction(world: World, node: Node) -> None:
    world.open_shop()
    async with NodeApi(world.genesis, [node.url], exchange_ms=0) as api:
        used = [
            call.ephemeral
            for _ in range(2)
            for call in (await api.build(HOLDER, [CALL])).body.calls
            if isinstance(call, SealedCall)
        ]
    assert len(set(used)) == 2
