"""The live service: what it refuses before anything is spent on it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from node.mempool import Mempool
from node.outputs import SubmitResult
from node.protocol.errors import Refused
from node.protocol.transaction import Call
from node.service import LiveService
from tests.http.support import BANK, HOLDER, STRANGER, World

EXPIRE = Call("kernel", "expire_pending", {})


class Spy:
    """A driver and a verifier that note what reaches them."""

    def __init__(self) -> None:
        self.examined: list[bytes] = []
        self.refused_content = self.refused_room = 0
        self.mempool = Mempool()

    def observe(self, _: object) -> None:
        pass

    async def submit(self, raws: Sequence[bytes]) -> tuple[SubmitResult, ...]:
        self.examined += raws
        return tuple([SubmitResult(raw[-32:], "PENDING", "") for raw in raws])

    async def examine(self, raws: Sequence[bytes]) -> list[Any]:
        self.examined += raws
        raise AssertionError("a stranger's seals were opened")


@pytest.fixture
def world() -> World:
    return World()


def service_of(world: World, spy: Spy) -> LiveService:
    """The service over a world, with the spy in the place of driver and verifier."""
    settings = SimpleNamespace(name="node1", key=BANK, data=Path(), genesis=world.genesis)
    core = SimpleNamespace(store=world.store, engine=spy, executor=world.executor)
    parts: Mapping[str, object] = {
        "settings": settings,
        "query": world.query,
        "core": core,
        "driver": spy,
        "verifier": spy,
        "transport": None,
        "reads": None,
    }
    return LiveService(**cast(Any, parts))


async def test_strangers_are_refused_in_their_places_and_never_examined(world: World) -> None:
    known = [world.transaction(BANK, EXPIRE).raw for _ in range(2)]
    strange = world.transaction(STRANGER, EXPIRE, sealed=True).raw
    spy = Spy()
    results = await service_of(world, spy).submit([strange, known[0], strange, known[1]])
    assert [result.code for result in results] == [
        "UNAUTHORIZED",
        "PENDING",
        "UNAUTHORIZED",
        "PENDING",
    ]
    assert [results[1].transaction_id, results[3].transaction_id] == [raw[-32:] for raw in known]
    assert (spy.examined, spy.refused_content) == (known, 2)


async def test_strangers_alone_do_not_reach_the_driver(world: World) -> None:
    spy = Spy()
    (result,) = await service_of(world, spy).submit([world.transaction(STRANGER, EXPIRE).raw])
    assert (result.code, spy.examined) == ("UNAUTHORIZED", [])


async def test_who_sends_too_much_is_not_examined_either(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("node.mempool.SENDER_CALLS_MAX", 1)
    spy = Spy()
    spy.mempool.add(world.admit(world.transaction(BANK, EXPIRE).raw), world.now_ms)
    raws = [world.transaction(sender, EXPIRE).raw for sender in (BANK, HOLDER)]
    results = await service_of(world, spy).submit(raws)
    assert [result.code for result in results] == ["SENDER_LIMIT", "PENDING"]
    assert (spy.examined, spy.refused_room) == ([raws[1]], 1)


async def test_bytes_that_are_no_transaction_are_for_the_verifier_to_explain(world: World) -> None:
    spy = Spy()
    await service_of(world, spy).submit([b"nonsense"])
    assert spy.examined == [b"nonsense"]


async def test_strangers_simulate_nothing(world: World) -> None:
    spy = Spy()
    with pytest.raises(Refused) as caught:
        await service_of(world, spy).simulate(world.transaction(STRANGER, EXPIRE).raw)
    assert (caught.value.code, spy.examined) == ("UNAUTHORIZED", [])
