"""The measurements: saturation, latency at half of it, latency when idle, signature checks.

Each returns plain figures with their units in their names, ready for JSON. Every run ends with a
look at the cards: a purchase that is not booked exactly once spoils the run.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from typing import Any

from _bench.figures import percentile, steady_rate
from _bench.load import Load, Observer, Sender
from _bench.processes import machine, own_cpu_seconds, uses
from _bench.stage import Stage
from client.errors import NoQuorum
from client.local import LocalNode
from client.node_api import NodeApi
from node.protocol.errors import GroatError
from node.protocol.keys import PrivateKey, verify

SETTLE_SECONDS_MAX = 300.0
IDLE_PAUSE_SECONDS = 0.05
CHECK_SECONDS = 1.0
CHECK_KEYS = 64
SINGLE_SECONDS_MAX = 20.0
CATCH_UP_POLL_SECONDS = 0.5

Figures = dict[str, Any]


class Spoiled(GroatError):
    """A run did not do what it should have; its figures would mean nothing."""


async def saturation(
    stage: Stage, network: NodeApi, alive: Sequence[LocalNode], count: int
) -> Figures:
    """Settled transactions a second with as much load as is taken, and what that costs."""
    before = await stage.look(network)
    sender = Sender(network.connection, [node.http_url for node in alive])
    load = await Load.sign(stage, count, sender.lanes)
    observer = Observer(network, with_ids=False)
    listening = await observer.start()
    used, client, before_all = uses(alive), own_cpu_seconds(), machine()
    await sender.saturate(load, observer)
    settled = await observer.wait_settled(count, time.monotonic() + SETTLE_SECONDS_MAX)
    now, client, after_all = uses(alive), own_cpu_seconds() - client, machine()
    seconds = after_all.at - before_all.at
    listening.cancel()
    if not settled:
        raise NoQuorum("NOT_SETTLED", f"{observer.settled} of {count} settled in {seconds:.0f} s")
    await _check_booked(stage, network, before + count)
    rate = steady_rate(observer.blocks)
    cpu = {name: (now[name].cpu_seconds - used[name].cpu_seconds) / count for name in now}
    disk = {name: (now[name].disk_bytes - used[name].disk_bytes) / count for name in now}
    nodes_cpu = sum(cpu.values()) * count
    others = after_all.busy_seconds - before_all.busy_seconds - nodes_cpu - client
    return {
        "transactions": count,
        "nodes_alive": len(alive),
        "settled_per_second": round(rate.per_second),
        "steady_window_seconds": round(rate.seconds, 2),
        "steady_window_blocks": rate.blocks,
        "transactions_per_block": round(rate.transactions / rate.blocks) if rate.blocks else 0,
        "whole_run_per_second": round(count / seconds),
        "cpu_us_per_transaction_and_node": round(1e6 * sum(cpu.values()) / len(cpu)),
        "cpu_us_per_transaction_by_node": {n: round(1e6 * value) for n, value in cpu.items()},
        "client_cpu_us_per_transaction": round(1e6 * client / count),
        "cores_used_by_others": round(max(others, 0.0) / seconds, 2),
        "disk_bytes_per_transaction_and_node": round(sum(disk.values()) / len(disk)),
        "resident_mib_per_node": {n: round(one.resident_bytes / 2**20) for n, one in now.items()},
    }


async def latency(
    stage: Stage, network: NodeApi, alive: Sequence[LocalNode], per_second: float, seconds: float
) -> Figures:
    """Time from when each purchase is due to seeing its commit, at a fixed rate of sending."""
    before = await stage.look(network)
    sender = Sender(network.connection, [node.http_url for node in alive])
    count = max(int(per_second * seconds), 1)
    load = await Load.sign(stage, count, sender.lanes)
    observer = Observer(network, with_ids=True)
    listening = await observer.start()
    due_at = await sender.pace(load, per_second)
    deadline = time.monotonic() + SETTLE_SECONDS_MAX
    await observer.wait_settled(count, deadline)
    listening.cancel()
    await _check_booked(stage, network, before + count)
    took = [1000 * (observer.seen_at[one] - due) for one, due in due_at.items()]
    return {
        "transactions": count,
        "offered_per_second": round(per_second),
        "latency_p50_ms": round(percentile(took, 50), 1),
        "latency_p90_ms": round(percentile(took, 90), 1),
        "latency_p99_ms": round(percentile(took, 99), 1),
        "latency_max_ms": round(max(took), 1),
    }


async def idle_latency(stage: Stage, network: NodeApi, count: int) -> Figures:
    """One purchase at a time: from sending to the answer that says it is final."""
    before = await stage.look(network)
    took = []
    visits = [visit for _, visit in stage.visits(count)]
    for signed in await stage.signing.visits(visits):
        transaction = network.decode(signed.raw)
        started = time.monotonic()
        outcome = await network.submit(transaction, timeout_seconds=SINGLE_SECONDS_MAX)
        outcome.require()
        took.append(1000 * (time.monotonic() - started))
        time.sleep(IDLE_PAUSE_SECONDS)  # noqa: ASYNC251  nothing else runs: the network is idle
    await _check_booked(stage, network, before + count)
    return {
        "transactions": count,
        "latency_p50_ms": round(percentile(took, 50), 1),
        "latency_p99_ms": round(percentile(took, 99), 1),
    }


async def catch_up(stage: Stage, network: NodeApi, late: LocalNode) -> Figures:
    """Start the dead node: how fast it executes the blocks that it missed, on the idle network."""
    await asyncio.to_thread(stage.local.start, [late.name])
    target = int((await network.status())["height"])
    deadline = time.monotonic() + SETTLE_SECONDS_MAX
    while int((status := await network.status(late.http_url))["height"]) < target:
        if time.monotonic() > deadline:
            raise NoQuorum("NOT_CAUGHT_UP", f"{late.name} is at {status['height']} of {target}")
        await asyncio.sleep(CATCH_UP_POLL_SECONDS)
    run = status["sync"]["blocks"]
    return {name: int(value) for name, value in run.items()}


def signature_checks() -> Figures:
    """How many signatures one core checks, by the code that the nodes use, keys parsed before."""
    digest = bytes(range(32))
    keys = [PrivateKey.generate() for _ in range(CHECK_KEYS)]
    signed = [(key.public_key, key.sign(digest)) for key in keys]
    checks, started = 0, time.process_time()
    while (seconds := time.process_time() - started) < CHECK_SECONDS:
        for public_key, signature in signed:
            verify(public_key, digest, signature)
        checks += len(signed)
    return {
        "per_cpu_second": round(checks / seconds),
        "us_per_check": round(1e6 * seconds / checks, 1),
    }


async def _check_booked(stage: Stage, network: NodeApi, expected: int) -> None:
    booked = await stage.look(network)
    if booked != expected:
        raise Spoiled("NOT_BOOKED", f"{booked} purchases are booked where {expected} were sent")
