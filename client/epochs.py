"""The committee's next epoch: making its key and wraps, and waiting until it is in force.

The secret exists only while it is sealed to the nodes, here in memory. Whoever makes it could have
kept it: this is work for the host of a node, whose operator holds the committee's secrets anyway.
"""

from __future__ import annotations

import asyncio
import time

from client.errors import Pending, Unreachable
from client.governance import KERNEL, POLL_SECONDS, Administrators, Progress, listed_nodes
from client.node_api import NodeApi
from client.outcomes import Json
from node.protocol.committee import NextEpoch, make_epoch

ACKNOWLEDGING_SECONDS = 30.0


async def prepare_epoch(api: NodeApi, without: str = "") -> NextEpoch:
    """The epoch after the newest one, for the nodes that hold that one and are still listed.

    `without` is the public key in hex of a node that shall not get it.
    """
    newest = await show_epoch(api)
    listed = [one["public_key"] for one in await listed_nodes(api)]
    holders = [one["node_key"] for one in newest["holders"]]
    nodes = [bytes.fromhex(one) for one in holders if one in listed and one != without]
    return make_epoch(api.chain.chain_id, int(newest["epoch"]) + 1, nodes)


async def rotate_epoch(
    api: NodeApi,
    boss: Administrators,
    reason: str,
    note: Progress,
    patience_seconds: float = ACKNOWLEDGING_SECONDS,
) -> Json:
    """Bring the next epoch and wait until it is in force; it as a query shows it.

    Raises `Rejected`, or `Pending` naming the validators that have not acknowledged.
    """
    epoch = await prepare_epoch(api)
    await boss.decide("rotate_epoch", reason, epoch.arguments)
    note(f"epoch {epoch.number} is known to the nodes")
    return await until_in_force(api, epoch.number, note, patience_seconds)


async def until_in_force(
    api: NodeApi, number: int, note: Progress, patience_seconds: float = ACKNOWLEDGING_SECONDS
) -> Json:
    """Wait for the acknowledgements, which the nodes send by themselves; raises `Pending`."""
    names = {one["public_key"]: one["name"] for one in await listed_nodes(api)}
    told: set[str] = set()
    deadline = time.monotonic() + patience_seconds
    while True:
        shown = await show_epoch(api, number)
        for one in shown["holders"]:
            key, height = one["node_key"], one["acknowledged"]
            if height != "0" and key not in told:
                told.add(key)
                note(f"{names.get(key, key)} acknowledged it in block {height}")
        if shown["first_height"] != "0":
            note(f"calls are sealed to epoch {number} from block {shown['first_height']} on")
            return shown
        if time.monotonic() > deadline:
            missing = ", ".join(names.get(key, key) for key in shown["missing"])
            raise Pending(
                "NOT_ACKNOWLEDGED",
                f"epoch {number} waits for {missing}: start it, or remove it from the validators",
            )
        await asyncio.sleep(POLL_SECONDS)


async def until_acknowledged(api: NodeApi, node: str) -> None:
    """Wait until a node, by its key in hex, has acknowledged the newest epoch.

    Raises `Pending`.
    """
    deadline = time.monotonic() + ACKNOWLEDGING_SECONDS
    while time.monotonic() < deadline:
        holders = (await show_epoch(api))["holders"]
        if any(one["node_key"] == node and one["acknowledged"] != "0" for one in holders):
            return
        await asyncio.sleep(POLL_SECONDS)
    raise Pending("NOT_ACKNOWLEDGED", "the node does not acknowledge the epoch; see its log")


async def show_epoch(api: NodeApi, number: int | None = None) -> Json:
    """An epoch, by default the newest one, as one node says."""
    answer = await api.query(KERNEL, "epoch", {} if number is None else {"epoch": number})
    result = answer.get("result")
    if not isinstance(result, dict):
        raise Unreachable("BAD_ANSWER", "a node told nothing of the epoch")
    return result
