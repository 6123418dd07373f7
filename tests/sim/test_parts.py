"""The simulator's own parts: a disk that forgets as disks do, time that does not lie."""

from __future__ import annotations

from collections import Counter
from random import Random

import pytest

from node.protocol.messages import Head, Message
from tests.sim import scheduler as scheduling
from tests.sim.disk import PowerCut, SimDisk
from tests.sim.network import Network, Weather
from tests.sim.scheduler import Scheduler, Storm


def test_what_is_due_at_the_same_time_happens_in_the_order_of_scheduling() -> None:
    scheduler = Scheduler(1_000)
    seen: list[tuple[int, str]] = []
    for name, delay_ms in (("late", 20), ("first", 5), ("second", 5)):
        scheduler.after(delay_ms, lambda name=name: seen.append((scheduler.now_ms, name)))  # type: ignore[misc]
    assert not scheduler.run_until(1_010)
    assert seen == [(1_005, "first"), (1_005, "second")]
    assert scheduler.run_until(2_000, lambda: len(seen) == 3)
    assert scheduler.now_ms == 1_020


def test_endless_chatter_is_a_storm(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scheduling, "EVENTS_MAX", 100)
    scheduler = Scheduler(0)

    def chatter() -> None:
        scheduler.after(0, chatter)

    chatter()
    with pytest.raises(Storm):
        scheduler.run_until(1)


def test_a_crash_leaves_a_prefix_of_what_was_not_synced() -> None:
    kept = set()
    for seed in range(50):
        disk = SimDisk(Random(seed))
        disk.write([(b"a", b"0"), (b"z", b"26")], sync=True)
        disk.write([(b"a", b"1"), (b"b", b"1")], sync=False)
        disk.write([(b"a", b"2"), (b"z", None)], sync=False)
        disk.lose_power()
        kept.add(tuple(disk.iterate(b"", b"\xff")))
    assert kept == {
        ((b"a", b"0"), (b"z", b"26")),
        ((b"a", b"1"), (b"b", b"1"), (b"z", b"26")),
        ((b"a", b"2"), (b"b", b"1")),
    }


def test_a_sync_makes_durable_what_was_written_before() -> None:
    disk = SimDisk(Random(0))
    disk.write([(b"a", b"vote one")], sync=False)
    assert list(disk.durable()) == []
    disk.write([(b"b", b"vote two")], sync=True)
    assert list(disk.durable()) == [(b"a", b"vote one"), (b"b", b"vote two")]
    disk.lose_power()
    assert (disk.get(b"a"), disk.get(b"b"), disk.lost) == (b"vote one", b"vote two", 0)


def test_the_write_that_a_power_cut_interrupts_is_whole_or_absent() -> None:
    found = set()
    for seed in range(20):
        disk = SimDisk(Random(seed))
        disk.cut_power_after(1)
        disk.write([(b"a", b"1")], sync=True)
        with pytest.raises(PowerCut):
            disk.write([(b"b", b"2"), (b"c", b"3")], sync=True)
        disk.lose_power()
        found.add(tuple(key for key, _ in disk.iterate(b"", b"\xff")))
    assert found == {(b"a",), (b"a", b"b", b"c")}


def carried(weather: Weather, cut: bool = False) -> list[int]:
    """The heights that arrive at node 1 when node 0 sends 200 of them in turn."""
    scheduler = Scheduler(0)
    arrived: list[int] = []

    def deliver(to: int, source: int, message: Message) -> None:
        assert (to, source) == (1, 0)
        assert isinstance(message, Head)
        arrived.append(message.height)

    network = Network(
        range(2), scheduler, Random(7), Counter(), deliver, lambda *_: None, lambda _: True
    )
    network.dial(0)
    scheduler.run_until(100)
    network.weather = weather
    if cut:
        network.cut.add((0, 1))
    for height in range(200):
        network.send(0, [1], Head(height))
    scheduler.run_until(10_000)
    return arrived


def test_the_weather_decides_what_arrives() -> None:
    everything = list(range(200))
    assert carried(Weather(in_order=True)) == everything
    mixed = carried(Weather(in_order=False, delay_ms_max=50))
    assert mixed != everything
    assert sorted(mixed) == everything
    assert 100 < len(carried(Weather(loss=0.2))) < 200
    assert len(carried(Weather(duplication=0.5))) > 250
    assert carried(Weather(), cut=True) == []


def test_what_is_under_way_dies_with_its_connection() -> None:
    scheduler = Scheduler(0)
    arrived: list[Message] = []
    told: list[tuple[int, int, bool]] = []
    network = Network(
        range(2),
        scheduler,
        Random(0),
        Counter(),
        lambda _to, _source, message: arrived.append(message),
        lambda node, peer, connected: told.append((node, peer, connected)),
        lambda _: True,
    )
    network.send(0, [1], Head(1))
    network.dial(0)
    scheduler.run_until(100)
    network.send(0, [1], Head(2))
    network.break_off(0, 1)
    assert network.peers_of(0) == []
    scheduler.run_until(2_000)
    network.send(0, [1], Head(3))
    scheduler.run_until(3_000)
    assert arrived == [Head(3)]
    ups_and_downs = [(0, 1, True), (1, 0, True), (0, 1, False), (1, 0, False)]
    assert told == [*ups_and_downs, *ups_and_downs[:2]]
