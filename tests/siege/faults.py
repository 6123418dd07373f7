"""The faults of a siege: what is done to the nodes, when, and for how long, by the seed's chance.

Every fault ends by itself, and several go on at once. Mostly no more nodes are harmed than may be
dead, so that work goes on; now and then many more, and then only safety is promised. A node is
harmed by one fault at a time, and may be killed again while it starts.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Coroutine, Sequence
from random import Random
from typing import Any

from client.local import NodeFailure
from tests.siege.field import Field
from tests.siege.topology import FAULT_KINDS, Topology

AT_ONCE_MAX = 3
BEYOND = 0.2
KILLED_AGAIN = 0.25
DOWN_S = (0.0, 3.0)
START_S = (0.0, 1.2)
PAUSE_S = (0.3, 8.0)
SPLIT_S = (1.0, 8.0)
LINE_S = (1.0, 10.0)
FULL_S = (0.5, 5.0)
DELAYS_S = (0.02, 0.1, 0.4)
RATES = (16_000.0, 64_000.0, 256_000.0)

Note = Callable[[str], None]


class Faults:
    """Harms `field` until told to stop. `counts` has how often each kind was done, and to whom."""

    def __init__(self, field: Field, topology: Topology, note: Note) -> None:
        self._field = field
        self._topology = topology
        self._chance = Random(f"faults {topology.seed}")
        self._note = note
        self._harmed: set[str] = set()
        self._going_on: set[asyncio.Task[None]] = set()
        self._split = False
        self.counts: Counter[str] = Counter()

    async def rage(self, stopping: asyncio.Event) -> None:
        """One fault after the other; a node that does not come back is remembered."""
        while not stopping.is_set():
            self._field.note_deserters(set(self._field.names) - self._harmed)
            if len(self._going_on) < AT_ONCE_MAX:
                (kind,) = self._chance.choices(FAULT_KINDS, self._topology.weights)
                work: Coroutine[Any, Any, None] = getattr(self, f"_{kind}")()
                task = asyncio.create_task(work, name=kind)
                self._going_on.add(task)
            for task in [one for one in self._going_on if one.done()]:
                self._going_on.discard(task)
                try:
                    task.result()
                except NodeFailure as failure:
                    self._field.deserters.append(str(failure))
            await asyncio.sleep(self._chance.uniform(*self._topology.pause_s))

    async def heal(self) -> None:
        """End everything: every node runs, every line is whole, every disk has room."""
        for task in self._going_on:
            task.cancel()
        for ending in await asyncio.gather(*self._going_on, return_exceptions=True):
            if isinstance(ending, NodeFailure):
                self._field.deserters.append(str(ending))
        self._field.links.clear()
        await asyncio.to_thread(self._field.unite)
        for name in self._field.names:
            self._field.fill_disk(name, full=False)
        self._field.resume(self._field.names)
        self._field.note_deserters(set(self._field.names) - self._harmed)
        await self._field.start(self._field.names)

    # ---- whom

    def _pick(self, most: int) -> list[str]:
        """Some nodes that nothing is done to now, mostly no more than may be dead in all."""
        free = [name for name in self._field.names if name not in self._harmed]
        voters = set(self._field.validators)
        spare = self._field.folder.genesis.validator_set.dead_max - len(self._harmed & voters)
        beyond = self._chance.random() < BEYOND
        self._chance.shuffle(free)
        picked: list[str] = []
        for name in free:
            if len(picked) == most:
                break
            if name in voters:
                if spare <= 0 and not beyond:
                    continue
                spare -= 1
            picked.append(name)
        return picked

    def _pair(self) -> tuple[str, str]:
        one, other = self._chance.sample(self._field.validators, 2)
        return one, other

    def _count(self, kind: str, victims: Sequence[str]) -> None:
        self.counts[kind] += 1
        self._note(f"{kind} {', '.join(victims)}")

    # ---- what

    async def _kill(self) -> None:
        await self._killed("kill", self._pick(1))

    async def _kill_several(self) -> None:
        most = self._chance.randint(2, len(self._field.names))
        await self._killed("kill_several", self._pick(most))

    async def _kill_all(self) -> None:
        free = [name for name in self._field.names if name not in self._harmed]
        await self._killed("kill_all", free)

    async def _killed(self, kind: str, victims: list[str]) -> None:
        """Down at once, up again one by one; perhaps killed while they start."""
        if not victims:
            return
        self._harmed |= set(victims)
        self._count(kind, victims)
        down, again = self._chance.uniform(*DOWN_S), self._chance.random() < KILLED_AGAIN
        soon = self._chance.uniform(*START_S)
        await self._kill_now(victims)
        await asyncio.sleep(down)
        if again:
            await self._field.begin(victims)
            await asyncio.sleep(soon)
            await self._kill_now(victims)
        await self._field.start(victims)
        self._harmed -= set(victims)

    async def _kill_now(self, victims: list[str]) -> None:
        self.counts["nodes killed"] += len(victims)
        await self._field.kill(victims)

    async def _restart(self) -> None:
        victims = self._pick(1)
        if victims:
            self._harmed |= set(victims)
            self._count("restart", victims)
            await self._field.stop(victims)
            await self._field.start(victims)
            self._harmed -= set(victims)

    async def _pause(self) -> None:
        victims = self._pick(self._chance.choice((1, 1, 2)))
        if victims:
            self._harmed |= set(victims)
            self._count("pause", victims)
            self._field.pause(victims)
            await asyncio.sleep(self._chance.uniform(*PAUSE_S))
            self._field.resume(victims)
            self._harmed -= set(victims)

    async def _full_disk(self) -> None:
        victims = self._pick(1)
        if victims:
            self._harmed |= set(victims)
            self._count("full_disk", victims)
            self._field.fill_disk(victims[0], full=True)
            await asyncio.sleep(self._chance.uniform(*FULL_S))
            self._field.fill_disk(victims[0], full=False)
            self._harmed -= set(victims)

    async def _partition(self) -> None:
        """Some on one side, all others on the other; who is dead meanwhile starts into it."""
        if self._split:
            return
        self._split = True
        names = self._field.names
        self._chance.shuffle(names)
        at = self._chance.randint(1, len(names) - 1)
        sides = [names[:at], names[at:]]
        self._count("partition", [" + ".join(sorted(side)) for side in sides])
        await asyncio.to_thread(self._field.split, sides)
        await asyncio.sleep(self._chance.uniform(*SPLIT_S))
        await asyncio.to_thread(self._field.unite)
        self._split = False

    async def _slow_line(self) -> None:
        one, other = self._pair()
        self._count("slow_line", (one, other))
        lines = [self._field.links.line(one, other), self._field.links.line(other, one)]
        for line in lines:
            line.seconds, line.rate = self._chance.choice(DELAYS_S), self._chance.choice(RATES)
        await asyncio.sleep(self._chance.uniform(*LINE_S))
        for line in lines:
            line.seconds = line.rate = 0.0

    async def _dead_line(self) -> None:
        await self._silence("dead_line", both=True)

    async def _one_way(self) -> None:
        await self._silence("one_way", both=False)

    async def _silence(self, kind: str, *, both: bool) -> None:
        """Nothing arrives any more, and nobody is told."""
        one, other = self._pair()
        self._count(kind, (one, other))
        lines = [self._field.links.line(one, other)]
        lines += [self._field.links.line(other, one)] if both else []
        for line in lines:
            line.flows.clear()
        await asyncio.sleep(self._chance.uniform(*LINE_S))
        for line in lines:
            line.flows.set()

    async def _disconnect(self) -> None:
        one, other = self._pair()
        self._count("disconnect", (one, other))
        self._field.links.break_off(one, other)
