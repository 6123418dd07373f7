"""What a simulated node needs of the world around it, as it sees it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Protocol

from node import outputs as io
from node.protocol.errors import StoreFailure
from node.protocol.messages import Message

if TYPE_CHECKING:
    from tests.sim.node import SimNode


class Network(Protocol):
    """What a node needs of the network."""

    def send(self, source: int, targets: Sequence[int], message: Message) -> None:
        """Send one message to some nodes."""

    def peers_of(self, node: int) -> list[int]:
        """The nodes that it is connected with."""

    def dial(self, node: int, delay_ms: int = 0) -> None:
        """Connect a node that came up with everybody else."""

    def relist(self, node: int) -> None:
        """Who may connect with a node has changed."""

    def break_off(self, first: int, second: int) -> None:
        """End a connection."""

    def went_down(self, node: int) -> None:
        """End all connections of a node."""


class Observer(Protocol):
    """Who watches the nodes: the checkers and the clients."""

    def on_started(self, node: SimNode) -> None:
        """A core was opened on what the disks hold."""

    def on_start_refused(self, node: SimNode, failure: StoreFailure) -> None:
        """A node would not start on what its own disks hold."""

    def on_input(self, node: SimNode, event: io.Input) -> None:
        """An engine is about to be fed."""

    def on_handled(self, node: SimNode) -> None:
        """The engine has taken the last input."""

    def on_sending(self, node: SimNode, message: Message) -> None:
        """A message is about to leave."""

    def on_crashed(self, node: SimNode, writing: bool) -> None:
        """A node stopped at once, perhaps in the middle of a write."""

    def on_committed(self, node: SimNode, committed: io.Committed) -> None:
        """A block is final and stored."""

    def on_submitted(self, node: SimNode, submitted: io.Submitted) -> None:
        """A client's request is answered."""

    def on_trouble(self, node: SimNode, output: io.Alarm | io.Halt | io.PunishPeer) -> None:
        """The engine complains."""
