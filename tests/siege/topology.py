"""What network a seed stands for, in the manner of CometBFT's end-to-end generator.

Four to seven validators, up to two observers, a preset number and time-outs of many kinds; a temper
that says which faults are likely, and the customers. The same seed always draws the same.
"""

from __future__ import annotations

from collections.abc import Sequence
from random import Random
from typing import NamedTuple

from node.protocol.validators import ValidatorSet

FAULT_KINDS = (
    "kill",
    "kill_several",
    "kill_all",
    "restart",
    "pause",
    "partition",
    "slow_line",
    "dead_line",
    "one_way",
    "disconnect",
    "full_disk",
)
# How likely each kind is where a seed has no preference: kills are what we are here for.
WEIGHTS = (12, 3, 1, 2, 3, 3, 2, 2, 2, 2, 2)
PAUSES_S = ((0.1, 0.8), (0.5, 2.0), (1.0, 4.0))


class Topology(NamedTuple):
    """A network and what will be done to it. `pause_s` is the time between two faults."""

    seed: int
    validators: int
    observers: int
    confirmations_more_than: int
    base_ms: int
    cap_ms: int
    block_transactions: int
    customers: int
    cards: int
    pause_s: tuple[float, float]
    weights: tuple[int, ...]

    @property
    def line(self) -> str:
        """In words, for the report."""
        return (
            f"{self.validators} validators, {self.observers} observers, more than "
            f"{self.confirmations_more_than} confirmations, views of {self.base_ms} ms, blocks of "
            f"{self.block_transactions}, {self.customers} customers on {self.cards} cards"
        )


def draw(seed: int) -> Topology:
    """The topology of a seed."""
    chance = Random(f"siege {seed}")
    validators = chance.choice((4, 4, 4, 5, 6, 7))
    quorum = ValidatorSet(tuple(bytes([n]) * 33 for n in range(validators)), 0).quorum
    tempered = chance.random() < 0.5
    factors = [chance.choice((0, 1, 1, 3)) if tempered else 1 for _ in FAULT_KINDS]
    factors[0] = max(factors[0], 1)
    base_ms = chance.choice((500, 1_000, 2_000))
    return Topology(
        seed=seed,
        validators=validators,
        observers=chance.choice((0, 0, 1, 2)),
        # Nothing beyond what safety needs, just that, or one more, so that fewer may be dead.
        confirmations_more_than=chance.choice((0, 0, quorum - 1, quorum - 1, quorum)),
        base_ms=base_ms,
        cap_ms=base_ms * chance.choice((4, 8)),
        block_transactions=chance.choice((1, 10, 1_000)),
        customers=chance.choice((3, 6, 10)),
        cards=chance.choice((1, 2, 4)),
        pause_s=chance.choice(PAUSES_S),
        weights=tuple(weight * factor for weight, factor in zip(WEIGHTS, factors, strict=True)),
    )


def described(topology: Topology, text: str, addresses: Sequence[tuple[int, int]]) -> str:
    """The `network.toml` of `text` with a topology's numbers, at these (peer, http) ports."""
    numbers = {
        "confirmations_more_than": topology.confirmations_more_than,
        "base_ms": topology.base_ms,
        "cap_ms": topology.cap_ms,
        "block_transactions": topology.block_transactions,
    }
    lines, skipping = [], False
    for line in text.splitlines():
        skipping = line == "[[validators]]" or (skipping and not line.startswith("["))
        if skipping:
            continue
        name = line.partition(" = ")[0]
        lines.append(f"{name} = {numbers.pop(name)}" if name in numbers else line)
    if numbers:
        raise ValueError(f"network.toml says nothing of {', '.join(numbers)}")
    for number, (peer, http) in enumerate(addresses, 1):
        lines += ["[[validators]]", f'name = "node{number}"']
        lines += [f'address = "127.0.0.1:{peer}"', f'http = "127.0.0.1:{http}"']
    return "\n".join(lines) + "\n"
