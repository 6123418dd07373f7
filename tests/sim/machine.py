"""What a simulated node is made of besides its core: a key, disks, a clock, and their faults."""

from __future__ import annotations

from dataclasses import dataclass, field
from random import Random

from contracts.catalog import CONTRACTS
from node.core import Core, open_core
from node.protocol.genesis import Genesis
from node.protocol.keys import PrivateKey
from node.roster import Peers
from node.state.vault import Vault
from tests.sim.disk import SimDisk
from tests.sim.snapshots import MachineSnapshots
from tests.sim.world import SECRET, vault_of


@dataclass
class Machine:
    """What a node is made of besides its core.

    `clock_offset_ms` is how wrong its clock is, `slowness` how many times longer than usual its
    disk and its verifier take. One that is not `honest` keeps no promise, one that is not
    `admitted` to the network does not start. `given` are the peers that a newcomer is told of.
    One with `snapshots` makes, gives and takes them.
    """

    number: int
    key: PrivateKey
    state_disk: SimDisk
    vote_disk: SimDisk
    chance: Random
    clock_offset_ms: int = 0
    slowness: int = 1
    honest: bool = True
    admitted: bool = True
    given: Peers = field(default_factory=dict)
    snapshots: MachineSnapshots | None = None

    @property
    def vault(self) -> Vault:
        """Each machine has a storage key of its own."""
        return vault_of(f"node{self.number}")

    def has_written(self, signature: bytes) -> bool:
        """Whether a vote with this signature is where no crash can take it away."""
        votes = ((key, raw) for key, raw in self.vote_disk.durable() if key[:1] == b"v")
        return any(signature in self.vault.open(key, raw) for key, raw in votes)

    @property
    def disks(self) -> tuple[SimDisk, SimDisk]:
        """The disks of the state and of the votes."""
        return self.state_disk, self.vote_disk

    def open(self, genesis: Genesis) -> Core:
        """A core on what the disks hold."""
        made = self.snapshots
        for disk in self.disks:
            disk.reopen()
        place = (genesis, CONTRACTS, self.key, SECRET, self.vault, *self.disks)
        if made is None:
            return open_core(*place)
        return open_core(*place, shelf=made, staging=made.staging(self.vault))
