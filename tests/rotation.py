"""Four real cores in memory whose committee rotates its key; nodes do their errands when told to.

Each starts with the founders' secret alone, and opens by itself what the chain brings.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from contracts.kernel.registry import accepted_epochs, newest_epoch
from node import outputs as io
from node.admission import Verdict, examine
from node.errands import Epochs
from node.housekeeping import Housekeeping
from node.protocol.committee import CommitteeSecret, NextEpoch, make_epoch
from node.protocol.encoding import Value
from node.protocol.sealing import EphemeralKey, EpochKey, Opener, seal_call
from node.protocol.transaction import Call, Transaction, parse_transaction, sign_transaction
from tests.sim.world import SECRET, epoch_key_of, key_of
from tests.test_engine import GENESIS, Cluster, transaction

FOUNDERS_SECRET = CommitteeSecret(
    epochs={1: epoch_key_of(1).secret}, privacy_key=SECRET.privacy_key
)
NAMES = tuple(entry.name for entry in GENESIS.validators)
KEYS = {name: key_of(name).public_key for name in NAMES}
FIRST = EpochKey(1, epoch_key_of(1).public_key)


class Errands:
    """What housekeeping needs of a driver: here the cluster stands behind it."""

    def __init__(self, cluster: Network, name: str) -> None:
        self.alarms: list[str] = []
        self.sent: list[Transaction] = []
        self._cluster = cluster
        self._name = name

    async def submit(self, raws: Sequence[bytes]) -> tuple[io.SubmitResult, ...]:
        sent = [parse_transaction(GENESIS.chain, raw) for raw in raws]
        self.sent += sent
        self._cluster.submit(self._name, *sent)
        return tuple(io.SubmitResult(one.id, "PENDING", "") for one in sent)

    def alarm(self, code: str, message: str) -> None:
        self.alarms.append(code)


class Network(Cluster):
    """Four founders whose nodes do their errands when told to."""

    def __init__(self) -> None:
        super().__init__(secret=FOUNDERS_SECRET)
        self.errands = {name: Errands(self, name) for name in NAMES}
        self.learned: dict[str, list[int]] = {name: [] for name in NAMES}
        self.kept: dict[str, dict[int, bytes]] = {name: {} for name in NAMES}
        self.housekeeping = {name: self.keeper(name) for name in NAMES}
        self._nonces = iter(range(1, 1_000_000))

    def keeper(self, name: str) -> Housekeeping:
        node, errands = self.nodes[name], self.errands[name]
        epochs = Epochs(
            KEYS[name],
            node.core.store,
            node.core.keyring,
            lambda number, _: self.learned[name].append(number),
            lambda number, wrap: self.kept[name].update({number: wrap}),
            errands.alarm,
        )
        return Housekeeping(
            GENESIS.chain,
            node.key,
            node.core.store,
            errands,
            (epochs,),
            lambda: node.height == max(self.heights),
            lambda: self.now_ms,
        )

    def look(self, *names: str) -> None:
        """These nodes see to what there is to do, by default all."""
        for name in names or NAMES:
            self.housekeeping[name].on_committed(self.nodes[name].height, ())
            asyncio.run(self.housekeeping[name].look())

    def call(self, sender: str, action: str, **args: Value) -> str:
        sent = transaction(sender, Call("kernel", action, dict(args)), self.now_ms + 300_000)
        self.submit("node0", sent)
        return self.code_of(sent)

    def decide(self, kind: str, epoch: NextEpoch, **more: Value) -> str:
        proposal = next(self._nonces).to_bytes(16, "big")
        asked: dict[str, Value] = {
            "proposal": proposal,
            "reason": "test",
            **epoch.arguments,
            **more,
        }
        code = self.call("chair", kind, **asked)
        return code if code != "OK" else self.call("deputy", "approve", proposal=proposal)

    def rotate(self, epoch: NextEpoch | None = None) -> EpochKey:
        """An epoch that all acknowledge."""
        epoch = epoch or self.next_epoch()
        assert self.decide("rotate_epoch", epoch) == "OK"
        self.look()
        assert self.accepted()[0] == epoch.number
        return EpochKey(epoch.number, epoch.public_key)

    def next_epoch(self, **forged: bytes) -> NextEpoch:
        """The next epoch for all; `forged` are other wraps by node."""
        number = newest_epoch(self.nodes["node0"].core.store).number + 1
        epoch = make_epoch(GENESIS.chain_id, number, KEYS.values())
        wraps = {**epoch.wraps, **{KEYS[name]: wrap for name, wrap in forged.items()}}
        return epoch._replace(wraps=wraps)

    def accepted(self, name: str = "node0") -> tuple[int, ...]:
        return accepted_epochs(self.nodes[name].core.store, self.now_ms)

    def sealed(self, epoch: EpochKey, sender: str = "gym") -> Transaction:
        """A filing sealed to an epoch."""
        key, nonce = key_of(sender), next(self._nonces).to_bytes(16, "big")
        until = self.now_ms + 300_000
        args = {"merchant": nonce, "name": "Gym", "custodian": key_of("bank").public_key}
        call = Call("prepaid", "file_merchant", args)
        place = (GENESIS.chain, epoch, key.public_key, nonce, until)
        sent = seal_call(*place, 0, call, EphemeralKey())
        return sign_transaction(GENESIS.chain, key, nonce, until, (sent,))

    def agree(self) -> None:
        """All that run have the same state."""
        heads = {
            (node.height, node.core.store.head.state_root)
            for name, node in self.nodes.items()
            if name not in self.down and not node.halted
        }
        assert len(heads) == 1

    def pooled(self) -> list[int]:
        return [len(node.core.engine.mempool) for node in self.nodes.values()]


def verdict_of(opener: Opener, sent: Transaction) -> Verdict:
    """What a node with these keys finds."""
    return examine(GENESIS.chain, opener, sent.raw)
