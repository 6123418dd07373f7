"""A network in memory for contract tests: validators, two administrators, and what they decide."""

from __future__ import annotations

from typing import Any

from contracts.kernel import registry
from tests.contracts.world import World, id_of, key_of, root_of, signature_of

CHAIR, DEPUTY = "administrator", "second administrator"


class Network(World):
    """Four validators, two administrators, and short ways to say what they do."""

    def __init__(self, validators: int = 4, more_than: int = 2, time_scale: int = 1) -> None:
        super().__init__(validators=validators, more_than=more_than, time_scale=time_scale)
        self.proposals = 0
        self.epoch = 1

    def propose(self, kind: str, sender: str = CHAIR, **args: Any) -> str:
        """One proposal with an id of its own; the receipt's code."""
        self.proposals += 1
        named = {"proposal": id_of(f"proposal {self.proposals}"), "reason": "because"}
        return self.do(sender, kind, contract="kernel", **{**named, **args})

    def approve(self, sender: str = DEPUTY, proposal: int | None = None, **more: Any) -> str:
        """Approve the latest proposal, or that number."""
        number = self.proposals if proposal is None else proposal
        identity = id_of(f"proposal {number}")
        return self.do(sender, "approve", contract="kernel", proposal=identity, **more)

    def decide(self, kind: str, **args: Any) -> str:
        """Propose and approve; the first code that is not OK."""
        code = self.propose(kind, **args)
        return code if code != "OK" else self.approve()

    def admission(self, name: str) -> dict[str, Any]:
        """The arguments of admitting a node."""
        return {
            "node_key": key_of(name),
            "name": name,
            "address": f"{name}.example:7000",
            "tls_fingerprint": id_of(name) * 2,
            "epoch": self.epoch,
            "wrap": b"sealed",
        }

    def admit(self, name: str) -> None:
        """Let an observer in, which opens its wrap."""
        assert self.decide("admit_observer", **self.admission(name)) == "OK", self.last
        self.acknowledge(name)

    def ready(self, name: str, height: int | None = None, **other: Any) -> dict[str, Any]:
        """A node's signature over the state before the next block, or after `height`."""
        height = self.height if height is None else height
        terms = {"height": height, "root": root_of(height)}
        signature = signature_of(key_of(name), "kernel", "ready", terms)
        given = {
            "ready_height": height,
            "ready_root": root_of(height),
            "ready_signature": signature,
        }
        return {**given, **other}

    def acknowledge(self, *names: str) -> None:
        """Nodes hold the secret of the newest epoch."""
        args = {"epoch": self.epoch, "epoch_key": key_of(f"epoch {self.epoch}")}
        for name in names:
            assert self.do(name, "acknowledge_epoch", contract="kernel", **args) == "OK", self.last

    def next_epoch(self, without: str = "") -> dict[str, Any]:
        """The next epoch, for every node but one."""
        number = self.epoch + 1
        nodes = [
            node.public_key
            for node in registry.nodes_of(self.memory)
            if registry.wrap_of(self.memory, self.epoch, node.public_key) is not None
        ]
        return {
            "epoch": number,
            "epoch_key": key_of(f"epoch {number}"),
            "wraps": {node.hex(): b"sealed" for node in nodes if node != key_of(without)},
        }

    def add(self, name: str) -> str:
        """Propose and approve that an observer validates."""
        return self.decide("add_validator", node_key=key_of(name), **self.ready(name))

    def removal(self, name: str) -> dict[str, Any]:
        """The arguments of removing a validator."""
        return {"node_key": key_of(name), **self.next_epoch(without=name)}

    def swap(self, newcomer: str, replaced: str) -> dict[str, Any]:
        """The arguments of putting one node into the place of another."""
        keys = {"node_key": key_of(newcomer), "replaced": key_of(replaced)}
        return {**keys, **self.ready(newcomer), **self.next_epoch(without=replaced)}

    def remove(self, name: str) -> str:
        """Propose and approve that a validator goes."""
        code = self.decide("remove_validator", **self.removal(name))
        self.epoch += code == "OK"
        return code

    def members(self, height: int | None = None) -> list[str]:
        """The names of those who decide `height`, by default the next."""
        height = self.height + 1 if height is None else height
        names = {key_of(f"node{index}"): f"node{index}" for index in range(80)}
        return [names[key] for key in registry.next_validators(self.memory, height)[0]]

    def pass_blocks(self, count: int) -> None:
        """Let heights pass."""
        for _ in range(count):
            assert self.do("bank", "expire_pending", contract="kernel") == "OK"

    @property
    def why(self) -> Any:
        """What the last receipt gives as the reason."""
        return self.last.details.get("why")
