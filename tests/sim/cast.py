"""The cast of a run: who founds the network, who may join it later, who is byzantine and how.

Of every set that ever decides, no more members are byzantine than its quorum can bear; whether a
set may come about is asked here. Besides, byzantine observers may be about: they are in no set.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from random import Random

from contracts.kernel.membership import VALIDATORS_MIN
from node.protocol.genesis import Genesis
from node.protocol.keys import PrivateKey
from node.protocol.validators import ValidatorSet
from tests.sim.world import Shape, found, key_of

SIZES = {4: 60, 5: 15, 6: 5, 7: 12, 8: 2, 9: 2, 10: 3, 1: 4}
BYZANTINE = 0.85
CHANGING = 0.4
FOUNDERS_OF_CHANGING_MAX = 7
NEWCOMERS = (1, 2, 3, 3)
BYZANTINE_NEWCOMER = 0.3
STYLES = ("twins", "liar", "liar", "both")
"""`twins`: runs twice. `liar`: what it sends is twisted."""


@dataclass(frozen=True)
class Cast:
    """Identities are numbered: founders first, in the order of their set, then newcomers.

    `owners` has the identity of each node; twins share one. `styles` are those of the byzantine.
    """

    genesis: Genesis
    keys: tuple[PrivateKey, ...]
    founders: int
    owners: tuple[int, ...]
    styles: Mapping[int, str]

    @property
    def newcomers(self) -> Sequence[int]:
        """The identities that are not in the network at first."""
        return range(self.founders, len(self.keys))

    @property
    def traitors(self) -> frozenset[bytes]:
        """The public keys of the byzantine."""
        return frozenset(self.keys[number].public_key for number in self.styles)

    @property
    def byzantine(self) -> int:
        """How many identities are byzantine."""
        return len(self.styles)

    def nodes_of(self, identity: int) -> list[int]:
        """The numbers of the nodes that run under one identity."""
        return [number for number, owner in enumerate(self.owners) if owner == identity]

    def byzantine_among(self, members: Collection[bytes]) -> int:
        """How many of `members` are byzantine."""
        return len(self.traitors & set(members))

    def bears(self, members: Sequence[bytes], absent: Collection[bytes] = ()) -> bool:
        """Whether such a set decides for all that its byzantine do, and with `absent` silent."""
        more_than = self.genesis.confirmations_more_than
        validators = ValidatorSet(tuple(members), more_than)
        traitors = self.byzantine_among(members)
        silent = traitors + len(set(absent) & set(members))
        return traitors <= validators.faulty_max and silent <= validators.dead_max


def draw_cast(seed: int, chance: Random) -> Cast:
    """The cast of a seed; `chance` goes on to be used for the shape of the rest."""
    size = chance.choices(list(SIZES), list(SIZES.values()))[0]
    genesis = found(_shape(size, chance))
    betrayal = Random(f"{seed}/cast")
    changing = VALIDATORS_MIN <= size <= FOUNDERS_OF_CHANGING_MAX
    newcomers = 0
    if changing and betrayal.random() < CHANGING:
        newcomers = betrayal.choice(NEWCOMERS)
    keys = tuple(key_of(f"node{number}") for number in range(size + newcomers))
    styles = _traitors(genesis, newcomers, betrayal)
    twins = [number for number, style in styles.items() if style != "liar"]
    return Cast(genesis, keys, size, (*range(len(keys)), *twins), styles)


def _traitors(genesis: Genesis, newcomers: int, chance: Random) -> dict[int, str]:
    """Up to f founders; newcomers as it comes, since they need not be admitted to a set."""
    members = genesis.validator_set
    # A preset number may ask for more votes than PBFT: then fewer may be silent.
    most = min(members.faulty_max, members.dead_max)
    if chance.random() >= BYZANTINE:
        return {}
    count = chance.randint(1, most) if most else 0
    chosen = sorted(chance.sample(range(members.size), count))
    late = range(members.size, members.size + newcomers)
    chosen += [number for number in late if chance.random() < BYZANTINE_NEWCOMER]
    return {number: chance.choice(STYLES) for number in chosen}


def _shape(size: int, chance: Random) -> Shape:
    """Timeouts are short; the preset number is mostly the one that PBFT needs anyway."""
    base_ms = chance.choice((250, 500, 1_000))
    more_than = chance.choice((0, 0, size // 2, size - 1)) if size > 1 else 0
    return Shape(size, more_than, base_ms, 4 * base_ms)
