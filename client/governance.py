"""Governing a network as its administrators: one proposes, another approves, and blocks pass.

For hosts that hold the keys of two administrators, as dev networks do; elsewhere each sends its own
call with `groat call kernel …`. What may be decided is the contract's business.
"""

from __future__ import annotations

import asyncio
import secrets
import time
from collections.abc import Callable, Mapping
from typing import Any

from client.connection import Request
from client.errors import ClientError, Pending, Unreachable
from client.node_api import NodeApi
from client.outcomes import Json, Outcome
from client.wallet import Wallet
from node.protocol.encoding import Value
from node.protocol.errors import Misconfigured
from node.protocol.genesis import Genesis
from node.protocol.keys import PrivateKey
from node.protocol.transaction import Call
from node.protocol.validators import ValidatorSet

KERNEL = "kernel"
ADMINISTRATOR = "administrator"
PROPOSAL_BYTES = 16
NODES_MAX = 100
SUBMIT_SECONDS = 60.0
STEP_SECONDS_MAX = 120.0
READY_SECONDS_MAX = 30.0
PROGRESS_SECONDS = 2.0
POLL_SECONDS = 0.3
# Blocks go on coming between one question and the next.
LAG_HEIGHTS_MAX = 5

Progress = Callable[[str], None]


class Administrators:
    """Two administrators of one network, acting through `api`."""

    def __init__(self, api: NodeApi, proposer: PrivateKey, approver: PrivateKey) -> None:
        self._api = api
        self._proposer = proposer
        self._approver = approver

    async def decide(
        self,
        kind: str,
        reason: str,
        args: Mapping[str, Value],
        newer: Callable[[], Any] | None = None,
    ) -> Outcome:
        """Propose and approve; the approval's outcome. Raises `Rejected` with a refusal's code.

        `newer` is awaited for further arguments of the approval.
        """
        proposal = secrets.token_bytes(PROPOSAL_BYTES)
        await self._call(self._proposer, kind, {**args, "proposal": proposal, "reason": reason})
        more = {} if newer is None else await newer()
        return await self._call(self._approver, "approve", {"proposal": proposal, **more})

    async def pass_a_block(self) -> None:
        """Send a call that changes nothing: on an idle network no block comes by itself."""
        await self._call(self._proposer, "expire_pending", {"limit": 1})

    async def _call(self, key: PrivateKey, action: str, args: Mapping[str, Value]) -> Outcome:
        transaction = await self._api.build(key, [Call(KERNEL, action, dict(args))], sealed=False)
        outcome = await self._api.submit(transaction, timeout_seconds=SUBMIT_SECONDS)
        if outcome.final:
            # Why something was refused is for its sender alone.
            outcome = await self._api.verified.outcome(transaction.id, viewer=key)
        return outcome.require()


def administrator_keys(genesis: Genesis, wallet: Wallet) -> tuple[PrivateKey, PrivateKey]:
    """The keys of the first two administrators that this host holds; raises `Misconfigured`."""
    names = [one.name for one in genesis.identities if ADMINISTRATOR in one.roles]
    held = [name for name in names if wallet.has(name)]
    if len(held) < 2:
        raise Misconfigured(
            "NO_ADMINISTRATORS",
            "this needs the keys of two administrators in one folder; where they are on different "
            "hosts, one proposes and the other approves, with `groat call kernel …`",
        )
    return wallet.open(held[0]), wallet.open(held[1])


async def listed_nodes(api: NodeApi) -> list[Json]:
    """The nodes that may connect, as one node says."""
    answer = await api.query(KERNEL, "nodes", {"limit": NODES_MAX})
    items: list[Json] = answer["result"]["items"]
    return items


async def ready_proof(api: NodeApi, url: str) -> dict[str, Value]:
    """A node's signature over the state that it has reached, as arguments."""
    deadline = time.monotonic() + READY_SECONDS_MAX
    while not isinstance(ready := (await api.status(url)).get("ready"), dict):
        # Under load a node may be a block behind at the moment of asking.
        if time.monotonic() > deadline:
            raise Unreachable("NOT_READY", f"{url} is not ready to validate")
        await asyncio.sleep(POLL_SECONDS)
    return {
        "ready_height": int(ready["height"]),
        "ready_root": bytes.fromhex(ready["root"]),
        "ready_signature": bytes.fromhex(ready["signature"]),
    }


async def until_caught_up(api: NodeApi, url: str, progress: Progress) -> int:
    """Wait until the node at `url` has all that the others have; its height.

    It may take as long as it needs, but must move: raises `Pending` if it stands still.
    """
    last: object = None
    deadline, told = time.monotonic() + STEP_SECONDS_MAX, 0.0
    while True:
        try:
            status = await api.status(url)
        except ClientError:
            status = {}  # it is down for a moment where it begins anew on a snapshot
        height, others = int(status.get("height", -1)), await _highest(api, url)
        if status.get("caught_up") and height + LAG_HEIGHTS_MAX >= others:
            return height
        now, here = time.monotonic(), (height, _snapshot_of(status))
        if here != last and height >= 0:
            last, deadline = here, now + STEP_SECONDS_MAX
            if now - told > PROGRESS_SECONDS:
                told = now
                progress(_way(status, others))
        if now > deadline:
            raise Pending("STUCK", f"{url} stands still at height {height} of {others}")
        await asyncio.sleep(POLL_SECONDS)


def fetched_at(status: Json) -> str:
    """At which speed a node fetched blocks when it last did, in words; empty if it never did."""
    sync = status.get("sync")
    blocks = sync.get("blocks") if isinstance(sync, dict) else None
    if not isinstance(blocks, dict):
        return ""
    return f"{blocks['blocks_per_second']} blocks/s, {blocks['transactions_per_second']} tx/s"


def _snapshot_of(status: Json) -> Json | None:
    sync = status.get("sync")
    snapshot = sync.get("snapshot") if isinstance(sync, dict) else None
    return snapshot if isinstance(snapshot, dict) else None


def _way(status: Json, others: int) -> str:
    """How far a node is, in words."""
    snapshot = _snapshot_of(status)
    if snapshot is None:
        speed = fetched_at(status)
        return f"at height {status['height']} of {others}" + (f", {speed}" if speed else "")
    of = f" of {snapshot['total']}" if snapshot["total"] != "0" else ""
    what = f"the snapshot of block {snapshot['height']}"
    return f"fetching {what}: {snapshot['part']} {snapshot['done']}{of}"


async def until_voting(api: NodeApi, boss: Administrators, url: str, node: str) -> int:
    """Let blocks pass until the node's own seal is on one; that block's height."""
    deadline = time.monotonic() + STEP_SECONDS_MAX
    while time.monotonic() < deadline:
        await boss.pass_a_block()
        block = await api.connection.ask(Request("GET", "/v1/blocks/latest"), url)
        seals = block.body["certificate"]["seals"]
        if any(seal["signer"] == node for seal in seals):
            return int(block.body["header"]["height"])
        await asyncio.sleep(POLL_SECONDS)
    raise Pending("STUCK", f"{url} is a validator and no block bears its seal yet")


async def until_removed(api: NodeApi, boss: Administrators, node: str) -> None:
    """Let blocks pass until the node decides no more heights."""
    deadline = time.monotonic() + STEP_SECONDS_MAX
    while time.monotonic() < deadline:
        if node not in await members(api):
            return
        await boss.pass_a_block()
    raise Pending("STUCK", "the node is still a validator")


async def members(api: NodeApi) -> list[str]:
    """The public keys of the next height's validators, as one node says."""
    answer = await api.get("/v1/validators")
    return [str(item["public_key"]) for item in answer["items"]]


async def check_enough_alive(api: NodeApi, leaving: str) -> None:
    """Raise `Misconfigured` `QUORUM_LOW` if those who remain and answer could not decide."""
    answer = await api.get("/v1/validators")
    remaining = [item["public_key"] for item in answer["items"] if item["public_key"] != leaving]
    left = ValidatorSet(
        tuple(bytes.fromhex(one) for one in remaining), int(answer["confirmations_more_than"])
    )
    statuses = (await api.statuses()).values()
    alive = {one["node_key"] for one in statuses if isinstance(one, dict) and one.get("caught_up")}
    count = len(alive & set(remaining))
    if count < left.quorum:
        raise Misconfigured(
            "QUORUM_LOW",
            f"{left.quorum} of the {left.size} remaining validators must agree and only {count} "
            "are up; start the others first",
        )


async def _highest(api: NodeApi, url: str) -> int:
    statuses = await api.statuses()
    heights = [
        int(one["height"])
        for other, one in statuses.items()
        if isinstance(one, dict) and other != url
    ]
    return max(heights, default=0)
