"""What an inspection finds: faults with their places, one finding for each check."""

from __future__ import annotations

from typing import NamedTuple, TypeVar

from node.protocol.encoding import Codec
from node.protocol.errors import Refused

FAULTS_SHOWN_MAX = 20

T = TypeVar("T")


class Finding(NamedTuple):
    """The result of one check: what was seen, and the first faults, each with its place."""

    check: str
    seen: str
    faults: tuple[str, ...]
    fault_count: int

    @property
    def ok(self) -> bool:
        """Whether nothing is wrong."""
        return not self.fault_count


class Faults:
    """The faults that one check has found."""

    def __init__(self) -> None:
        self.count = 0
        self.shown: list[str] = []

    def add(self, place: str) -> None:
        """One more."""
        self.count += 1
        if len(self.shown) < FAULTS_SHOWN_MAX:
            self.shown.append(place)


def read(codec: Codec[T], raw: bytes | None, name: str, faults: Faults) -> T | None:
    """The record in `raw`; where there is none, that is a fault."""
    if raw is None:
        faults.add(f"{name} is missing")
        return None
    try:
        return codec.decode(raw)
    except Refused as refusal:
        faults.add(f"{name} cannot be read ({refusal.code})")
        return None


def missing(what: str, first: int, stop: int, faults: Faults) -> None:
    """Note that what stands from `first` up to `stop` is not there, if that is anything."""
    if stop - first == 1:
        faults.add(f"{what} {first} is missing")
    elif stop > first:
        faults.add(f"{what}s {first} to {stop - 1} are missing")
