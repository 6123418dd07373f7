"""What the customers did and what they were told, as it happened: the evidence of a siege.

Times are seconds since its beginning. The lines of the file say the same for people and programs.
"""

from __future__ import annotations

import json
import math
from collections import Counter
from pathlib import Path
from typing import Any, NamedTuple

from tests.siege.cards import Visit
from tests.siege.linear import Operation


class Reading(NamedTuple):
    """What one node said of a card, and after which height."""

    node: str
    height: int
    seq: int
    remaining: int
    invoked: float
    returned: float


class Fate(NamedTuple):
    """Where a transaction stands on chain, and with which code."""

    height: int
    place: int
    code: str


class Deed(NamedTuple):
    """A visit by a transaction; `told` is the fate that was acknowledged, None where none was."""

    transaction_id: bytes
    operation: Operation[Visit]
    told: tuple[int, str] | None


class CardHistory:
    """Everything about one card, which had `face` on it at first."""

    def __init__(self, card: bytes, face: int) -> None:
        self.card = card
        self.face = face
        self.deeds: list[Deed] = []
        self.readings: list[Reading] = []

    @property
    def operations(self) -> list[Operation[Visit]]:
        """For the checker."""
        return [deed.operation for deed in self.deeds]


class History:
    """All cards, written to `path` as it grows."""

    def __init__(self, path: Path) -> None:
        self.cards: list[CardHistory] = []
        self.counts: Counter[str] = Counter()
        self._file = path.open("w", buffering=1)

    def add_card(self, card: bytes, face: int) -> CardHistory:
        """A new card."""
        self.cards.append(CardHistory(card, face))
        return self.cards[-1]

    def add_deed(self, of: CardHistory, deed: Deed) -> None:
        """Somebody visited, or looked through consensus."""
        of.deeds.append(deed)
        visit, operation = deed.operation.action, deed.operation
        self.counts["unknown" if visit.code is None else "acknowledged"] += 1
        self.counts["ok"] += visit.code == "OK"
        returned = operation.returned if operation.returned < math.inf else None
        self._write(
            card=of.card.hex(),
            tx=deed.transaction_id.hex(),
            invoked=operation.invoked,
            returned=returned,
            height=deed.told and deed.told[0],
            **visit._asdict(),
        )

    def add_reading(self, of: CardHistory, reading: Reading) -> None:
        """Somebody asked one node."""
        of.readings.append(reading)
        self.counts["read"] += 1
        self._write(card=of.card.hex(), **reading._asdict())

    def note(self, time: float, fault: str) -> None:
        """Something was done to the network."""
        self._write(time=time, fault=fault)

    def close(self) -> None:
        """The end of the file."""
        self._file.close()

    def _write(self, **fields: Any) -> None:
        self._file.write(json.dumps(fields) + "\n")
