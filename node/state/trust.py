"""What databases and snapshots of a network are held against: what is known without being told."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from node.protocol.domain import Chain
from node.protocol.validators import ValidatorSet

SaltOf = Callable[[str, bytes, bytes], bytes]
"""The secret salt of a record's value, by table, key and value; empty for public tables."""


class Trust(NamedTuple):
    """The network, its founders, the secret salts, and where the state speaks of the chain itself.

    `salt_of` raises LookupError for a table that is none. `era_of` gives, by table and key, the
    first height of the validator set that stands there; `counted_in`, by table and value, a height
    and the number of transactions up to it; both None for other records.
    """

    chain: Chain
    depth: int
    founders: ValidatorSet
    salt_of: SaltOf
    receipt_salt: Callable[[bytes], bytes]
    era_of: Callable[[str, bytes], int | None]
    counted_in: Callable[[str, bytes], tuple[int, int] | None]
