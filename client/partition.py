"""Splitting a local dev network and healing it: which node treats the line to which as broken.

Both ends of a cut line are told, through a file in each node's folder that holds over restarts; a
running node reads it again at once. Nothing of the machine is changed, and nobody need be root.
"""

from __future__ import annotations

import signal
from collections.abc import Iterable, Sequence

from client.local import LocalNetwork, LocalNode, State
from node.protocol.cut import read_cut, write_cut
from node.protocol.errors import Misconfigured


def sides_of(network: LocalNetwork, text: str) -> list[tuple[str, ...]]:
    """The sides meant by `A,B|C,D`, as names; nodes that are not mentioned are one more side.

    Raises `Misconfigured` `NO_NODE`, `BAD_SIDES`.
    """
    sides = [
        tuple(one.name for one in network.select([word.strip() for word in side.split(",")]))
        for side in text.split("|")
    ]
    named = [name for side in sides for name in side]
    if len(set(named)) != len(named):
        raise Misconfigured("BAD_SIDES", "a node is on one side only")
    rest = tuple(one.name for one in network.nodes if one.name not in named)
    sides += [rest] if rest else []
    if len(sides) < 2:
        raise Misconfigured("BAD_SIDES", "all nodes are on one side; separate sides by |")
    return sides


def partition(network: LocalNetwork, sides: Sequence[Sequence[str]]) -> None:
    """Cut every line between two sides, and mend all others; raises `Misconfigured` `NOT_DEV`."""
    if not network.folder.genesis.dev:
        raise Misconfigured("NOT_DEV", "only a dev network is split on purpose")
    side_of = {name: number for number, side in enumerate(sides) for name in side}
    keys = {one.name: bytes.fromhex(one.public_key) for one in network.folder.endpoints}
    for one in network.nodes:
        far = [name for name in side_of if side_of[name] != side_of.get(one.name, side_of[name])]
        write_cut(one.folder, [keys[name] for name in far])
    tell(network.nodes)


def heal(network: LocalNetwork) -> None:
    """Mend every line."""
    for one in network.nodes:
        write_cut(one.folder, ())
    tell(network.nodes)


def tell(nodes: Iterable[LocalNode]) -> None:
    """Have nodes read again which lines are cut. One that starts just now does so by itself."""
    for one in nodes:
        if one.state is State.PAUSED or one.serves():
            one.signal(signal.SIGUSR2)


def cut_lines(network: LocalNetwork) -> dict[str, tuple[str, ...]]:
    """By the name of each local node: those that it is cut off from."""
    names = {bytes.fromhex(one.public_key): one.name for one in network.folder.endpoints}
    return {
        one.name: tuple(sorted(names.get(key, key.hex()[:16]) for key in read_cut(one.folder)))
        for one in network.nodes
    }
