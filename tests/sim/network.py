"""The network between the nodes: connections that come and go, and messages that get lost.

A pair of nodes is connected while both are up and the route is not known to be cut. A message
travels inside its connection: it dies with it, and otherwise the weather decides whether it is
lost, doubled, late or overtaken. Routes are cut one way at a time, so partitions may be symmetric,
one-way or bridged; a cut that nobody notices swallows messages while both sides feel connected.
Twins share one identity, so a node is connected with one of them at a time, and they never are.
Whom the chain does not list, as one of the two sides knows it, is not connected with.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from random import Random

from node.protocol.messages import Message, decode_message, encode_message
from tests.sim.scheduler import Scheduler

REDIAL_MS = 400
Pair = tuple[int, int]


@dataclass(frozen=True)
class Weather:
    """How bad a network is: shares of messages, and delays in milliseconds."""

    loss: float = 0.0
    duplication: float = 0.0
    delay_ms_max: int = 8
    spike: float = 0.0
    spike_ms_max: int = 0
    in_order: bool = True


CALM = Weather()


class Network:
    """Carries messages between nodes, which it knows by number."""

    def __init__(
        self,
        owners: Sequence[int],
        scheduler: Scheduler,
        chance: Random,
        counts: Counter[str],
        deliver: Callable[[int, int, Message], None],
        notify: Callable[[int, int, bool], None],
        is_up: Callable[[int], bool],
        accepts: Callable[[int, int], bool] = lambda node, peer: True,
    ) -> None:
        """`deliver(to, source, message)`; `notify(to, peer, connected)`; `accepts(node, peer)`.

        `owners` has the member that each node is; twins are the same one.
        """
        self._owners = owners
        self._scheduler = scheduler
        self._chance = chance
        self._counts = counts
        self._deliver = deliver
        self._notify = notify
        self._is_up = is_up
        self._accepts = accepts
        self._sessions: dict[Pair, int] = {}
        self._last_session = 0
        self._dialling: set[Pair] = set()
        self._last_arrival: dict[Pair, int] = {}
        self.cut: set[Pair] = set()
        self.hushed: dict[type[Message], set[Pair]] = {}
        self.weather = CALM

    def peers_of(self, node: int) -> list[int]:
        """The nodes that it is connected with, in order of their numbers."""
        return sorted(
            pair[0] if pair[1] == node else pair[1] for pair in self._sessions if node in pair
        )

    def send(self, source: int, targets: Sequence[int], message: Message) -> None:
        """Send one message to some nodes; who is not connected gets nothing."""
        # Through the real codec once: what cannot be decoded must not be believed.
        message = decode_message(encode_message(message))
        for target in targets:
            session = self._sessions.get(_pair(source, target))
            if session is not None:
                self._carry(source, target, session, message)

    # ---- connections

    def dial(self, node: int, delay_ms: int = 0) -> None:
        """Try to connect `node`, which is up, with everybody else, and keep trying."""
        for other in self._others(node):
            self._dial_soon(_pair(node, other), delay_ms)

    def relist(self, node: int) -> None:
        """`node` has learnt that others may connect than before."""
        for peer in self.peers_of(node):
            if not self._may_connect((node, peer)):
                self.break_off(node, peer)
        self.dial(node)

    def break_off(self, first: int, second: int) -> None:
        """End a connection; what is under way in it is lost, and both sides notice."""
        pair = _pair(first, second)
        if self._sessions.pop(pair, None) is None:
            return
        self._counts["connections broken"] += 1
        for node, peer in (pair, pair[::-1]):
            if self._is_up(node):
                self._notify(node, peer, False)
        self._dial_soon(pair, REDIAL_MS)

    def went_down(self, node: int) -> None:
        """A node stopped: all its connections end."""
        for other in self._others(node):
            self.break_off(node, other)

    def heal(self) -> None:
        """All routes are open again, and the weather is good."""
        self.cut.clear()
        self.hushed.clear()
        self.weather = CALM

    def _others(self, node: int) -> list[int]:
        owners = self._owners
        return [other for other in range(len(owners)) if owners[other] != owners[node]]

    def _dial_soon(self, pair: Pair, delay_ms: int) -> None:
        if pair not in self._dialling:
            self._dialling.add(pair)
            jitter = self._chance.randint(1, 40)
            self._scheduler.after(delay_ms + jitter, lambda: self._dial(pair))

    def _dial(self, pair: Pair) -> None:
        self._dialling.discard(pair)
        if pair in self._sessions or not all(self._is_up(node) for node in pair):
            return
        if not self._may_connect(pair):
            return  # Whoever learns more dials again.
        if pair in self.cut or pair[::-1] in self.cut or self._is_taken(pair):
            self._dial_soon(pair, REDIAL_MS)
            return
        self._last_session += 1
        self._sessions[pair] = self._last_session
        for node, peer in (pair, pair[::-1]):
            self._notify(node, peer, True)

    def _may_connect(self, pair: Pair) -> bool:
        return self._accepts(*pair) and self._accepts(*pair[::-1])

    def _is_taken(self, pair: Pair) -> bool:
        """Whether one of the two is connected with the other's twin."""
        owners = self._owners
        return len(set(owners)) < len(owners) and any(
            owners[peer] == owners[other] and peer != other
            for node, other in (pair, pair[::-1])
            for peer in self.peers_of(node)
        )

    # ---- messages

    def _carry(self, source: int, target: int, session: int, message: Message) -> None:
        weather, chance, counts = self.weather, self._chance, self._counts
        counts["messages"] += 1
        if (source, target) in self.cut or (source, target) in self.hushed.get(type(message), ()):
            counts["messages cut off"] += 1
            return
        if weather.loss and chance.random() < weather.loss:
            counts["messages lost"] += 1
            return
        copies = 1
        if weather.duplication and chance.random() < weather.duplication:
            counts["messages doubled"] += 1
            copies = 2
        for _ in range(copies):
            arrival = self._scheduler.now_ms + chance.randint(1, weather.delay_ms_max)
            if weather.spike and chance.random() < weather.spike:
                counts["messages late"] += 1
                arrival += chance.randint(1, weather.spike_ms_max)
            last = self._last_arrival.get((source, target), 0)
            if arrival < last:
                if weather.in_order:
                    arrival = last
                else:
                    counts["messages overtaken"] += 1
            self._last_arrival[source, target] = max(arrival, last)
            self._scheduler.after(
                arrival - self._scheduler.now_ms,
                lambda: self._arrive(source, target, session, message),
            )

    def _arrive(self, source: int, target: int, session: int, message: Message) -> None:
        if self._sessions.get(_pair(source, target)) == session:
            self._deliver(target, source, message)


def _pair(first: int, second: int) -> Pair:
    return (first, second) if first < second else (second, first)
