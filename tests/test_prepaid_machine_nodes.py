"""The random machine of prepaid cards once more, on four nodes that agree on every block.

Real keys, tickets and seals; each call enters at another node. After each block all nodes have one
state root, and the audit of one of them finds nothing.
"""

from __future__ import annotations

import json
from itertools import count
from typing import Any

from hypothesis import HealthCheck, settings

from contracts.catalog import CONTRACTS
from contracts.kernel import registry
from contracts.kernel.context import BlockInfo
from contracts.kernel.registry import Result, Viewer
from node.protocol.genesis import Genesis
from node.protocol.sealing import EpochKey, seal_call
from node.protocol.ticket import sign_ticket
from node.protocol.transaction import Call, sign_transaction
from tests.contracts.test_prepaid_machine import CLASS, POLICY, PrepaidMachine
from tests.contracts.world import FAR_MS, World
from tests.sim.world import Shape, ephemeral_of, found, key_of
from tests.test_engine import Cluster

STAFF = {
    "bank": "bank",
    "regulator": "regulator",
    "second regulator": "regulator",
    "merchant": "merchant",
    "other merchant": "merchant",
    "bookkeeper": "bookkeeper",
}
LIFETIME_MS = 300_000


def genesis() -> Genesis:
    """The simulator's, with this machine's people and policy."""
    content = found(Shape(size=4, more_than=2, base_ms=1_000, cap_ms=8_000)).model_dump(mode="json")
    content["identities"] = [
        {
            "name": name.replace(" ", "-"),
            "public_key": key_of(name).public_key.hex(),
            "roles": [role],
        }
        for name, role in STAFF.items()
    ]
    content["parameters"] = {
        "prepaid": {"allow_clear": False, "classes": [CLASS], "policy": POLICY}
    }
    return Genesis.parse(json.dumps(content))


class FourNodes(World):
    """The same world, but what it is asked to do goes through four engines."""

    def __init__(self) -> None:
        self.genesis = genesis()
        self.cluster = Cluster(genesis=self.genesis)
        self.contracts = CONTRACTS
        self.last = Result("OK", {}, (), ())
        self.proposals = 0
        self._numbers = count(1)
        self._epoch = EpochKey(1, self.genesis.epoch_key.public_key)

    @property
    def time_ms(self) -> int:  # type: ignore[override]
        """Header time: a block is made at once, or not at all."""
        return self.cluster.now_ms

    @property
    def store(self) -> Any:
        """The state of one node, another one each time."""
        nodes = list(self.cluster.nodes.values())
        return nodes[next(self._numbers) % len(nodes)].core.store

    def key(self, name: str) -> bytes:
        return key_of(name).public_key

    def advance(self, duration_ms: int) -> World:
        self.cluster.now_ms += duration_ms
        return self

    def send(
        self,
        sender: str,
        *calls: tuple[str, dict[str, Any]],
        contract: str = "prepaid",
        sealed: bool = True,
    ) -> Result:
        number = next(self._numbers)
        self.cluster.now_ms += 1
        nonce, until = number.to_bytes(16, "big"), self.cluster.now_ms + LIFETIME_MS
        chain, person = self.genesis.chain, key_of(sender)
        place = (chain, self._epoch, person.public_key, nonce, until)
        wire = tuple(
            seal_call(*place, index, Call(contract, action, args), ephemeral_of(sender))
            for index, (action, args) in enumerate(calls)
        )
        sent = sign_transaction(chain, person, nonce, until, wire)
        self.cluster.submit(f"node{number % 4}", sent)
        heads = {node.core.store.head for node in self.cluster.nodes.values()}
        assert len(heads) == 1, "the nodes do not agree"
        found_at = self.store.find(sent.id)
        if found_at is None:  # a stranger is refused at the door
            self.last = Result("UNAUTHORIZED", {}, (), ())
        else:
            receipt = self.store.receipts(found_at[0])[found_at[1]]
            self.last = Result(receipt.code, receipt.details, (), ())
        return self.last

    def ticket(self, signer: str, action: str, **terms: Any) -> dict[str, Any]:
        if "class_" in terms:
            terms["class"] = terms.pop("class_")
        terms = {"ticket_until": FAR_MS, **terms}
        signature = sign_ticket(self.genesis.chain, key_of(signer), "prepaid", action, terms)
        return {**terms, "ticket": signature}

    def ask(self, viewer: str | None, query: str, contract: str = "prepaid", **args: Any) -> Any:
        store = self.store
        asking = Viewer(None, frozenset())
        if viewer is not None:
            asking = registry.viewer_of(store, self.key(viewer))
        block = BlockInfo(store.head.height, self.time_ms, 1)
        return registry.query(CONTRACTS, store, block, asking, contract, query, args)

    def violations(self) -> list[str]:
        audits = registry.audit(CONTRACTS, self.store)
        return [text for audit in audits.values() for text in audit.violations]


class NodesMachine(PrepaidMachine):
    """Everybody trying everything, on four nodes."""

    def make_world(self) -> World:
        return FourNodes()


NodesMachine.TestCase.settings = settings(
    max_examples=6,
    stateful_step_count=25,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow],
)
TestPrepaidOnNodes = NodesMachine.TestCase
