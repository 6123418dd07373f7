"""Turns: readers leave the loop to consensus, however many they are."""

from __future__ import annotations

import asyncio
import itertools
import time

from node.http.api import ROUTES
from node.http.routing import REST, Turn
from tests.http.conftest import Api
from tests.http.support import World

WORK_S = 0.01


async def test_answers_are_made_one_by_one_with_rests_between() -> None:
    turn, began = Turn(), []

    def work() -> None:
        began.append(time.monotonic())
        time.sleep(WORK_S)

    async def answer() -> None:
        async with turn:
            work()

    await asyncio.gather(*[answer() for _ in range(5)])
    gaps = [later - earlier for earlier, later in itertools.pairwise(began)]
    assert min(gaps) >= WORK_S * (1 + REST) * 0.9


async def test_a_process_that_was_stopped_does_not_rest_for_as_long() -> None:
    turn = Turn()
    async with asyncio.timeout(5):
        async with turn:
            turn._began -= 3_600
        async with turn:
            pass


async def test_a_failed_answer_ends_its_turn(api: Api, world: World) -> None:
    for _ in range(3):
        assert await api.code("GET", "/v1/blocks/99", 404) == "NOT_FOUND"
    world.commit()
    async with asyncio.timeout(5):
        assert len((await api.get("/v1/blocks"))["items"]) == 1


def test_only_what_waits_or_must_not_wait_takes_no_turn() -> None:
    free = {route.operation for route in ROUTES if not route.in_turn}
    posts = {route.operation for route in ROUTES if route.method == "POST"}
    assert free == posts | {"getTransaction", "streamEvents", "getLivez", "getReadyz"}
